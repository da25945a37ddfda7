package tokenserver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/dpop"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/oauth"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/replay"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/ownissuer"
	"github.com/caddy-moat/caddy-moat/modules/internal/watched"
)

const (
	// proofAge is how long a proof is accepted. Each is remembered that long.
	proofAge = 60 * time.Second

	// maxUsed is how many proofs, and how many assertions, are remembered, some 30
	// bytes each. When there are more, requests are refused.
	maxUsed = 200_000
)

// used is what all token servers of the process share: what was used at one is
// used, and a reload forgets nothing.
type used struct{ proofs, assertions *replay.Memory }

var usedPool = caddy.NewUsagePool() // there is one

// openUsed prepares the checks of what may be used once.
func (h *Handler) openUsed(ctx caddy.Context) error {
	now := time.Now()
	shared, err := lifecycle.Share(&h.held, usedPool, "used", func() (*used, func(), error) {
		return &used{replay.NewMemory(maxUsed, now), replay.NewMemory(maxUsed, now)}, func() {}, nil
	})
	if err != nil {
		return err
	}
	shared.proofs.Widen(proofAge+oauth.Leeway, now)
	shared.assertions.Widen(oauth.MaxAssertion+oauth.Leeway, now)
	h.server.Proofs = &dpop.Checker{MaxAge: proofAge, Leeway: oauth.Leeway, Used: shared.proofs}
	h.server.Used = shared.assertions
	if err := lifecycle.MeasureReplays(ctx, "token_request", shared.proofs); err != nil {
		return err
	}
	return lifecycle.MeasureReplays(ctx, "client_assertion", shared.assertions)
}

// userFiles are the files of users.
var userFiles = watched.Kind{
	Layer: Name, Option: "users", Subject: "the file of users", What: "users", Logger: "http.handlers." + Name,
	Metrics: userMetrics,
}

// states are what servers remember of logins, by storage and issuer.
var states = caddy.NewUsagePool()

type stateKey struct{ storage, issuer string }

// sweepEvery is how often what has expired is deleted from the storage.
const sweepEvery = time.Minute

// openUsers opens the file of users, if there is one, and what is remembered of
// logins.
func (h *Handler) openUsers(ctx caddy.Context, secret []byte) error {
	if h.Users == "" {
		return nil
	}
	vault, err := oauth.NewVault(secret)
	if err != nil {
		return err
	}
	h.server.Users, err = watched.Open(ctx, &h.held, &userFiles, h.Users, vault.Check(), func(path string, report func(filewatch.Event)) (*oauth.Users, error) {
		return oauth.OpenUsers(path, vault, report)
	})
	if err != nil {
		return err
	}
	h.server.RefreshLifetime = time.Duration(h.RefreshLifetime)
	if h.RefreshLifetime == 0 {
		h.server.RefreshLifetime = defaultRefresh
	}
	storage := ctx.Storage()
	h.server.State, err = lifecycle.Share(&h.held, states, stateKey{ownissuer.Identity(storage), h.issuer.name}, func() (*oauth.State, func(), error) {
		s, err := oauth.NewState(storage, h.issuer.name, secret)
		if err != nil {
			return nil, nil, fmt.Errorf("logins: %w", err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { sweep(ctx, s) })
		return s, func() { cancel(); wg.Wait() }, nil
	})
	return err
}

// sweep deletes what has expired, now and then.
func sweep(ctx context.Context, s *oauth.State) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	said := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.Sweep(ctx, time.Now())
		if err != nil && !said && ctx.Err() == nil {
			caddy.Log().Named("http.handlers."+Name).Warn("expired logins cannot be deleted from the storage", zap.Error(err))
		}
		said = err != nil
	}
}

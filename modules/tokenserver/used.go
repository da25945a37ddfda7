package tokenserver

import (
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/dpop"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/oauth"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/replay"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
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

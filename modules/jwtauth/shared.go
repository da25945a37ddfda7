package jwtauth

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/issuer"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/keyset"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/revocation"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/watched"
)

// What is shared by all instances of the module, and so survives a reload:
// key sets, since a reload must not fetch them anew nor forget what is
// throttled; internal issuers; and the revocations made while running.
var (
	sets    = caddy.NewUsagePool() // by keyset.Source
	issuers = caddy.NewUsagePool() // by issuerKey
	stores  = caddy.NewUsagePool() // by storage
)

// The files that administrators name, which survive a reload too.
var (
	keyFiles = watched.Kind{
		Layer: Name, Option: "jwks", Subject: "the key set", What: whatKeySet,
		Describe: func(e filewatch.Event) (string, string) { return whatKeySet, describeKeys(e.Added, e.Removed) },
		Metrics: watched.Metrics{
			Unusable: prometheus.NewDesc("caddy_moat_jwks_file_unusable", watched.UnusableHelp, []string{"jwks"}, nil),
		},
	}
	revocationFiles = watched.Kind{
		Layer: Name, Option: "revocations", Subject: "the list of revocations", What: whatRevocations,
		Describe: func(e filewatch.Event) (string, string) { return whatRevocations, e.Detail },
		Metrics: watched.Metrics{
			Entries:  prometheus.NewDesc("caddy_moat_revocations", "Entries in the revocation file.", []string{"revocations"}, nil),
			Unusable: prometheus.NewDesc("caddy_moat_revocation_file_unusable", watched.UnusableHelp, []string{"revocations"}, nil),
		},
	}
)

// report returns a function that logs what an engine has to say. It uses the
// logger of whichever configuration runs, since engines outlive them.
func report(what, name string) func(string, error) {
	return func(message string, err error) {
		log := caddy.Log().Named("http.authentication.providers." + Name)
		if err != nil {
			log.Warn(message, zap.String(what, name), zap.Error(err))
			return
		}
		log.Info(message, zap.String(what, name))
	}
}

func (p *Provider) sharedSet(source keyset.Source) (token.KeySource, error) {
	return lifecycle.Share(&p.held, sets, source, func() (token.KeySource, func(), error) {
		s := keyset.Open(source, keyset.Options{
			Report:  report("source", source.String()),
			Expand:  expand,
			Changed: keysChanged(whatKeySet, source.String(), source.Issuer),
		})
		return s, s.Close, nil
	})
}

func (p *Provider) sharedFile(ctx caddy.Context, path string) (token.KeySource, error) {
	f, err := watched.Open(ctx, &p.held, &keyFiles, path, nil, func(abs string, tell func(filewatch.Event)) (*keyset.File, error) {
		return keyset.OpenFile(abs, keyset.Options{Report: report("source", path)}, tell)
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// issuerKey tells internal issuers apart.
type issuerKey struct {
	storage, name string
	rotate        time.Duration
}

// identity tells storages apart. A reload makes a new value for the same
// storage.
func identity(s certmagic.Storage) string {
	if named, ok := s.(fmt.Stringer); ok {
		return fmt.Sprintf("%T %s", s, named)
	}
	return fmt.Sprintf("%T %v", s, s)
}

func (p *Provider) sharedIssuer(name string, rotate time.Duration) (*issuer.Issuer, error) {
	storage := p.storage
	return lifecycle.Share(&p.held, issuers, issuerKey{identity(storage), name, rotate}, func() (*issuer.Issuer, func(), error) {
		ctx, cancel := background()
		defer cancel()
		i, err := issuer.Open(ctx, storage, issuer.Options{
			Name: name, Rotate: rotate, Report: report("issuer", name),
			Changed: keysChanged(whatIssuerKeys, issuer.StorageKey(name), name),
		})
		if err != nil {
			return nil, nil, err
		}
		return i, run(i.Run), nil
	})
}

// openRevocations opens the revocation file, if one is configured, and the
// revocations that are made while running.
func (p *Provider) openRevocations(ctx caddy.Context) (err error) {
	announce, err := lifecycle.Changes(ctx)
	if err != nil {
		return err
	}
	trails.enlist(listener{p, announce})
	p.held.Add(func() { trails.drop(p) })
	storage := p.storage
	p.store, err = lifecycle.Share(&p.held, stores, identity(storage), func() (*revocation.Store, func(), error) {
		ctx, cancel := background()
		defer cancel()
		s, err := revocation.OpenStore(ctx, storage, nil, report("storage", revocation.StorageKey),
			func(c revocation.Change) {
				trails.announce(revocationsChanged(revocation.StorageKey, "another server", c))
			})
		if err != nil {
			return nil, nil, err
		}
		return s, run(s.Run), nil
	})
	if err != nil {
		return fmt.Errorf("revocations: %w", err)
	}
	if p.Revocations == "" {
		return nil
	}
	p.file, err = watched.Open(ctx, &p.held, &revocationFiles, p.Revocations, nil, revocation.OpenFile)
	return err
}

// run starts work in the background and returns what ends it.
func run(work func(context.Context)) func() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { work(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

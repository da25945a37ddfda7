package jwtauth

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/adapter"
	"github.com/caddy-moat/caddy-moat/modules/internal/issuer"
	"github.com/caddy-moat/caddy-moat/modules/internal/keyset"
	"github.com/caddy-moat/caddy-moat/modules/internal/revocation"
	"github.com/caddy-moat/caddy-moat/modules/internal/token"
)

// What is shared by all instances of the module, and so survives a reload:
// key sets, since a reload must not fetch them anew nor forget what is
// throttled; internal issuers; and the revocations made while running.
var (
	sets    = caddy.NewUsagePool() // by keyset.Source or file path
	issuers = caddy.NewUsagePool() // by issuerKey
	stores  = caddy.NewUsagePool() // by storage
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
	return adapter.Share(&p.held, sets, source, func() (token.KeySource, func(), error) {
		s := keyset.Open(source, keyset.Options{
			Report:  report("source", source.String()),
			Changed: keysChanged(whatKeySet, source.String(), source.Issuer),
		})
		return s, s.Close, nil
	})
}

func (p *Provider) sharedFile(path string) (token.KeySource, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	source, err := adapter.Share(&p.held, sets, abs, func() (token.KeySource, func(), error) {
		f, err := keyset.OpenFile(abs, keyset.Options{Report: report("source", path), Changed: keysChanged(whatKeySet, abs, "")})
		if err != nil {
			return nil, nil, err
		}
		return f, f.Close, nil
	})
	if err != nil {
		return nil, err
	}
	return source, nil
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
	return adapter.Share(&p.held, issuers, issuerKey{identity(storage), name, rotate}, func() (*issuer.Issuer, func(), error) {
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
	path, err := resolve("revocations", p.Revocations)
	if err != nil {
		return err
	}
	trails.enlist(listener{p, path, adapter.Changes(ctx)})
	p.held.Add(func() { trails.drop(p) })
	storage := p.storage
	p.store, err = adapter.Share(&p.held, stores, identity(storage), func() (*revocation.Store, func(), error) {
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
	file, err := revocation.OpenFile(path, report("file", path), func(c revocation.Change) {
		trails.announceFile(p, revocationsChanged(path, "", c))
	})
	if err != nil {
		return fmt.Errorf("revocations %s: %w", p.Revocations, err)
	}
	p.file = file
	p.held.Add(file.Close)
	return nil
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

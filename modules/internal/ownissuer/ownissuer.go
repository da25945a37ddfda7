// Package ownissuer is what the issuer of tokens of this server is to the
// modules: its keys and what was revoked while running, in Caddy's storage.
// Modules that name the same issuer share both, and a reload forgets neither.
package ownissuer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/issuer"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/revocation"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
)

// jwtAuth is the directive that the log and the audit trails name, whichever
// module has opened an issuer first.
const jwtAuth = "jwt_auth"

var (
	issuers = caddy.NewUsagePool() // by issuerKey
	stores  = caddy.NewUsagePool() // by storage
)

// issuerKey tells issuers apart.
type issuerKey struct {
	storage, name string
	rotate        time.Duration
}

// Identity tells storages apart. A reload makes a new value for the same
// storage.
func Identity(s certmagic.Storage) string {
	if named, ok := s.(fmt.Stringer); ok {
		return fmt.Sprintf("%T %s", s, named)
	}
	return fmt.Sprintf("%T %v", s, s)
}

// Report returns a function that logs what an engine has to say. It uses the
// logger of whichever configuration runs, since engines outlive them.
func Report(what, name string) func(string, error) {
	return func(message string, err error) {
		log := caddy.Log().Named("http.authentication.providers." + jwtAuth)
		if err != nil {
			log.Warn(message, zap.String(what, name), zap.Error(err))
			return
		}
		log.Info(message, zap.String(what, name))
	}
}

// Open opens the issuer of that name in a storage, or takes the one that is
// open already. held gives it back. A rotate of 0 is the default.
func Open(held *lifecycle.Held, storage certmagic.Storage, name string, rotate time.Duration) (*issuer.Issuer, error) {
	return lifecycle.Share(held, issuers, issuerKey{Identity(storage), name, rotate}, func() (*issuer.Issuer, func(), error) {
		ctx, cancel := background()
		defer cancel()
		i, err := issuer.Open(ctx, storage, issuer.Options{
			Name: name, Rotate: rotate, Report: Report("issuer", name),
			Changed: KeysChanged(WhatIssuerKeys, issuer.StorageKey(name), name),
		})
		if err != nil {
			return nil, nil, err
		}
		return i, run(i.Run), nil
	})
}

// Issuers returns the issuers that are open.
func Issuers() []*issuer.Issuer { return lifecycle.Shared[*issuer.Issuer](issuers) }

// OpenRevocations opens the revocations that are made while running, in a
// storage, or takes those that are open already. held gives them back.
func OpenRevocations(held *lifecycle.Held, storage certmagic.Storage) (*revocation.Store, error) {
	return lifecycle.Share(held, stores, Identity(storage), func() (*revocation.Store, func(), error) {
		ctx, cancel := background()
		defer cancel()
		s, err := revocation.OpenStore(ctx, storage, nil, Report("storage", revocation.StorageKey), func(c revocation.Change) {
			Announce(lifecycle.Change{What: WhatRevocations, Source: revocation.StorageKey, By: "another server", Detail: c.String()})
		})
		if err != nil {
			return nil, nil, err
		}
		return s, run(s.Run), nil
	})
}

// Revocations returns those that are open.
func Revocations() []*revocation.Store { return lifecycle.Shared[*revocation.Store](stores) }

func background() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 30*time.Second)
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

package jwtauth

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/keyset"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/revocation"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/ownissuer"
	"github.com/caddy-moat/caddy-moat/modules/internal/watched"
)

// sets are the key sets that are shared by all instances of the module, and so
// survive a reload, which must not fetch them anew nor forget what is
// throttled.
var sets = caddy.NewUsagePool() // by keyset.Source

// The files that administrators name, which survive a reload too.
var (
	keyFiles = watched.Kind{
		Layer: Name, Option: "jwks", Subject: "the key set", What: ownissuer.WhatKeySet,
		Describe: func(e filewatch.Event) (string, string) {
			return ownissuer.WhatKeySet, ownissuer.DescribeKeys(e.Added, e.Removed)
		},
		Metrics: watched.Metrics{
			Unusable: prometheus.NewDesc("caddy_moat_jwks_file_unusable", watched.UnusableHelp, []string{"jwks"}, nil),
		},
	}
	revocationFiles = watched.Kind{
		Layer: Name, Option: "revocations", Subject: "the list of revocations", What: ownissuer.WhatRevocations,
		Describe: func(e filewatch.Event) (string, string) { return ownissuer.WhatRevocations, e.Detail },
		Metrics: watched.Metrics{
			Entries:  prometheus.NewDesc("caddy_moat_revocations", "Entries in the revocation file.", []string{"revocations"}, nil),
			Unusable: prometheus.NewDesc("caddy_moat_revocation_file_unusable", watched.UnusableHelp, []string{"revocations"}, nil),
		},
	}
)

func (p *Provider) sharedSet(source keyset.Source) (token.KeySource, error) {
	return lifecycle.Share(&p.held, sets, source, func() (token.KeySource, func(), error) {
		s := keyset.Open(source, keyset.Options{
			Report:  ownissuer.Report("source", source.String()),
			Expand:  expand,
			Changed: ownissuer.KeysChanged(ownissuer.WhatKeySet, source.String(), source.Issuer),
		})
		return s, s.Close, nil
	})
}

func (p *Provider) sharedFile(ctx caddy.Context, path string) (token.KeySource, error) {
	f, err := watched.Open(ctx, &p.held, &keyFiles, path, nil, func(abs string, tell func(filewatch.Event)) (*keyset.File, error) {
		return keyset.OpenFile(abs, keyset.Options{Report: ownissuer.Report("source", path)}, tell)
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// openRevocations opens the revocation file, if one is configured, and the
// revocations that are made while running.
func (p *Provider) openRevocations(ctx caddy.Context) (err error) {
	announce, err := lifecycle.Changes(ctx)
	if err != nil {
		return err
	}
	ownissuer.Enlist(p, announce)
	p.held.Add(func() { ownissuer.Drop(p) })
	p.store, err = ownissuer.OpenRevocations(&p.held, p.storage)
	if err != nil {
		return fmt.Errorf("revocations: %w", err)
	}
	if p.Revocations == "" {
		return nil
	}
	p.file, err = watched.Open(ctx, &p.held, &revocationFiles, p.Revocations, nil, revocation.OpenFile)
	return err
}

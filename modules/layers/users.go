package layers

import (
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
)

// voucher is a handler that knows who vouches for the callers it identifies.
type voucher interface {
	Vouches() []principal.Source
}

// rememberer is a handler whose rules may change while it runs.
type rememberer interface {
	KnowSources([]principal.Source)
}

// users looks at what names users, in the light of who can vouch for them.
func (e *examination) users(routes caddyhttp.RouteList) {
	sourcesBefore(routes, func(h caddyhttp.MiddlewareHandler, sources []principal.Source) {
		n, ok := h.(principal.Naming)
		if !ok {
			return
		}
		if r, ok := h.(rememberer); ok {
			r.KnowSources(sources)
		}
		if place, err := principal.CheckNaming(n, sources); err != nil {
			if place == "" {
				place = placeOf(h)
			}
			e.add(Finding{ID: "user_without_source", Severity: Refused, Place: place, Text: nameOf(h) + ": " + err.Error()})
		}
	})
}

// sourcesBefore calls f for every handler with who can vouch for the callers of
// requests that come to it. Of the routes of a group, a request meets one.
func sourcesBefore(routes caddyhttp.RouteList, f func(caddyhttp.MiddlewareHandler, []principal.Source)) {
	routetree.Walk[[]principal.Source]{
		Handle: func(h caddyhttp.MiddlewareHandler, come []principal.Source) []principal.Source {
			f(h, come)
			return with(come, vouchers(h)...)
		},
		Leave: func(route caddyhttp.Route, before, inside []principal.Source) []principal.Source {
			if route.Terminal {
				return before
			}
			return with(before, inside...)
		},
		Alternatives: true,
	}.Follow(routes, nil)
}

// vouchers returns who vouches for the callers that a handler identifies.
func vouchers(h caddyhttp.MiddlewareHandler) []principal.Source {
	switch h := h.(type) {
	case voucher:
		return h.Vouches()
	case *caddyauth.Authentication:
		var all []principal.Source
		for _, p := range h.Providers {
			if m, ok := p.(credential.Method); ok {
				all = append(all, m.Traits().Vouches...)
				continue
			}
			all = append(all, principal.Source{Kind: principal.KindOther})
		}
		return all
	}
	return nil
}

func with(sources []principal.Source, more ...principal.Source) []principal.Source {
	for _, s := range more {
		if !slices.Contains(sources, s) {
			sources = append(slices.Clip(sources), s)
		}
	}
	return sources
}

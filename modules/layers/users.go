package layers

import (
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
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
	sourcesBefore(routes, nil, func(h caddyhttp.MiddlewareHandler, sources []principal.Source) {
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
// requests that come to it, and returns who can behind the routes. Of the
// routes of a group, a request meets one.
func sourcesBefore(routes caddyhttp.RouteList, before []principal.Source, f func(caddyhttp.MiddlewareHandler, []principal.Source)) []principal.Source {
	after := before
	var group string
	var alternatives []principal.Source
	for _, route := range routes {
		come := after
		if route.Group == "" || route.Group != group {
			group, alternatives = route.Group, after
		} else {
			come = alternatives
		}
		for _, h := range route.Handlers {
			if sub, ok := h.(*caddyhttp.Subroute); ok {
				come = sourcesBefore(sub.Routes, come, f)
				continue
			}
			f(h, come)
			come = with(come, vouchers(h)...)
		}
		if !route.Terminal {
			after = with(after, come...)
		}
	}
	return after
}

// vouchers returns who vouches for the callers that a handler identifies.
func vouchers(h caddyhttp.MiddlewareHandler) []principal.Source {
	switch h := h.(type) {
	case voucher:
		return h.Vouches()
	case *caddyauth.Authentication:
		var all []principal.Source
		for _, p := range h.Providers {
			if v, ok := p.(voucher); ok {
				all = append(all, v.Vouches()...)
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

package layers

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
)

// identifier is our authentication handler.
type identifier interface {
	// Authenticates reports whether it makes callers known, and does not only
	// remove headers.
	Authenticates() bool
}

// pair are two handlers that make the caller of one request known.
type pair struct{ first, second caddyhttp.MiddlewareHandler }

// twice returns the handlers of ours that make known who is calling where
// another has done that already. The layers behind would know the last caller,
// while the upstream might be told of both.
//
// Two that stand in different parts of a site, each with a matcher, are not
// among them: whether one request meets both is for the request to say, and
// the second handler then refuses it.
func twice(routes caddyhttp.RouteList) []pair {
	var w identityWalk
	w.routes(routes, nil, nil)
	return w.found
}

type identityWalk struct {
	found []pair
	parts int
}

// met is an authenticator that requests have met, in the innermost of the
// parts of the site that only some requests come to.
type met struct {
	handler caddyhttp.MiddlewareHandler
	parts   []int
}

// routes follows requests through routes. before are the authenticators that
// they may have met; it returns those that they may have met behind.
func (w *identityWalk) routes(routes caddyhttp.RouteList, parts []int, before []met) []met {
	after := before
	var group string
	var alternatives []met // what the routes of the group have before them
	for _, route := range routes {
		come := after
		if route.Group == "" || route.Group != group {
			group, alternatives = route.Group, after
		} else {
			come = alternatives
		}
		inner := parts
		if !meetsAll(route) || route.Group != "" {
			w.parts++
			inner = append(slices.Clip(parts), w.parts)
		}
		leave := w.handlers(route.Handlers, inner, come)
		if route.Terminal || answering(caddyhttp.RouteList{{Handlers: route.Handlers}}) != "" {
			continue // who has met it goes no further
		}
		for _, m := range leave {
			if !slices.ContainsFunc(after, func(o met) bool { return o.handler == m.handler }) {
				after = append(slices.Clip(after), m)
			}
		}
	}
	return after
}

func (w *identityWalk) handlers(handlers []caddyhttp.MiddlewareHandler, parts []int, before []met) []met {
	for _, h := range handlers {
		if sub, ok := h.(*caddyhttp.Subroute); ok {
			before = w.routes(sub.Routes, parts, before)
			continue
		}
		ours, any := authenticates(h)
		if !any {
			continue
		}
		for _, m := range before {
			other, _ := authenticates(m.handler)
			if m.handler != h && (ours || other) && related(m.parts, parts) {
				w.found = append(w.found, pair{m.handler, h})
			}
		}
		before = append(slices.Clip(before), met{h, parts})
	}
	return before
}

// related reports whether whoever comes to one of two parts of a site comes to
// the other.
func related(a, b []int) bool {
	n := min(len(a), len(b))
	return slices.Equal(a[:n], b[:n])
}

// authenticates reports whether a handler makes callers known: one of ours, or
// any that is known to.
func authenticates(h caddyhttp.MiddlewareHandler) (ours, any bool) {
	if i, ok := h.(identifier); ok {
		return i.Authenticates(), i.Authenticates()
	}
	_, ok := h.(*caddyauth.Authentication)
	return false, ok
}

// tolerable reports whether two authenticators are one of ours that lets
// requests without a credential pass and says nothing to the upstream, and
// Caddy's own behind it: no request can have two identities that differ.
func (p pair) tolerable() bool {
	if _, caddys := p.second.(*caddyauth.Authentication); !caddys {
		return false
	}
	o, ok := p.first.(optional)
	if !ok || !o.AdmitsAnonymous() {
		return false
	}
	f, ok := p.first.(forwarder)
	return !ok || len(f.ForwardedHeaders()) == 0
}

// strangersBehind returns the handlers of other plugins, authenticators by
// their name, that requests meet behind one of ours.
func strangersBehind(routes caddyhttp.RouteList) []caddyhttp.MiddlewareHandler {
	var found []caddyhttp.MiddlewareHandler
	ours := false
	meet(routes, false, func(h caddyhttp.MiddlewareHandler, _ bool) {
		if o, _ := authenticates(h); o {
			ours = true
			return
		}
		m, ok := h.(caddy.Module)
		if !ok || !ours {
			return
		}
		id := m.CaddyModule().ID
		if id != "http.handlers.auth" && id != "http.handlers.authentication" && strings.Contains(id.Name(), "auth") {
			found = append(found, h)
		}
	}, nil)
	return found
}

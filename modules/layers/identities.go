package layers

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
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
	w.follow(routes)
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

// passage is what is known of requests: the parts of the site that they are in,
// and the authenticators that they may have met.
type passage struct {
	parts []int
	met   []met
}

func (w *identityWalk) follow(routes caddyhttp.RouteList) {
	routetree.Walk[passage]{
		Enter: func(route caddyhttp.Route, come passage) passage {
			if !meetsAll(route) || route.Group != "" {
				w.parts++
				come.parts = append(slices.Clip(come.parts), w.parts)
			}
			return come
		},
		Handle: w.handler,
		Leave: func(route caddyhttp.Route, before, inside passage) passage {
			if route.Terminal || responding(caddyhttp.RouteList{{Handlers: route.Handlers}}) != "" {
				return before // who has met it goes no further
			}
			for _, m := range inside.met {
				if !slices.ContainsFunc(before.met, func(o met) bool { return o.handler == m.handler }) {
					before.met = append(slices.Clip(before.met), m)
				}
			}
			return before
		},
		Alternatives: true,
	}.Follow(routes, passage{})
}

func (w *identityWalk) handler(h caddyhttp.MiddlewareHandler, at passage) passage {
	ours, any := authenticates(h)
	if !any {
		return at
	}
	for _, m := range at.met {
		other, _ := authenticates(m.handler)
		if m.handler != h && (ours || other) && related(m.parts, at.parts) {
			w.found = append(w.found, pair{m.handler, h})
		}
	}
	at.met = append(slices.Clip(at.met), met{h, at.parts})
	return at
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
	meet(routes, func(h caddyhttp.MiddlewareHandler, _ bool) {
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

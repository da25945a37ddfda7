package layers

import (
	"maps"
	"net/textproto"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
)

// forwarder is a handler that hands identity to the upstream in headers, and
// removes them from what the client sent.
type forwarder interface {
	ForwardedHeaders() []string
}

// spoofable returns the headers that carry identity to an upstream in one
// part of a site, and that a client can send to an upstream itself in
// another, where no handler removes them.
func spoofable(site caddyhttp.RouteList) []string {
	g := guard{carry: map[string]bool{}, open: map[string]bool{}}
	for h := range routetree.Way(site) {
		if f, ok := h.(forwarder); ok {
			set(g.carry, f.ForwardedHeaders())
		}
	}
	if len(g.carry) > 0 {
		g.walk(site)
	}
	return slices.Sorted(maps.Keys(g.open))
}

type guard struct {
	carry map[string]bool // headers that carry identity somewhere in the site
	open  map[string]bool // those of them that reach an upstream from a client
}

// walk follows requests with the headers that have been removed from every one
// that reaches a handler.
func (g *guard) walk(site caddyhttp.RouteList) {
	routetree.Walk[map[string]bool]{
		Enter: func(route caddyhttp.Route, gone map[string]bool) map[string]bool {
			if !meetsAll(route) || route.Group != "" {
				return maps.Clone(gone) // not every request comes by
			}
			return gone
		},
		Handle: func(h caddyhttp.MiddlewareHandler, gone map[string]bool) map[string]bool {
			switch h := h.(type) {
			case forwarder:
				set(gone, h.ForwardedHeaders())
			case *headers.Handler:
				remove(gone, h.Request)
			case *reverseproxy.Handler:
				g.reach(h, gone)
			}
			return gone
		},
		Leave: func(_ caddyhttp.Route, before, _ map[string]bool) map[string]bool { return before },
	}.Follow(site, map[string]bool{})
}

// reach notes which headers come to an upstream.
func (g *guard) reach(h *reverseproxy.Handler, gone map[string]bool) {
	if continues(h) {
		return // forward_auth: its service says who it is, and is told nothing
	}
	if h.Headers != nil {
		gone = maps.Clone(gone)
		remove(gone, h.Headers.Request)
	}
	for name := range g.carry {
		if !gone[name] {
			g.open[name] = true
		}
	}
}

// remove notes what header operations remove or overwrite.
func remove(gone map[string]bool, ops *headers.HeaderOps) {
	if ops != nil {
		set(gone, ops.Delete)
		set(gone, slices.Collect(maps.Keys(ops.Set)))
	}
}

func set(to map[string]bool, names []string) {
	for _, name := range names {
		to[textproto.CanonicalMIMEHeaderKey(name)] = true
	}
}

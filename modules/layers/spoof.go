package layers

import (
	"maps"
	"net/textproto"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
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
	g.collect(site)
	if len(g.carry) > 0 {
		g.walk(site, map[string]bool{})
	}
	return slices.Sorted(maps.Keys(g.open))
}

type guard struct {
	carry map[string]bool // headers that carry identity somewhere in the site
	open  map[string]bool // those of them that reach an upstream from a client
}

// collect finds the headers that carry identity.
func (g *guard) collect(routes caddyhttp.RouteList) {
	for _, route := range routes {
		for _, h := range route.Handlers {
			switch h := h.(type) {
			case *caddyhttp.Subroute:
				g.collect(h.Routes)
			case forwarder:
				set(g.carry, h.ForwardedHeaders())
			}
		}
	}
}

// walk goes through routes in the order in which requests meet them. gone are
// the headers that have been removed from every request that comes here.
func (g *guard) walk(routes caddyhttp.RouteList, gone map[string]bool) {
	for _, route := range routes {
		here := gone
		if !meetsAll(route) || route.Group != "" {
			here = maps.Clone(gone) // not every request comes by
		}
		for _, h := range route.Handlers {
			switch h := h.(type) {
			case *caddyhttp.Subroute:
				g.walk(h.Routes, here)
			case forwarder:
				set(here, h.ForwardedHeaders())
			case *headers.Handler:
				remove(here, h.Request)
			case *reverseproxy.Handler:
				reach := here
				if h.Headers != nil {
					reach = maps.Clone(here)
					remove(reach, h.Headers.Request)
				}
				for name := range g.carry {
					if !reach[name] {
						g.open[name] = true
					}
				}
			}
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

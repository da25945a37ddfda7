package layers

import (
	"maps"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
)

// sites returns the routes of a server site by site. In what the Caddyfile
// adapts to, a site is a terminal route; the routes of the one site of a
// server that has no other stand there by themselves.
func sites(routes caddyhttp.RouteList) []caddyhttp.RouteList {
	var all []caddyhttp.RouteList
	var loose caddyhttp.RouteList
	for _, route := range routes {
		if route.Terminal {
			all = append(all, caddyhttp.RouteList{route})
			continue
		}
		loose = append(loose, route)
	}
	if len(loose) > 0 {
		all = append(all, loose)
	}
	return all
}

// expand returns the routes with the named routes that they invoke in the
// place of the invoke handlers, however deep. A named route that invokes
// itself, which would never end, keeps the handler.
func expand(routes caddyhttp.RouteList, named map[string]*caddyhttp.Route) caddyhttp.RouteList {
	if len(named) == 0 {
		return routes
	}
	return expansion{named: named}.routes(routes, nil)
}

type expansion struct {
	named map[string]*caddyhttp.Route
}

func (e expansion) routes(routes caddyhttp.RouteList, within []string) caddyhttp.RouteList {
	out := slices.Clone(routes)
	for i := range out {
		out[i].Handlers = slices.Clone(out[i].Handlers)
		for j, h := range out[i].Handlers {
			switch h := h.(type) {
			case *caddyhttp.Subroute:
				out[i].Handlers[j] = &caddyhttp.Subroute{Routes: e.routes(h.Routes, within), Errors: h.Errors}
			case *caddyhttp.Invoke:
				route := e.named[h.Name]
				if route == nil || slices.Contains(within, h.Name) {
					continue
				}
				inner := append(slices.Clone(within), h.Name)
				out[i].Handlers[j] = &caddyhttp.Subroute{Routes: e.routes(caddyhttp.RouteList{*route}, inner)}
			}
		}
	}
	return out
}

// uninvoked returns the names of the named routes that nothing in the routes of
// a server invokes, not even by way of others. Caddy gives a server only what
// its sites invoke, so that such a one was to be invoked by another, of which
// Caddy v2.11.9 has dropped all directives but the first.
func uninvoked(server *caddyhttp.Server) []string {
	left := maps.Clone(server.NamedRoutes)
	delete(left, lifecycle.LayersHandler)
	var reach func(caddyhttp.RouteList)
	reach = func(routes caddyhttp.RouteList) {
		for _, route := range routes {
			for _, h := range route.Handlers {
				if sub, ok := h.(*caddyhttp.Subroute); ok {
					reach(sub.Routes)
					if sub.Errors != nil {
						reach(sub.Errors.Routes)
					}
				}
				for _, rh := range responseHandlers(h) {
					reach(rh.Routes)
				}
				if i, ok := h.(*caddyhttp.Invoke); ok && left[i.Name] != nil {
					next := left[i.Name]
					delete(left, i.Name)
					reach(caddyhttp.RouteList{*next})
				}
			}
		}
	}
	reach(server.Routes)
	if server.Errors != nil {
		reach(server.Errors.Routes)
	}
	return slices.Sorted(maps.Keys(left))
}

// hasLayer reports whether one of the layers stands in routes.
func hasLayer(routes caddyhttp.RouteList) bool {
	return slices.ContainsFunc(routes, func(route caddyhttp.Route) bool {
		return slices.ContainsFunc(route.Handlers, func(h caddyhttp.MiddlewareHandler) bool {
			sub, ok := h.(*caddyhttp.Subroute)
			return isLayer(h) || ok && hasLayer(sub.Routes)
		})
	})
}

// meetsAll reports whether every request that comes to a route meets it, as
// far as its matchers are concerned: it has none, or an empty set of them.
func meetsAll(route caddyhttp.Route) bool {
	return len(route.MatcherSets) == 0 || slices.ContainsFunc(route.MatcherSets, func(set caddyhttp.MatcherSet) bool { return len(set) == 0 })
}

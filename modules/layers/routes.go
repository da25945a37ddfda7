package layers

import (
	"maps"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
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

// uninvoked returns the names of the named routes that nothing in the routes of
// a server invokes, not even by way of others. Caddy gives a server only what
// its sites invoke, so that such a one was to be invoked by another, of which
// Caddy v2.11.9 has dropped all directives but the first.
func uninvoked(server *caddyhttp.Server) []string {
	left := maps.Clone(server.NamedRoutes)
	delete(left, lifecycle.LayersHandler)
	reach := []caddyhttp.RouteList{server.Routes}
	if server.Errors != nil {
		reach = append(reach, server.Errors.Routes)
	}
	for len(reach) > 0 {
		routes := reach[0]
		reach = reach[1:]
		for h := range routetree.All(routes, nil) {
			if i, ok := h.(*caddyhttp.Invoke); ok && left[i.Name] != nil {
				reach = append(reach, caddyhttp.RouteList{*left[i.Name]})
				delete(left, i.Name)
			}
		}
	}
	return slices.Sorted(maps.Keys(left))
}

// hasLayer reports whether one of the layers stands in routes.
func hasLayer(routes caddyhttp.RouteList) bool {
	for h := range routetree.Way(routes) {
		if isLayer(h) {
			return true
		}
	}
	return false
}

// meetsAll reports whether every request that comes to a route meets it, as
// far as its matchers are concerned: it has none, or an empty set of them.
func meetsAll(route caddyhttp.Route) bool {
	return len(route.MatcherSets) == 0 || slices.ContainsFunc(route.MatcherSets, func(set caddyhttp.MatcherSet) bool { return len(set) == 0 })
}

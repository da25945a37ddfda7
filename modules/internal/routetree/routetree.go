// Package routetree goes through the routes that Caddy has made of a
// configuration, in the order in which requests meet them: into subroutes, into
// named routes where they are invoked, into the routes for errors and those for
// responses (handle_response, intercept).
//
// It is the one place that knows where routes can stand. What a walk looks for,
// and what it knows of the requests on their way, is for its caller to say.
package routetree

import (
	"iter"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// Walk follows requests through routes. S is what is known of the requests that
// come to some place. All fields but Handle may be nil.
type Walk[S any] struct {
	// Handle is called for every handler but subroutes, and returns what is
	// known behind it.
	Handle func(h caddyhttp.MiddlewareHandler, s S) S

	// Enter returns what is known of the requests that match a route. Default:
	// what was known before.
	Enter func(route caddyhttp.Route, s S) S

	// Leave returns what is known behind a route, from what was known before
	// it and what is known of the requests that it has matched. Default: the
	// latter.
	Leave func(route caddyhttp.Route, before, inside S) S

	// Alternatives has every route of a group begin with what was known before
	// the first, since a request meets one of them.
	Alternatives bool

	// Aside returns what is known of the requests that come to routes beside
	// the way, where s is known of those that come to the handler which has
	// them. It reports whether to follow them. Default: they are left out.
	Aside func(a Aside, s S) (inside S, follow bool)

	// Named are the routes to be followed where a handler invokes them. Without
	// them, the handler that invokes is one like any other.
	Named map[string]*caddyhttp.Route
}

// Follow goes through routes, and returns what is known behind them.
func (w Walk[S]) Follow(routes caddyhttp.RouteList, s S) S {
	return walker[S]{w, nil}.routes(Expand(routes, w.Named), s)
}

// walker is a walk on its way.
type walker[S any] struct {
	Walk[S]
	beside []caddyhttp.MiddlewareHandler // those whose routes for responses it is in
}

func (w walker[S]) routes(routes caddyhttp.RouteList, s S) S {
	var group string
	var before S // the routes of the group
	for _, route := range routes {
		come := s
		if w.Alternatives {
			if route.Group == "" || route.Group != group {
				group, before = route.Group, s
			}
			come = before
		}
		inside := come
		if w.Enter != nil {
			inside = w.Enter(route, inside)
		}
		for _, h := range route.Handlers {
			inside = w.handler(h, inside)
		}
		if w.Leave != nil {
			s = w.Leave(route, s, inside)
		} else {
			s = inside
		}
	}
	return s
}

func (w walker[S]) handler(h caddyhttp.MiddlewareHandler, s S) S {
	if w.Aside != nil {
		w.asides(h, s)
	}
	if sub, ok := h.(*caddyhttp.Subroute); ok {
		return w.routes(sub.Routes, s)
	}
	return w.Handle(h, s)
}

func (w walker[S]) asides(h caddyhttp.MiddlewareHandler, s S) {
	for _, a := range Asides(h) {
		if a.Kind == Response {
			if slices.Contains(w.beside, h) {
				return // named routes may lead to themselves
			}
			a.Routes = Expand(a.Routes, w.Named)
		}
		if inside, follow := w.Aside(a, s); follow {
			walker[S]{w.Walk, append(slices.Clip(w.beside), h)}.routes(a.Routes, inside)
		}
	}
}

// Kind is what comes to routes that stand beside the way of requests.
type Kind uint8

const (
	Errors   Kind = iota // requests that have failed within a subroute
	Response             // requests whose responses a handler has looked at
)

// Aside is routes beside the way of requests.
type Aside struct {
	Kind   Kind
	Routes caddyhttp.RouteList
}

// Asides returns the routes that a handler has for errors and responses.
func Asides(h caddyhttp.MiddlewareHandler) []Aside {
	switch h := h.(type) {
	case *caddyhttp.Subroute:
		if h.Errors != nil {
			return []Aside{{Errors, h.Errors.Routes}}
		}
	case *reverseproxy.Handler:
		return responses(h.HandleResponse)
	case *intercept.Intercept:
		return responses(h.HandleResponse)
	}
	return nil
}

func responses(handlers []caddyhttp.ResponseHandler) []Aside {
	var all []Aside
	for _, rh := range handlers {
		if len(rh.Routes) > 0 {
			all = append(all, Aside{Response, rh.Routes})
		}
	}
	return all
}

// Expand returns the routes with the named routes that they invoke in the
// place of the invoke handlers, however deep. A named route that invokes
// itself, which would never end, keeps the handler.
func Expand(routes caddyhttp.RouteList, named map[string]*caddyhttp.Route) caddyhttp.RouteList {
	if len(named) == 0 {
		return routes
	}
	return expand(routes, named, nil)
}

func expand(routes caddyhttp.RouteList, named map[string]*caddyhttp.Route, within []string) caddyhttp.RouteList {
	out := slices.Clone(routes)
	for i := range out {
		out[i].Handlers = slices.Clone(out[i].Handlers)
		for j, h := range out[i].Handlers {
			switch h := h.(type) {
			case *caddyhttp.Subroute:
				inner := &caddyhttp.Subroute{Routes: expand(h.Routes, named, within)}
				if h.Errors != nil {
					inner.Errors = &caddyhttp.HTTPErrorConfig{Routes: expand(h.Errors.Routes, named, within)}
				}
				out[i].Handlers[j] = inner
			case *caddyhttp.Invoke:
				route := named[h.Name]
				if route == nil || slices.Contains(within, h.Name) {
					continue
				}
				inner := append(slices.Clone(within), h.Name)
				out[i].Handlers[j] = &caddyhttp.Subroute{Routes: expand(caddyhttp.RouteList{*route}, named, inner)}
			}
		}
	}
	return out
}

// Hosts returns the hosts that the matchers of a route name.
func Hosts(route caddyhttp.Route) []string {
	var all []string
	for _, set := range route.MatcherSets {
		for _, m := range set {
			switch m := m.(type) {
			case caddyhttp.MatchHost:
				all = append(all, m...)
			case *caddyhttp.MatchHost:
				all = append(all, *m...)
			}
		}
	}
	return all
}

// Way returns the handlers in routes that requests meet which neither fail nor
// have their responses looked at, in their order. Those of subroutes stand in
// their place.
func Way(routes caddyhttp.RouteList) iter.Seq[caddyhttp.MiddlewareHandler] {
	return handlers(Walk[bool]{}, routes)
}

// All returns the handlers in routes wherever they stand, beside the way and in
// named routes too.
func All(routes caddyhttp.RouteList, named map[string]*caddyhttp.Route) iter.Seq[caddyhttp.MiddlewareHandler] {
	return handlers(Walk[bool]{Named: named, Aside: Everywhere[bool]}, routes)
}

// Everywhere is the Aside of walks that look into all routes, of whose requests
// the same is known.
func Everywhere[S any](_ Aside, s S) (S, bool) { return s, true }

// OfServer returns the handlers of a server wherever they stand, those of
// named routes that nothing invokes too.
func OfServer(server *caddyhttp.Server) iter.Seq[caddyhttp.MiddlewareHandler] {
	all := slices.Clone(server.Routes)
	if server.Errors != nil {
		all = append(all, server.Errors.Routes...)
	}
	for _, named := range server.NamedRoutes {
		if named != nil {
			all = append(all, *named)
		}
	}
	return All(all, nil) // each of the named ones once
}

// handlers goes on until its caller has enough: s is whether it has.
func handlers(w Walk[bool], routes caddyhttp.RouteList) iter.Seq[caddyhttp.MiddlewareHandler] {
	return func(yield func(caddyhttp.MiddlewareHandler) bool) {
		enough := false
		w.Handle = func(h caddyhttp.MiddlewareHandler, _ bool) bool {
			enough = enough || !yield(h)
			return enough
		}
		w.Follow(routes, false)
	}
}

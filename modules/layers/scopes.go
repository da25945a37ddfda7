package layers

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
)

// challenger is an authenticator whose challenges ask for scopes.
type challenger interface {
	KnowScopes(first func(*http.Request) []string, known func() []string)
	KnowMessages(max int64)
	MetadataURLs() (origin string, paths []string)
}

// messenger is a handler that reads the messages of requests.
type messenger interface{ MaxMessage() int64 }

// scoper is a handler with a policy that knows scopes.
type scoper interface {
	FirstScopes(*http.Request) []string
	KnownScopes() []string
}

// scopes introduces the policies to the authenticators before them, and looks for
// metadata of resources that nobody can get.
func (e *examination) scopes(server *caddyhttp.Server, routes caddyhttp.RouteList) {
	behind := make(map[challenger][]scoper)
	var order []challenger
	routetree.Walk[[]challenger]{
		Handle: func(h caddyhttp.MiddlewareHandler, met []challenger) []challenger {
			switch h := h.(type) {
			case challenger:
				if !slices.Contains(order, h) {
					order = append(order, h)
				}
				return append(slices.Clip(met), h)
			case messenger:
				for _, c := range met {
					c.KnowMessages(h.MaxMessage())
				}
			case scoper:
				for _, c := range met {
					if !slices.Contains(behind[c], h) {
						behind[c] = append(behind[c], h)
					}
				}
			}
			return met
		},
		Leave: func(route caddyhttp.Route, before, inside []challenger) []challenger {
			if route.Terminal {
				return before
			}
			return inside
		},
		Alternatives: true,
	}.Follow(routes, nil)
	for _, c := range order {
		policies := behind[c]
		if len(policies) > 0 {
			c.KnowScopes(
				func(r *http.Request) []string {
					return union(policies, func(s scoper) []string { return s.FirstScopes(r) })
				},
				func() []string { return union(policies, scoper.KnownScopes) })
		}
		e.metadata(server, routes, c)
	}
}

func union(policies []scoper, of func(scoper) []string) []string {
	lists := make([][]string, 0, len(policies))
	for _, p := range policies {
		lists = append(lists, of(p))
	}
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

// metadata tells of a resource whose metadata is served by a handler that
// requests for it do not come to.
func (e *examination) metadata(server *caddyhttp.Server, routes caddyhttp.RouteList, c challenger) {
	origin, paths := c.MetadataURLs()
	u, err := url.Parse(origin)
	if err != nil || len(paths) == 0 {
		return
	}
	h := c.(caddyhttp.MiddlewareHandler)
	for _, path := range paths {
		r := httptest.NewRequest(http.MethodGet, u.Scheme+"://"+u.Host+path, nil)
		r = caddyhttp.PrepareRequest(r.WithContext(context.Background()), caddy.NewReplacer(), httptest.NewRecorder(), server)
		if !reaches(routes, h, r) {
			e.add(Finding{
				ID: "resource_metadata_unreachable", Severity: Warning, Place: placeOf(h),
				Text: nameOf(h) + ": clients look for the metadata of the resource at " + path + ", and requests for it do not come here: leave the matcher out, or put the directive at the level of the site, or write it in handle " + path + " { … } too",
			}, "path", path)
			return
		}
	}
}

// reaches reports whether a request can come to a handler. Hosts are left out:
// behind a proxy they are others than those of the resource.
func reaches(routes caddyhttp.RouteList, h caddyhttp.MiddlewareHandler, r *http.Request) bool {
	for _, route := range routes {
		if !meets(route, r) {
			continue
		}
		for _, inner := range route.Handlers {
			if inner == h {
				return true
			}
			if sub, ok := inner.(*caddyhttp.Subroute); ok && reaches(sub.Routes, h, r) {
				return true
			}
		}
	}
	return false
}

// meets reports whether a route is for a request, whatever its host. A matcher
// that cannot say counts as one that is.
func meets(route caddyhttp.Route, r *http.Request) bool {
	if len(route.MatcherSets) == 0 {
		return true
	}
	return slices.ContainsFunc(route.MatcherSets, func(set caddyhttp.MatcherSet) bool {
		for _, m := range set {
			if isHost(m) {
				continue
			}
			yes := true
			switch m := m.(type) {
			case caddyhttp.RequestMatcherWithError:
				matched, err := m.MatchWithError(r)
				yes = matched || err != nil
			case interface{ Match(*http.Request) bool }:
				yes = m.Match(r)
			}
			if !yes {
				return false
			}
		}
		return true
	})
}

func isHost(m any) bool {
	mod, ok := m.(caddy.Module)
	return ok && strings.HasSuffix(string(mod.CaddyModule().ID), ".host")
}

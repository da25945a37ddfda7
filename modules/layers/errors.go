package layers

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"

	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
)

// roundErrors returns the layers of a server's sites that a request comes round
// by being rejected: error routes stand outside of them, and one that hands the
// request to an application, or serves files by its path, gets it the response
// that it was refused, or the response unredacted.
//
// A rewrite to a fixed path makes an error page of it, which is usual and
// harmless. So is an error route for errors of the upstream alone, as for a
// stand-in when it is down, where nothing is redacted.
func roundErrors(routes caddyhttp.RouteList, server *caddyhttp.Server) []string {
	if server == nil || server.Errors == nil {
		return nil
	}
	var found []string
	for _, route := range server.Errors.Routes {
		var passed errorWalk
		passed.follow(route, server.NamedRoutes)
		if !passed.reached {
			continue
		}
		for _, site := range routes {
			// The adapter gives a site's error routes the hosts of the site.
			if !slices.Equal(hostsOf(site), hostsOf(route)) {
				continue
			}
			for _, layer := range layersOf(caddyhttp.RouteList{site}) {
				if (passed.rejected || layer == "redact") && !slices.Contains(passed.covered, layer) && !slices.Contains(found, layer) {
					found = append(found, layer)
				}
			}
		}
	}
	slices.Sort(found)
	return found
}

// errorWalk goes through error routes in the order in which requests meet them.
type errorWalk struct {
	reached  bool     // an application responds to some error
	rejected bool     // and a rejection among them
	covered  []string // layers that stand in the error routes too
}

// errorState is what is known of the requests that come to a route.
type errorState struct {
	site       bool // the matchers are the hosts of the site
	always     bool // they come whatever they are
	rejections bool // those that a layer has rejected come here
	fixed      bool // their path has been rewritten to a fixed path
}

func (w *errorWalk) follow(route caddyhttp.Route, named map[string]*caddyhttp.Route) {
	routetree.Walk[errorState]{
		Named: named,
		Enter: func(route caddyhttp.Route, at errorState) errorState {
			at.always = at.site || meetsAll(route)
			at.rejections = at.rejections && (at.site || meetsRejections(route))
			at.site = false
			return at
		},
		Handle: w.handler,
		Leave: func(_ caddyhttp.Route, before, inside errorState) errorState {
			before.fixed = before.fixed || inside.fixed && inside.always
			return before
		},
	}.Follow(caddyhttp.RouteList{route}, errorState{site: true, rejections: true})
}

func (w *errorWalk) handler(h caddyhttp.MiddlewareHandler, at errorState) errorState {
	switch h := h.(type) {
	case *rewrite.Rewrite:
		at.fixed = at.fixed || isFixed(h.URI)
	case *reverseproxy.Handler:
		if !at.fixed && (h.Rewrite == nil || !isFixed(h.Rewrite.URI)) {
			w.reach(at)
		}
	case *fileserver.FileServer:
		if !at.fixed {
			w.reach(at)
		}
	case caddy.Module:
		name := h.CaddyModule().ID.Name()
		if at.always && slices.Contains([]string{"auth", "authentication", "rbac", "redact"}, name) {
			w.covered = append(w.covered, name)
			if name == "rbac" {
				w.covered = append(w.covered, "auth", "authentication")
			}
		}
	}
	return at
}

func (w *errorWalk) reach(at errorState) {
	w.reached, w.rejected = true, w.rejected || at.rejections
}

// isFixed reports whether a rewrite leads to one path for each error, whatever
// was asked for.
func isFixed(uri string) bool {
	return uri != "" && !strings.Contains(strings.ReplaceAll(uri, "{http.error.", ""), "{")
}

// meetsRejections reports whether a request that a layer has rejected may meet
// the route. Matchers that look at the error alone are asked; others may match.
func meetsRejections(route caddyhttp.Route) bool {
	if len(route.MatcherSets) == 0 {
		return true
	}
	for _, set := range route.MatcherSets {
		for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest} {
			if mayMatch(set, status) {
				return true
			}
		}
	}
	return false
}

func mayMatch(set caddyhttp.MatcherSet, status int) bool {
	repl := caddy.NewReplacer()
	repl.Set("http.error.status_code", status)
	ctx := context.WithValue(context.Background(), caddy.ReplacerCtxKey, repl)
	r, err := http.NewRequestWithContext(context.WithValue(ctx, caddyhttp.VarsCtxKey, map[string]any{}), http.MethodGet, "/", nil)
	if err != nil {
		return true
	}
	for _, m := range set {
		e, ok := m.(*caddyhttp.MatchExpression)
		if !ok || !strings.Contains(e.Expr, "err") {
			continue // depends on the request, which may be any
		}
		if matches, err := e.MatchWithError(r); err == nil && !matches {
			return false
		}
	}
	return true
}

// layersOf returns those of our layers in routes that a request must not come
// round.
func layersOf(routes caddyhttp.RouteList) (names []string) {
	for h := range routetree.Way(routes) {
		if m, ok := h.(caddy.Module); ok {
			switch id := m.CaddyModule().ID; id {
			case "http.handlers.auth", "http.handlers.authentication", "http.handlers.rbac", "http.handlers.redact":
				names = append(names, id.Name())
			}
		}
	}
	return names
}

package layers

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy/fastcgi"
	caddyrl "github.com/mholt/caddy-ratelimit"

	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
)

// unreachable is a layer behind a handler that responds to every request.
type unreachable struct {
	layer  caddyhttp.MiddlewareHandler
	behind string // the name of the module that responds
}

// unreachables returns the layers in routes that no request comes to, since
// something before them responds to every request: as `route` lets them stand.
func unreachables(routes caddyhttp.RouteList) []unreachable {
	var found []unreachable
	flow{found: &found}.routes(routes, "")
	return found
}

// flow follows requests through routes. It keeps what it finds.
type flow struct{ found *[]unreachable }

// responding returns what responds to every request that comes to routes, "" if
// some may go on.
func responding(routes caddyhttp.RouteList) string {
	return flow{found: new([]unreachable)}.routes(routes, "")
}

// routes returns what responds to every request that comes to the routes, "" if
// some may go on. by is what has responded to all of them before.
func (f flow) routes(routes caddyhttp.RouteList, by string) string {
	// Of the routes of a group a request meets the first that matches. If one
	// meets all requests then those behind it are met by none, and if all up
	// to there respond, then the group does.
	passes, complete := map[string]bool{}, map[string]bool{}
	for _, route := range routes {
		before := by
		if complete[route.Group] {
			before = "a handle block for all requests"
		}
		served := f.route(route, before)
		if route.Terminal && served == "" {
			served = "a route that is terminal"
		}
		if by == "" && runsScripts(route) {
			by = "php_fastcgi"
		}
		if route.Group != "" {
			passes[route.Group] = passes[route.Group] || served == ""
			complete[route.Group] = complete[route.Group] || meetsAll(route)
		}
		if by == "" && meetsAll(route) && !passes[route.Group] {
			by = served
		}
	}
	return by
}

func (f flow) route(route caddyhttp.Route, by string) string {
	for _, h := range route.Handlers {
		if by != "" && isLayer(h) {
			*f.found = append(*f.found, unreachable{h, by})
		}
		if sub, ok := h.(*caddyhttp.Subroute); ok {
			by = f.routes(sub.Routes, by)
			continue
		}
		for _, aside := range routetree.Asides(h) {
			f.routes(aside.Routes, "")
		}
		if by == "" {
			by = responder(h)
		}
	}
	return by
}

// responder returns the name of a handler that responds to every request, or "".
func responder(h caddyhttp.MiddlewareHandler) string {
	switch h := h.(type) {
	case *fileserver.FileServer:
		if h.PassThru {
			return ""
		}
		return "file_server"
	case *reverseproxy.Handler:
		if continues(h) {
			return ""
		}
		return "reverse_proxy"
	case *caddyhttp.StaticResponse:
		switch {
		case h.Abort:
			return "abort"
		case h.Headers.Get("Location") != "":
			return "redir"
		}
		return "respond"
	}
	if m, ok := h.(caddy.Module); ok {
		switch id := m.CaddyModule().ID; id {
		case "http.handlers.error", "http.handlers.metrics", "http.handlers.copy_response":
			return id.Name()
		}
	}
	return ""
}

// continues reports whether a proxy may hand the request on when its upstream
// has sent a 2xx response, as forward_auth does.
func continues(h *reverseproxy.Handler) bool {
	for _, rh := range h.HandleResponse {
		if rh.StatusCode == "" && (rh.Match == nil || succeeds(rh.Match.StatusCode)) && responding(rh.Routes) == "" {
			return true
		}
	}
	return false
}

// succeeds reports whether one of the status codes, which may be classes, is
// that of a success. None stands for all.
func succeeds(codes []int) bool {
	return len(codes) == 0 || slices.ContainsFunc(codes, func(code int) bool { return code == 2 || code/100 == 2 })
}

// runsScripts reports whether a route is that of php_fastcgi: FastCGI for the
// names of scripts and for nothing else. What is not a script was rewritten to
// one before, or is for a file_server.
func runsScripts(route caddyhttp.Route) bool {
	if len(route.MatcherSets) != 1 || len(route.MatcherSets[0]) != 1 {
		return false
	}
	var paths caddyhttp.MatchPath
	switch m := route.MatcherSets[0][0].(type) {
	case *caddyhttp.MatchPath:
		paths = *m
	case caddyhttp.MatchPath:
		paths = m
	}
	if len(paths) == 0 || slices.ContainsFunc(paths, func(p string) bool { return !strings.HasPrefix(p, "*.") }) {
		return false
	}
	return slices.ContainsFunc(route.Handlers, func(h caddyhttp.MiddlewareHandler) bool {
		proxy, ok := h.(*reverseproxy.Handler)
		if !ok {
			return false
		}
		_, ok = proxy.Transport.(*fastcgi.Transport)
		return ok
	})
}

// isLayer reports whether a handler is one of the layers.
func isLayer(h caddyhttp.MiddlewareHandler) bool {
	switch h.(type) {
	case *caddyrl.Handler, caddyrl.Handler:
		return true
	}
	if m, ok := h.(caddy.Module); ok {
		switch m.CaddyModule().ID {
		case "http.handlers.access", "http.handlers.audit", "http.handlers.auth", "http.handlers.breaker", "http.handlers.caller_access", "http.handlers.guard", "http.handlers.rbac", "http.handlers.redact", "http.handlers.token_budget",
			"http.handlers.token_server", "http.handlers.validate", "http.handlers.validate_responses":
			return true
		}
	}
	return false
}

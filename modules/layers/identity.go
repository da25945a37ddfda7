package layers

import (
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
)

// decider is rbac, as far as it matters here.
type decider interface {
	fmt.Stringer

	// ServesAnonymous reports whether a rule allows something without an
	// identity.
	ServesAnonymous() bool

	// DecidesOnly reports whether it lets all requests pass: dry_run.
	DecidesOnly() bool

	// Names returns the roles and scopes that it has rules for.
	Names() (roles, scopes []string)
}

// identityMatcher is a matcher that looks at who is calling.
type identityMatcher interface {
	MatchesIdentity() bool
}

// harmless are the handlers that cannot make an identity known.
var harmless = []caddy.ModuleID{
	"http.handlers.access", "http.handlers.acme_server", "http.handlers.audit", "http.handlers.breaker", "http.handlers.caller_access", "http.handlers.copy_response", "http.handlers.copy_response_headers",
	"http.handlers.encode", "http.handlers.error", "http.handlers.file_server", "http.handlers.guard", "http.handlers.headers", "http.handlers.intercept",
	"http.handlers.log_append", "http.handlers.metrics", "http.handlers.push", "http.handlers.rate_limit", "http.handlers.rbac",
	"http.handlers.redact", "http.handlers.request_body", "http.handlers.rewrite", "http.handlers.static_response",
	"http.handlers.templates", "http.handlers.timeouts", "http.handlers.token_budget", "http.handlers.token_server",
	"http.handlers.tracing", "http.handlers.validate", "http.handlers.validate_responses", "http.handlers.vars",
}

// identifies reports whether a handler may make an identity known.
func identifies(h caddyhttp.MiddlewareHandler) bool {
	if _, ok := h.(*caddyauth.Authentication); ok {
		return true
	}
	m, ok := h.(caddy.Module)
	return !ok || !slices.Contains(harmless, m.CaddyModule().ID)
}

// meet calls f for every handler that is not a subroute and matchers for the
// matchers of every route, in the order in which requests meet them, and says
// whether something before them may identify the caller.
func meet(routes caddyhttp.RouteList, f func(caddyhttp.MiddlewareHandler, bool), matchers func(caddyhttp.MatcherSets, bool)) {
	routetree.Walk[bool]{
		Enter: func(route caddyhttp.Route, known bool) bool {
			if matchers != nil {
				matchers(route.MatcherSets, known)
			}
			return known
		},
		Handle: func(h caddyhttp.MiddlewareHandler, known bool) bool {
			f(h, known)
			return known || identifies(h)
		},
	}.Follow(routes, false)
}

// closed returns the rbac handlers that no request can pass.
func closed(routes caddyhttp.RouteList) []decider {
	var found []decider
	meet(routes, func(h caddyhttp.MiddlewareHandler, known bool) {
		if d, ok := h.(decider); ok && !known && !d.ServesAnonymous() {
			found = append(found, d)
		}
	}, nil)
	return found
}

// blind returns the names of matchers that look at who is calling before
// anything has found out.
func blind(routes caddyhttp.RouteList) []string {
	var found []string
	var look func(caddyhttp.MatcherSets, bool)
	look = func(sets caddyhttp.MatcherSets, known bool) {
		for _, set := range sets {
			for _, m := range set {
				switch m := m.(type) {
				case *caddyhttp.MatchNot:
					look(m.MatcherSets, known)
				case identityMatcher:
					if !known && m.MatchesIdentity() {
						found = append(found, m.(caddy.Module).CaddyModule().ID.Name())
					}
				}
			}
		}
	}
	meet(routes, func(caddyhttp.MiddlewareHandler, bool) {}, look)
	return found
}

// optional is a handler that may let a request without any credential pass.
type optional interface {
	AdmitsAnonymous() bool
}

// undecided reports whether requests without a credential may pass an
// authenticator of the site and then meet no rbac that decides about them.
func undecided(site caddyhttp.RouteList) bool {
	var admits, decides bool
	for h := range routetree.Way(site) {
		switch h := h.(type) {
		case optional:
			admits = admits || h.AdmitsAnonymous()
		case caddy.Module:
			decides = decides || h.CaddyModule().ID == "http.handlers.rbac"
		}
	}
	return admits && !decides
}

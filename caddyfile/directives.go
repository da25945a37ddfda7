// Package caddyfile registers the Caddyfile directives of caddy-moat and the
// place of each in the order of a site, so that the layers stand in the same
// order however they are written and nobody needs the order option or a route
// block. It is the only package that knows how directives are registered.
package caddyfile

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	// rate_limit orders itself; imported so that it has done so before
	// the table below is registered, whatever the order of imports.
	_ "github.com/mholt/caddy-ratelimit"

	"github.com/caddy-moat/caddy-moat/modules/access"
	"github.com/caddy-moat/caddy-moat/modules/apikeyauth"
	"github.com/caddy-moat/caddy-moat/modules/audit"
	"github.com/caddy-moat/caddy-moat/modules/breaker"
	"github.com/caddy-moat/caddy-moat/modules/clientcertauth"
	"github.com/caddy-moat/caddy-moat/modules/guard"
	"github.com/caddy-moat/caddy-moat/modules/jwtauth"
	moatlayers "github.com/caddy-moat/caddy-moat/modules/layers"
	"github.com/caddy-moat/caddy-moat/modules/mcp"
	"github.com/caddy-moat/caddy-moat/modules/oidclogin"
	"github.com/caddy-moat/caddy-moat/modules/rbac"
	"github.com/caddy-moat/caddy-moat/modules/redact"
	"github.com/caddy-moat/caddy-moat/modules/signatureauth"
	"github.com/caddy-moat/caddy-moat/modules/tokenbudget"
	"github.com/caddy-moat/caddy-moat/modules/tokenserver"
	"github.com/caddy-moat/caddy-moat/modules/trustedheaderauth"
	"github.com/caddy-moat/caddy-moat/modules/validate"
	"github.com/caddy-moat/caddy-moat/modules/webhookauth"
)

// directive is one row of the table: a directive, how it is set up, and where
// it stands relative to one of Caddy's own directives.
type directive struct {
	name     string
	setup    httpcaddyfile.UnmarshalFunc
	position httpcaddyfile.Positional
	anchor   string
	why      string
}

// directives are the layers, outermost first. Several rows before the same
// anchor keep the order of the rows.
//
// The anchor of everything that authenticates is the old name "basicauth",
// which stands right before "basic_auth": caddy-ratelimit puts rate_limit
// right before basic_auth, and anything else placed there would come before or
// after it by the accident of which package is initialised first.
var directives = []directive{
	{
		"audit", setupWithFile[audit.Handler](), httpcaddyfile.Before, "header",
		"outside every handler that responds, rejects or rewrites: one record for every request, with its final status",
	},
	{
		access.Name, setup[access.Handler](), httpcaddyfile.Before, "header",
		"inside audit, which records what it rejects, and before everything that costs something",
	},
	{
		guard.Name, setup[guard.Handler](), httpcaddyfile.Before, "header",
		"inside audit, so that what it rejects is recorded, and access, whose lists say whom to leave alone; outside everything that rejects requests: a ban costs nothing, and what the layers decide is what it counts",
	},
	{
		"flood_limit", floodLimit, httpcaddyfile.Before, "basicauth",
		"before authentication: a flood of bad credentials must not buy signature checks",
	},
	{
		tokenserver.Name, setup[tokenserver.Handler](), httpcaddyfile.Before, "basicauth",
		"before authentication: it authenticates clients itself, and answers those who have no token yet",
	},
	{
		"auth", authDirective, httpcaddyfile.Before, "basicauth",
		"an ordered list of credential methods, where jwt_auth stands for one",
	},
	{
		"jwt_auth", credentials[jwtauth.Provider](), httpcaddyfile.Before, "basicauth",
		"before rate_limit, so that {http.auth.user.*} is set when a rate limit is keyed by it",
	},
	{
		"oidc_login", credentials[oidclogin.Provider](), httpcaddyfile.Before, "basicauth",
		"beside jwt_auth and for the same reason; its own paths are answered here, before rbac",
	},
	{
		"api_key_auth", credentials[apikeyauth.Provider](), httpcaddyfile.Before, "basicauth",
		"beside jwt_auth and for the same reason: {http.auth.user.plan} is for rate limits",
	},
	{
		"signature_auth", credentials[signatureauth.Provider](), httpcaddyfile.Before, "basicauth",
		"beside api_key_auth and for the same reason",
	},
	{
		"client_cert_auth", credentials[clientcertauth.Provider](), httpcaddyfile.Before, "basicauth",
		"beside api_key_auth and for the same reason",
	},
	{
		"webhook_auth", credentials[webhookauth.Provider](), httpcaddyfile.Before, "basicauth",
		"beside api_key_auth and for the same reason",
	},
	// rate_limit: registered by caddy-ratelimit itself, before "basic_auth".
	{
		"trusted_header_auth", credentials[trustedheaderauth.Provider](), httpcaddyfile.Before, "request_header",
		"right behind forward_auth, whose response it reads, and before rbac; rate_limit orders itself before forward_auth, so limits by user need `order forward_auth before auth` and this method in auth { … }, or a route block",
	},
	{
		access.CallerName, setup[access.CallerHandler](), httpcaddyfile.Before, "request_header",
		"after every authenticator, basic_auth and forward_auth included, since nobody is known before",
	},
	{
		"rbac", setup[rbac.Handler](), httpcaddyfile.Before, "request_header",
		"after every authenticator, basic_auth and forward_auth included, and after all rewrites: it decides on the path the upstream will see",
	},
	{
		"validate", setupWithFile[validate.Handler](), httpcaddyfile.Before, "request_header",
		"behind rbac, so that callers without a right learn nothing of the API, and after all rewrites; outside redact and encode, so that every layer behind gets requests of one reading",
	},
	{
		"mcp", setup[mcp.Handler](), httpcaddyfile.Before, "request_header",
		"behind rbac, whose rules for tools, resources and prompts it asks, and outside redact, so that those see what it lets pass",
	},
	{
		"redact", setup[redact.Handler](), httpcaddyfile.After, "encode",
		"inside encode, so that it sees plain bytes; outside every handler that responds",
	},
	{
		"validate_responses", setup[validate.Responses](), httpcaddyfile.Before, "templates",
		"inside redact and encode, so that it checks what the upstream has said, and not what redact leaves of it",
	},
	{
		tokenbudget.Name, setup[tokenbudget.Handler](), httpcaddyfile.Before, "templates",
		"right outside whatever answers, so that it reads what the upstream has said, also where redact removes it",
	},
	{
		breaker.Name, setup[breaker.Handler](), httpcaddyfile.Before, "templates",
		"innermost, right around reverse_proxy: what the layers reject says nothing about the upstream",
	},
}

func init() {
	for _, d := range directives {
		httpcaddyfile.RegisterDirective(d.name, d.setup)
		httpcaddyfile.RegisterDirectiveOrder(d.name, d.position, d.anchor)
	}
}

// handler is a Caddy handler that reads its own directive.
type handler interface {
	caddyhttp.MiddlewareHandler
	caddyfile.Unmarshaler
}

// setup returns the set-up function of a directive that is one handler with
// an optional matcher.
func setup[T any, H interface {
	*T
	handler
}]() httpcaddyfile.UnmarshalFunc {
	return func(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
		matcher, err := matcherOf(h)
		if err != nil {
			return nil, err
		}
		var handler H = new(T)
		if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
			return nil, err
		}
		return routes(h, matcher, handler), nil
	}
}

// routes returns the route of a handler of ours.
//
// Where a named route has nothing but directives without a matcher, Caddy
// v2.11.9 puts their handlers into one route and then keeps the first handler
// alone. A route with an empty set of matchers, which every request meets, is
// none that it simplifies, so that all of them stay. A group of its own would
// do that too, and skip the layer when a request comes by a second time.
func routes(h httpcaddyfile.Helper, matcher caddy.ModuleMap, handler caddyhttp.MiddlewareHandler) []httpcaddyfile.ConfigValue {
	h.Reset()
	h.Next() // the directive name
	moatlayers.RememberPlace(handler, h.File(), h.Line())
	if matcher == nil && h.IsNamedRoute() {
		matcher = caddy.ModuleMap{}
	}
	return h.NewRoute(matcher, handler)
}

// matcherOf takes the optional matcher off the directive's line.
func matcherOf(h httpcaddyfile.Helper) (caddy.ModuleMap, error) {
	if !h.Next() {
		return nil, h.ArgErr()
	}
	return h.ExtractMatcherSet()
}

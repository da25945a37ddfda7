package caddyfile

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-moat/caddy-moat/modules/auth"
)

// authDirective sets up auth: an ordered list of credential methods.
func authDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	matcher, err := matcherOf(h)
	if err != nil {
		return nil, err
	}
	handler := new(auth.Handler)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return authRoutes(h, matcher, handler), nil
}

// credentials returns the set-up function of a directive that stands for one
// authentication provider of the same name: `jwt_auth { … }` is short for
// `auth { jwt_auth { … } }`, with the options that concern the request
// (optional, preflight, forward) moved to the handler.
func credentials[T any, P interface {
	*T
	caddyauth.Authenticator
	caddyfile.Unmarshaler
}]() httpcaddyfile.UnmarshalFunc {
	return func(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
		matcher, err := matcherOf(h)
		if err != nil {
			return nil, err
		}
		var provider P = new(T)
		if err := provider.UnmarshalCaddyfile(h.Dispenser); err != nil {
			return nil, err
		}
		h.Reset()
		h.Next()
		return authRoutes(h, matcher, auth.Wrap(h.Val(), provider)), nil
	}
}

// authRoutes returns the route of an authentication handler. Where it has a
// matcher, a route without the matcher stands beside it. It deletes the headers
// that hand identity to the upstream from every request: the ones the matcher
// leaves out must not carry a spoofed identity. And it makes their callers
// known as anonymous, so that {http.moat.caller} is their address. Caddy sorts
// it behind the one with the matcher; it spares what that one has set.
func authRoutes(h httpcaddyfile.Helper, matcher caddy.ModuleMap, handler *auth.Handler) []httpcaddyfile.ConfigValue {
	var values []httpcaddyfile.ConfigValue
	if matcher != nil {
		values = routes(h, nil, auth.Stripper(handler))
		// Clients ask for the metadata of a resource at paths that a matcher for
		// the resource leaves out.
		// Browsers come back from a login at a path that it leaves out.
		if paths := append(auth.MetadataPaths(handler), auth.LoginPaths(handler)...); paths != nil {
			set := caddy.ModuleMap{"path": caddyconfig.JSON(caddyhttp.MatchPath(paths), nil)}
			values = append(values, routes(h, set, handler)...)
		}
	}
	return append(values, routes(h, matcher, handler)...)
}

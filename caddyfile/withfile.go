package caddyfile

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// setupWithFile is setup for a directive whose argument is a file or directory.
// The first argument may be a matcher or, with a leading slash like one, that file:
// as with Caddy's root directive, a single argument is not a matcher.
func setupWithFile[T any, H interface {
	*T
	handler
}]() httpcaddyfile.UnmarshalFunc {
	return func(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
		if !h.Next() {
			return nil, h.ArgErr()
		}
		args := h.RemainingArgs()
		h.Reset()
		var matcher caddy.ModuleMap
		if len(args) != 1 || args[0] == "*" || strings.HasPrefix(args[0], "@") {
			var err error
			if matcher, err = matcherOf(h); err != nil {
				return nil, err
			}
		}
		var handler H = new(T)
		if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
			return nil, err
		}
		return routes(h, matcher, handler), nil
	}
}

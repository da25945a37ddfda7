package caddyfile

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-moat/caddy-moat/modules/audit"
)

// auditDirective sets up audit. Its first argument may be a matcher or, with a
// leading slash like one, the directory of the trail: as with Caddy's root
// directive, a single argument is not a matcher.
func auditDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
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
	var handler audit.Handler
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return routes(h, matcher, &handler), nil
}

// Package layers looks at each configuration that Caddy loads for layers that
// cannot do what they say, and warns.
package layers

import (
	"context"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	caddyrl "github.com/mholt/caddy-ratelimit"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(Check{})
}

// Check warns, once a configuration has started, about each rate limit whose
// key names the user, {http.auth.…}, where nothing before it authenticates:
// the key is then empty for everyone and all callers share one bucket. Caddy's
// own basic_auth stands behind rate_limit, so it counts as nothing here.
//
// It warns, too, about each header with which one part of a site hands the
// identity to an upstream (forward) and which another part, such as a handle
// block without authentication, passes on as the client sent it.
//
// And it warns where authentication is optional and no rbac decides about the
// requests that have no credential.
//
// It warns of an rbac that could let nothing pass, where dry_run lets it; of
// the matchers role and permission before anything authenticates; and of roles
// and scopes that redact names and the rbac of the same site does not; and of
// error routes that hand a request to an upstream as it came, past the layers
// that have refused it.
//
// It is loaded with every configuration whose admin endpoint is on, has no
// options and serves no path.
type Check struct {
	ctx    caddy.Context
	logger *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (Check) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.moat_layers",
		New: func() caddy.Module { return new(Check) },
	}
}

// Provision asks to be told when the configuration has started. The routes
// are not there before, and loading them from here would load them too early.
func (c *Check) Provision(ctx caddy.Context) error {
	c.ctx = ctx
	c.logger = ctx.Logger(c)
	app, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("getting events app: %w", err)
	}
	return app.(*caddyevents.App).On("started", c)
}

// Routes returns none.
func (*Check) Routes() []caddy.AdminRoute { return nil }

// Handle looks at the configuration that has started.
func (c *Check) Handle(context.Context, caddy.Event) error {
	app, err := c.ctx.AppIfConfigured("http")
	if err != nil {
		return nil // a configuration without a server
	}
	for name, server := range app.(*caddyhttp.App).Servers {
		for _, zone := range unauthenticated(server.Routes) {
			c.logger.Warn("this rate limit is keyed by the user, but nothing before it authenticates: all callers share one bucket; use jwt_auth or auth { … }, which stand before rate_limit, or another key",
				zap.String("server", name), zap.String("zone", zone))
		}
		for _, h := range closed(server.Routes) {
			c.logger.Warn("nothing before this rbac authenticates and it has no rule for anyone: without dry_run it would refuse every request",
				zap.String("server", name), zap.Stringer("rbac", h))
		}
		for _, matcher := range blind(server.Routes) {
			c.logger.Warn("this matcher looks at who is calling before anything has found out: put what uses it into a handle block behind jwt_auth or auth { … }",
				zap.String("server", name), zap.String("matcher", matcher))
		}
		for _, layer := range roundErrors(server) {
			c.logger.Warn("handle_errors hands requests to an upstream as they came, past this layer: write rewrite before its reverse_proxy, so that it answers with error pages alone, or the layer in handle_errors too",
				zap.String("server", name), zap.String("layer", layer))
		}
		for _, site := range server.Routes {
			for _, stranger := range strangers(caddyhttp.RouteList{site}) {
				c.logger.Warn("redact names somebody for whom rbac has no rules: is it a slip of the pen?",
					zap.String("server", name), zap.String("name", stranger))
			}
			if undecided(caddyhttp.RouteList{site}) {
				c.logger.Warn("authentication is optional here and no rbac follows: requests without a credential reach the application",
					zap.String("server", name))
			}
			for _, header := range spoofable(site) {
				c.logger.Warn("this header carries the identity to an upstream, but in another part of the site a client can send it to one itself: write jwt_auth or auth { … } outside of handle blocks, or request_header -"+header+" where they are not",
					zap.String("server", name), zap.String("header", header))
			}
		}
	}
	return nil
}

// unauthenticated returns the zones in a server's routes that are keyed by
// the user and that a request can meet without having been authenticated.
func unauthenticated(routes caddyhttp.RouteList) []string {
	var zones []string
	walk(routes, false, &zones)
	return zones
}

// walk goes through routes in the order in which requests meet them and
// returns whether something in them authenticates. One route in several that
// does is enough: this warns about what cannot work, it is no proof.
func walk(routes caddyhttp.RouteList, authenticated bool, zones *[]string) bool {
	for _, route := range routes {
		for _, h := range route.Handlers {
			switch h := h.(type) {
			case *caddyhttp.Subroute:
				authenticated = walk(h.Routes, authenticated, zones)
			case *caddyrl.Handler:
				for name, zone := range h.RateLimits {
					if !authenticated && strings.Contains(zone.Key, "{http.auth.") {
						*zones = append(*zones, name)
					}
				}
			case *caddyauth.Authentication:
				authenticated = true
			default:
				if m, ok := h.(caddy.Module); ok && m.CaddyModule().ID == "http.handlers.auth" {
					authenticated = true
				}
			}
		}
	}
	return authenticated
}

// Interface guards
var (
	_ caddy.Provisioner   = (*Check)(nil)
	_ caddy.AdminRouter   = (*Check)(nil)
	_ caddyevents.Handler = (*Check)(nil)
)

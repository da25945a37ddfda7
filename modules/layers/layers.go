// Package layers looks at each configuration that Caddy loads for layers that
// cannot work as written, and warns.
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

	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
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
// and scopes that redact or a matcher names and no caller of the site can have; and of
// error routes that hand a request to an upstream as it came, past the layers
// that have refused it; of an rbac before which only forward_auth asks who is
// calling; and of a rewrite behind rbac to a path that the client names.
//
// It is loaded with every configuration whose admin endpoint is on, has no
// options and serves no path. In a configuration with layers of ours App has
// said it all before, whether or not the admin endpoint is on.
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
	if _, done := logged.Load(app); done {
		return nil
	}
	for _, f := range Findings(c.ctx, app.(*caddyhttp.App)) {
		f.log(c.logger)
	}
	return nil
}

// unauthenticated returns the zones in a server's routes that are keyed by
// the user and that a request can meet without having been authenticated. One
// route in several that authenticates is enough: this warns about what cannot
// work, it is not proof.
func unauthenticated(routes caddyhttp.RouteList) []string {
	var zones []string
	routetree.Walk[bool]{Handle: func(h caddyhttp.MiddlewareHandler, authenticated bool) bool {
		switch h := h.(type) {
		case *caddyrl.Handler:
			for name, zone := range h.RateLimits {
				if !authenticated && (strings.Contains(zone.Key, "{http.auth.") || strings.Contains(zone.Key, "{http.moat.caller}")) {
					zones = append(zones, name)
				}
			}
		case *caddyauth.Authentication:
			return true
		case caddy.Module:
			return authenticated || h.CaddyModule().ID == "http.handlers.auth"
		}
		return authenticated
	}}.Follow(routes, false)
	return zones
}

// Interface guards
var (
	_ caddy.Provisioner   = (*Check)(nil)
	_ caddy.AdminRouter   = (*Check)(nil)
	_ caddyevents.Handler = (*Check)(nil)
)

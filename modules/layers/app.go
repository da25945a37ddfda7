package layers

import (
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App refuses a configuration that would refuse every request: with an rbac
// that has no rule for anyone, before which nothing can authenticate. The
// running configuration stays in force. It is loaded by rbac and client_cert_auth and
// has no options.
//
// It refuses, too, a client_cert_auth where connections are made without
// asking for certificates, or without verifying them against a trust pool of
// the administrator's, or where a client can choose how its connection is made
// by asking for another site than the one it then sends requests to.
//
// It refuses a layer behind a handler that responds to every request, as can
// be written with route or order: no request would reach it.
//
// It refuses a rule of rbac or redact that names a user without an issuer, where
// several issuers or kinds of credential can authenticate callers: the rule
// would apply to the users of that name at all of them.
//
// A handler that is neither ours nor Caddy's may authenticate, and so may
// reverse_proxy (forward_auth) and map: with one of them before rbac there is
// no finding. `caddy validate` does not start the configuration; it finds only
// what stands in the routes of sites, without named routes and certificates.
type App struct {
	ctx    caddy.Context
	server *caddyhttp.App // whose findings it has logged
}

// logged has the configurations whose warnings App has logged: Check, which
// every configuration has whose admin endpoint is on, need not log them again.
var logged sync.Map // by *caddyhttp.App

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  lifecycle.LayersApp,
		New: func() caddy.Module { return new(App) },
	}
}

// Provision keeps the configuration. Its routes are not there yet.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	return nil
}

// Start looks at the routes of the configuration that is about to start.
func (a *App) Start() error {
	app, err := a.ctx.AppIfConfigured("http")
	if err != nil {
		return nil // a configuration without a server
	}
	a.server = app.(*caddyhttp.App)
	found := Findings(a.ctx, a.server)
	if err := refusal(found); err != nil {
		return err
	}
	logged.Store(a.server, true)
	for _, f := range found {
		f.log(a.ctx.Logger(a))
	}
	return nil
}

// Stop forgets the configuration.
func (a *App) Stop() error {
	logged.Delete(a.server)
	return nil
}

// Interface guards
var (
	_ caddy.App         = (*App)(nil)
	_ caddy.Provisioner = (*App)(nil)
)

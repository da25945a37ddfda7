package layers

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(new(handler))
}

// handler looks at the routes of a server while the configuration is being
// loaded, in a named route that is loaded after them, and refuses what App
// would refuse when it starts. Named routes are not all there yet, and not
// looked into. It serves nothing.
type handler struct{}

// CaddyModule returns the Caddy module information.
func (*handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.moat_layers",
		New: func() caddy.Module { return new(handler) },
	}
}

// Provision looks at the server that is being loaded.
func (*handler) Provision(ctx caddy.Context) error {
	server, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	modules := ctx.Modules()
	if server == nil || len(modules) == 0 {
		return nil
	}
	app, ok := modules[0].(*caddyhttp.App)
	if !ok {
		return nil
	}
	for name, s := range app.Servers {
		if s == server {
			look := examination{server: name}
			look.routes(server, server.Routes)
			if examining.Load() {
				return nil
			}
			return refusal(look.found)
		}
	}
	return nil
}

// ServeHTTP does nothing.
func (*handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*handler)(nil)
)

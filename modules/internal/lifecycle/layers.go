package lifecycle

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

const (
	// LayersApp is the ID of the Caddy app that refuses configurations whose
	// layers cannot work as configured. It needs no configuration of its own.
	LayersApp = "moat_layers"

	// LayersHandler is the name of the handler that looks at the routes of a
	// server while they are loaded.
	LayersHandler = "moat_layers"
)

// CheckLayers has the configuration that ctx belongs to checked before it
// starts. Modules call it while they are being provisioned, and fail where it
// does. In a build without the app it does nothing.
func CheckLayers(ctx caddy.Context) error {
	if _, err := app(ctx, LayersApp); err != nil {
		return err
	}
	checkServer(ctx)
	return nil
}

// checkServer has the routes of the server that is being loaded checked when
// they are all there, so that `caddy validate`, which starts nothing, finds
// what is wrong with them. Caddy loads the named routes of a server last: one
// is added that nothing can invoke, with the handler that looks.
func checkServer(ctx caddy.Context) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server == nil || server.NamedRoutes[LayersHandler] != nil {
		return
	}
	if _, err := caddy.GetModule("http.handlers." + LayersHandler); err != nil {
		return
	}
	if server.NamedRoutes == nil {
		server.NamedRoutes = make(map[string]*caddyhttp.Route)
	}
	server.NamedRoutes[LayersHandler] = &caddyhttp.Route{
		HandlersRaw: []json.RawMessage{[]byte(`{"handler":"` + LayersHandler + `"}`)},
	}
}

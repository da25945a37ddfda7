package adapter

import "github.com/caddyserver/caddy/v2"

// LayersApp is the ID of the Caddy app that refuses configurations whose
// layers cannot do what they say. It needs no configuration of its own.
const LayersApp = "moat_layers"

// CheckLayers has the configuration that ctx belongs to checked before it
// starts. Modules call it while they are being provisioned. In a build without
// the app it does nothing.
func CheckLayers(ctx caddy.Context) {
	// As in changeRecorder: a context without a configuration panics.
	defer func() { _ = recover() }()
	_, _ = ctx.App(LayersApp)
}

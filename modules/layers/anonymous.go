package layers

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// optional is a handler that may let a request without any credential pass.
type optional interface {
	AdmitsAnonymous() bool
}

// undecided reports whether requests without a credential may pass an
// authenticator of the site and then meet no rbac that decides about them.
func undecided(site caddyhttp.RouteList) bool {
	var admits, decides bool
	var look func(caddyhttp.RouteList)
	look = func(routes caddyhttp.RouteList) {
		for _, route := range routes {
			for _, h := range route.Handlers {
				switch h := h.(type) {
				case *caddyhttp.Subroute:
					look(h.Routes)
				case optional:
					admits = admits || h.AdmitsAnonymous()
				case caddy.Module:
					decides = decides || h.CaddyModule().ID == "http.handlers.rbac"
				}
			}
		}
	}
	look(site)
	return admits && !decides
}

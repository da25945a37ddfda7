package layers

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
)

// optional is a handler that may let a request without any credential pass.
type optional interface {
	AdmitsAnonymous() bool
}

// undecided reports whether requests without a credential may pass an
// authenticator of the site and then meet no rbac that decides about them.
func undecided(site caddyhttp.RouteList) bool {
	var admits, decides bool
	for h := range routetree.Way(site) {
		switch h := h.(type) {
		case optional:
			admits = admits || h.AdmitsAnonymous()
		case caddy.Module:
			decides = decides || h.CaddyModule().ID == "http.handlers.rbac"
		}
	}
	return admits && !decides
}

// Package earlydata keeps requests in TLS early data from layers that act on
// the client's address.
package earlydata

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler rejects every request that came in TLS early data (0-RTT) with 425
// too_early, as RFC 8470 section 5.2 has it; clients send it again by
// themselves once the handshake is complete. Before, nothing proves that the
// client is at the address that the request came from.
//
// It has no options. flood_limit puts it before itself, since a limit by
// addresses that anybody can forge would count against others. It is of use
// before any other handler that acts on the client's address.
type Handler struct{}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.moat_early_data",
		New: func() caddy.Module { return new(Handler) },
	}
}

// ServeHTTP rejects early data.
func (Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	reqctx.Of(r)
	if !reqctx.EarlyData(r) {
		return next.ServeHTTP(w, r)
	}
	reqctx.Decisions(r).Add(decision.Decision{Layer: "flood_limit", Result: decision.Deny, Rule: "early_data", Code: reqctx.CodeTooEarly})
	return reqctx.Refuse(w, r, reqctx.TooEarly())
}

// Interface guard
var _ caddyhttp.MiddlewareHandler = Handler{}

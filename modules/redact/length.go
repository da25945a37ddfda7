package redact

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
)

// defaultMaxBody is the largest request body that is kept whole for an
// upstream which has to know its length.
const defaultMaxBody = 10 << 20

// needsLength reports whether an upstream of the server takes no request body
// of unknown length, as those of FastCGI. What the rules leave of a body has
// another length than the client said. It is found out with the first request:
// when the handler is provisioned, the routes behind it are not there yet.
func (h *Handler) needsLength(r *http.Request) bool {
	srv, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || srv == nil {
		return false
	}
	if known, ok := h.servers.Load(srv); ok {
		return known.(bool)
	}
	needs := false
	for handler := range routetree.OfServer(srv) {
		proxy, ok := handler.(*reverseproxy.Handler)
		if !ok {
			continue
		}
		if t, ok := proxy.Transport.(reverseproxy.ContentLengthRequiredTransport); ok && t.RequiresContentLength() {
			needs = true
			break
		}
	}
	h.servers.Store(srv, needs)
	return needs
}

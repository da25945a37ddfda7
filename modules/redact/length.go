package redact

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
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
	needs := routesNeedLength(srv.Routes, 0)
	for _, named := range srv.NamedRoutes {
		needs = needs || named != nil && routesNeedLength(caddyhttp.RouteList{*named}, 0)
	}
	h.servers.Store(srv, needs)
	return needs
}

// maxNesting bounds how deep routes are looked at.
const maxNesting = 30

func routesNeedLength(routes caddyhttp.RouteList, depth int) bool {
	if depth > maxNesting {
		return true
	}
	for _, route := range routes {
		for _, handler := range route.Handlers {
			switch handler := handler.(type) {
			case *caddyhttp.Subroute:
				if routesNeedLength(handler.Routes, depth+1) {
					return true
				}
			case *reverseproxy.Handler:
				if t, ok := handler.Transport.(reverseproxy.ContentLengthRequiredTransport); ok && t.RequiresContentLength() {
					return true
				}
			}
		}
	}
	return false
}

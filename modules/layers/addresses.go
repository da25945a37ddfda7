package layers

import (
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// addressed is a handler that decides by the address of requests: with client,
// by the one that a proxy says.
type addressed interface {
	DecidesByAddress() (client, opens bool)
}

// addresses looks for decisions by the client's address where that is whatever
// a client says, or that of a proxy.
func (e *examination) addresses(server *caddyhttp.Server, routes caddyhttp.RouteList) {
	trusts := trustsProxies(server)
	meet(routes, func(h caddyhttp.MiddlewareHandler, _ bool) {
		a, ok := h.(addressed)
		if !ok {
			return
		}
		client, opens := a.DecidesByAddress()
		if !client {
			if onlyUnix(server) {
				e.add(Finding{
					ID: "no_address", Severity: Refused, Place: placeOf(h),
					Text: nameOf(h) + ": connections over a Unix socket have no address, so that by peer rejects every request: write by client, and servers { trusted_proxies_unix } in the global options",
				})
			}
			return
		}
		switch {
		case trusts && everyone(server):
			e.add(Finding{
				ID: "client_address_forgeable", Severity: Refused, Place: placeOf(h),
				Text: nameOf(h) + " decides by the client's address, but trusted_proxies trusts every address, so that each client can say which address it has: write the addresses of your proxies in trusted_proxies, or by peer",
			})
		case trusts && server.TrustedProxiesStrict == 0 && opens:
			e.add(Finding{
				ID: "client_address_leftmost", Severity: Warning, Place: placeOf(h),
				Text: nameOf(h) + " lets requests in by the client's address, which is the first one in X-Forwarded-For: a client can write it itself, unless each proxy replaces that field instead of adding to it; write servers { trusted_proxies_strict } in the global options, so that the last one counts that is not a proxy's",
			})
		case trusts && server.TrustedProxiesStrict == 0:
			e.add(Finding{
				ID: "client_address_leftmost", Severity: Warning, Place: placeOf(h),
				Text: nameOf(h) + " rejects requests by the client's address, which is the first one in X-Forwarded-For: a client can write another there, unless each proxy replaces that field instead of adding to it; write servers { trusted_proxies_strict } in the global options, so that the last one counts that is not a proxy's",
			})
		case onlyUnix(server) && !server.TrustedProxiesUnix:
			e.add(Finding{
				ID: "no_address", Severity: Refused, Place: placeOf(h),
				Text: nameOf(h) + ": connections over a Unix socket have no address, so that every request is rejected: write servers { trusted_proxies_unix } in the global options, so that the proxy says whose they are",
			})
		case !trusts && onlyLocal(server):
			e.add(Finding{
				ID: "client_address_of_proxy", Severity: Warning, Place: placeOf(h),
				Text: nameOf(h) + " decides by the client's address, but this server listens for this machine alone: if requests come from a proxy on it, they all have that proxy's address; write servers { trusted_proxies static 127.0.0.1 ::1; trusted_proxies_strict }, one option a line, in the global options, or by peer if that is meant",
			})
		}
	}, nil)
}

// trustsProxies reports whether the server believes some proxies.
func trustsProxies(server *caddyhttp.Server) bool {
	if len(server.TrustedProxiesRaw) > 0 {
		return true
	}
	// Caddy has taken the configuration away when it loaded the module.
	f := reflect.ValueOf(server).Elem().FieldByName("trustedProxies")
	return f.IsValid() && f.Kind() == reflect.Interface && !f.IsNil()
}

// everyone reports whether the server believes whoever connects by one version of
// IP: it is asked about addresses that no proxy has, those for documentation (RFC
// 5737, RFC 3849, RFC 9637).
func everyone(server *caddyhttp.Server) bool {
	return believes(server, "192.0.2.1") && believes(server, "198.51.100.1") && believes(server, "203.0.113.1") ||
		believes(server, "2001:db8::1") && believes(server, "3fff::1")
}

func believes(server *caddyhttp.Server, peer string) bool {
	r := &http.Request{Method: http.MethodGet, URL: new(url.URL), Header: make(http.Header), RemoteAddr: net.JoinHostPort(peer, "1")}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, server)
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted
}

// onlyUnix reports whether all listeners are Unix sockets.
func onlyUnix(server *caddyhttp.Server) bool {
	return allListen(server, caddy.NetworkAddress.IsUnixNetwork)
}

// onlyLocal reports whether all listeners are for this machine alone.
func onlyLocal(server *caddyhttp.Server) bool {
	return allListen(server, func(a caddy.NetworkAddress) bool {
		ip := net.ParseIP(strings.Trim(a.Host, "[]"))
		return a.Host == "localhost" || ip != nil && ip.IsLoopback()
	})
}

func allListen(server *caddyhttp.Server, is func(caddy.NetworkAddress) bool) bool {
	for _, text := range server.Listen {
		if a, err := caddy.ParseNetworkAddress(text); err != nil || !is(a) {
			return false
		}
	}
	return len(server.Listen) > 0
}

package layers

import (
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
)

// banner is guard, as far as it matters here.
type banner interface {
	// Bans reports whether it bans or slows down by address, and by caller or key.
	Bans() (addresses, callers bool)

	// BansPrivate reports whether private addresses may be banned.
	BansPrivate() bool

	// Variables returns the variables of paths, in braces, that it counts and that it has
	// no pattern for itself.
	Variables() []string
}

// router is rbac, which matches patterns of paths.
type router interface {
	// HasVariable reports whether a pattern has the variable, which stands in braces.
	HasVariable(name string) bool
}

// abuse looks for a guard that cannot do what it says in a site.
func (e *examination) abuse(server *caddyhttp.Server, site caddyhttp.RouteList) {
	var guards []caddyhttp.MiddlewareHandler
	var asks bool
	var routers []router
	for h := range routetree.Way(site) {
		if _, ok := h.(banner); ok {
			guards = append(guards, h)
		}
		if r, ok := h.(router); ok {
			routers = append(routers, r)
			asks = true
		}
		if m, ok := h.(caddy.Module); ok && m.CaddyModule().ID == "http.handlers.auth" {
			asks = true
		}
	}
	for _, h := range guards {
		b := h.(banner)
		addresses, callers := b.Bans()
		if addresses {
			e.clientAddresses(server, h, b.BansPrivate())
		}
		if callers && !asks {
			e.add(Finding{
				ID: "guard_callers_unknown", Severity: Warning, Place: placeOf(h),
				Text: "guard bans callers or keys, and neither a credential method of ours nor rbac stands behind it, so that nobody asks whether a caller is banned: write rbac, or put basic_auth into auth { basic { … } }, or count by address",
			})
		}
		for _, v := range b.Variables() {
			if !slices.ContainsFunc(routers, func(r router) bool { return r.HasVariable(v) }) {
				e.add(Finding{
					ID: "guard_variable_unknown", Severity: Warning, Place: placeOf(h),
					Text: "guard counts " + v + ", and no pattern of paths here has it, so that it counts nothing: write path /orders/" + v + " into the rule, or " + v + " into the paths of rbac",
				}, "variable", v)
			}
		}
	}
}

// clientAddresses looks for addresses that are not the clients'.
func (e *examination) clientAddresses(server *caddyhttp.Server, h caddyhttp.MiddlewareHandler, private bool) {
	trusts := trustsProxies(server)
	switch {
	case trusts && everyone(server):
		e.add(Finding{
			ID: "guard_address_forgeable", Severity: Refused, Place: placeOf(h),
			Text: "guard bans by the client's address, but trusted_proxies trusts every address, so that each client can have others banned: write the addresses of your proxies in trusted_proxies",
		})
	case trusts && server.TrustedProxiesStrict == 0:
		e.add(Finding{
			ID: "guard_address_chosen", Severity: Warning, Place: placeOf(h),
			Text: "without trusted_proxies_strict Caddy takes the first address of X-Forwarded-For, which a client writes itself where the proxy appends to it, so that guard never bans requests with more than one there: write trusted_proxies_strict beside trusted_proxies",
		})
	case !trusts && !private && (onlyLocal(server) || onlyUnix(server)):
		e.add(Finding{
			ID: "guard_proxy_addresses", Severity: Warning, Place: placeOf(h),
			Text: "this server listens for this machine alone and trusted_proxies is missing, so that every client has the address of the proxy before it, which guard never bans: write trusted_proxies and trusted_proxies_strict in servers { … } of the global options; or ban_private, where the clients are on this machine",
		})
	}
}

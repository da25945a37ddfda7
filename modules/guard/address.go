package guard

import (
	"fmt"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	engine "github.com/caddy-moat/caddy-moat/modules/internal/access/guard"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// privateRanges are the addresses that a proxy, a tunnel or a network of containers may have.
var privateRanges = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("::/127"),
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// parseRange reads an address or a range of them, in the one form in which they are compared.
func parseRange(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = engine.Normal(a)
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err == nil && p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if err != nil || p.Masked().Addr().Is4In6() {
		return p, fmt.Errorf("allow '%s': write addresses and ranges such as 192.0.2.0/24 or 2001:db8::/32, or %s", text, privateRangesWord)
	}
	return p.Masked(), nil
}

// address returns the address of the client, and whether it may be banned: whether it
// cannot be that of a proxy, and the client cannot have chosen it.
func (h *Handler) address(r *http.Request) (_ netip.Addr, proven bool) {
	vars := reqctx.Vars(r)
	text, _ := vars[caddyhttp.ClientIPVarKey].(string)
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, false // a Unix domain socket, say
	}
	a = engine.Normal(a)
	if trusted, _ := vars[caddyhttp.TrustedProxyVarKey].(bool); trusted {
		if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil && engine.Normal(peer.Addr()) == a {
			return a, false // the proxy's own
		}
		if chosen(r) {
			return a, false
		}
	}
	return a, h.BanPrivate || !contains(privateRanges, a)
}

// chosen reports whether a client may have chosen the address that a trusted proxy
// reports: without trusted_proxies_strict Caddy takes the first of several, which
// proxies that append to the field have from the client.
func chosen(r *http.Request) bool {
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if server == nil || server.TrustedProxiesStrict > 0 {
		return false
	}
	for _, name := range server.ClientIPHeaders {
		values := r.Header.Values(name)
		if len(values) > 1 || len(values) == 1 && strings.Contains(values[0], ",") {
			return true
		}
		if len(values) == 1 {
			return false
		}
	}
	return false
}

// foreign reports whether a page of another site has made a browser send the request
// (Fetch Metadata). Browsers set the field and pages cannot; a client that sets it by
// itself gains a second count, of which a ban is for such requests alone.
func foreign(r *http.Request) bool {
	switch v := r.Header["Sec-Fetch-Site"]; {
	case len(v) == 0:
		return false
	default:
		return v[0] == "cross-site" || v[0] == "same-site"
	}
}

// lower is strings.ToLower for ASCII, which allocates nothing where nothing changes.
func lower(s string) string { return strings.ToLower(s) }

// cleaned is a path as scanners spell it, in one form.
func cleaned(p string) string {
	if p == "" || p[0] != '/' {
		p = "/" + p
	}
	if strings.Contains(p, "\\") {
		p = strings.ReplaceAll(p, "\\", "/")
	}
	return path.Clean(p) // as it is if it is clean
}

// trapped returns the trap that a path is in.
func (h *Handler) trapped(p string) *trap {
	if len(h.traps) == 0 {
		return nil
	}
	directory := strings.HasSuffix(p, "/")
	p = lower(cleaned(p))
	for i := range h.traps {
		t := &h.traps[i]
		if p == t.path && (!t.below || directory) || t.below && len(p) > len(t.path) && p[len(t.path)] == '/' && p[:len(t.path)] == t.path {
			return t
		}
	}
	return nil
}

// String returns the trap as it is written.
func (t *trap) String() string {
	if t.below {
		return t.path + "/*"
	}
	return t.path
}

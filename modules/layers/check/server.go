package check

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

func itoa(n int) string { return strconv.Itoa(n) }

// leastHeader is what the header of a request with a token of a common
// identity provider, with groups in it, may need.
const leastHeader = 16 << 10

// server looks at connections: those of clients, of upstreams, and of
// administrators.
func (c *checker) server() {
	c.adminEndpoint()
	seen := map[*server]bool{}
	for _, s := range c.sites {
		if !seen[s.server] {
			seen[s.server] = true
			c.proxies(s)
			if n := s.server.MaxHeaderBytes; n > 0 && n < leastHeader && c.tokens(s.server) {
				c.add("headers_too_small", spot{global: true, directives: []string{"servers"}, words: []string{"max_header_size"}}, nil,
					"max_header_size "+itoa(n)+" bytes: tokens with groups in them have more than 8 KiB, and requests with them are rejected with 431")
			}
		}
		c.listener(s)
		c.earlyData(s)
		for _, h := range s.handlers {
			if h.name == "reverse_proxy" {
				c.upstreams(h)
			}
		}
	}
}

func (c *checker) tokens(of *server) bool {
	return slices.ContainsFunc(c.sites, func(s *site) bool {
		return s.server == of && slices.ContainsFunc(s.handlers, func(h *handler) bool {
			return slices.ContainsFunc(h.providers, func(p provider) bool { return p.name == "jwt_auth" })
		})
	})
}

func (c *checker) adminEndpoint() {
	a := c.config.Admin
	if a == nil || a.Disabled || a.Listen == "" {
		return
	}
	address, err := caddy.ParseNetworkAddress(resolved(a.Listen))
	if err != nil || address.IsUnixNetwork() || local(address.Host) {
		return
	}
	c.add("admin_exposed", spot{global: true, directives: []string{"admin"}}, nil,
		"admin "+a.Listen+": whoever reaches this address can replace the whole configuration, with no credential")
}

// local reports whether a host is this machine.
func local(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// tls reports whether connections to a site are made with TLS, as Caddy's
// automatic HTTPS decides.
func (c *checker) tls(s *site) bool {
	if len(s.server.TLSPolicies) > 0 {
		return true
	}
	port := c.config.Apps.HTTP.HTTPPort
	if port == 0 {
		port = 80
	}
	auto := s.server.Automatic
	if auto != nil && auto.Disable || len(s.hosts) == 0 {
		return false
	}
	if !slices.ContainsFunc(s.server.Listen, func(l string) bool { return !strings.HasSuffix(l, ":"+itoa(port)) }) {
		return false
	}
	return !slices.ContainsFunc(s.hosts, func(h string) bool { return auto != nil && slices.Contains(auto.Skip, h) })
}

// listener looks for credentials in clear text. Behind a load balancer that
// ends TLS this is usual: the proxies that are trusted say so.
func (c *checker) listener(s *site) {
	gate := firstOf(s, (*handler).authenticates)
	if gate == nil || c.tls(s) || len(s.server.Proxies) > 0 {
		return
	}
	outside := slices.ContainsFunc(s.server.Listen, func(l string) bool {
		address, err := caddy.ParseNetworkAddress(l)
		return err == nil && !address.IsUnixNetwork() && !local(address.Host)
	})
	if !outside || len(s.hosts) > 0 && !slices.ContainsFunc(s.hosts, func(h string) bool { return !local(h) }) {
		return
	}
	c.add("plaintext_listener", spot{hosts: s.where()}, s,
		"this site authenticates callers and is served without TLS: whoever is on the way reads their credentials and can use them; give the site a host name without http://, or, behind a load balancer that ends TLS, bind it to an address that only the load balancer reaches, and name that one in trusted_proxies",
		"api.example.com {", "\t…", "}")
}

// earlyData looks for unsafe requests in TLS early data that nothing answers
// with 425: authentication, rbac and flood_limit do.
func (c *checker) earlyData(s *site) {
	if !c.tls(s) || s.server.Allow0RTT != nil && !*s.server.Allow0RTT || len(s.server.Protocols) > 0 && !slices.Contains(s.server.Protocols, "h3") {
		return
	}
	layer := firstOf(s, func(h *handler) bool { return h.name == "rate_limit" || h.name == "redact" || h.name == "audit" })
	if layer == nil || s.has("auth", "rbac", "moat_early_data") || !s.has("reverse_proxy") {
		return
	}
	c.add("early_data", c.spot(layer), s, "HTTP/3 accepts requests in TLS early data, and no layer here answers those that change something with 425: whoever has recorded one can send it again")
}

// upstreams looks at how requests leave.
func (c *checker) upstreams(h *handler) {
	p := into[struct {
		Upstreams []struct {
			Dial string `json:"dial"`
		} `json:"upstreams"`
		Transport struct {
			Protocol string `json:"protocol"`
			TLS      *struct {
				Insecure bool `json:"insecure_skip_verify"`
			} `json:"tls"`
		} `json:"transport"`
	}](h.raw)
	if t := p.Transport.TLS; t != nil {
		if t.Insecure {
			c.add("upstream_unverified", c.spot(h, "tls_insecure_skip_verify"), h.site, "tls_insecure_skip_verify: whoever is on the way can be the upstream, read everything and respond anything")
		}
		return
	}
	for _, u := range p.Upstreams {
		if host, ok := public(u.Dial); ok {
			at := c.spot(h)
			for _, spelling := range []string{u.Dial, "http://" + u.Dial, "http://" + host, host} {
				at.words = []string{spelling}
				if _, ok := c.src.directive(at, at.words, c.src.blocksFor(at)); ok {
					break
				}
			}
			c.add("plaintext_upstream", at, h.site, "requests go to "+u.Dial+" without TLS, and that is not a private address: whoever is on the way reads credentials and data, and can change both", "reverse_proxy https://"+host)
		}
	}
}

// public returns the host of an address that is on another network, as far as
// its spelling tells. A name without a dot, and one below a domain that is not
// in the public DNS, is of this network.
func public(dial string) (string, bool) {
	if strings.Contains(dial, "{") {
		return "", false
	}
	address, err := caddy.ParseNetworkAddress(dial)
	if err != nil || address.IsUnixNetwork() {
		return "", false
	}
	host := strings.ToLower(strings.TrimSuffix(address.Host, "."))
	if ip, err := netip.ParseAddr(host); err == nil {
		shared := netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
		return host, !ip.IsPrivate() && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() && !ip.IsUnspecified() && !shared.Contains(ip.Unmap())
	}
	if !strings.Contains(host, ".") || local(host) {
		return "", false
	}
	for _, inner := range []string{".internal", ".local", ".lan", ".home.arpa", ".corp", ".intranet", ".private", ".svc", ".consul", ".docker", ".test"} {
		if strings.HasSuffix(host, inner) {
			return "", false
		}
	}
	return host, true
}

// proxies looks at whom a server believes about the address of a client.
func (c *checker) proxies(s *site) {
	inServers := spot{global: true, directives: []string{"servers"}, words: []string{"trusted_proxies"}}
	if len(s.server.Proxies) == 0 {
		for _, other := range c.sites {
			if h := addressRule(other); h != nil && other.server == s.server {
				c.add("proxies_unknown", c.spot(h), other, "rules look at the address of the client; behind a load balancer that is always the load balancer's, so that a rule for a private range is for everybody")
				return
			}
		}
		return
	}
	p := into[struct {
		Source string   `json:"source"`
		Ranges []string `json:"ranges"`
	}](s.server.Proxies)
	if p.Source != "static" {
		return
	}
	for _, text := range p.Ranges {
		prefix, err := netip.ParsePrefix(resolved(text))
		if err != nil {
			continue
		}
		if least := 8; prefix.Addr().Is4() && prefix.Bits() < least || prefix.Addr().Is6() && prefix.Bits() < 7 {
			c.add("proxies_wide", inServers, nil, "trusted_proxies "+text+": every client in this range may write any address into X-Forwarded-For, and limits and rules believe it")
			return
		}
	}
	if s.server.ProxiesStrict == 0 {
		c.add("proxies_not_strict", inServers, nil, "without trusted_proxies_strict Caddy believes the leftmost address in X-Forwarded-For, which the client has written: load balancers append to it")
	}
}

// addressRule returns a handler whose rules look at the address of the client.
func addressRule(s *site) *handler {
	return firstOf(s, func(h *handler) bool {
		return h.name == "rbac" && strings.Contains(string(h.raw), "client_ip")
	})
}

// order looks for handlers of other plugins before authentication.
func (c *checker) order() {
	for _, s := range c.sites {
		gate := slices.IndexFunc(s.handlers, (*handler).authenticates)
		if gate < 0 {
			continue
		}
		for _, h := range s.handlers[:gate] {
			if !standard(h.name) && !ours(h.name) {
				at := spot{hosts: s.where(), directives: []string{h.name}}
				c.add("unknown_handler_first", at, s, h.name+" is of another plugin and stands before authentication: it sees requests that nobody has vouched for, and may respond to them or rewrite them",
					"{", "\torder "+h.name+" after rbac", "}")
			}
		}
	}
}

// standard reports whether a handler is one of Caddy's own.
func standard(name string) bool { return packageOf(name, "github.com/caddyserver/caddy/v2/") }

// ours reports whether a handler is one of this project's, or of the rate
// limits that it comes with.
func ours(name string) bool {
	return packageOf(name, self()) || packageOf(name, "github.com/mholt/caddy-ratelimit")
}

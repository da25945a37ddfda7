package layers

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
)

// connected is a handler whose authenticators know callers by the certificates of
// their connections.
type connected interface {
	KnowsConnection() (looks, only bool)
}

// connections returns why the connections that a server makes are not such
// that client certificates can be believed where a site of it does.
//
// What a request has in the end is checked when it comes: a certificate that
// was not verified identifies nobody. This is for what cannot be seen then,
// which is against whom it was verified, and for what would refuse everybody.
func connections(ctx caddy.Context, server *caddyhttp.Server) error {
	sites := map[string]bool{} // host, or none; to whether nothing but a connection can identify there
	holders(server.Routes, sites)
	named := map[string]bool{} // in routes that any site may invoke
	for _, route := range server.NamedRoutes {
		if route != nil {
			holders(caddyhttp.RouteList{*route}, named)
		}
	}
	if len(sites)+len(named) == 0 {
		return nil
	}
	if server.StrictSNIHost != nil && !*server.StrictSNIHost && !alike(server) {
		return errors.New("client_cert_auth: with strict_sni_host insecure_off, a client can make a connection as for one site and ask another: remove that option, or give all sites of the server the same client_auth")
	}
	policy := policies(ctx, server)
	for _, host := range hosts(sites) {
		if err := fault(policy(host), sites[host]); err != nil {
			if host == "" {
				host = "any host"
			}
			return fmt.Errorf("client_cert_auth (%s): %w", host, err)
		}
	}
	if len(named) > 0 {
		for _, p := range server.TLSConnPolicies {
			if err := fault(p.TLSConfig, false); err != nil {
				return fmt.Errorf("client_cert_auth, in a named route: %w", err)
			}
		}
	}
	return nil
}

// fault says what is wrong with how connections are made to a site; config is
// nil where none are. With only, a certificate of the connection is all that
// can identify somebody there.
func fault(config *tls.Config, only bool) error {
	switch {
	case config == nil && only:
		return errors.New("no TLS connection is made here, so that nobody can have a client certificate: serve the site over https, or write client_cert_header from <cidr>... for proxies that end TLS")
	case config == nil:
	case config.ClientAuth == tls.NoClientCert && only:
		return errors.New("nobody is asked for a client certificate: write tls { client_auth { mode require_and_verify; trust_pool file <ca.pem> } } in the site, one option a line; or verify_if_given, beside other methods")
	case config.ClientAuth == tls.RequestClientCert || config.ClientAuth == tls.RequireAnyClientCert:
		return errors.New("client_auth does not verify certificates, so that anybody can make one: write mode require_and_verify or verify_if_given, and trust_pool file <ca.pem>; single certificates can stand in that file, too")
	case config.ClientAuth != tls.NoClientCert && public(config.ClientCAs):
		return errors.New("client_auth has no trust_pool, or that of the system, so that a certificate of any public authority would do: write trust_pool file <ca.pem>")
	}
	return nil
}

// public reports whether a pool is that of the system, which crypto/x509 takes
// where there is none.
func public(pool *x509.CertPool) bool {
	if pool == nil {
		return true
	}
	system, err := x509.SystemCertPool()
	return err == nil && pool.Equal(system)
}

// hosts returns the hosts of sites, in order.
func hosts(sites map[string]bool) []string {
	names := make([]string, 0, len(sites))
	for name := range sites {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// holders finds the sites with handlers that know callers by certificates: the
// hosts of the innermost routes round them that have some, "" without any.
func holders(routes caddyhttp.RouteList, sites map[string]bool) {
	routetree.Walk[[]string]{
		Enter: func(route caddyhttp.Route, within []string) []string {
			if hosts := hostsOf(route); len(hosts) > 0 {
				return hosts
			}
			return within
		},
		Handle: func(h caddyhttp.MiddlewareHandler, here []string) []string {
			looks, only := looksAtConnection(h)
			if !looks {
				return here
			}
			if len(here) == 0 {
				sites[""] = sites[""] || only
			}
			for _, host := range here {
				sites[host] = sites[host] || only
			}
			return here
		},
		Leave: func(_ caddyhttp.Route, before, _ []string) []string { return before },
	}.Follow(routes, nil)
}

func looksAtConnection(h caddyhttp.MiddlewareHandler) (looks, only bool) {
	switch h := h.(type) {
	case connected:
		return h.KnowsConnection()
	case *caddyauth.Authentication:
		for _, p := range h.Providers {
			if m, ok := p.(credential.Method); ok {
				c := m.Traits().Connection
				looks, only = looks || c != credential.ConnectionIgnored, only || c == credential.ConnectionAlone
			}
		}
	}
	return looks, only
}

// hostsOf returns the hosts that a route is for, none if it is for all.
func hostsOf(route caddyhttp.Route) []string {
	var found []string
	for _, set := range route.MatcherSets {
		before := len(found)
		for _, m := range set {
			switch m := m.(type) {
			case *caddyhttp.MatchHost:
				found = append(found, *m...)
			case caddyhttp.MatchHost:
				found = append(found, m...)
			}
		}
		if len(found) == before {
			return nil
		}
	}
	repl := caddy.NewReplacer()
	for i, host := range found {
		found[i] = strings.ToLower(repl.ReplaceKnown(host, ""))
	}
	return found
}

// policies returns the function that says how a connection to a host is made,
// nil if it is not. It is Caddy's own choice among the connection policies,
// for a client of no particular address.
func policies(ctx caddy.Context, server *caddyhttp.Server) func(host string) *tls.Config {
	if len(server.TLSConnPolicies) == 0 {
		return func(string) *tls.Config { return nil }
	}
	choose := server.TLSConnPolicies.TLSConfig(ctx).GetConfigForClient
	return func(host string) *tls.Config {
		config, err := choose(&tls.ClientHelloInfo{ServerName: host, Conn: nobody{}})
		if err != nil {
			return nil
		}
		return config
	}
}

// nobody is a connection that has addresses and is not used.
type nobody struct{ net.Conn }

func (nobody) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }
func (nobody) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 443} }

// alike reports whether all connections of a server ask for certificates in
// the same way and of the same authorities.
func alike(server *caddyhttp.Server) bool {
	var first *tls.Config
	for _, policy := range server.TLSConnPolicies {
		config := policy.TLSConfig
		switch {
		case policy.Drop || config == nil:
		case first == nil:
			first = config
		case config.ClientAuth != first.ClientAuth || !samePool(config.ClientCAs, first.ClientCAs):
			return false
		}
	}
	return true
}

func samePool(a, b *x509.CertPool) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(b)
}

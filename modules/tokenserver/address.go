package tokenserver

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Paths of the endpoints, below that of the issuer.
const (
	pathToken      = "/token"
	pathIntrospect = "/introspect"
	pathRevoke     = "/revoke"
	pathKeys       = "/jwks.json"
	pathAuthorize  = "/authorize"
	pathPush       = "/par"

	// pathOpenID is where the metadata of an OpenID provider would be.
	pathOpenID = "/.well-known/openid-configuration"

	// pathMetadata stands before the path of the issuer (RFC 8414 section 3.1).
	pathMetadata = "/.well-known/oauth-authorization-server"
)

// address is an issuer identifier.
type address struct {
	name string // as it stands in tokens
	path string // of the URL, without a slash at its end
}

// origin returns scheme and host of the issuer, as browsers name it in Origin.
func (a *address) origin() string { return strings.TrimSuffix(a.name, a.path) }

// secure reports whether browsers reach it by https.
func (a *address) secure() bool { return strings.HasPrefix(a.name, "https:") }

// url returns the address of an endpoint.
func (a *address) url(path string) string { return strings.TrimSuffix(a.name, "/") + path }

var errIssuer = errors.New("issuer is an https URL without query, fragment and user, in small letters and without a slash at its end: issuer https://id.example.com")

// parseIssuer reads an issuer identifier (RFC 8414 section 2). There is one
// spelling of it: clients compare it as a text.
func parseIssuer(name string) (*address, error) {
	u, err := url.Parse(name)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "" || u.User != nil || strings.ContainsAny(name, "?#*{}\\ "):
		return nil, errIssuer
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errIssuer
	case u.Host != strings.ToLower(u.Host) || strings.HasSuffix(u.Host, ":"):
		return nil, errIssuer
	case u.Path != "" && (strings.HasSuffix(u.Path, "/") || u.EscapedPath() != u.Path || slices.ContainsFunc(strings.Split(u.Path[1:], "/"), func(s string) bool { return s == "" || s == "." || s == ".." })):
		return nil, errIssuer
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, errors.New("issuer: plain http shows tokens and secrets to everybody on the way, and is for localhost alone: write https")
	case u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80":
		return nil, fmt.Errorf("issuer: leave out the port %s, which is the scheme's own", u.Port())
	}
	return &address{name, u.Path}, nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// siteIssuer returns the issuer of a site that has one name and listens on port
// 443. Caddy provisions the routes of a server in their order, and has the
// handlers of a route in JSON until it has provisioned all of them: the first
// route of which it has is the one being loaded.
func siteIssuer(ctx caddy.Context) (string, error) {
	unknown := errors.New("the site does not say its one name and port 443: write issuer https://id.example.com, as clients reach it")
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server == nil || !listensOn(server, 443) {
		return "", unknown
	}
	i := slices.IndexFunc(server.Routes, func(r caddyhttp.Route) bool { return len(r.HandlersRaw) > 0 })
	if i < 0 || len(server.Routes[i].MatcherSets) != 1 {
		return "", unknown
	}
	for _, m := range server.Routes[i].MatcherSets[0] {
		var hosts caddyhttp.MatchHost
		switch m := m.(type) {
		case *caddyhttp.MatchHost:
			hosts = *m
		case caddyhttp.MatchHost:
			hosts = m
		}
		if len(hosts) == 1 && !strings.ContainsAny(hosts[0], "*{}/ ") {
			return "https://" + strings.ToLower(hosts[0]), nil
		}
	}
	return "", unknown
}

// listensOn reports whether a server listens on one port alone.
func listensOn(server *caddyhttp.Server, port uint) bool {
	for _, listen := range server.Listen {
		a, err := caddy.ParseNetworkAddress(listen)
		if err != nil || a.StartPort != port || a.EndPort != port {
			return false
		}
	}
	return len(server.Listen) > 0
}

package layers

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
)

// holder stands for a handler that looks at certificates.
type holder struct {
	next
	only bool
}

func (h holder) KnowsConnection() (looks, only bool) { return true, h.only }

// provider is one that looks at certificates alone, in Caddy's own handler.
type provider struct {
	caddyauth.Authenticator
	credential.Method
}

func (provider) Traits() credential.Traits {
	return credential.Traits{Connection: credential.ConnectionAlone}
}

// hosted is a route for hosts.
func hosted(hosts []string, handlers ...caddyhttp.MiddlewareHandler) caddyhttp.Route {
	m := caddyhttp.MatchHost(hosts)
	return caddyhttp.Route{MatcherSets: caddyhttp.MatcherSets{{&m}}, Handlers: handlers}
}

func TestSitesThatLookAtCertificatesAreFound(t *testing.T) {
	strict, lenient := holder{only: true}, holder{}
	inCaddys := &caddyauth.Authentication{Providers: map[string]caddyauth.Authenticator{"a": provider{}, "b": nil}}
	path := caddyhttp.MatchPath{"/a"}
	for name, test := range map[string]struct {
		routes caddyhttp.RouteList
		want   map[string]bool
	}{
		"nothing":                {caddyhttp.RouteList{hosted([]string{"a"}, module{})}, map[string]bool{}},
		"a site":                 {caddyhttp.RouteList{hosted([]string{"A.example", "b"}, sub(route(strict)))}, map[string]bool{"a.example": true, "b": true}},
		"Caddy's own":            {caddyhttp.RouteList{hosted([]string{"a"}, inCaddys)}, map[string]bool{"a": true}},
		"with proxies":           {caddyhttp.RouteList{hosted([]string{"a"}, lenient)}, map[string]bool{"a": false}},
		"one with, one without":  {caddyhttp.RouteList{hosted([]string{"a"}, strict, lenient)}, map[string]bool{"a": true}},
		"any host":               {caddyhttp.RouteList{route(strict)}, map[string]bool{"": true}},
		"deep":                   {caddyhttp.RouteList{hosted([]string{"a"}, sub(route(sub(route(module{}, strict)))))}, map[string]bool{"a": true}},
		"a host inside":          {caddyhttp.RouteList{hosted([]string{"a"}, sub(hosted([]string{"b"}, strict)))}, map[string]bool{"b": true}},
		"a set without a host":   {caddyhttp.RouteList{{MatcherSets: caddyhttp.MatcherSets{{caddyhttp.MatchHost{"a"}}, {path}}, Handlers: []caddyhttp.MiddlewareHandler{strict}}}, map[string]bool{"": true}},
		"a path inside the host": {caddyhttp.RouteList{hosted([]string{"a"}, sub(caddyhttp.Route{MatcherSets: caddyhttp.MatcherSets{{path}}, Handlers: []caddyhttp.MiddlewareHandler{strict}}))}, map[string]bool{"a": true}},
	} {
		got := map[string]bool{}
		holders(test.routes, got)
		if !maps.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

func TestConnectionsThatProveNothingAreFaults(t *testing.T) {
	pool := x509.NewCertPool()
	pool.AddCert(&x509.Certificate{Raw: []byte("a"), RawSubject: []byte("a")})
	system, err := x509.SystemCertPool()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		config *tls.Config
		only   bool
		want   string // none: no fault
	}{
		{nil, true, "no TLS"},
		{nil, false, ""},
		{&tls.Config{}, true, "nobody is asked"},
		{&tls.Config{}, false, ""},
		{&tls.Config{ClientAuth: tls.RequestClientCert, ClientCAs: pool}, false, "does not verify"},
		{&tls.Config{ClientAuth: tls.RequireAnyClientCert, ClientCAs: pool}, true, "does not verify"},
		{&tls.Config{ClientAuth: tls.VerifyClientCertIfGiven}, true, "no trust_pool"},
		{&tls.Config{ClientAuth: tls.RequireAndVerifyClientCert}, false, "no trust_pool"},
		{&tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: system}, true, "that of the system"},
		{&tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool}, true, ""},
		{&tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}, true, ""},
	} {
		err := fault(test.config, test.only)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v, %t: got %v, want %q", test.config, test.only, err, test.want)
		}
	}
}

// TestFrontingIsAFaultWhereConnectionsDiffer has strict_sni_host off.
func TestFrontingIsAFaultWhereConnectionsDiffer(t *testing.T) {
	one, two := x509.NewCertPool(), x509.NewCertPool()
	two.AddCert(&x509.Certificate{Raw: []byte("a"), RawSubject: []byte("a")})
	config := func(mode tls.ClientAuthType, pool *x509.CertPool) *caddytls.ConnectionPolicy {
		return &caddytls.ConnectionPolicy{TLSConfig: &tls.Config{ClientAuth: mode, ClientCAs: pool}}
	}
	verify := config(tls.RequireAndVerifyClientCert, one)
	dropped := config(tls.NoClientCert, nil)
	dropped.Drop = true
	for i, test := range []struct {
		policies caddytls.ConnectionPolicies
		alike    bool
	}{
		{caddytls.ConnectionPolicies{verify}, true},
		{caddytls.ConnectionPolicies{verify, config(tls.RequireAndVerifyClientCert, x509.NewCertPool())}, true},
		{caddytls.ConnectionPolicies{verify, dropped}, true},
		{caddytls.ConnectionPolicies{verify, config(tls.VerifyClientCertIfGiven, one)}, false},
		{caddytls.ConnectionPolicies{verify, config(tls.NoClientCert, nil)}, false},
		{caddytls.ConnectionPolicies{verify, config(tls.RequireAndVerifyClientCert, two)}, false},
		{caddytls.ConnectionPolicies{config(tls.RequireAndVerifyClientCert, nil), verify}, false},
	} {
		off := false
		server := &caddyhttp.Server{StrictSNIHost: &off, TLSConnPolicies: test.policies, Routes: caddyhttp.RouteList{hosted([]string{"a"}, holder{only: true})}}
		err := connections(caddy.Context{}, server)
		if fronting := err != nil && strings.Contains(err.Error(), "strict_sni_host"); fronting == test.alike || alike(server) != test.alike {
			t.Errorf("%d: %v", i, err)
		}
		off = true
		if err := connections(caddy.Context{}, server); err != nil && strings.Contains(fmt.Sprint(err), "strict_sni_host") {
			t.Errorf("%d, strict: %v", i, err)
		}
	}
}

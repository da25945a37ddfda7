package oidclogin

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/session"
)

// loggedIn returns a provider with one session, and the request of its browser.
func loggedIn(tb testing.TB) (*Provider, *http.Request) {
	tb.Helper()
	p := &Provider{Issuer: "https://id.example.com", ClientID: "app", Roles: []string{"/realm_access/roles"}, now: time.Now}
	if err := p.compile(); err != nil {
		tb.Fatal(err)
	}
	p.issuer, p.idp = p.Issuer, &idp{client: p.ClientID}
	storage := &certmagic.FileStorage{Path: tb.TempDir()}
	var err error
	if p.ring, err = session.OpenKeyring(tb.Context(), storage, p.now); err != nil {
		tb.Fatal(err)
	}
	p.sessions = session.New(p.ring, storage, session.Options{Issuer: p.issuer, Client: "app", Idle: p.idle(), Lifetime: p.lifetime()})
	r := httptest.NewRequest(http.MethodGet, "https://app.example.com/", nil)
	s := &session.Session{Subject: "alice"}
	s.Private.Claims = json.RawMessage(`{"iss":"https://id.example.com","sub":"alice","realm_access":{"roles":["clerk","clerk"]}}`)
	_, cookie, err := p.sessions.Create(tb.Context(), cookieHost(r), s)
	if err != nil {
		tb.Fatal(err)
	}
	r.Header.Set("Cookie", "theme=dark; "+cookieName+"="+cookie+"; "+flowCookie+"ABCDEFGH=x")
	return p, r
}

func TestSessionIdentifies(t *testing.T) {
	p, r := loggedIn(t)
	g, err := p.Identify(r)
	if err != nil || g.Principal.Caller() != "https://id.example.com|alice" || strings.Join(g.Principal.Roles, ",") != "clerk" || len(g.Header) != 0 || !g.Right.Ends() || g.Right.Over(time.Now()) {
		t.Fatalf("%+v, %v", g, err)
	}
	p.Clean(r)
	if got := r.Header.Get("Cookie"); got != "theme=dark" {
		t.Errorf("the upstream sees %q", got)
	}
	if _, err := p.Identify(r); err != credential.ErrMissing { //nolint:errorlint // as it is
		t.Error(err)
	}
}

func TestOptionsThatCannotBeMeant(t *testing.T) {
	good := func() *Provider { return &Provider{Issuer: "https://id.example.com", ClientID: "app"} }
	if err := good().compile(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Provider){
		"no issuer":           func(p *Provider) { p.Issuer = "" },
		"issuer with a query": func(p *Provider) { p.Issuer += "?a=b" },
		"no client":           func(p *Provider) { p.ClientID = "" },
		"path is the root":    func(p *Provider) { p.Path = "/" },
		"path with a host":    func(p *Provider) { p.Path = "//evil.example" },
		"path with dots":      func(p *Provider) { p.Path = "/a/../b" },
		"path with a star":    func(p *Provider) { p.Path = "/a/*" },
		"elsewhere":           func(p *Provider) { p.AfterLogout = "https://evil.example/" },
		"scope with a quote":  func(p *Provider) { p.Scopes = []string{`a"b`} },
		"two scopes in one":   func(p *Provider) { p.Scopes = []string{"a b"} },
		"empty roles":         func(p *Provider) { p.Roles = []string{""} },
		"idle is short":       func(p *Provider) { p.Idle = 1 },
		"idle is too long":    func(p *Provider) { p.Lifetime, p.Idle = 1e12, 2e12 },
	} {
		p := good()
		if change(p); p.compile() == nil {
			t.Errorf("%s: was taken", name)
		}
	}
}

// go test -run - -bench 'Identify|Cached' ./modules/oidclogin ./modules/jwtauth
func BenchmarkIdentify(b *testing.B) {
	p, r := loggedIn(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Identify(r); err != nil {
			b.Fatal(err)
		}
	}
}

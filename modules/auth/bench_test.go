package auth

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// always is a method that takes no time.
type always struct{ p *principal.Principal }

func (always) Places(*http.Request) []credential.Place { return nil }
func (a always) Identify(*http.Request) (credential.Grant, error) {
	return credential.Grant{Principal: a.p}, nil
}
func (always) Traits() credential.Traits             { return credential.Traits{} }
func (always) Challenges(*credential.Error) []string { return nil }
func (always) Clean(*http.Request)                   {}

// BenchmarkServeHTTP is what the handler adds to its method. Run with:
// go test -run - -bench ServeHTTP -benchmem ./modules/auth
func BenchmarkServeHTTP(b *testing.B) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: b.Context()})
	defer cancel()
	h := &Handler{methods: []method{ours(always{&principal.Principal{ID: "alice", Issuer: "iss", Roles: []string{"clerk"}, Scopes: []string{"read"}}})}}
	if err := h.Provision(ctx); err != nil {
		b.Fatal(err)
	}
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	w := httptest.NewRecorder()
	request := httptest.NewRequest("GET", "https://example.com/orders", nil)
	b.Run("prepare alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			caddyhttp.PrepareRequest(request, caddy.NewReplacer(), w, nil)
		}
	})
	b.Run("with the handler", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r := caddyhttp.PrepareRequest(request, caddy.NewReplacer(), w, nil)
			if err := h.ServeHTTP(w, r, next); err != nil {
				b.Fatal(err)
			}
		}
	})
}

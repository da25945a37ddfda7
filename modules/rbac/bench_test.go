package rbac

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// handled returns the bodies that the benchmark times and a test runs: the
// whole handler, with a request that has usual header fields.
func handled(t testing.TB) map[string]func() {
	plain := provision(t, "rbac {\n role clerk {\n allow GET /orders/*\n}\n}")
	conditional := provision(t, shop)
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	bodies := make(map[string]func())
	for name, c := range map[string]struct {
		h    *Handler
		path string
		p    *principal.Principal
	}{
		"plain":      {plain, "/orders/1", user("clerk")},
		"unneeded":   {conditional, "/orders/1", user("clerk")},
		"when":       {conditional, "/teams/red/report", user("manager")},
		"other_auth": {plain, "/orders/1", nil},
	} {
		r := request(http.MethodGet, c.path, c.p)
		if c.p == nil {
			repl := reqctx.Replacer(r)
			repl.Set("http.auth.user.id", "bob")
			repl.Set("http.auth.user.roles", "clerk")
		}
		for _, f := range []string{"Accept", "Accept-Encoding", "Authorization", "User-Agent", "X-Forwarded-For", "X-Request-Id", "Cookie"} {
			r.Header.Set(f, "some value")
		}
		w := httptest.NewRecorder()
		bodies[name] = func() {
			if err := c.h.ServeHTTP(w, r, next); err != nil || w.Code != http.StatusOK {
				t.Fatalf("%s: %d, %v", name, w.Code, err)
			}
		}
	}
	return bodies
}

func TestRequestsOfTheBenchmark(t *testing.T) {
	for _, body := range handled(t) {
		body()
	}
}

// BenchmarkServeHTTP: GOMAXPROCS=1 go test -bench ServeHTTP -benchmem ./modules/rbac
func BenchmarkServeHTTP(b *testing.B) {
	bodies := handled(b)
	for _, name := range []string{"plain", "unneeded", "when", "other_auth"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bodies[name]()
			}
		})
	}
}

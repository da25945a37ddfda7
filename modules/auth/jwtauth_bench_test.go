package auth_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"
	"github.com/golang-jwt/jwt/v5"

	_ "github.com/caddy-moat/caddy-moat/modules/auth"
	_ "github.com/caddy-moat/caddy-moat/modules/jwtauth"
)

const benchSecret = "0123456789abcdef0123456789abcdef"

// authenticator loads the handler that jwt_auth adapts to.
func authenticator(tb testing.TB) caddyhttp.MiddlewareHandler {
	tb.Helper()
	tb.Setenv("MOAT_SECRET", benchSecret)
	root, err := json.Marshal(filepath.Join(tb.TempDir(), "storage"))
	if err != nil {
		tb.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin:      &caddy.AdminConfig{Disabled: true},
		StorageRaw: json.RawMessage(`{"module":"file_system","root":` + string(root) + `}`),
	})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(ctx)
	tb.Cleanup(cancel)
	mod, err := ctx.LoadModuleByID("http.handlers.auth", json.RawMessage(`{"name":"jwt_auth","providers":[{
		"provider":"jwt_auth",
		"issuers":[{"issuer":"https://id.example.com","audience":["api"],"keys":[{"alg":"HS256","value":"{env.MOAT_SECRET}"}]}]}]}`))
	if err != nil {
		tb.Fatal(err)
	}
	return mod.(caddyhttp.MiddlewareHandler)
}

// benchRequest is one that carries a good token, with the fields of a browser.
func benchRequest(tb testing.TB) *http.Request {
	tb.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "https://id.example.com", "sub": "alice", "aud": "api", "jti": "0123456789",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		"roles": []string{"clerk", "reader"}, "scope": "read write",
	}).SignedString([]byte(benchSecret))
	if err != nil {
		tb.Fatal(err)
	}
	r := httptest.NewRequest("GET", "https://example.com/orders", nil)
	for _, name := range []string{"Accept", "Accept-Encoding", "Accept-Language", "Connection", "User-Agent"} {
		r.Header.Set(name, "close")
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// repeatedToken returns what one request with a token that is remembered takes in
// all, and what Caddy's preparation of a request takes of it.
func repeatedToken(tb testing.TB) (all, prepare func()) {
	tb.Helper()
	h := authenticator(tb)
	request, w := benchRequest(tb), httptest.NewRecorder()
	passed := 0
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { passed++; return nil })
	prepared := func() *http.Request {
		return caddyhttp.PrepareRequest(request, caddy.NewReplacer(), w, nil)
	}
	all = func() {
		before := passed
		if err := h.ServeHTTP(w, prepared(), next); err != nil || passed != before+1 {
			tb.Fatalf("refused: %v, %d %s", err, w.Code, w.Body)
		}
	}
	all()
	return all, func() { prepared() }
}

// BenchmarkRepeatedToken is the whole of jwt_auth on a request whose token is
// remembered. Run with: go test -run - -bench RepeatedToken -benchmem ./modules/auth
func BenchmarkRepeatedToken(b *testing.B) {
	all, prepare := repeatedToken(b)
	for name, f := range map[string]func(){"prepare alone": prepare, "with jwt_auth": all} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}

// TestRepeatedTokenAllocatesLittle holds what BenchmarkRepeatedToken measures.
func TestRepeatedTokenAllocatesLittle(t *testing.T) {
	all, prepare := repeatedToken(t)
	if n := testing.AllocsPerRun(1000, all) - testing.AllocsPerRun(1000, prepare); n > 2 { // the context with the stream, and what the replacer asks
		t.Errorf("%v allocations", n)
	}
}

package reqctx

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// TestLaterAuthenticatorThatIsNotOursWinsAlone: behind jwt_auth, Caddy's
// basic_auth sets its own user and knows nothing of ours. The roles of the one
// must not stand beside the name of the other.
func TestLaterAuthenticatorThatIsNotOursWinsAlone(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	repl := caddy.NewReplacer()
	r = caddyhttp.PrepareRequest(r, repl, httptest.NewRecorder(), nil)
	eve := &principal.Principal{ID: "eve", Kind: principal.KindJWT, Roles: []string{"admin"}, Claims: principal.NewClaims([]byte(`{"sub":"eve"}`))}
	Identify(r, eve)
	if p := Principal(r); p != eve {
		t.Fatalf("got %+v", p)
	}

	repl.Set("http.auth.user.id", "bob") // as basic_auth does
	p := Principal(r)
	if p == nil || p.ID != "bob" || len(p.Roles) != 0 || p.Claims != nil {
		t.Errorf("got %+v, want bob without roles", p)
	}
	for _, name := range []string{"roles", "claims.sub"} {
		if v, ok := repl.GetString("http.auth.user." + name); !ok || v != "" {
			t.Errorf("{http.auth.user.%s} is %q (%v), want it empty", name, v, ok)
		}
	}
	repl.Set("http.auth.user.roles", "clerk")
	if p := Principal(r); !p.HasRole("clerk") || p.HasRole("admin") {
		t.Errorf("got %+v, want the clerk bob", p)
	}

	// And one of ours after that.
	Identify(r, eve)
	if p := Principal(r); p != eve {
		t.Errorf("got %+v, want eve", p)
	}
	if id, _ := repl.GetString("http.auth.user.id"); id != "eve" {
		t.Errorf("{http.auth.user.id} is %q", id)
	}
	if roles, _ := repl.GetString("http.auth.user.roles"); roles != "admin" {
		t.Errorf("{http.auth.user.roles} is %q", roles)
	}
}

// TestAnonymousRequestHasEmptyPlaceholders: Caddy passes the name of an unknown
// placeholder on, in header_up for one, and an upstream could take it for
// an identity.
func TestAnonymousRequestHasEmptyPlaceholders(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	repl := caddy.NewReplacer()
	r = caddyhttp.PrepareRequest(r, repl, httptest.NewRecorder(), nil)
	const all = "{http.auth.user.id}{http.auth.user.roles}{http.auth.user.scopes}{http.auth.user.plan}{http.auth.user.claims.email}"
	Of(r)
	if got := repl.ReplaceKnown(all, ""); got != "" {
		t.Errorf("the upstream would see %q", got)
	}
	if p := Principal(r); p != nil {
		t.Errorf("got %+v", p)
	}
	Identify(r, &principal.Principal{ID: "alice"})
	if got := repl.ReplaceKnown(all, ""); got != "alice" {
		t.Errorf("got %q of a caller with nothing but a name", got)
	}
	Of(r) // an optional authenticator that comes later
	if p := Principal(r); p == nil || p.ID != "alice" {
		t.Errorf("got %+v", p)
	}
}

// TestCallerIsWhomToCountFor holds that {http.moat.caller} is one key for one
// caller, whoever verified it, and the address of an anonymous client.
func TestCallerIsWhomToCountFor(t *testing.T) {
	for _, c := range []struct {
		p               *principal.Principal
		foreign, client string
		want            string
	}{
		{nil, "", "192.0.2.1", "192.0.2.1"},
		{nil, "", "::ffff:192.0.2.1", "192.0.2.1"},
		{nil, "", "2001:DB8::1%eth0", "2001:db8::1"},
		{nil, "", "unix socket", "unix socket"},
		{&principal.Principal{ID: "alice", Issuer: "https://a.example", Kind: principal.KindJWT}, "", "192.0.2.1", "https://a.example|alice"},
		{&principal.Principal{ID: "192.0.2.1", Kind: principal.KindAPIKey}, "", "192.0.2.1", "api_key||192.0.2.1"},
		{nil, "bob", "192.0.2.1", "other||bob"},
		{&principal.Principal{ID: "alice", Kind: principal.KindJWT}, "bob", "192.0.2.1", "other||bob"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		repl := caddy.NewReplacer()
		r = caddyhttp.PrepareRequest(r, repl, httptest.NewRecorder(), nil)
		Vars(r)[caddyhttp.ClientIPVarKey] = c.client
		Of(r)
		if c.p != nil {
			Identify(r, c.p)
		}
		kind := ""
		switch {
		case c.foreign != "":
			repl.Set("http.auth.user.id", c.foreign)
			kind = "other"
		case c.p != nil:
			kind = c.p.Kind
		}
		if got, _ := repl.GetString("http.moat.caller"); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
		if got, ok := repl.GetString("http.auth.user.kind"); !ok || got != kind {
			t.Errorf("%s: {http.auth.user.kind} is %q, want %q", c.want, got, kind)
		}
	}
}

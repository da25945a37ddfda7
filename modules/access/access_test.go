package access

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// handler is either of ours.
type handler interface {
	caddyhttp.MiddlewareHandler
	caddyfile.Unmarshaler
	caddy.CleanerUpper
	provision(caddy.Context) error
}

func open(t testing.TB, h handler, options string) error {
	t.Helper()
	if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser("access {\n" + options + "\n}")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	t.Cleanup(func() { _ = h.Cleanup() })
	return h.provision(ctx)
}

func opened(t testing.TB, options string) *Handler {
	t.Helper()
	h := new(Handler)
	if err := open(t, h, options); err != nil {
		t.Fatal(err)
	}
	return h
}

func file(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// ask sends a request through h and returns its status, its code, and the rule
// that has let it in by itself.
func ask(t testing.TB, h caddyhttp.MiddlewareHandler, remote, client string, p *principal.Principal) (status int, code, listed string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = remote
	w := httptest.NewRecorder()
	repl := caddy.NewReplacer()
	r = caddyhttp.PrepareRequest(r, repl, w, &caddyhttp.Server{})
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, client)
	c := reqctx.Of(r)
	if p != nil {
		c.Identify(p)
	}
	if err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		if all := c.Decisions().Decisions(); c.Exempted() {
			listed = all[len(all)-1].Rule
		}
		return nil
	})); err != nil {
		t.Fatal(err)
	}
	code, _ = repl.GetString("http.moat.code")
	return w.Code, code, listed
}

func TestDenyIsStrongerThanAllow(t *testing.T) {
	h := opened(t, "deny 192.0.2.1 2001:db8:1::/48\nallow 192.0.2.0/24 2001:db8::/32\nexempt 192.0.2.1 203.0.113.7")
	for client, want := range map[string]string{
		"192.0.2.1":        "",
		"::ffff:192.0.2.1": "",
		"192.0.2.2":        "allow 192.0.2.0/24",
		"::ffff:192.0.2.2": "allow 192.0.2.0/24",
		"203.0.113.7":      "exempt 203.0.113.7",
		"203.0.113.8":      "",
		"2001:db8::1%eth0": "allow 2001:db8::/32",
		"2001:db8:1::1":    "",
		"":                 "",
		"@":                "",
		"192.0.2.2:80":     "",
	} {
		status, code, listed := ask(t, h, "198.51.100.1:1", client, nil)
		if listed != want || (want == "") != (status == 403 && code == CodeDenied) {
			t.Errorf("%q: %d %s %q, want %q", client, status, code, listed, want)
		}
	}
}

func TestPeerAndClientAreSaidApart(t *testing.T) {
	h := opened(t, "deny 192.0.2.1\nby peer")
	if status, _, _ := ask(t, h, "198.51.100.1:1", "192.0.2.1", nil); status != 200 {
		t.Errorf("%d", status)
	}
	for _, remote := range []string{"192.0.2.1:1", "[::ffff:192.0.2.1]:1", "@", ""} {
		if status, _, _ := ask(t, h, remote, "198.51.100.1", nil); status != 403 {
			t.Errorf("%q: %d", remote, status)
		}
	}
}

func TestNothingListedIsNotExempt(t *testing.T) {
	h := opened(t, "deny 192.0.2.1")
	if status, _, listed := ask(t, h, "a:1", "192.0.2.2", nil); status != 200 || listed != "" {
		t.Errorf("%d %q", status, listed)
	}
}

func TestCountriesLetInAndNoMore(t *testing.T) {
	database := "../../integration/access/testdata/countries.mmdb"
	h := opened(t, "allow country DE\ndeny country unknown\nexempt country CN\ndatabase "+database)
	for client, want := range map[string]int{"203.0.113.1": 200, "198.51.100.1": 200, "198.51.100.200": 403, "2001:db8::1": 403, "10.0.0.1": 403} {
		if status, _, listed := ask(t, h, "a:1", client, nil); status != want || listed != "" {
			t.Errorf("%s: %d %q", client, status, listed)
		}
	}
	if err := open(t, new(Handler), "deny asn 1\ndatabase "+database); err == nil || !strings.Contains(err.Error(), "has nothing that an entry needs") {
		t.Errorf("got %v", err)
	}
}

func TestListsThatOpenNothingAreRefused(t *testing.T) {
	none := file(t, "# none\n")
	for options, want := range map[string]string{
		"allow " + none:                              "allow lists nobody",
		"deny 10.0.0.0/8\nallow 10.1.0.0/16":         "allow lets nobody in, since deny has all of it (allow 10.1.0.0/16)",
		"deny " + file(t, ""):                        "the file is empty",
		"deny /no/such/file":                         "no such file",
		"deny " + file(t, "10.0.0.0/8\n0.0.0.0/0\n"): "line 2: 0.0.0.0/0 covers every address",
	} {
		if err := open(t, new(Handler), options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", options, err)
		}
	}
	h := opened(t, "deny 10.0.0.0/8 "+none+"\nallow 10.1.0.0/16 192.0.2.1 ::/0")
	var ids []string
	for _, d := range h.Doubts() {
		ids = append(ids, d.ID)
	}
	if got := strings.Join(ids, " "); got != "access_empty_list access_lists_all access_shadowed" {
		t.Errorf("got %s", got)
	}
}

func TestMatcherOfAddresses(t *testing.T) {
	m := new(MatchAddressList)
	if err := m.UnmarshalCaddyfile(caddyfile.NewTestDispenser("address_list 192.0.2.0/24 {\n" + file(t, "203.0.113.7") + "\nby client\n}")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	if err := m.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Cleanup() }()
	for client, want := range map[string]bool{"192.0.2.9": true, "::ffff:203.0.113.7": true, "203.0.113.8": false} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, &caddyhttp.Server{})
		caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, client)
		if got, err := m.MatchWithError(r); got != want || err != nil {
			t.Errorf("%s: %v %v", client, got, err)
		}
	}
	if got, err := m.MatchWithError(httptest.NewRequest(http.MethodGet, "/", nil)); got || err == nil {
		t.Errorf("a request without an address: %v %v", got, err)
	}
}

func TestCallers(t *testing.T) {
	jwt := func(id string) *principal.Principal {
		return &principal.Principal{ID: id, Issuer: "https://id.test", Kind: principal.KindJWT}
	}
	h := new(CallerHandler)
	if err := open(t, h, "deny caller https://id.test mallory\nallow file "+file(t, "caller https://id.test mallory\ncaller https://id.test alice\n")+"\nexempt api_key k1"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		p      *principal.Principal
		status int
		code   string
	}{
		{jwt("alice"), 200, ""},
		{jwt("mallory"), 403, CodeCallerDenied},
		{jwt("bob"), 403, CodeCallerDenied},
		{&principal.Principal{ID: "alice", Issuer: "https://other.test", Kind: principal.KindJWT}, 403, CodeCallerDenied},
		{&principal.Principal{ID: "p", Kind: principal.KindAPIKey, KeyID: "k1"}, 200, ""},
		{nil, 401, "missing_credentials"},
	} {
		status, code, listed := ask(t, h, "a:1", "192.0.2.1", c.p)
		if status != c.status || code != c.code || (listed != "") != (status == 200) {
			t.Errorf("%+v: %d %s %q", c.p, status, code, listed)
		}
	}
	if err := open(t, new(CallerHandler), "allow file "+file(t, "# none\n")); err == nil || !strings.Contains(err.Error(), "allow lists nobody") {
		t.Errorf("got %v", err)
	}
}

// BenchmarkAccess is what access adds to a request:
//
//	go test ./modules/access -bench Access
func BenchmarkAccess(b *testing.B) {
	h := opened(b, "deny 198.51.100.0/24 "+file(b, "203.0.113.0/24\n")+"\nallow 192.0.2.0/24")
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, &caddyhttp.Server{})
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		if v := h.decide(addressOf(r, "")); v.rule == "" {
			b.Fatal(v)
		}
	}
}

func TestDecisionsAllocateNothing(t *testing.T) {
	h := opened(t, "deny 198.51.100.0/24 "+file(t, "203.0.113.0/24\n")+"\nallow 192.0.2.0/24")
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, &caddyhttp.Server{})
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "192.0.2.1")
	if n := testing.AllocsPerRun(100, func() { h.decide(addressOf(r, "")) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

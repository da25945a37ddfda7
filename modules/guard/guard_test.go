package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// newContext is that of a configuration whose storage is in dir.
func newContext(t testing.TB, dir string) caddy.Context {
	t.Helper()
	root, err := json.Marshal(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		StorageRaw: json.RawMessage(`{"module":"file_system","root":` + string(root) + `}`),
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{
			caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

// open returns a handler of options, in a zone of the test's own.
func open(t testing.TB, dir, options string) *Handler {
	t.Helper()
	h := new(Handler)
	zone := strings.Map(func(c rune) rune {
		if zoneName(string(c)) {
			return c
		}
		return '-'
	}, t.Name())
	if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser("guard {\n" + options + "\nzone " + zone[max(0, len(zone)-60):] + "\n}")); err != nil {
		t.Fatal(err)
	}
	if err := h.provision(newContext(t, dir)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Cleanup() })
	return h
}

// client is who sends requests to a handler.
type client struct {
	t      testing.TB
	h      *Handler
	addr   string // as Caddy derives it
	peer   string // of the connection, if it is another: a trusted proxy
	caller *principal.Principal
	header http.Header
	server *caddyhttp.Server
}

// send sends a request, which inner responds to.
func (c client) send(method, path string, inner caddyhttp.HandlerFunc) (*httptest.ResponseRecorder, error) {
	c.t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for name, values := range c.header {
		r.Header[name] = values
	}
	peer := c.addr
	if c.peer != "" {
		peer = c.peer
	}
	r.RemoteAddr = "[" + peer + "]:1234"
	if !strings.Contains(peer, ":") {
		r.RemoteAddr = peer + ":1234"
	}
	w := httptest.NewRecorder()
	server := c.server
	if server == nil {
		server = new(caddyhttp.Server)
	}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, server)
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, c.addr)
	caddyhttp.SetVar(r.Context(), caddyhttp.TrustedProxyVarKey, c.peer != "")
	err := c.h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		if c.caller != nil {
			if p := reqctx.Of(r).Admit(c.caller); p != nil {
				return reqctx.Refuse(w, r, p)
			}
			reqctx.Identify(r, c.caller)
		}
		return inner(w, r)
	}))
	return w, err
}

func (c client) want(status int, method, path string, inner caddyhttp.HandlerFunc) *httptest.ResponseRecorder {
	c.t.Helper()
	w, err := c.send(method, path, inner)
	if err != nil || w.Code != status {
		c.t.Fatalf("%s %s: %d %v, want %d: %s", method, path, w.Code, err, status, w.Body)
	}
	if status == http.StatusForbidden && !strings.Contains(w.Body.String(), `"code":"banned"`) {
		c.t.Fatalf("%s", w.Body)
	}
	return w
}

func respond(status int, body string) caddyhttp.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("X-Secret", "of the response")
		w.WriteHeader(status)
		_, err := io.WriteString(w, body)
		return err
	}
}

const scanRule = "rule scan {\ncount 404 by address\nover 3 in 1h\nban 1h\n}"

func TestBanActsInTheRequestThatCrossesTheLine(t *testing.T) {
	c := client{t: t, h: open(t, t.TempDir(), scanRule), addr: "203.0.113.1"}
	for range 3 {
		c.want(404, "GET", "/a", respond(404, "none"))
	}
	w := c.want(403, "GET", "/a", respond(404, "none"))
	if strings.Contains(w.Body.String(), "none") || w.Header().Get("X-Secret") != "" {
		t.Errorf("the response that was replaced is there: %v %s", w.Header(), w.Body)
	}
	if n, _ := strconv.Atoi(w.Header().Get("Retry-After")); n < 3590 || n > 3600 || w.Header().Get("X-Should-Retry") != "false" {
		t.Errorf("%v", w.Header())
	}
	reached := false
	c.want(403, "GET", "/b", func(http.ResponseWriter, *http.Request) error { reached = true; return nil })
	if reached {
		t.Error("a banned request has reached the site")
	}
	c.addr = "203.0.113.2"
	c.want(200, "GET", "/b", respond(200, "ok"))
}

// TestResponsesThatAreNotReplaced: nobody is told that what a POST has done did not
// happen, and a response that has begun is not broken.
func TestResponsesThatAreNotReplaced(t *testing.T) {
	c := client{t: t, h: open(t, t.TempDir(), "rule all {\ncount requests by address\nover 2 in 1h\nban 1h\n}"), addr: "203.0.113.1"}
	c.want(200, "GET", "/", respond(200, "ok"))
	c.want(200, "GET", "/", respond(200, "ok"))
	if w := c.want(201, "POST", "/", respond(201, "made")); w.Body.String() != "made" || w.Header().Get("X-Secret") == "" {
		t.Errorf("%s", w.Body)
	}
	c.want(403, "GET", "/", respond(200, "ok"))

	c.h, c.addr = open(t, t.TempDir(), "rule much {\ncount bytes by address\nover 10KiB in 1h\nban 1h\n}"), "203.0.113.5"
	if w := c.want(200, "GET", "/", respond(200, strings.Repeat("x", 20<<10))); w.Body.Len() != 20<<10 {
		t.Errorf("%d bytes", w.Body.Len())
	}
	c.want(403, "GET", "/", respond(200, "ok"))
}

// TestALongResponseIsNotReadToItsEnd: the handler that writes it is told, and its panic
// does not tear the connection down.
func TestALongResponseIsNotReadToItsEnd(t *testing.T) {
	c := client{t: t, h: open(t, t.TempDir(), "rule all {\ncount requests by address\nover 1 in 1h\nban 1h\n}"), addr: "203.0.113.1"}
	c.want(200, "GET", "/", respond(200, "ok"))
	written := 0
	c.want(403, "GET", "/", func(w http.ResponseWriter, _ *http.Request) error {
		for {
			n, err := w.Write(make([]byte, 32<<10))
			if err != nil {
				panic(http.ErrAbortHandler) // as reverse_proxy does
			}
			written += n
		}
	})
	if written > 1<<20 {
		t.Errorf("%d bytes were taken", written)
	}
	defer func() {
		if p := recover(); p == nil {
			t.Error("a panic that is none of ours is gone")
		}
	}()
	c.addr = "203.0.113.2"
	_, _ = c.send("GET", "/", func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) })
}

// TestErrorsAndErrorRoutes: what inner handlers return is judged, and handle_errors decides
// what a ban looks like.
func TestErrorsAndErrorRoutes(t *testing.T) {
	c := client{t: t, h: open(t, t.TempDir(), "rule limit {\ncount rate_limited by address\nover 1 in 1h\nban 1h\n}"), addr: "203.0.113.1"}
	limited := func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(429, errors.New("too many")) }
	c.want(429, "GET", "/", respond(429, "of the upstream"))
	c.want(429, "GET", "/", respond(429, "of the upstream"))
	if _, err := c.send("GET", "/", limited); err == nil {
		t.Error("the error is gone")
	}
	c.want(403, "GET", "/", limited)
	c.server = &caddyhttp.Server{Errors: &caddyhttp.HTTPErrorConfig{Routes: caddyhttp.RouteList{{}}}}
	w, err := c.send("GET", "/", limited)
	var herr caddyhttp.HandlerError
	if !errors.As(err, &herr) || herr.StatusCode != 403 || w.Body.Len() > 0 {
		t.Errorf("%v %s", err, w.Body)
	}
}

func TestTraps(t *testing.T) {
	h := open(t, t.TempDir(), "trap /.env /wp-admin/* {\nban 1h\n}\ntrap /old.zip {\nalert\n}")
	for i, path := range []string{"/.env", "/.ENV", "//.env", "/%2eenv", "/x/../.env", "/.env/", "/wp-admin/", "/wp-admin/a/b", "/WP-Admin/x", "/./wp-admin/x"} {
		c := client{t: t, h: h, addr: fmt.Sprintf("203.0.113.%d", i)}
		c.want(403, "GET", path, respond(404, ""))
		c.want(403, "GET", "/", respond(200, ""))
	}
	for i, path := range []string{"/", "/.envx", "/a/.env", "/wp-admin", "/wp-adminx/a", "/old.zip"} {
		c := client{t: t, h: h, addr: fmt.Sprintf("203.0.113.%d", 100+i)}
		c.want(200, "GET", path, respond(200, ""))
		c.want(200, "GET", "/", respond(200, ""))
	}
}

// TestPagesOfOtherSitesBanNobody: an image on somebody's page makes its visitors request
// a trap. They lose nothing but requests of such pages.
func TestPagesOfOtherSitesBanNobody(t *testing.T) {
	c := client{t: t, h: open(t, t.TempDir(), "trap /.env\n"+scanRule), addr: "203.0.113.1"}
	lured := c
	lured.header = http.Header{"Sec-Fetch-Site": {"cross-site"}}
	lured.want(403, "GET", "/.env", respond(404, ""))
	lured.want(403, "GET", "/", respond(200, ""))
	c.want(200, "GET", "/", respond(200, ""))
	for range 10 {
		lured.addr = "203.0.113.2"
		_, _ = lured.send("GET", "/none", respond(404, ""))
	}
	c.addr = "203.0.113.2"
	c.want(200, "GET", "/", respond(200, ""))
	// Whoever sets the field to escape is banned like all others.
	c.want(403, "GET", "/.env", respond(404, ""))
	lured.want(403, "GET", "/", respond(200, ""))
}

// TestAddressesThatAreNobodys: an address that may be a proxy's, or that the client may have
// chosen, is not banned.
func TestAddressesThatAreNobodys(t *testing.T) {
	h := open(t, t.TempDir(), "trap /.env")
	forwarded := func(values ...string) http.Header { return http.Header{"X-Forwarded-For": values} }
	strict := &caddyhttp.Server{TrustedProxiesStrict: 1, ClientIPHeaders: []string{"X-Forwarded-For"}}
	loose := &caddyhttp.Server{ClientIPHeaders: []string{"X-Forwarded-For"}}
	for name, test := range map[string]struct {
		c      client
		status int
	}{
		"a proxy that nobody trusts": {client{addr: "10.0.0.7", header: forwarded("203.0.113.1")}, 404},
		"loopback":                   {client{addr: "127.0.0.1"}, 404},
		"loopback of IPv6":           {client{addr: "::1"}, 404},
		"loopback, mapped":           {client{addr: "::ffff:127.0.0.1"}, 404},
		"link-local with a zone":     {client{addr: "fe80::1%eth0"}, 404},
		"shared":                     {client{addr: "100.64.3.2"}, 404},
		"no address":                 {client{addr: ""}, 404},
		"a proxy's own":              {client{addr: "198.51.100.1", peer: "198.51.100.1", server: strict}, 404},
		"one that was reported":      {client{addr: "203.0.113.2", peer: "10.0.0.7", server: loose, header: forwarded("203.0.113.2")}, 403},
		"the first of two":           {client{addr: "203.0.113.3", peer: "10.0.0.7", server: loose, header: forwarded("203.0.113.3, 203.0.113.4")}, 404},
		"in two fields":              {client{addr: "203.0.113.3", peer: "10.0.0.7", server: loose, header: forwarded("203.0.113.3", "203.0.113.4")}, 404},
		"the last of two":            {client{addr: "203.0.113.5", peer: "10.0.0.7", server: strict, header: forwarded("203.0.113.3, 203.0.113.5")}, 403},
		"mapped":                     {client{addr: "::ffff:203.0.113.6"}, 403},
		"IPv6":                       {client{addr: "2001:db8::1"}, 403},
	} {
		test.c.t, test.c.h = t, h
		test.c.want(test.status, "GET", "/.env", respond(404, ""))
		test.c.want(map[int]int{403: 403, 404: 200}[test.status], "GET", "/", respond(200, ""))
		t.Log(name)
	}
	c := client{t: t, h: h, addr: "2001:db8::ffff:1"}
	c.want(403, "GET", "/", respond(200, "")) // of the same /64
	c.addr = "203.0.113.6"
	c.want(403, "GET", "/", respond(200, ""))
	c.addr = "203.0.113.3"
	c.want(200, "GET", "/", respond(200, ""))

	c = client{t: t, h: open(t, t.TempDir(), "trap /.env2\nban_private"), addr: "10.0.0.7"}
	c.want(403, "GET", "/.env2", respond(404, ""))
}

func TestWhoIsAllowedIsNeverTouched(t *testing.T) {
	h := open(t, t.TempDir(), "trap /.env\nallow 203.0.113.0/28 2001:db8:1::/48\n"+strings.ReplaceAll(scanRule, "address", "network"))
	for _, address := range []string{"203.0.113.1", "::ffff:203.0.113.2", "2001:db8:1::1"} {
		c := client{t: t, h: h, addr: address}
		c.want(404, "GET", "/.env", respond(404, ""))
		for range 20 {
			c.want(404, "GET", "/none", respond(404, ""))
		}
	}
	// Not even where their network is banned.
	c := client{t: t, h: h, addr: "203.0.113.99"}
	for range 4 {
		_, _ = c.send("GET", "/none", respond(404, ""))
	}
	c.want(403, "GET", "/", respond(200, ""))
	c.addr = "203.0.113.1"
	c.want(200, "GET", "/", respond(200, ""))
	// A layer outside may have found so, too, or one inside before the response.
	c.addr = "203.0.113.99"
	c.want(403, "GET", "/", respond(200, ""))
	c.addr = "198.51.100.7"
	for range 20 {
		c.want(404, "GET", "/none", func(w http.ResponseWriter, r *http.Request) error {
			reqctx.Of(r).Exempt()
			return respond(404, "")(w, r)
		})
	}
}

func TestCallersAreBannedWhereverTheyAre(t *testing.T) {
	dir := t.TempDir()
	options := "rule walk {\ncount distinct {id} by caller\npath /orders/{id}\nover 5 in 10m\nban 10m\n}\nrule key {\ncount 403 by key\nover 2 in 1m\nban 1h\n}"
	h := open(t, dir, options)
	mallory := &principal.Principal{ID: "mallory", Issuer: "https://id.test", Kind: principal.KindJWT}
	c := client{t: t, h: h, caller: mallory}
	for i := range 6 {
		c.addr = fmt.Sprintf("203.0.113.%d", i)
		want := 200
		if i == 5 {
			want = 403
		}
		c.want(want, "GET", fmt.Sprintf("/orders/%d", i), respond(200, "order"))
	}
	c.addr = "203.0.113.99"
	c.want(403, "GET", "/other", respond(200, ""))
	c.caller = &principal.Principal{ID: "mallory", Issuer: "https://other.test", Kind: principal.KindJWT}
	c.want(200, "GET", "/other", respond(200, "")) // somebody else
	c.caller = nil
	c.want(200, "GET", "/other", respond(200, "")) // the address is not banned

	denied := func(w http.ResponseWriter, r *http.Request) error {
		reqctx.Decisions(r).Add(decision.Decision{Layer: "rbac", Result: decision.Deny, Code: "forbidden"})
		return respond(403, `"code":"banned"`)(w, r)
	}
	c.caller = &principal.Principal{ID: "acme", Kind: principal.KindAPIKey, KeyID: "k1"}
	for range 3 {
		_, _ = c.send("GET", "/admin", denied)
	}
	c.want(403, "GET", "/", respond(200, ""))
	c.caller = &principal.Principal{ID: "acme", Kind: principal.KindAPIKey, KeyID: "k2"}
	c.want(200, "GET", "/", respond(200, ""))

	// The storage has it.
	if err := h.zone.save(); err != nil {
		t.Fatal(err)
	}
	_ = h.Cleanup()
	c.h = open(t, dir, options)
	c.caller = mallory
	c.want(403, "GET", "/other", respond(200, ""))
}

// TestNobodyIsBannedForTheClaimsOfOthers: who fails with a credential counts by address,
// whoever it claims to be of, and a caller who is not verified is none.
func TestNobodyIsBannedForTheClaimsOfOthers(t *testing.T) {
	c := client{t: t, h: open(t, t.TempDir(), "rule guess {\ncount failed_credentials by caller\nover 3 in 1m\nban 1h\n}"), addr: "203.0.113.1"}
	alice := &principal.Principal{ID: "alice", Kind: principal.KindJWT}
	for i := range 10 {
		_, _ = c.send("GET", "/", func(w http.ResponseWriter, r *http.Request) error {
			r.Header.Set("Authorization", fmt.Sprintf("Bearer alice.%d", i))
			d := reqctx.Decisions(r)
			d.SetCaller(alice) // as for a key that is known, from a place where it may not be used
			d.Add(decision.Decision{Layer: "jwt_auth", Result: decision.Deny, Code: "invalid_token"})
			reqctx.Of(r).SetRejected(r, nil)
			return respond(401, "")(w, r)
		})
	}
	c.want(403, "GET", "/", respond(200, ""))
	c.addr, c.caller = "203.0.113.2", alice
	c.want(200, "GET", "/", respond(200, ""))
}

func TestDryRunRejectsNobody(t *testing.T) {
	c := client{t: t, h: open(t, t.TempDir(), "dry_run\ntrap /.env\n"+scanRule), addr: "203.0.113.1"}
	c.want(404, "GET", "/.env", respond(404, ""))
	for range 10 {
		c.want(404, "GET", "/none", respond(404, ""))
	}
	if len(c.h.zone.bans.List(now())) != 0 {
		t.Error("there are bans")
	}
}

func TestBansThatCannotBeReadStopTheStart(t *testing.T) {
	dir := t.TempDir()
	ctx := newContext(t, dir)
	if err := ctx.Storage().Store(ctx, "moat/guard/default.json", []byte(`{"version":1,"bans":[{"subject":"x"}]}`)); err != nil {
		t.Fatal(err)
	}
	h := &Handler{Traps: []Trap{{Paths: []string{"/.env"}}}}
	err := h.provision(ctx)
	_ = h.Cleanup()
	if err == nil || !strings.Contains(err.Error(), "moat/guard/default.json") || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("%v", err)
	}
}

// TestJSONIsCheckedLikeACaddyfile: what did not come from a Caddyfile is refused for
// the same reasons.
func TestJSONIsCheckedLikeACaddyfile(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                          "no trap and no rule",
		`{"traps":[{"paths":["/"]}]}`: "would ban everybody",
		`{"traps":[{"paths":["/a"],"ban":[-1]}]}`:                                                                               "write a duration",
		`{"traps":[{"paths":["/a"],"ban":[3600000000000],"alert":true}]}`:                                                       "alert or ban",
		`{"traps":[{"paths":["/a","/A"]}]}`:                                                                                     "already specified",
		`{"traps":[{"paths":["/a"]}],"max_keys":-1}`:                                                                            "max_keys",
		`{"traps":[{"paths":["/a"]}],"allow":["::/0x"]}`:                                                                        "allow",
		`{"rules":[{"name":"a b","count":"404 by address","over":1,"in":1000000000,"alert":true}]}`:                             "name",
		`{"rules":[{"name":"a","count":"404 by address","over":1,"in":1000,"alert":true}]}`:                                     "between 1s and 7d",
		`{"rules":[{"name":"a","count":"404 by address","over":-1,"in":1000000000,"alert":true}]}`:                              "above 0",
		`{"rules":[{"name":"a","count":"404 by address","over":1,"in":1000000000}]}`:                                            "nothing comes of it",
		`{"rules":[{"name":"a","count":"404 by address","over":1,"in":1000000000,"slow":1000000000}]}`:                          "durations",
		`{"rules":[{"name":"a","count":"404 by address","over":1,"in":1000000000,"slow_for":[1000000000]}]}`:                    "slow takes a delay",
		`{"rules":[{"name":"a","count":"404 by address","over":1,"in":1000000000,"ban":[1000000000],"slow":1,"slow_for":[1]}]}`: "not both",
		`{"rules":[{"name":"a","count":"404 by site","over":1,"in":1000000000,"ban":[1000000000]}]}`:                            "by site",
		`{"rules":[{"name":"a","count":"bytes by caller","learn":true,"alert":true}]}`:                                          "not for bytes",
	} {
		var h Handler
		if err := json.Unmarshal([]byte(text), &h); err != nil {
			t.Fatal(err)
		}
		h.setDefaults()
		if _, err := h.compile(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// go test ./modules/guard -run - -bench . -benchmem
func BenchmarkRequest(b *testing.B) {
	var rules strings.Builder
	rules.WriteString("trap /.env /wp-login.php\n")
	for i, count := range []string{
		"failed_credentials by address", "401 by network", "403 by caller", "distinct path 404 by address", "ambiguous_path by address",
		"invalid_body by caller", "rate_limited by key", "distinct {id} by caller", "bytes by address", "distinct token by address",
	} {
		over := "900"
		if strings.HasPrefix(count, "bytes") {
			over = "1000TiB"
		}
		fmt.Fprintf(&rules, "rule r%d {\ncount %s\nover %s in 1h\nban 1h\n}\n", i, count, over)
	}
	h := open(b, b.TempDir(), rules.String())
	caller := &principal.Principal{ID: "alice", Issuer: "https://id.test", Kind: principal.KindJWT, TokenID: "t"}
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		c := reqctx.Of(r)
		c.SetRoute("/orders/{id}", "/orders/17")
		reqctx.Identify(r, caller)
		w.WriteHeader(200)
		return nil
	})
	for name, serve := range map[string]caddyhttp.HandlerFunc{
		"with":    func(w http.ResponseWriter, r *http.Request) error { return h.ServeHTTP(w, r, next) },
		"without": next.ServeHTTP,
	} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest("GET", "/orders/17", nil)
			w := httptest.NewRecorder()
			r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
			caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "203.0.113.1")
			b.ReportAllocs()
			for b.Loop() {
				_ = serve(w, r)
			}
		})
	}
}

// TestAClientThatRepeatsASecretIsNoGuess: a layer need not say which credential it has
// rejected.
func TestAClientThatRepeatsASecretIsNoGuess(t *testing.T) {
	c := client{t: t, h: open(t, t.TempDir(), "rule guess {\ncount failed_credentials by address\nover 3 in 1m\nban 1h\n}"), addr: "203.0.113.1"}
	rejected := func(w http.ResponseWriter, r *http.Request) error {
		reqctx.Decisions(r).Add(decision.Decision{Layer: "token_server", Result: decision.Deny, Code: "invalid_client"})
		return respond(401, "")(w, r)
	}
	c.header = http.Header{"Authorization": {"Basic YTpi"}}
	for range 20 {
		c.want(401, "POST", "/token", rejected)
	}
	for i, want := range []int{401, 401, 403} {
		c.header = http.Header{"Authorization": {fmt.Sprintf("Basic YTpi%d", i)}}
		c.want(want, "POST", "/token", rejected)
	}
}

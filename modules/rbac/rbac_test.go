package rbac

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

const shop = `rbac {
	role clerk {
		allow GET      /orders/*
		allow POST     /orders
	}
	role manager inherits clerk {
		allow *        /orders/*
		deny  DELETE   /orders/*/invoice
		allow GET      /teams/{team}/report when ` + "`team in claims.teams`" + `
	}
	anyone {
		allow GET      /health
	}
}`

// parse reads a Caddyfile block and sends it through JSON, as Caddy does.
func parse(t testing.TB, text string) *Handler {
	t.Helper()
	h := new(Handler)
	if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	h = new(Handler)
	if err := caddy.StrictUnmarshalJSON(config, h); err != nil {
		t.Fatal(err)
	}
	return h
}

// provision loads a block, until the test ends.
func provision(t testing.TB, text string) *Handler {
	t.Helper()
	h := parse(t, text)
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// request makes a request as Caddy would have prepared it.
func request(method, target string, p *principal.Principal) *http.Request {
	u, err := url.ParseRequestURI(target) // as net/http reads it
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	r.Method, r.URL, r.RequestURI = method, u, target
	repl := caddy.NewReplacer()
	r = caddyhttp.PrepareRequest(r, repl, httptest.NewRecorder(), nil)
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "192.0.2.7")
	if p != nil {
		reqctx.Identify(r, p)
	}
	return r
}

// serve returns the response and whether the request got through.
func serve(t testing.TB, h *Handler, r *http.Request) (*httptest.ResponseRecorder, bool) {
	t.Helper()
	passed := false
	w := httptest.NewRecorder()
	// Without error routes the rejection is written by the handler itself.
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.ServerCtxKey, new(caddyhttp.Server)))
	err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		passed = true
		return nil
	}))
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	return w, passed
}

func user(roles ...string) *principal.Principal {
	return &principal.Principal{ID: "bob", Kind: principal.KindJWT, Roles: roles, Claims: principal.NewClaims([]byte(`{"teams":["red"]}`))}
}

func TestRefusals(t *testing.T) {
	h := provision(t, shop)
	for _, tc := range []struct {
		method, target string
		p              *principal.Principal
		status         int
		code, rule     string
	}{
		{"GET", "/health", nil, 200, "", "anyone: allow GET /health"},
		{"HEAD", "/health", nil, 200, "", "anyone: allow GET /health"},
		{"GET", "/orders/1", nil, 401, "missing_credentials", "default: deny"},
		{"OPTIONS", "/orders/1", nil, 401, "missing_credentials", "default: deny"},
		{"GET", "/orders/1", user(), 403, "forbidden", "default: deny"},
		{"GET", "/orders/1", user("clerk"), 200, "", "role clerk: allow GET /orders/*"},
		{"DELETE", "/orders/1/invoice", user("manager"), 403, "forbidden", "role manager: deny DELETE /orders/*/invoice"},
		{"GET", "/teams/red/report", user("manager"), 200, "", "role manager: allow GET /teams/{team}/report when team in claims.teams"},
		{"GET", "/teams/blue/report", user("manager"), 403, "forbidden", "default: deny"},
		{"GET", "/teams/red/report", &principal.Principal{ID: "x", Roles: []string{"manager"}}, 403, "forbidden", "default: deny"},
		{"GET", "/orders/%2e%2e/health", user("clerk"), 400, "ambiguous_path", "path: deny what has two readings"},
		{"GET", "//health", nil, 400, "ambiguous_path", "path: deny what has two readings"},
		{"GET", "/health;x", nil, 400, "ambiguous_path", "path: deny what has two readings"},
	} {
		r := request(tc.method, tc.target, tc.p)
		w, passed := serve(t, h, r)
		if w.Code != tc.status || passed != (tc.status == 200) {
			t.Errorf("%s %s: got %d, passed %v; want %d", tc.method, tc.target, w.Code, passed, tc.status)
		}
		if tc.code != "" && (tc.method != "HEAD" && !strings.Contains(w.Body.String(), `"code":"`+tc.code+`"`)) {
			t.Errorf("%s %s: got %s; want code %s", tc.method, tc.target, w.Body, tc.code)
		}
		if strings.Contains(w.Body.String(), "orders") || strings.Contains(w.Body.String(), "manager") {
			t.Errorf("%s %s: the answer tells of the policy: %s", tc.method, tc.target, w.Body)
		}
		rule, _ := reqctx.Replacer(r).GetString("http.rbac.rule")
		log := reqctx.Decisions(r)
		result := decision.Deny
		if passed {
			result = decision.Allow
		}
		if want := (decision.Decision{Layer: "rbac", Result: result, Rule: tc.rule, Code: tc.code, Policy: h.active.Load().digest}); rule != tc.rule || !slices.Equal(log.Decisions(), []decision.Decision{want}) {
			t.Errorf("%s %s: rule %q, recorded %+v; want %+v", tc.method, tc.target, rule, log.Decisions(), want)
		}
	}
}

func TestChallenges(t *testing.T) {
	plain, scoped := provision(t, shop), provision(t, "rbac {\n scope a {\n allow GET /a\n}\n}")
	basic := &principal.Principal{ID: "bob", Kind: principal.KindBasic}
	for _, tc := range []struct {
		h    *Handler
		p    *principal.Principal
		left []string
		want []string
	}{
		{plain, nil, nil, []string{"Bearer"}},
		{plain, nil, []string{`DPoP algs="ES256"`, `Basic realm="r"`}, []string{`DPoP algs="ES256"`, `Basic realm="r"`}},
		{plain, user(), nil, nil},
		{scoped, user(), nil, []string{`Bearer error="insufficient_scope"`}},
		{scoped, basic, nil, nil},
	} {
		r := request("GET", "/x", tc.p)
		if tc.left != nil {
			reqctx.Of(r).SetChallenges(tc.left)
		}
		if w, _ := serve(t, tc.h, r); !slices.Equal(w.Header()["Www-Authenticate"], tc.want) {
			t.Errorf("got %q; want %q", w.Header()["Www-Authenticate"], tc.want)
		}
	}
}

func TestErrorRoutesGetTheRefusal(t *testing.T) {
	h := provision(t, shop)
	r := request("GET", "/x", nil)
	srv := &caddyhttp.Server{Errors: &caddyhttp.HTTPErrorConfig{Routes: caddyhttp.RouteList{{}}}}
	r = r.WithContext(context.WithValue(r.Context(), caddyhttp.ServerCtxKey, srv))
	err := h.ServeHTTP(httptest.NewRecorder(), r, nil)
	if e, ok := err.(caddyhttp.HandlerError); !ok || e.StatusCode != 401 {
		t.Errorf("got %v", err)
	}
}

func TestOtherAuthenticatorsAreUnderstood(t *testing.T) {
	h := provision(t, shop)
	r := request("GET", "/orders/1", nil)
	reqctx.Replacer(r).Set("http.auth.user.id", "bob")
	reqctx.Replacer(r).Set("http.auth.user.roles", "guest,clerk")
	if _, passed := serve(t, h, r); !passed {
		t.Error("roles from placeholders are not read")
	}
	r = request("GET", "/orders/1", nil)
	reqctx.Replacer(r).Set("http.auth.user.roles", "clerk")
	if w, _ := serve(t, h, r); w.Code != 401 {
		t.Errorf("roles without an identity: got %d", w.Code)
	}
}

func TestUsersInThePolicyHaveRoles(t *testing.T) {
	h := provision(t, "rbac {\n role clerk {\n allow GET /orders/*\n allow GET /c when `has_role(\"clerk\")`\n}\n user bob roles clerk\n}")
	for _, path := range []string{"/orders/1", "/c"} {
		before := user("guest")
		r := request("GET", path, before)
		if _, passed := serve(t, h, r); !passed {
			t.Errorf("%s: bob is no clerk", path)
		}
		roles, _ := reqctx.Replacer(r).GetString("http.auth.user.roles")
		if p := reqctx.Principal(r); !slices.Equal(p.Roles, []string{"guest", "clerk"}) || roles != "guest,clerk" || p.Claims != before.Claims {
			t.Errorf("%s: the layers behind see roles %q, %q", path, p.Roles, roles)
		}
		if len(before.Roles) != 1 {
			t.Errorf("%s: a principal that others share has changed: %q", path, before.Roles)
		}
	}
	// As Caddy's basic_auth leaves it.
	r := request("GET", "/c", nil)
	reqctx.Replacer(r).Set("http.auth.user.id", "bob")
	if _, passed := serve(t, h, r); !passed || !reqctx.Principal(r).HasRole("clerk") {
		t.Error("bob of another authenticator is no clerk")
	}
	if _, passed := serve(t, h, request("GET", "/c", &principal.Principal{ID: "eve"})); passed {
		t.Error("eve is a clerk")
	}
}

func TestConditionsSeeTheRequest(t *testing.T) {
	h := provision(t, "rbac {\n anyone {\n allow GET /a when `client_ip == \"192.0.2.7\" && query.x == \"1\" && headers[\"x-y\"] == \"z\" && now > timestamp(\"2020-01-01T00:00:00Z\") && path == \"/a\" && method == \"GET\"`\n}\n}")
	r := request("GET", "/a?x=1", nil)
	r.Header.Set("X-Y", "z")
	if _, passed := serve(t, h, r); !passed {
		t.Error("the condition does not hold")
	}
	r = request("GET", "/a?x=1&x=1", nil)
	r.Header.Set("X-Y", "z")
	if w, _ := serve(t, h, r); w.Code != 401 {
		t.Errorf("a repeated parameter: got %d", w.Code)
	}
}

func TestWebSocketOverHTTP2IsAGet(t *testing.T) {
	h := provision(t, "rbac {\n anyone {\n allow * /*\n deny GET /ws\n}\n}")
	r := request("CONNECT", "/ws", nil)
	if _, passed := serve(t, h, r); !passed {
		t.Error("CONNECT itself is denied")
	}
	r = request("CONNECT", "/ws", nil)
	r.ProtoMajor = 2
	r.Header[":protocol"] = []string{"websocket"}
	if _, passed := serve(t, h, r); passed {
		t.Error("a WebSocket over HTTP/2 gets round a rule for GET")
	}
	r = request("CONNECT", "/ws", nil)
	r.ProtoMajor, r.Proto = 3, "websocket"
	if _, passed := serve(t, h, r); passed {
		t.Error("a WebSocket over HTTP/3 gets round a rule for GET")
	}
}

func TestFieldsThatMakeAnotherRequestOfItAreDecidedToo(t *testing.T) {
	h := provision(t, "rbac {\n anyone {\n allow GET,POST /a\n allow POST /b\n deny DELETE /a\n allow PUT /c when `method == \"PUT\" && path == \"/c\"`\n allow POST /c\n}\n}")
	for _, tc := range []struct {
		method, path, name, value string
		status                    int
	}{
		{"POST", "/a", "X-HTTP-Method-Override", "GET", 200},
		{"POST", "/a", "X-HTTP-Method-Override", "get", 200},
		{"POST", "/a", "X-HTTP-Method-Override", "DELETE", 401},
		{"POST", "/a", "X-HTTP-Method-Override", " delete ", 401},
		{"POST", "/a", "X-HTTP-Method", "DELETE", 401},
		{"POST", "/a", "X-Method-Override", "PATCH", 401},
		{"POST", "/c", "X-Method-Override", "PUT", 200},
		{"DELETE", "/a", "X-HTTP-Method-Override", "GET", 401},
		{"POST", "/a", "X-HTTP-Method-Override", "", 401},
		{"GET", "/a", "X-Original-URL", "/a?x", 200},
		{"GET", "/a", "X-Original-URL", "https://host/a", 200},
		{"GET", "/a", "X-Original-URL", "/b", 401},
		{"GET", "/a", "X-Rewrite-URL", "/secret", 401},
		{"GET", "/a", "X-Rewrite-URL", "/a/../secret", 400},
		{"GET", "/a", "X-Rewrite-URL", "secret", 400},
		{"POST", "/b", "X-Original-URL", "/a", 200},
	} {
		r := request(tc.method, tc.path, nil)
		r.Header.Set(tc.name, tc.value)
		if w, _ := serve(t, h, r); w.Code != tc.status {
			t.Errorf("%s %s, %s: %q: got %d; want %d", tc.method, tc.path, tc.name, tc.value, w.Code, tc.status)
		}
	}
	r := request("GET", "/a", nil)
	r.Header["X-Http-Method-Override"] = []string{"GET", "DELETE"}
	if w, _ := serve(t, h, r); w.Code != 401 {
		t.Errorf("the second of two fields: got %d", w.Code)
	}
	r = request("GET", "/a", nil)
	r.Header["X-Http-Method-Override"], r.Header["X-Original-Url"] = []string{"POST"}, []string{"/b"}
	if w, _ := serve(t, h, r); w.Code != 401 { // GET /b
		t.Errorf("a method and a path: got %d", w.Code)
	}
	for _, name := range []string{"X_HTTP_METHOD_OVERRIDE", "X-Http_Method-Override", "X.Http.Method.Override", "x-http-method-override"} {
		r = request("POST", "/a", nil)
		r.Header[name] = []string{"DELETE"}
		if w, _ := serve(t, h, r); w.Code != 401 {
			t.Errorf("%s: got %d", name, w.Code)
		}
	}
	for _, name := range []string{"X-Http-Method-Overrides", "X-Http-Metho", "Y-Method-Override"} {
		r = request("POST", "/a", nil)
		r.Header[name] = []string{"DELETE"}
		if w, _ := serve(t, h, r); w.Code != 200 {
			t.Errorf("%s: got %d", name, w.Code)
		}
	}
	r = request("GET", "/a", nil)
	r.Header["X-Http-Method-Override"] = slices.Repeat([]string{"GET"}, 1000)
	if w, _ := serve(t, h, r); w.Code != 400 {
		t.Errorf("very many fields: got %d", w.Code)
	}
	r = request("GET", "/a", nil)
	r.Header.Set("X-Original-URL", "/secret")
	caddyhttp.SetVar(r.Context(), caddyhttp.TrustedProxyVarKey, true)
	if w, _ := serve(t, h, r); w.Code != 401 { // most proxies pass it on
		t.Errorf("through a trusted proxy: got %d", w.Code)
	}
}

// TestMethodInTheQueryIsDecidedToo: Symfony, Laravel and Express read _method
// there too.
func TestMethodInTheQueryIsDecidedToo(t *testing.T) {
	h := provision(t, "rbac {\n anyone {\n allow GET,POST /a\n deny DELETE /a\n}\n}")
	for query, status := range map[string]int{
		"":                            200,
		"_method=POST":                200,
		"x=1&_method=get":             200,
		"_method=DELETE":              401,
		"x=1&_method=delete&y=2":      401,
		"_method=PATCH":               401,
		"_method=POST&_method=DELETE": 401,
		"%5Fmethod=DELETE":            401,
		"_m%65thod=DEL%45TE":          401,
		"x=%zz&_method=DELETE":        401,
		"x=1;_method=DELETE":          401,
		"_method=DELETE;x=1":          401,
		"_METHOD=DELETE":              401,
		"+_method=+DELETE+":           401,
		"_method[]=DELETE":            401,
		"_method[x]=DELETE":           401,
		"[_method]=DELETE":            401,
		".method=DELETE":              401,
		"_method%00=DELETE":           401,
		"_method":                     200,
		"_method=":                    200,
		"x_method=DELETE":             200,
		"method=DELETE":               200,
		"x=_method%3DDELETE":          200,
		"_method=1&_method=2&_method=3&_method=4": 400,
	} {
		if w, _ := serve(t, h, request("POST", "/a?"+query, nil)); w.Code != status {
			t.Errorf("%s: got %d; want %d", query, w.Code, status)
		}
	}
}

func TestDryRunRecordsAndLetsPass(t *testing.T) {
	h := provision(t, strings.Replace(shop, "{", "{\n dry_run", 1))
	for target, want := range map[string]decision.Decision{
		"/health":      {Layer: "rbac", Result: decision.Allow, Rule: "anyone: allow GET /health"},
		"/orders/1":    {Layer: "rbac", Result: decision.Skip, Rule: "dry_run: missing_credentials by default: deny"},
		"/orders/%2f1": {Layer: "rbac", Result: decision.Skip, Rule: "dry_run: ambiguous_path by path: deny what has two readings"},
	} {
		r := request("GET", target, nil)
		if _, passed := serve(t, h, r); !passed {
			t.Errorf("%s: refused", target)
		}
		log := reqctx.Decisions(r)
		want.Policy = h.active.Load().digest
		if !slices.Equal(log.Decisions(), []decision.Decision{want}) || log.Code() != "" {
			t.Errorf("%s: recorded %+v, code %q; want %+v", target, log.Decisions(), log.Code(), want)
		}
	}
	if n := count(t, h.dryRun.WithLabelValues("default: deny", "missing_credentials")); n != 1 {
		t.Errorf("counted %v requests", n)
	}
}

// count returns what a counter has counted.
func count(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

func TestDecisionsAreCounted(t *testing.T) {
	h := provision(t, shop)
	serve(t, h, request("GET", "/health", nil))
	serve(t, h, request("GET", "/x", nil))
	serve(t, h, request("GET", "//x", nil))
	for labels, want := range map[[2]string]float64{{"allow", ""}: 1, {"deny", "missing_credentials"}: 1, {"deny", "ambiguous_path"}: 1, {"deny", "forbidden"}: 0} {
		if got := count(t, h.decided.WithLabelValues("rbac", labels[0], labels[1])); got != want {
			t.Errorf("%v: got %v; want %v", labels, got, want)
		}
	}
}

// eventually waits for what the file watcher does by itself.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestPolicyFileIsSwapped(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	dir := t.TempDir()
	file := filepath.Join(dir, "policy.yaml")
	write(t, file, "anyone: {allow: [GET /a]}\n")
	h := parse(t, "rbac {\n policy "+file+"\n role r {\n allow GET /r\n}\n}")
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	var changes []lifecycle.Change
	changed := make(chan lifecycle.Change, 16)
	h.reloading.Lock()
	h.changes = func(c lifecycle.Change) { changed <- c }
	h.reloading.Unlock()
	allowed := func(path string) bool {
		_, passed := serve(t, h, request("GET", path, nil))
		return passed
	}
	if !allowed("/a") || allowed("/b") {
		t.Error("the file is not read")
	}
	if _, passed := serve(t, h, request("GET", "/r", user("r"))); !passed {
		t.Error("what the configuration says is lost")
	}

	write(t, file, "anyone: {allow: [GET /b]}\n") // edited in place
	eventually(t, "edited", func() bool { return allowed("/b") && !allowed("/a") })

	write(t, file+".new", `anyone: {allow: ["GET /c"]}`) // replaced
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	eventually(t, "renamed", func() bool { return allowed("/c") && !allowed("/b") })

	// None of these may change anything.
	for _, bad := range []string{"", "anyone: {allow: [GET c]}", "anyone: {", "role: {}", "roles: {r: {allow: [GET /r]}}", strings.Repeat(" ", 1<<10)} {
		write(t, file, bad)
		c := <-changed
		for c.What != "policy refused" {
			changes = append(changes, c)
			c = <-changed
		}
		if c.Source != file || !strings.Contains(c.Detail, file) || c.Old != c.New {
			t.Errorf("%q: got %+v", bad, c)
		}
		if !allowed("/c") {
			t.Errorf("%q: the policy before it is gone", bad)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	eventually(t, "removal is noticed", func() bool { return (<-changed).What == "policy refused" })
	if !allowed("/c") {
		t.Error("the policy went with its file")
	}
	write(t, file, "anyone: {allow: [GET /d]}\n")
	eventually(t, "it is back", func() bool { return allowed("/d") && !allowed("/c") })
	changes = append(changes, <-changed)

	var got []string
	for _, c := range changes {
		if c.What == "policy loaded" {
			got = append(got, c.Detail)
		}
	}
	want := []string{
		"- anyone: allow GET /a\n+ anyone: allow GET /b",
		"- anyone: allow GET /b\n+ anyone: allow GET /c",
		"- anyone: allow GET /c\n+ anyone: allow GET /d",
	}
	if !slices.Equal(got, want) {
		t.Errorf("announced %q; want %q", got, want)
	}
	cancel()
	if err := h.Cleanup(); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, ignore)
}

func TestReloadSaysWhatChanged(t *testing.T) {
	const clerk, guest = "rbac {\n role clerk {\n allow GET /a\n allow GET /b\n}\n}", "rbac {\n anyone {\n allow GET /x\n}\n}"
	// A configuration with two policies runs.
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	for _, text := range []string{clerk, guest} {
		h := parse(t, text)
		if err := h.Provision(ctx); err != nil {
			t.Fatal(err)
		}
		defer h.forget()
	}
	// Another takes its place.
	next, cancelNext := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancelNext()
	for text, want := range map[string]string{
		clerk:                                 "",
		guest:                                 "",
		strings.Replace(clerk, "/b", "/c", 1): "- role clerk: allow GET /b\n+ role clerk: allow GET /c",
		strings.Replace(guest, "allow GET /x", "allow GET /x\nallow GET /y", 1): "+ anyone: allow GET /y",
		"rbac {\n authenticated {\n allow GET /other\n}\n}":                     "none",
	} {
		h := parse(t, text)
		h.config = next.Done()
		now, err := h.load()
		if err != nil {
			t.Fatal(err)
		}
		got := "none"
		if before := h.predecessor(now); before != nil {
			got = strings.Join(policy.Diff(before.doc, now.doc), "\n")
		}
		if got != want {
			t.Errorf("%s\ngot  %q\nwant %q", text, got, want)
		}
	}
	// Policies of one configuration do not take each other's place.
	h := parse(t, clerk)
	h.config = ctx.Done()
	now, err := h.load()
	if err != nil {
		t.Fatal(err)
	}
	if before := h.predecessor(now); before != nil {
		t.Errorf("got %v", before.policy.Rules())
	}
}

func TestFaultyPolicyFileIsAnErrorWhenLoading(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	t.Setenv("POLICY_DIR", filepath.Dir(file))
	for content, want := range map[string]string{
		"anyone: {allow: [GET a]}": "rbac: policy: " + file + ":1: anyone: allow: path 'a' must begin with '/'",
		"":                         "rbac: policy: " + file + ": the file is empty",
		"missing":                  "rbac: policy: open " + file,
	} {
		os.Remove(file)
		if content != "missing" {
			write(t, file, content)
		}
		h := parse(t, "rbac {\n policy {env.POLICY_DIR}/policy.yaml\n}")
		ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
		err := h.Provision(ctx)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v; want %q", content, err, want)
		}
		if err := h.Cleanup(); err != nil {
			t.Error(err)
		}
		cancel()
	}
	h := parse(t, "rbac {\n policy {env.NO_SUCH_VARIABLE_HERE}\n}")
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	if err := h.Provision(ctx); err == nil || !strings.Contains(err.Error(), "rbac: policy {env.NO_SUCH_VARIABLE_HERE}") {
		t.Errorf("got %v", err)
	}
}

func TestChallengesNameTheScopesThatWouldDo(t *testing.T) {
	h := provision(t, `rbac {
		authenticated {
			allow GET /me
		}
		scope orders:read {
			allow GET /orders/*
		}
		scope orders:write inherits orders:read {
			allow POST /orders/*
		}
		scope admin {
			allow * /*
			deny DELETE /orders/*
		}
	}`)
	caller := func(scopes ...string) *principal.Principal {
		return &principal.Principal{ID: "u", Kind: principal.KindJWT, Scopes: scopes}
	}
	for _, tc := range []struct {
		method, path string
		p            *principal.Principal
		want         string
	}{
		{"GET", "/orders/1", nil, `Bearer scope="admin orders:read orders:write"`},
		{"GET", "/me", nil, `Bearer`},
		{"DELETE", "/orders/1", nil, `Bearer`},
		{"GET", "/orders/1", caller(), `Bearer error="insufficient_scope", scope="admin orders:read orders:write"`},
		{"POST", "/orders/1", caller("orders:read"), `Bearer error="insufficient_scope", scope="admin orders:write"`},
		{"DELETE", "/orders/1", caller("orders:write"), `Bearer error="insufficient_scope"`},
	} {
		if w, _ := serve(t, h, request(tc.method, tc.path, tc.p)); w.Header().Get("Www-Authenticate") != tc.want {
			t.Errorf("%s %s: got %q; want %q", tc.method, tc.path, w.Header()["Www-Authenticate"], tc.want)
		}
	}
}

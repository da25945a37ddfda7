package auth

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"go.uber.org/zap"
	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// token is a method for tests: the header X-Token names the user.
type token struct {
	place string
	strip bool
}

func (m token) values(r *http.Request) []string { return r.Header[m.place] }

func (m token) Places(r *http.Request) []credential.Place {
	var out []credential.Place
	for range m.values(r) {
		out = append(out, credential.Place{Kind: "token", At: "header " + m.place})
	}
	return out
}

func (m token) Traits() credential.Traits { return credential.Traits{} }

func (m token) Identify(r *http.Request) (credential.Grant, error) {
	v := m.values(r)
	switch {
	case len(v) == 0:
		return credential.Grant{}, credential.ErrMissing
	case v[0] == "down":
		return credential.Grant{}, &credential.Error{Kind: credential.Unavailable, Code: credential.CodeUnavailable}
	case v[0] == "weak":
		return credential.Grant{}, &credential.Error{Kind: credential.Insufficient, Code: credential.CodeInsufficientScope, Scope: "a b"}
	case v[0] == "broken":
		return credential.Grant{}, errors.New("not a credential.Error")
	case v[0] == "bad":
		return credential.Grant{}, &credential.Error{Kind: credential.Bad, Code: credential.CodeInvalidToken, Header: http.Header{"X-Nonce": {"n"}}}
	}
	claims := `{"sub":"` + v[0] + `","n":9007199254740993,"crlf":"a\r\nX-Evil: 1","dept":{"no":7},"a.b":"dotted","list":["x","y"]}`
	return credential.Grant{Principal: &principal.Principal{
		ID: v[0], Issuer: "iss", Kind: "token", Roles: []string{"clerk", "manager"},
		Scopes: []string{"read"}, Claims: principal.NewClaims([]byte(claims)),
	}}, nil
}

func (m token) Challenges(why *credential.Error) []string {
	if why == nil || why.Kind == credential.Missing {
		return []string{`Token realm="r"`}
	}
	return []string{credential.Challenge("Token", "realm", "r", "error", why.Code, "scope", why.Scope)}
}

func (m token) Clean(r *http.Request) {
	if m.strip {
		r.Header.Del(m.place)
	}
}

// scribbler is a foreign authenticator that leaves traces wherever it can.
type scribbler struct{ yes bool }

func (s scribbler) Authenticate(w http.ResponseWriter, r *http.Request) (caddyauth.User, bool, error) {
	w.Header().Set("X-Scribble", "here")
	if s.yes {
		return caddyauth.User{ID: "scribe", Metadata: map[string]string{"roles": "a,b", "plan": "gold"}}, true, nil
	}
	if r.Header.Get("X-Fail") != "" {
		return caddyauth.User{}, false, errors.New("secret detail of the database")
	}
	w.Header().Set("WWW-Authenticate", `Scribble realm="s"`)
	w.WriteHeader(http.StatusFound)
	_, _ = io.WriteString(w, "scribbled body")
	return caddyauth.User{ID: "nobody"}, false, nil
}

func ours(m credential.Method) method { return method{Method: m, traits: m.Traits(), name: "token"} }

func theirs(name string, a caddyauth.Authenticator) method {
	return method{name: name, foreign: &foreign{name: name, authenticator: a}}
}

type answer struct {
	*httptest.ResponseRecorder
	reached *http.Request // what the application saw, nil if nothing
	log     *decision.Log
}

func serve(t *testing.T, h *Handler, r *http.Request) answer {
	t.Helper()
	provision(t, h)
	a := answer{ResponseRecorder: httptest.NewRecorder()}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), a, new(caddyhttp.Server))
	a.log = reqctx.Decisions(r)
	err := h.ServeHTTP(a, r, caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		a.reached = r
		return nil
	}))
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
	return a
}

func provision(t *testing.T, h *Handler) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	h.logger = zap.NewNop()
}

func request(fields ...string) *http.Request {
	r := httptest.NewRequest("GET", "https://example.com/orders", nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header[fields[i]] = append(r.Header[fields[i]], fields[i+1])
	}
	return r
}

func wantRefused(t *testing.T, a answer, status int, code string) {
	t.Helper()
	if a.reached != nil {
		t.Error("the application was reached")
	}
	if a.Code != status {
		t.Errorf("status: got %d, want %d", a.Code, status)
	}
	var doc struct{ Code string }
	if err := json.Unmarshal(a.Body.Bytes(), &doc); err != nil || doc.Code != code {
		t.Errorf("code: got %q (%s), want %q", doc.Code, a.Body, code)
	}
	if a.log.Code() != code {
		t.Errorf("decision: got code %q, want %q", a.log.Code(), code)
	}
}

func TestMissingCredentialIsRefusedWithTheChallengesOfAllMethods(t *testing.T) {
	h := &Handler{methods: []method{ours(token{place: "X-Token"}), theirs("scribble", scribbler{})}}
	a := serve(t, h, request())
	wantRefused(t, a, 401, credential.CodeMissing)
	got := a.Header().Values("WWW-Authenticate")
	if len(got) != 2 || got[0] != `Token realm="r"` || got[1] != `Scribble realm="s"` {
		t.Errorf("challenges: got %q", got)
	}
}

func TestBadCredentialIsNotTriedAsSomethingElse(t *testing.T) {
	h := &Handler{methods: []method{ours(token{place: "X-Token"}), theirs("scribble", scribbler{yes: true})}}
	a := serve(t, h, request("X-Token", "bad"))
	wantRefused(t, a, 401, credential.CodeInvalidToken)
	got := a.Header().Values("WWW-Authenticate")
	if len(got) == 0 || got[0] != `Token realm="r", error="invalid_token"` {
		t.Errorf("challenges: got %q", got)
	}
	if a.Header().Get("X-Nonce") != "n" {
		t.Error("the refusing method's header is missing")
	}
}

func TestMissingCredentialFallsToTheNextMethod(t *testing.T) {
	h := &Handler{methods: []method{ours(token{place: "X-Token"}), theirs("scribble", scribbler{yes: true})}}
	a := serve(t, h, request())
	if a.reached == nil {
		t.Fatalf("refused: %d %s", a.Code, a.Body)
	}
	p := reqctx.Principal(a.reached)
	if p == nil || p.ID != "scribe" || !p.HasRole("b") || p.Kind != principal.KindOther {
		t.Errorf("got %+v", p)
	}
	if got, _ := reqctx.Replacer(a.reached).GetString("http.auth.user.plan"); got != "gold" {
		t.Errorf("metadata: got %q", got)
	}
	if a.Header().Get("X-Scribble") != "here" {
		t.Error("the header of the method that won is missing")
	}
}

func TestNothingOfALosingMethodLeaks(t *testing.T) {
	h := &Handler{methods: []method{theirs("scribble", scribbler{}), ours(token{place: "X-Token"})}}
	for _, r := range []*http.Request{request("X-Token", "alice"), request("X-Token", "bad"), request()} {
		a := serve(t, &Handler{methods: h.methods}, r)
		if a.Code == http.StatusFound {
			t.Error("the status leaks")
		}
		if strings.Contains(a.Body.String(), "scribble") {
			t.Errorf("the body leaks: %s", a.Body)
		}
		if a.Header().Get("X-Scribble") != "" {
			t.Error("a header leaks")
		}
		if a.reached != nil && a.Header().Get("WWW-Authenticate") != "" {
			t.Error("a challenge leaks into a good answer")
		}
	}
}

func TestTechnicalFailureIs503AndSaysNothing(t *testing.T) {
	h := &Handler{methods: []method{theirs("scribble", scribbler{}), ours(token{place: "X-Token"})}}
	a := serve(t, h, request("X-Fail", "1", "X-Token", "alice"))
	wantRefused(t, a, 503, credential.CodeUnavailable)
	if a.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if strings.Contains(a.Body.String(), "secret") {
		t.Errorf("the detail leaks: %s", a.Body)
	}
}

// nobody says yes without saying to whom.
type nobody struct{}

func (nobody) Authenticate(http.ResponseWriter, *http.Request) (caddyauth.User, bool, error) {
	return caddyauth.User{}, true, nil
}

func TestYesWithoutANameIsNoIdentity(t *testing.T) {
	h := &Handler{Optional: true, methods: []method{theirs("nobody", nobody{})}}
	wantRefused(t, serve(t, h, request()), 401, credential.CodeInvalidCredentials)
}

func TestUnavailableProviderIs503NotTheNextMethod(t *testing.T) {
	for _, v := range []string{"down", "broken"} {
		h := &Handler{Optional: true, methods: []method{ours(token{place: "X-Token"}), theirs("scribble", scribbler{yes: true})}}
		a := serve(t, h, request("X-Token", v))
		wantRefused(t, a, 503, credential.CodeUnavailable)
		if len(a.Header().Values("WWW-Authenticate")) != 0 {
			t.Error("a 503 asks for credentials")
		}
	}
}

func TestInsufficientCredentialIs403WithTheScopeItNeeds(t *testing.T) {
	h := &Handler{methods: []method{ours(token{place: "X-Token"}), theirs("scribble", scribbler{})}}
	a := serve(t, h, request("X-Token", "weak"))
	wantRefused(t, a, 403, credential.CodeInsufficientScope)
	got := a.Header().Values("WWW-Authenticate")
	if len(got) != 1 || got[0] != `Token realm="r", error="insufficient_scope", scope="a b"` {
		t.Errorf("got %q", got)
	}
}

func TestTwoAuthorizationFieldsAreRefused(t *testing.T) {
	h := &Handler{Optional: true, methods: []method{ours(token{place: "X-Token"})}}
	a := serve(t, h, request("Authorization", "Basic eDp5", "Authorization", "Bearer x"))
	wantRefused(t, a, 400, credential.CodeInvalidRequest)
}

func TestTwoCredentialsOfOneKindAreRefused(t *testing.T) {
	h := &Handler{methods: []method{ours(token{place: "X-Token"}), ours(token{place: "X-Other"})}}
	wantRefused(t, serve(t, h, request("X-Token", "alice", "X-Other", "bob")), 400, credential.CodeInvalidRequest)
	wantRefused(t, serve(t, h, request("X-Token", "alice", "X-Other", "alice")), 400, credential.CodeInvalidRequest)
	h = &Handler{methods: []method{ours(token{place: "X-Token"}), ours(token{place: "X-Token"})}}
	if a := serve(t, h, request("X-Token", "alice")); a.reached == nil {
		t.Errorf("one credential that two methods can read was refused: %s", a.Body)
	}
}

func TestBasicCredentialThatIsWrongIsBadNotMissing(t *testing.T) {
	var h Handler
	d := dispenser("auth {\n\tbasic {\n\t\talice " + aliceHash + "\n\t}\n\toptional\n}")
	if err := h.UnmarshalCaddyfile(d); err != nil {
		t.Fatal(err)
	}
	r := request()
	r.SetBasicAuth("alice", "wrong")
	wantRefused(t, serve(t, clone(t, &h), r), 401, credential.CodeInvalidCredentials)

	r = request()
	r.SetBasicAuth("alice", "hiccup")
	a := serve(t, clone(t, &h), r)
	if a.reached == nil {
		t.Fatalf("refused: %s", a.Body)
	}
	if p := reqctx.Principal(a.reached); p.ID != "alice" || p.Kind != principal.KindBasic {
		t.Errorf("got %+v", p)
	}

	if a := serve(t, clone(t, &h), request()); a.reached == nil || reqctx.Principal(a.reached) != nil {
		t.Error("optional: a request without credentials must go on as anonymous")
	}
}

// aliceHash is a hash of "hiccup" that costs little to check.
var aliceHash = func() string {
	hash, err := bcrypt.GenerateFromPassword([]byte("hiccup"), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	return string(hash)
}()

func clone(t *testing.T, h *Handler) *Handler {
	t.Helper()
	raw, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	c := new(Handler)
	if err := json.Unmarshal(raw, c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOptionalStillRefusesABadCredential(t *testing.T) {
	h := &Handler{Optional: true, methods: []method{ours(token{place: "X-Token"})}}
	wantRefused(t, serve(t, h, request("X-Token", "bad")), 401, credential.CodeInvalidToken)
	h = &Handler{Optional: true, methods: []method{ours(token{place: "X-Token"})}}
	a := serve(t, h, request())
	if a.reached == nil || reqctx.Principal(a.reached) != nil {
		t.Error("a request without a credential must go on as anonymous")
	}
	if d := a.log.Decisions(); len(d) != 1 || d[0].Result != decision.Skip {
		t.Errorf("got %+v", d)
	}
}

func TestAnonymousRequestCarriesTheChallengesOfAllMethods(t *testing.T) {
	h := &Handler{Optional: true, methods: []method{ours(token{place: "X-Token"}), theirs("scribble", scribbler{})}}
	a := serve(t, h, request())
	if a.reached == nil {
		t.Fatal("a request without a credential must go on as anonymous")
	}
	got := reqctx.Of(a.reached).Challenges()
	if want := []string{`Token realm="r"`, `Scribble realm="s"`}; !slices.Equal(got, want) {
		t.Errorf("challenges: got %q, want %q", got, want)
	}
	h = &Handler{Optional: true, methods: []method{ours(token{place: "X-Token"})}}
	if a := serve(t, h, request("X-Token", "good")); reqctx.Of(a.reached).Challenges() != nil {
		t.Error("challenges were left for a known caller")
	}
}

func TestOnlyTruePreflightsPass(t *testing.T) {
	type fields map[string]string
	for _, test := range []struct {
		method string
		fields fields
		pass   bool
	}{
		{"OPTIONS", fields{"Origin": "https://a", "Access-Control-Request-Method": "PUT"}, true},
		{"OPTIONS", fields{"Origin": "https://a"}, false},
		{"OPTIONS", fields{"Access-Control-Request-Method": "PUT"}, false},
		{"GET", fields{"Origin": "https://a", "Access-Control-Request-Method": "PUT"}, false},
		{"options", fields{"Origin": "https://a", "Access-Control-Request-Method": "PUT"}, false},
		{"OPTIONS", fields{"Origin": "https://a", "Access-Control-Request-Method": "PUT", "Authorization": "Bearer x"}, false},
		{"OPTIONS", fields{"Origin": "https://a", "Access-Control-Request-Method": "PUT", "Cookie": "id=1"}, false},
		{"OPTIONS", fields{"Origin": "https://a", "Access-Control-Request-Method": "PUT", "X-Token": "alice"}, false},
		// A browser adds none of these, and frameworks would take the request
		// for another.
		{"OPTIONS", fields{"Origin": "https://a", "Access-Control-Request-Method": "PUT", "X-HTTP-Method-Override": "DELETE"}, false},
		{"OPTIONS", fields{"Origin": "https://a", "Access-Control-Request-Method": "PUT", "x_method_override": "DELETE"}, false},
		{"OPTIONS", fields{"Origin": "https://a", "Access-Control-Request-Method": "PUT", "Transfer-Encoding": "a body"}, false},
		{"OPTIONS", fields{"Origin": "https://a", "Access-Control-Request-Method": "PUT", "?": "a=1&_method=DELETE"}, false},
		{"OPTIONS", fields{"Origin": "https://a", "Access-Control-Request-Method": "PUT", "?": "%5fmethod=DELETE"}, false},
		{"OPTIONS", fields{"Origin": "https://a", "Access-Control-Request-Method": "PUT", "?": "method=x&b=%zz"}, true},
	} {
		for _, on := range []bool{true, false} {
			r := request()
			r.Method = test.method
			for k, v := range test.fields {
				switch k {
				case "?":
					r.URL.RawQuery = v
				case "Transfer-Encoding":
					r.ContentLength, r.Body = -1, io.NopCloser(strings.NewReader(v))
				default:
					r.Header.Set(k, v)
				}
			}
			h := &Handler{Preflight: on, methods: []method{ours(token{place: "X-Token"})}}
			a := serve(t, h, r)
			anonymous := a.reached != nil && reqctx.Principal(a.reached) == nil
			if anonymous != (test.pass && on) {
				t.Errorf("%s %v, preflight %v: passed %v, want %v", test.method, test.fields, on, anonymous, test.pass && on)
			}
		}
	}
}

func TestPlaceholdersKeepTheTypesOfClaims(t *testing.T) {
	h := &Handler{methods: []method{ours(token{place: "X-Token"})}}
	a := serve(t, h, request("X-Token", "alice"))
	repl := reqctx.Replacer(a.reached)
	for key, want := range map[string]any{
		"http.auth.user.id":              "alice",
		"http.auth.user.roles":           "clerk,manager",
		"http.auth.user.scopes":          "read",
		"http.auth.user.claims.n":        int64(9007199254740993),
		"http.auth.user.claims.dept.no":  int64(7),
		"http.auth.user.claims./dept/no": int64(7),
		"http.auth.user.claims.dept/no":  int64(7),
		"http.auth.user.claims.a.b":      "dotted",
	} {
		if got, ok := repl.Get(key); !ok || got != want {
			t.Errorf("%s: got %#v (%v), want %#v", key, got, ok, want)
		}
	}
	for _, key := range []string{"http.auth.user.claims.none", "http.auth.user.claims./dept/none", "http.auth.user.claims."} {
		if got, ok := repl.Get(key); !ok || got != nil {
			t.Errorf("%s: got %#v (%v) for a claim that is not there", key, got, ok)
		}
	}
	if list, _ := repl.Get("http.auth.user.claims.list"); len(list.([]any)) != 2 {
		t.Errorf("list: got %#v", list)
	}
}

func TestLaterAuthenticatorReplacesTheWholeIdentity(t *testing.T) {
	h := &Handler{methods: []method{ours(token{place: "X-Token"})}}
	provision(t, h)
	r := caddyhttp.PrepareRequest(request("X-Token", "alice"), caddy.NewReplacer(), httptest.NewRecorder(), new(caddyhttp.Server))
	repl := reqctx.Replacer(r)
	repl.Set("http.auth.user.id", "root")
	repl.Set("http.auth.user.plan", "gold")
	repl.Set("http.auth.user.claims.none", "stale")
	_ = h.ServeHTTP(httptest.NewRecorder(), r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil }))
	for key, want := range map[string]string{"http.auth.user.id": "alice", "http.auth.user.plan": "", "http.auth.user.claims.none": ""} {
		if got, _ := repl.GetString(key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	reqctx.Identify(r, &principal.Principal{ID: "bob", Claims: principal.NewClaims([]byte(`{"n":1}`))})
	if got, _ := repl.Get("http.auth.user.claims.n"); got != int64(1) {
		t.Errorf("claims of the earlier principal remain: %v", got)
	}
	if got, ok := repl.Get("http.auth.user.roles"); !ok || got != "" {
		t.Errorf("roles of the earlier principal remain: %v", got)
	}
}

package introspection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

type claims map[string]any

func good(more claims) string {
	all := claims{"active": true, "sub": "alice", "exp": now.Add(time.Hour).Unix()}
	maps.Copy(all, more)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	b, _ := json.Marshal(all)
	return string(b)
}

// endpoint is a server that a test controls.
type endpoint struct {
	*httptest.Server
	asked  atomic.Int64
	answer func(w http.ResponseWriter, r *http.Request)
}

func newEndpoint(t *testing.T, body string) *endpoint {
	e := &endpoint{answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.asked.Add(1)
		e.answer(w, r)
	}))
	t.Cleanup(e.Close)
	return e
}

func newClient(t *testing.T, e *endpoint, change func(*Options)) *Client {
	t.Helper()
	o := Options{
		Endpoint: e.URL + "/introspect", ClientID: "me:", ClientSecret: "s&cret %", Cache: time.Minute,
		Now: func() time.Time { return now },
		Rules: Rules{
			Roles: []principal.Pointer{{"roles"}}, Scopes: []principal.Pointer{{"scope"}},
		},
	}
	if change != nil {
		change(&o)
	}
	c := New(o)
	t.Cleanup(c.Close)
	return c
}

func TestQuestionIsAsRFC7662HasIt(t *testing.T) {
	e := newEndpoint(t, "")
	e.answer = func(w http.ResponseWriter, r *http.Request) {
		user, pass, _ := r.BasicAuth()
		if r.Method != "POST" || user != "me%3A" || pass != "s%26cret+%25" || r.FormValue("token") != "opaque&token" || r.FormValue("token_type_hint") != "access_token" {
			t.Errorf("got %s %v %v", r.Method, r.Header, r.Form)
		}
		_, _ = io.WriteString(w, good(claims{"scope": "a b", "roles": []string{"clerk"}, "iss": "https://id", "jti": "7", "n": 9007199254740993}))
	}
	tok, err := newClient(t, e, func(o *Options) { o.Rules.Voucher = "https://id" }).Resolve(t.Context(), "opaque&token")
	if err != nil {
		t.Fatal(err)
	}
	p := tok.Principal
	if p.ID != "alice" || p.Kind != principal.KindOpaque || !p.HasRole("clerk") || !p.HasScope("b") || p.Issuer != "https://id" || p.TokenID != "7" {
		t.Errorf("got %+v", p)
	}
	if n, _ := p.Claims.Lookup(principal.Pointer{"n"}); n != int64(9007199254740993) {
		t.Errorf("got %v", n)
	}
}

func TestAnswersThatGrantNothing(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want error
	}{
		"inactive":           {`{"active":false}`, ErrInactive},
		"inactive but named": {`{"active":false,"sub":"alice"}`, ErrInactive},
		"expired":            {good(claims{"exp": now.Add(-time.Minute).Unix()}), ErrInactive},
		"exp is a text":      {good(claims{"exp": "2099"}), ErrRejected},
		"exp is huge":        {good(claims{"exp": 1e300}), ErrRejected},
		"not yet":            {good(claims{"nbf": now.Add(time.Minute).Unix()}), ErrInactive},
		"another audience":   {good(claims{"aud": "other"}), ErrRejected},
		"no subject":         {good(claims{"sub": nil}), ErrRejected},
		"empty subject":      {good(claims{"sub": ""}), ErrRejected},
		"subject an array":   {good(claims{"sub": []string{"alice"}}), ErrRejected},
		"control characters": {good(claims{"sub": "a\r\nb"}), ErrRejected},
		"roles a number":     {good(claims{"roles": 1}), ErrRejected},
		"subject in spaces":  {good(claims{"sub": " alice"}), ErrRejected},
		"roles with a break": {good(claims{"roles": []string{"a\nb"}}), ErrRejected},
		"active as text":     {`{"active":"true","sub":"alice"}`, ErrUnavailable},
		"active as number":   {`{"active":1,"sub":"alice"}`, ErrUnavailable},
		"active twice":       {`{"active":false,"active":true,"sub":"alice"}`, ErrUnavailable},
		"nothing said":       {`{"sub":"alice"}`, ErrUnavailable},
		"empty":              {``, ErrUnavailable},
		"garbage":            {`<html>`, ErrUnavailable},
		"array":              {`[{"active":true}]`, ErrUnavailable},
		"10 MB":              {strings.Repeat(" ", 10<<20) + `{"active":true,"sub":"alice"}`, ErrUnavailable},
	} {
		if tok, err := newClient(t, newEndpoint(t, test.body), nil).Resolve(t.Context(), "x"); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, %v, want %v", name, tok, err, test.want)
		}
	}
	for status := range map[int]bool{201: true, 204: true, 301: true, 302: true, 400: true, 401: true, 403: true, 500: true, 503: true} {
		e := newEndpoint(t, "")
		e.answer = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", e.URL+"/elsewhere")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, good(nil))
		}
		if _, err := newClient(t, e, nil).Resolve(t.Context(), "x"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("status %d: got %v", status, err)
		}
		if e.asked.Load() != 1 {
			t.Errorf("status %d: %d questions", status, e.asked.Load())
		}
	}
	e := newEndpoint(t, good(nil))
	c := newClient(t, e, nil)
	for _, raw := range []string{"", strings.Repeat("x", maxToken+1)} {
		if _, err := c.Resolve(t.Context(), raw); !errors.Is(err, ErrInactive) {
			t.Errorf("token of %d bytes: got %v", len(raw), err)
		}
	}
	if e.asked.Load() != 0 {
		t.Error("asked about what cannot be a token")
	}
}

func TestRulesHaveTwoSides(t *testing.T) {
	rules := Rules{
		Issuer: "https://id", Audience: []string{"orders"},
		Require: []Requirement{{Claim: principal.Pointer{"tenant"}, Values: []string{"7"}}, {Claim: principal.Pointer{"ok"}}},
		Subject: principal.Pointer{"uid"},
	}
	all := claims{"iss": "https://id", "aud": []string{"x", "orders"}, "tenant": 7, "ok": true, "uid": 42}
	with := func(name string, v any) string {
		c := maps.Clone(all)
		c[name] = v
		return good(c)
	}
	tok, err := rules.read([]byte(good(all)), now)
	if err != nil || tok.Principal.ID != "42" {
		t.Fatalf("got %+v, %v", tok, err)
	}
	for _, body := range []string{
		with("iss", "https://id/"), with("iss", nil), with("aud", "x"), with("aud", nil), with("aud", 7),
		with("tenant", 8), with("tenant", nil), with("tenant", []any{[]any{7}}), with("ok", nil), with("uid", nil), with("uid", 1.5),
	} {
		if _, err := rules.read([]byte(body), now); !errors.Is(err, ErrRejected) {
			t.Errorf("%s: got %v", body, err)
		}
	}
}

func TestAnswersAreUsedAgainNoLongerThanAllowed(t *testing.T) {
	var at atomic.Int64
	clock := func() time.Time { return now.Add(time.Duration(at.Load())) }
	e := newEndpoint(t, good(claims{"exp": now.Add(90 * time.Second).Unix()}))
	c := newClient(t, e, func(o *Options) { o.Now = clock })
	ask := func(when time.Duration, wantAsked int64, want error) {
		t.Helper()
		at.Store(int64(when))
		if _, err := c.Resolve(t.Context(), "x"); !errors.Is(err, want) {
			t.Errorf("after %v: got %v", when, err)
		}
		if n := e.asked.Load(); n != wantAsked {
			t.Errorf("after %v: %d questions, want %d", when, n, wantAsked)
		}
	}
	ask(0, 1, nil)
	ask(59*time.Second, 1, nil)
	ask(60*time.Second, 2, nil)
	ask(89*time.Second, 2, nil)
	ask(90*time.Second, 3, ErrInactive) // its own expiry comes first
	// What is inactive is remembered for a shorter time.
	ask(91*time.Second, 3, ErrInactive)
	ask(101*time.Second, 4, ErrInactive)
	// What cannot be known is not remembered at all.
	e.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }
	ask(200*time.Second, 5, ErrUnavailable)
	ask(200*time.Second, 6, ErrUnavailable)

	e = newEndpoint(t, good(nil))
	c = newClient(t, e, func(o *Options) { o.Cache = 0 })
	ask(0, 1, nil)
	ask(0, 2, nil)
}

func TestManyRequestsWithOneTokenAskOnce(t *testing.T) {
	e := newEndpoint(t, good(nil))
	release := make(chan struct{})
	inner := e.answer
	e.answer = func(w http.ResponseWriter, r *http.Request) { <-release; inner(w, r) }
	c := newClient(t, e, nil)
	var wg sync.WaitGroup
	gone, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		if _, err := c.Resolve(gone, "x"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a request that ended: got %v", err)
		}
	})
	for range 100 {
		wg.Go(func() {
			if _, err := c.Resolve(context.Background(), "x"); err != nil {
				t.Error(err)
			}
		})
	}
	cancel()
	close(release)
	wg.Wait()
	if n := e.asked.Load(); n > 2 { // the one that ended may have been done before the others came
		t.Errorf("%d questions", n)
	}
}

func TestCacheIsBoundedAndInactiveTokensPushNobodyOut(t *testing.T) {
	e := newEndpoint(t, "")
	e.answer = func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.FormValue("token"), "good") {
			_, _ = io.WriteString(w, good(nil))
			return
		}
		_, _ = io.WriteString(w, `{"active":false}`)
	}
	c := newClient(t, e, func(o *Options) { o.Entries = 20 })
	for i := range 200 {
		_, _ = c.Resolve(t.Context(), fmt.Sprint("good", i%30))
		_, _ = c.Resolve(t.Context(), fmt.Sprint("bad", i))
	}
	if len(c.active.index) != 20 || c.active.order.Len() != 20 || len(c.others.index) != 3 {
		t.Errorf("%d and %d remembered", len(c.active.index), len(c.others.index))
	}
}

func TestDownIsReportedOnce(t *testing.T) {
	e := newEndpoint(t, good(nil))
	var mu sync.Mutex
	var lines []string
	c := newClient(t, e, func(o *Options) {
		o.Cache = 0
		o.Report = func(m string, err error) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, fmt.Sprint(m, err))
		}
	})
	e.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }
	for range 3 {
		_, _ = c.Resolve(t.Context(), "secret-token")
	}
	e.answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, good(nil)) }
	_, _ = c.Resolve(t.Context(), "secret-token")
	if len(lines) != 2 || strings.Contains(strings.Join(lines, ""), "secret-token") {
		t.Errorf("got %q", lines)
	}
	if st := c.Stats(); st.Asked != 4 || st.Failures != 3 {
		t.Errorf("got %+v", st)
	}
}

// TestAnswersOfSomethingElseThanAccessTokensAreRejected is for refresh tokens,
// which endpoints call active too.
func TestAnswersOfSomethingElseThanAccessTokensAreRejected(t *testing.T) {
	for _, c := range []struct {
		answer claims
		ok     bool
	}{
		{claims{"token_type": "Bearer"}, true},
		{claims{"token_type": "bearer", "token_use": "access_token"}, true}, // Hydra
		{claims{"token_type": "DPoP"}, true},                                // oidc-provider
		{claims{"token_type": "", "token_use": nil}, true},
		{claims{"typ": "Bearer"}, true}, // Keycloak
		{claims{"token_use": "refresh_token"}, false},
		{claims{"token_use": "id_token"}, false},
		{claims{"token_type": "refresh_token"}, false},
		{claims{"token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, false},
		{claims{"typ": "Refresh"}, false},
	} {
		_, err := new(Rules).read([]byte(good(c.answer)), now)
		if c.ok != (err == nil) || err != nil && !errors.Is(err, ErrRejected) {
			t.Errorf("%v: got %v", c.answer, err)
		}
	}
	asked := Rules{Require: []Requirement{{Claim: principal.Pointer{"token_type"}, Values: []string{"pop"}}}}
	if _, err := asked.read([]byte(good(claims{"token_type": "pop"})), now); err != nil {
		t.Errorf("what is required is rejected: %v", err)
	}
}

func TestAnswersSayWhichClientTheTokenIsBoundTo(t *testing.T) {
	tok, err := new(Rules).read([]byte(good(claims{"cnf": claims{"jkt": "k", "x5t#S256": "c", "kid": "x"}})), now)
	if err != nil || *tok.Confirmation != (token.Confirmation{Certificate: "c", Key: "k", Other: true}) {
		t.Errorf("got %+v, %v", tok, err)
	}
	for _, cnf := range []any{"x", 1, claims{}, []string{"jkt"}, claims{"jkt": ""}, claims{"jkt": 1}, claims{"jkt": "a\nb"}} {
		if tok, err := new(Rules).read([]byte(good(claims{"cnf": cnf})), now); !errors.Is(err, ErrRejected) {
			t.Errorf("%v: got %+v, %v", cnf, tok, err)
		}
	}
}

// TestErrorAboutTheTokenIsNoOutage is for servers that respond with 400 where the text
// is not one of their tokens, which anybody can send.
func TestErrorAboutTheTokenIsNoOutage(t *testing.T) {
	e := newEndpoint(t, "")
	status, body := 400, `{"error":"unsupported_token_type"}`
	e.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
	c := newClient(t, e, func(o *Options) {
		o.Report = func(message string, err error) { t.Errorf("reported: %s %v", message, err) }
	})
	for range 3 {
		if _, err := c.Resolve(t.Context(), "one"); !errors.Is(err, ErrInactive) {
			t.Errorf("got %v", err)
		}
	}
	if n := e.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	c = newClient(t, e, nil)
	for _, other := range []struct {
		status int
		body   string
	}{{400, `{"error":"invalid_client"}`}, {400, "oops"}, {401, `{"error":"invalid_token"}`}, {403, ""}, {500, `{"error":"unsupported_token_type"}`}} {
		status, body = other.status, other.body
		if _, err := c.Resolve(t.Context(), "two"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%d %s: got %v", status, body, err)
		}
	}
}

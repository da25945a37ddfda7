package auth

import (
	"slices"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// both is a handler that asks for an application in X-App and a user in X-User.
func both(optional bool) *Handler {
	return &Handler{
		Optional: optional, AppForward: []credential.Forward{{Claim: "sub", Header: "X-To-App"}}, Forward: []credential.Forward{{Claim: "sub", Header: "X-To-User"}},
		apps: 1, methods: []method{ours(token{place: "X-App", strip: true}), ours(token{place: "X-User"})},
	}
}

func TestUserIsTheCallerAndTheApplicationStandsBeside(t *testing.T) {
	h := both(false)
	a := serve(t, h, request("X-App", "shop", "X-User", "alice", "X-To-App", "evil", "x_to_user", "root"))
	if a.reached == nil {
		t.Fatalf("refused: %d %s", a.Code, a.Body)
	}
	p := reqctx.Principal(a.reached)
	if p.ID != "alice" || p.App == nil || p.App.ID != "shop" || p.App.App != nil {
		t.Errorf("got %+v, by %+v", p, p.App)
	}
	repl := reqctx.Replacer(a.reached)
	for key, want := range map[string]string{
		"http.auth.user.id": "alice", "http.auth.app.id": "shop", "http.auth.app.issuer": "iss",
		"http.auth.app.kind": "token", "http.auth.app.claims.dept.no": "7", "http.auth.app.plan": "",
	} {
		if got, ok := repl.GetString(key); !ok || got != want {
			t.Errorf("{%s}: got %q (%t), want %q", key, got, ok, want)
		}
	}
	if got := a.reached.Header; got.Get("X-To-App") != "shop" || got.Get("X-To-User") != "alice" || got.Get("x_to_user") != "" || got.Get("X-App") != "" {
		t.Errorf("headers: got %v", got)
	}
	rules := []string{}
	for _, d := range a.log.Decisions() {
		rules = append(rules, d.Result+" "+d.Rule)
	}
	if want := []string{"allow app iss", "allow iss"}; !slices.Equal(rules, want) {
		t.Errorf("decisions: got %q, want %q", rules, want)
	}
}

func TestOneOfTwoCredentialsIsNotEnough(t *testing.T) {
	for name, test := range map[string]struct {
		header []string
		status int
		code   string
	}{
		"no user":          {[]string{"X-App", "shop"}, 401, credential.CodeMissing},
		"no application":   {[]string{"X-User", "alice"}, 401, credential.CodeMissing},
		"bad user":         {[]string{"X-App", "shop", "X-User", "bad"}, 401, credential.CodeInvalidToken},
		"bad application":  {[]string{"X-App", "bad", "X-User", "alice"}, 401, credential.CodeInvalidToken},
		"user unknown yet": {[]string{"X-App", "shop", "X-User", "down"}, 503, credential.CodeUnavailable},
		"weak application": {[]string{"X-App", "weak", "X-User", "alice"}, 403, credential.CodeInsufficientScope},
	} {
		for _, optional := range []bool{false, true} {
			a := serve(t, both(optional), request(test.header...))
			wantRefused(t, a, test.status, test.code)
			if t.Failed() {
				t.Fatalf("%s, optional %t", name, optional)
			}
			if test.status == 401 && len(a.Header().Values("WWW-Authenticate")) != 2 {
				t.Errorf("%s: challenges: got %q, want those of both", name, a.Header().Values("WWW-Authenticate"))
			}
		}
	}
	wantRefused(t, serve(t, both(false), request()), 401, credential.CodeMissing)
	a := serve(t, both(true), request())
	if a.reached == nil || reqctx.Principal(a.reached) != nil {
		t.Error("optional: a request with neither must go on as anonymous")
	}
	if got, ok := reqctx.Replacer(a.reached).GetString("http.auth.app.id"); !ok || got != "" {
		t.Errorf("{http.auth.app.id} of an anonymous request: got %q (%t)", got, ok)
	}
	if d := a.log.Decisions(); len(d) != 1 || d[0].Result != decision.Skip {
		t.Errorf("decisions: got %+v", d)
	}
}

// TestOneCredentialIsNotThatOfBoth: a token that both methods accept.
func TestOneCredentialIsNotThatOfBoth(t *testing.T) {
	h := &Handler{apps: 1, methods: []method{ours(token{place: "X-Token"}), ours(token{place: "X-Token"})}}
	wantRefused(t, serve(t, h, request("X-Token", "alice")), 401, credential.CodeMissing)
	h = &Handler{apps: 1, methods: []method{theirs("a", scribbler{yes: true}), theirs("b", scribbler{yes: true})}}
	wantRefused(t, serve(t, h, request()), 401, credential.CodeMissing)
}

func TestMethodsOfOneSideAreTriedInTurn(t *testing.T) {
	h := &Handler{apps: 2, methods: []method{
		ours(token{place: "X-App"}), ours(token{place: "X-App-2"}), ours(token{place: "X-User"}), ours(token{place: "X-User-2"}),
	}}
	a := serve(t, h, request("X-App-2", "shop", "X-User-2", "alice"))
	if a.reached == nil {
		t.Fatalf("refused: %d %s", a.Code, a.Body)
	}
	if p := reqctx.Principal(a.reached); p.ID != "alice" || p.App.ID != "shop" {
		t.Errorf("got %+v, by %+v", p, p.App)
	}
	h = &Handler{apps: 2, methods: h.methods}
	wantRefused(t, serve(t, h, request("X-App", "shop", "X-App-2", "shop", "X-User", "alice")), 400, credential.CodeInvalidRequest)
}

func TestHandlerWithoutAUserSideIsRefused(t *testing.T) {
	h := &Handler{apps: 1, methods: []method{ours(token{place: "X-App"})}}
	if h.Validate() == nil {
		t.Error("a handler for the application alone was accepted")
	}
}

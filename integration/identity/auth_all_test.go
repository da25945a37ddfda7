package identity

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestApplicationAndUserOnOneRequest asks for the key of an application and the
// token of a user: rules, headers, limits and the record know both.
func TestApplicationAndUserOnOneRequest(t *testing.T) {
	k, key := harness.NewKeyStore(t, "--plan", "gold")
	other := k.Mint("--owner", "kiosk")
	s := harness.StartAll(t, `
:{$PORT} {
	audit {$HOME}/trail
	auth {
		all {
			api_key_auth {
				store `+k.File+`
				pepper {env.API_KEY_PEPPER}
				from header X-API-Key
				forward sub X-App
				strip
			}
			jwt_auth {
				issuer internal
				forward sub X-User
			}
		}
		optional
	}
	rate_limit {
		zone per_app {
			key {http.auth.app.id}
			events 36
			window 1h
		}
	}
	rbac {
		role clerk {
			allow GET /orders
			allow GET /export when `+"`app.id == \"acme\" && app.plan == \"gold\" && app.kind == \"api_key\"`"+`
			allow GET /apps/{app} when `+"`app == user`"+`
		}
		anyone {
			allow GET /health
		}
	}
	respond "{http.auth.user.id} by {http.auth.app.id} of {http.auth.app.plan}, {http.request.header.X-User} {http.request.header.X-App} {http.request.header.X-API-Key}"
}`, harness.KeyPepper)
	token := harness.Bearer(s.Token("--sub", "alice", "--role", "clerk"))
	acme, kiosk := "X-API-Key: "+key, "X-API-Key: "+other
	spoofed := []string{"X-App: root", "x_user: root", "X_App: root"}
	for name, test := range map[string]struct {
		path   string
		header []string
		status int
		want   string
	}{
		"both":            {"/orders", append([]string{acme, token}, spoofed...), 200, "alice by acme of gold, alice acme "},
		"the rule's app":  {"/export", []string{acme, token}, 200, "alice by acme"},
		"another app":     {"/export", []string{kiosk, token}, 403, "forbidden"},
		"a path variable": {"/apps/alice", []string{kiosk, token}, 200, "alice by kiosk"},
		"no token":        {"/orders", []string{acme}, 401, "missing_credentials"},
		"no key":          {"/orders", []string{token}, 401, "missing_credentials"},
		"no key, public":  {"/health", []string{token}, 401, "missing_credentials"},
		"bad key":         {"/orders", []string{"X-API-Key: " + harness.Flip(key), token}, 401, "invalid_api_key"},
		"bad token":       {"/orders", []string{acme, token + "x"}, 401, "invalid_token"},
		"neither":         {"/orders", nil, 401, "missing_credentials"},
		"neither, public": {"/health", spoofed, 200, " by  of ,   "},
		"two keys":        {"/orders", []string{acme, kiosk, token}, 400, "invalid_request"},
		"two tokens":      {"/orders", []string{acme, token, token}, 400, "invalid_request"},
	} {
		for _, protocol := range harness.Protocols {
			a := s.Over(protocol).Get("PORT", test.path, test.header...)
			a.Want(t, test.status, test.want)
			if t.Failed() {
				t.Fatal(name, protocol)
			}
			if test.status == 401 {
				challenges := strings.Join(a.Header.Values("WWW-Authenticate"), "\n")
				if !strings.Contains(challenges, "Bearer") || !strings.Contains(challenges, "ApiKey") {
					t.Errorf("%s: challenges: got %q, want those of both", name, challenges)
				}
			}
		}
	}
	harness.Eventually(t, func() error {
		out := s.Output("moat", "audit", "search", "--app", "acme", "--path", "/orders", "--status", "200", s.Path("trail"))
		for _, want := range []string{`"user":{"id":"alice",`, `"app":{"id":"acme","kind":"api_key","key":"`, `"rule":"app api_key_auth"`, `"rule":"urn:caddy-moat:internal"`} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("the record lacks %q:\n%s", want, out)
			}
		}
		if strings.Contains(out, "kiosk") || strings.Contains(out, key) {
			return fmt.Errorf("the search gives more:\n%s", out)
		}
		return nil
	})
	text := s.Output("moat", "audit", "search", "--app", "acme", "--format", "text", s.Path("trail"))
	if !strings.Contains(text, "alice from internal by acme from api_key") {
		t.Errorf("the text form lacks the application:\n%s", text)
	}
}

package identity

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

const twoIssuers = `
	auth {
		jwt_auth {
			issuer https://a.test {
				key RS256 {env.A}
			}
			issuer https://b.test {
				key RS256 {env.B}
			}
			audience api
		}
		basic {
			alice ` + basicHash + `
		}
	}
`

// TestUserIsAnIssuerAndAnID holds that nobody has the rights of another who is
// called like him elsewhere.
func TestUserIsAnIssuerAndAnID(t *testing.T) {
	up := harness.Upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"phone":1,"n":2}`))
	})
	ours, partner := harness.NewSigner(t), harness.NewSigner(t)
	s := harness.PrepareAll(t, `
:{$PORT} {
	audit trail
	`+twoIssuers+`
	rbac {
		role admin {
			allow GET /admin
		}
		role helper {
			allow GET /help
		}
		authenticated {
			allow GET /orders/{id} when `+"`owner(\"/sub\", id, \"https://a.test\")`"+`
			allow GET /mine when `+"`user == \"alice\" && from(\"https://a.test\")`"+`
		}
		user alice roles admin from https://a.test
		policy policy.yaml
	}
	redact {
		except user alice from https://a.test {
			remove phone
		}
	}
	reverse_proxy `+up+`
}
`, "A="+ours.Public, "B="+partner.Public)
	s.WriteFile("policy.yaml", "anyone: { allow: [GET /any] }\nusers: { alice: { roles: [helper], from: basic } }\n")
	s.Run()
	s.Wait()
	a := harness.Bearer(ours.Sign(nil, harness.Claims(map[string]any{"iss": "https://a.test"})))
	b := harness.Bearer(partner.Sign(nil, harness.Claims(map[string]any{"iss": "https://b.test"})))
	basic := "Authorization: Basic YWxpY2U6aGljY3Vw" // alice:hiccup
	for _, protocol := range harness.Protocols {
		s := s.Over(protocol)
		for path, want := range map[string][3]int{
			"/admin": {200, 403, 403}, "/help": {403, 403, 200}, "/orders/alice": {200, 403, 403}, "/orders/bob": {403, 403, 403}, "/mine": {200, 403, 403},
		} {
			for i, who := range []string{a, b, basic} {
				if got := s.Get("PORT", path, who); got.StatusCode != want[i] {
					t.Errorf("%s, credential %d, %s: got %d, want %d", path, i, protocol, got.StatusCode, want[i])
				}
			}
		}
		for i, who := range []string{a, b, basic} {
			if spared := strings.Contains(s.Get("PORT", "/any", who).Body, "phone"); spared != (i == 0) {
				t.Errorf("credential %d sees the phone: %v", i, spared)
			}
		}
	}
	// A policy that does not say which alice is not put in force.
	s.WriteFile("policy.yaml", "anyone: { allow: [GET /any] }\nusers: { alice: [helper] }\n")
	harness.Eventually(t, func() error {
		if log := s.Log.String(); !strings.Contains(log, "user alice roles helper: which user is meant?") || !strings.Contains(log, "policy.yaml:2") {
			return errors.New("not said yet")
		}
		return nil
	})
	if got := s.Get("PORT", "/help", a); got.StatusCode != 403 {
		t.Errorf("a policy that was refused is in force: %d", got.StatusCode)
	}
	// bob of one issuer is revoked without the other's, and the trail says who is who.
	body := `{"iss":"https://b.test","sub":"alice","issued_before":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}`
	if got := harness.Raw(t, s.Admin, fmt.Sprintf("POST /moat/revocations HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", s.Admin, len(body), body)); got.StatusCode != 200 {
		t.Fatalf("got %d %s", got.StatusCode, got.Body)
	}
	for i, want := range []int{200, 401, 200} {
		for _, protocol := range harness.Protocols {
			if got := s.Over(protocol).Get("PORT", "/any", []string{a, b, basic}[i]); got.StatusCode != want {
				t.Errorf("after the revocation, credential %d, %s: got %d, want %d", i, protocol, got.StatusCode, want)
			}
		}
	}
}

// TestUserWithoutSourceDoesNotLoad has what names a user whom several can vouch
// for, and what to write instead.
func TestUserWithoutSourceDoesNotLoad(t *testing.T) {
	key := "KEY=0123456789abcdef0123456789abcdef"
	site := func(auth, layers string) string { return ":{$PORT} {\n" + auth + layers + "\nrespond ok\n}\n" }
	one := "jwt_auth {\nissuer https://a.test {\nkey HS256 {env.KEY}\n}\n}\n"
	two := "jwt_auth {\nissuer https://a.test {\nkey HS256 {env.KEY}\n}\nissuer https://b.test {\nkey HS256 {env.KEY}\n}\n}\n"
	basics := "auth {\njwt_auth {\nissuer https://a.test {\nkey HS256 {env.KEY}\n}\n}\nbasic {\nalice " + basicHash + "\n}\n}\n"
	user := "rbac {\nrole admin {\nallow GET /*\n}\nuser alice roles admin\n}\n"
	for name, c := range map[string]struct{ config, want string }{
		"user":                  {site(two, user), `user alice roles admin from https://a.test`},
		"two kinds":             {site(basics, user), `Here https://a.test and basic can vouch`},
		"redact":                {site(two, "redact {\nexcept user alice {\nremove x\n}\n}\n"), `except user alice from https://a.test`},
		"owner":                 {site(two, "rbac {\nauthenticated {\nallow GET /{id} when `owner(\"/sub\", id)`\n}\n}\n"), "allow GET /{id} when `(owner(\"/sub\", id)) && from(\"https://a.test\")`"},
		"condition":             {site(two, "rbac {\nauthenticated {\nallow GET /{id} when `user == id`\n}\n}\n"), `which user is meant?`},
		"claim":                 {site(two, "rbac {\nauthenticated {\nallow GET /{id} when `claims[\"sub\"] == id`\n}\n}\n"), `which user is meant?`},
		"a source that is none": {site(two, "rbac {\nrole admin {\nallow GET /*\n}\nuser alice roles admin from https://a.test/\n}\n"), `write https://a.test and https://b.test`},
		"a named route":         {"&(n) {\n" + two + user + "}\n:{$PORT} {\ninvoke n\nrespond ok\n}\n", `which user is meant?`},
		"matchers":              {site("jwt_auth /a/* {\nissuer https://a.test {\nkey HS256 {env.KEY}\n}\n}\njwt_auth /b/* {\nissuer https://b.test {\nkey HS256 {env.KEY}\n}\n}\n", user), `which user is meant?`},
	} {
		if log := harness.FailsToLoad(t, c.config, key); !strings.Contains(strings.ReplaceAll(log, `\"`, `"`), c.want) {
			t.Errorf("%s: %s is not in\n%s", name, c.want, log)
		}
	}
	for name, config := range map[string]string{
		"one issuer":     site(one, user),
		"parts":          site("", "handle /a/* {\n"+one+user+"}\nhandle {\n"+strings.ReplaceAll(one, "a.test", "b.test")+user+"}\n"),
		"said":           site(two, "rbac {\nrole admin {\nallow GET /* when `claims.sub == \"x\" && claims.iss == \"https://a.test\"`\n}\nuser alice roles admin from https://a.test\nuser alice roles admin from https://b.test\n}\n"),
		"any of a kind":  site(two, "rbac {\nrole admin {\nallow GET /*\n}\nuser alice roles admin from jwt\n}\n"),
		"no name at all": site(two, "rbac {\nauthenticated {\nallow GET /*\n}\n}\nredact {\nexcept role x {\nremove y\n}\n}\n"),
	} {
		t.Run(name, func(t *testing.T) { harness.Start(t, config, key) })
	}
}

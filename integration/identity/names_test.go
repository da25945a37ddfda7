package identity

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestNamesAreOneName holds that a role of several words is one role wherever
// it is written and compared, and that none becomes two on its way to the
// upstream.
func TestNamesAreOneName(t *testing.T) {
	var seen http.Header
	up := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"salary":9,"n":1}`))
	})
	k := harness.NewSigner(t)
	s := harness.PrepareAll(t, `
:{$PORT} {
	jwt_auth {
		key RS256 {env.KEY}
		audience *
		roles /role /groups
		forward /role X-Role
		forward /groups X-Groups
		forward /sub X-User
	}
	rbac {
		role "Sales lead" {
			allow GET /sales
		}
		role "Domain Users" inherits "Sales lead" {
			allow GET /domain
		}
		role lead {
			allow GET /lead
		}
		authenticated {
			allow GET /me
		}
		user "bob b" roles "Domain Users"
		policy policy.yaml
	}
	redact {
		except role "Domain Users" {
			remove salary
		}
	}
	@lead role "Sales lead"
	handle @lead {
		header X-Matched yes
	}
	reverse_proxy `+up+` {
		header_up X-Roles {http.auth.user.roles}
	}
}
`, "KEY="+k.Public)
	s.WriteFile("policy.yaml", "roles:\n  Team 7: { allow: [\"GET /seven\"] }\nusers: { carol: [Team 7] }\n")
	s.Run()
	s.Wait()
	for _, c := range []struct {
		name   string
		claims map[string]any
		path   string
		status int
		roles  string // as the upstream sees them
	}{
		{"a text is one role", map[string]any{"role": "Sales lead"}, "/sales", 200, "Sales lead"},
		{"and not the last word of it", map[string]any{"role": "Sales lead"}, "/lead", 403, ""},
		{"in a list as well", map[string]any{"groups": []string{"Domain Users"}}, "/domain", 200, "Domain Users"},
		{"inherited", map[string]any{"groups": []string{"Domain Users"}}, "/sales", 200, "Domain Users"},
		{"given to a user", map[string]any{"sub": "bob b"}, "/domain", 200, "Domain Users"},
		{"in the policy file", map[string]any{"role": "Team 7"}, "/seven", 200, "Team 7"},
		{"given there", map[string]any{"sub": "carol"}, "/seven", 200, "Team 7"},
		{"a comma makes no second role", map[string]any{"groups": []string{"x,lead", "y"}}, "/me", 200, "x%2Clead,y"},
		{"nor does a space at an end", map[string]any{"groups": []string{"lead "}}, "/me", 200, "lead%20"},
		{"and none has its rights", map[string]any{"groups": []string{"x,lead", "lead "}}, "/lead", 403, ""},
		{"a text with a comma is not forwarded", map[string]any{"role": "x,lead"}, "/me", 401, ""},
		{"a line break refuses", map[string]any{"groups": []string{"x\nlead"}}, "/me", 401, ""},
		{"a user in spaces is nobody", map[string]any{"sub": " alice"}, "/me", 401, ""},
	} {
		given := harness.Claims(c.claims)
		for _, name := range []string{"role", "groups"} {
			if _, ok := c.claims[name]; !ok {
				delete(given, name)
			}
		}
		for _, protocol := range harness.Protocols {
			seen = nil
			a := s.Over(protocol).Get("PORT", c.path, harness.Bearer(k.Sign(nil, given)))
			if a.StatusCode != c.status {
				t.Errorf("%s, %s: got %d %s, want %d", c.name, protocol, a.StatusCode, a.Body, c.status)
				continue
			}
			if c.status != 200 {
				continue
			}
			if got := seen.Get("X-Roles"); got != c.roles {
				t.Errorf("%s: X-Roles is %q, want %q", c.name, got, c.roles)
			}
			if groups, ok := c.claims["groups"]; ok {
				var back, want any
				text, _ := json.Marshal(groups)
				if json.Unmarshal([]byte(seen.Get("X-Groups")), &back) != nil || json.Unmarshal(text, &want) != nil || len(back.([]any)) != len(want.([]any)) {
					t.Errorf("%s: X-Groups is %q", c.name, seen.Get("X-Groups"))
				}
			}
			if spared := a.Body == `{"salary":9,"n":1}`; spared != (c.roles == "Domain Users") {
				t.Errorf("%s: the body is %s", c.name, a.Body)
			}
			if matched := a.Header.Get("X-Matched") == "yes"; matched != (c.roles == "Sales lead") {
				t.Errorf("%s: the matcher: %v", c.name, matched)
			}
		}
	}
}

package policy

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

func neededStepUp(p *Policy, q *Request) (StepUp, bool) {
	return p.NeededStepUp(q, q.Env.Claims, q.Env.Now, func(claims *principal.Claims, scopes []string) bool {
		env := *q.Env
		env.Claims, env.Scopes = claims, scopes
		other := *q
		other.Scopes, other.Env = scopes, &env
		return p.Decide(&other).Allow
	})
}

func TestStepUpIsAskedForWhereNothingElseIsMissing(t *testing.T) {
	p := mustCompile(t, &Document{
		Anyone: &Block{Allow: []string{"GET /public when acr('2')"}},
		Authenticated: &Block{
			Allow: []string{
				"DELETE /a when acr('2 3', '5m')", "POST /strong when acr('2')", "POST /recent when max_age('1h')", "POST /recent when acr('9') && max_age('2h')",
				"POST /either when acr('2') || max_age('5m')", "PUT /mine when acr('2') && user == 'bob'", "GET /sealed when acr('2')",
				"GET /guarded", "GET /guarded/weak", "GET /twice when acr('2') && acr('3')", "POST /scoped when acr('2') && has_scope('pay')",
			},
			Deny: []string{"GET /sealed", "GET /guarded when !acr('2')", "GET /guarded/weak when acr('1')"},
		},
		Roles:  map[string]*Block{"clerk": {Allow: []string{"POST /role when acr('2')"}}},
		Scopes: map[string]*Block{"pay": {Allow: []string{"POST /pay when acr('2')"}}},
	})
	now := time.Unix(1_800_000_000, 700_000_000)
	at := func(d time.Duration) string { return fmt.Sprintf(`"auth_time":%d`, now.Add(-d).Unix()) }
	for _, tc := range []struct {
		request, claims string
		scopes          []string
		want            string
	}{
		{"DELETE /a", `{"acr":"1",` + at(time.Hour) + `}`, nil, "[2 3] 5m0s []"},
		{"DELETE /a", `{"acr":"2",` + at(time.Hour) + `}`, nil, "[] 5m0s []"},
		{"DELETE /a", `{"acr":"1",` + at(time.Minute) + `}`, nil, "[2 3] 0s []"},
		{"DELETE /a", `{}`, nil, "[2 3] 5m0s []"},
		{"DELETE /a", `{"acr":"2",` + at(-time.Hour) + `}`, nil, "[] 5m0s []"},
		{"DELETE /a", `{"acr":"2",` + at(time.Minute) + `}`, nil, ""}, // is allowed
		{"POST /strong", `{}`, nil, "[2] 0s []"},
		{"POST /recent", `{"acr":"9"}`, nil, "[] 2h0m0s []"},
		{"POST /recent", `{"acr":"1"}`, nil, "[] 1h0m0s []"},
		{"POST /either", `{}`, nil, "[] 5m0s []"},
		{"GET /guarded", `{"acr":"1"}`, nil, "[2] 0s []"},
		{"GET /guarded", `{}`, nil, "[2] 0s []"},
		{"GET /guarded/weak", `{}`, nil, "[2 3 9] 0s []"}, // silence does not open what denies
		{"POST /pay", `{}`, []string{"pay"}, "[2] 0s [pay]"},
		{"POST /pay", `{}`, nil, "[2] 0s [pay]"},
		{"POST /scoped", `{}`, nil, "[2] 0s [pay]"},
		{"POST /scoped", `{"acr":"2"}`, nil, ""}, // the scope is missing
		// Where it would not help, nobody is sent to log in again.
		{"PUT /mine", `{}`, nil, ""},
		{"GET /sealed", `{}`, nil, ""},
		{"GET /twice", `{}`, nil, ""},
		{"GET /nothing", `{}`, nil, ""},
		{"POST /role", `{}`, nil, ""},
	} {
		var method, path string
		_, _ = fmt.Sscan(tc.request, &method, &path)
		q := &Request{Method: method, Path: path, Authenticated: true, User: "alice", Scopes: tc.scopes}
		q.Env = &condition.Env{Method: method, Path: path, User: "alice", Scopes: tc.scopes, Now: now, Claims: principal.NewClaims([]byte(tc.claims))}
		got := ""
		if up, ok := neededStepUp(p, q); ok {
			got = fmt.Sprintf("%v %v %v", up.ACRs, up.MaxAge, up.Scopes)
		}
		if got != tc.want {
			t.Errorf("%s of %s with %v: got %q, want %q", tc.request, tc.claims, tc.scopes, got, tc.want)
		}
		if d := p.Decide(q); tc.want != "" && d.Allow {
			t.Errorf("%s of %s: was allowed by %s", tc.request, tc.claims, d.RuleText())
		}
	}
	q := &Request{Method: "GET", Path: "/public", Env: &condition.Env{Method: "GET", Path: "/public", Now: now}}
	if up, ok := neededStepUp(p, q); ok || p.Decide(q).Allow {
		t.Errorf("an anonymous caller was asked for %v", up)
	}
}

func TestPoliciesWithoutStepUpAskForNone(t *testing.T) {
	p := mustCompile(t, &Document{Authenticated: &Block{Allow: []string{"GET /a when claims.acr == '2'"}}})
	asked := 0
	q := &Request{Method: "GET", Path: "/a", Authenticated: true}
	if _, ok := p.NeededStepUp(q, nil, time.Now(), func(*principal.Claims, []string) bool { asked++; return true }); ok || asked > 0 {
		t.Errorf("asked %d times", asked)
	}
}

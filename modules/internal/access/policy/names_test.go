package policy

import (
	"slices"
	"strings"
	"testing"
)

// TestNamesMayHaveSpaces holds that a name of several words is one name in
// rules, in what is recorded, in differences and in the places of mistakes.
func TestNamesMayHaveSpaces(t *testing.T) {
	doc, err := ReadFile("policy.yaml", []byte(`
roles:
  Domain Users: { allow: ["GET /orders"] }
  "Sales: lead": { inherits: [Domain Users], allow: ["GET /sales"] }
users: { alice: [Domain Users] }
`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		roles []string
		user  string
		path  string
		rule  string
	}{
		{[]string{"Domain Users"}, "", "/orders", `role "Domain Users": allow GET /orders`},
		{[]string{"Sales: lead"}, "", "/orders", `role "Domain Users": allow GET /orders`},
		{nil, "alice", "/orders", `role "Domain Users": allow GET /orders`},
		{[]string{"Domain", "Users", "domain users", "Domain  Users"}, "", "/orders", NoRuleText},
		{[]string{"Sales:", "lead", "Sales"}, "", "/sales", NoRuleText},
	} {
		d := p.Decide(&Request{Method: "GET", Path: c.path, Authenticated: true, User: c.user, Roles: c.roles})
		if d.RuleText() != c.rule {
			t.Errorf("%q: got %s, want %s", c.roles, d.RuleText(), c.rule)
		}
	}
	if got := p.rules[0].Place; got != "policy.yaml:3" {
		t.Errorf("the rule stands at %s", got)
	}
	diff := Diff(nil, doc)
	for _, want := range []string{`+ role "Sales: lead" inherits "Domain Users"`, `+ user alice roles "Domain Users"`, `+ role "Sales: lead": allow GET /sales`} {
		if !slices.Contains(diff, want) {
			t.Errorf("%s is not in %s", want, strings.Join(diff, "\n"))
		}
	}
	_, err = Compile(&Document{Roles: map[string]*Block{"a": {Inherits: []string{"Domain"}, Allow: []string{"GET /"}}, "Domain Users": {Allow: []string{"GET /"}}}})
	if err == nil || !strings.Contains(err.Error(), "'Domain', which is not a role") {
		t.Errorf("got %v", err)
	}
}

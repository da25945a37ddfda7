package policy

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// shop is the policy that the design shows.
func shop() *Document {
	return &Document{
		Roles: map[string]*Block{
			"clerk": {Allow: []string{"GET /orders/*", "POST /orders"}},
			"manager": {
				Inherits: []string{"clerk"},
				Allow:    []string{"* /orders/*", "GET /teams/{team}/report when team in claims.teams"},
				Deny:     []string{"DELETE /orders/*/invoice"},
			},
		},
		Scopes:        map[string]*Block{"stock:read": {Allow: []string{"GET /stock/*"}}},
		Anyone:        &Block{Allow: []string{"GET /health"}},
		Authenticated: &Block{Allow: []string{"GET /me"}, Deny: []string{"* /me/closed when claims.closed"}},
		Users:         map[string]Grants{"carol": {{Roles: []string{"clerk"}}}},
	}
}

func compile(t testing.TB, doc *Document) *Policy {
	t.Helper()
	p, err := Compile(doc)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ask decides for user:role,role:scope,scope, or for nobody.
func ask(p *Policy, who, method, path string) Decision {
	q := Request{Method: method, Path: path}
	env := &condition.Env{Method: method, Path: path, Now: time.Unix(0, 0)}
	if who != "" {
		part := strings.Split(who+"::", ":")
		q.Authenticated, q.User = true, part[0]
		if part[1] != "" {
			q.Roles = strings.Split(part[1], ",")
		}
		if part[2] != "" {
			q.Scopes = strings.Split(strings.ReplaceAll(part[2], "-", ":"), ",")
		}
		env.User, env.Roles, env.Scopes = q.User, q.Roles, q.Scopes
		env.Claims = principal.NewClaims([]byte(`{"teams":["red"],"sub":"alice"}`))
	}
	q.Env = env
	return p.Decide(&q)
}

func TestDecisions(t *testing.T) {
	p := compile(t, shop())
	for _, tc := range []struct {
		who, method, path string
		allow             bool
		rule              string
	}{
		{"", "GET", "/health", true, "anyone: allow GET /health"},
		{"", "HEAD", "/health", true, "anyone: allow GET /health"},
		{"", "POST", "/health", false, NoRuleText},
		{"", "GET", "/health/", false, NoRuleText},
		{"", "GET", "/Health", false, NoRuleText},
		{"", "GET", "/me", false, NoRuleText},
		{"", "GET", "/orders/1", false, NoRuleText},
		{"bob", "GET", "/health", true, "anyone: allow GET /health"},
		{"bob", "GET", "/me", true, "authenticated: allow GET /me"},
		{"bob", "GET", "/orders/1", false, NoRuleText},
		{"bob:clerk", "GET", "/orders/1", true, "role clerk: allow GET /orders/*"},
		{"bob:clerk", "HEAD", "/orders/1", true, "role clerk: allow GET /orders/*"},
		{"bob:clerk", "GET", "/orders/1/lines/2", true, "role clerk: allow GET /orders/*"},
		{"bob:clerk", "GET", "/orders/", true, "role clerk: allow GET /orders/*"},
		{"bob:clerk", "GET", "/orders", false, NoRuleText},
		{"bob:clerk", "GET", "/ordersx", false, NoRuleText},
		{"bob:clerk", "POST", "/orders", true, "role clerk: allow POST /orders"},
		{"bob:clerk", "POST", "/orders/", false, NoRuleText},
		{"bob:clerk", "post", "/orders", false, NoRuleText},
		{"bob:clerk", "DELETE", "/orders/1", false, NoRuleText},
		{"bob:manager", "GET", "/orders/1", true, "role clerk: allow GET /orders/*"},
		{"bob:manager", "POST", "/orders", true, "role clerk: allow POST /orders"},
		{"bob:manager", "DELETE", "/orders/1", true, "role manager: allow * /orders/*"},
		{"bob:manager", "PURGE", "/orders/1", true, "role manager: allow * /orders/*"},
		{"bob:manager", "DELETE", "/orders/1/invoice", false, "role manager: deny DELETE /orders/*/invoice"},
		{"bob:manager", "DELETE", "/orders/1/invoice/", false, "role manager: deny DELETE /orders/*/invoice"},
		{"bob:manager", "delete", "/orders/1/invoice", false, "role manager: deny DELETE /orders/*/invoice"},
		{"bob:manager", "DELETE", "/orders/1/invoice/2", true, "role manager: allow * /orders/*"},
		{"bob:manager,clerk", "DELETE", "/orders/1/invoice", false, "role manager: deny DELETE /orders/*/invoice"},
		{"bob:manager", "GET", "/orders/1/invoice", true, "role clerk: allow GET /orders/*"},
		{"bob:manager", "GET", "/teams/red/report", true, "role manager: allow GET /teams/{team}/report when team in claims.teams"},
		{"bob:manager", "GET", "/teams/blue/report", false, NoRuleText},
		{"bob:manager", "GET", "/teams/red/report/", false, NoRuleText},
		{"bob:clerk", "GET", "/teams/red/report", false, NoRuleText},
		{"bob:unknown,clerk", "POST", "/orders", true, "role clerk: allow POST /orders"},
		{"bob::stock-read", "GET", "/stock/1", true, "scope stock:read: allow GET /stock/*"},
		{"bob:stock-read", "GET", "/stock/1", false, NoRuleText},
		{"bob::clerk", "POST", "/orders", false, NoRuleText},
		{"carol", "POST", "/orders", true, "role clerk: allow POST /orders"},
		{"dave", "POST", "/orders", false, NoRuleText},
		{"bob", "GET", "/me/closed", false, "authenticated: deny * /me/closed when claims.closed"},
	} {
		d := ask(p, tc.who, tc.method, tc.path)
		if d.Allow != tc.allow || d.RuleText() != tc.rule {
			t.Errorf("%q %s %s: got %v by %q; want %v by %q", tc.who, tc.method, tc.path, d.Allow, d.RuleText(), tc.allow, tc.rule)
		}
	}
}

func TestConditionThatFailsDenies(t *testing.T) {
	p := compile(t, &Document{Authenticated: &Block{
		Allow: []string{"* /a/*", "GET /b when claims.missing == 1", "GET /c when claims.missing == 1", "GET /c when true"},
		Deny:  []string{"* /a/secret when claims.missing == 1"},
	}})
	d := ask(p, "bob", "GET", "/a/secret")
	if d.Allow || d.Reason != ConditionFails || !errors.Is(d.Err, condition.ErrMissing) || d.Failed != d.Rule {
		t.Errorf("deny: got %+v", d)
	}
	d = ask(p, "bob", "GET", "/b")
	if d.Allow || d.Rule != nil || d.Reason != NoRule || !errors.Is(d.Err, condition.ErrMissing) || d.Failed == nil {
		t.Errorf("allow: got %+v", d)
	}
	if d = ask(p, "bob", "GET", "/c"); !d.Allow {
		t.Errorf("another rule: got %+v", d)
	}
	if d = p.Decide(&Request{Method: "GET", Path: "/a/secret", Authenticated: true}); d.Allow || !errors.Is(d.Err, ErrNoEnv) {
		t.Errorf("without anything to look at: got %+v", d)
	}
}

func TestAnonymousRequestHasNoRolesWhateverItClaims(t *testing.T) {
	p := compile(t, shop())
	q := Request{Method: "POST", Path: "/orders", User: "carol", Roles: []string{"clerk"}, Scopes: []string{"stock:read"}}
	if d := p.Decide(&q); d.Allow {
		t.Errorf("got %+v", d)
	}
}

func TestRequestWithoutPathIsRefused(t *testing.T) {
	p := compile(t, &Document{Anyone: &Block{Allow: []string{"* /*"}}})
	for _, path := range []string{"", "*", "a", "host:80"} {
		if d := p.Decide(&Request{Method: "GET", Path: path}); d.Allow {
			t.Errorf("%q: got %+v", path, d)
		}
	}
}

func TestDenyBeatsAllowWhereverTheyStand(t *testing.T) {
	for _, doc := range []*Document{
		{Anyone: &Block{Deny: []string{"GET /x/y"}}, Roles: map[string]*Block{"a": {Allow: []string{"GET /x/y"}}}},
		{Anyone: &Block{Deny: []string{"* /*"}}, Roles: map[string]*Block{"a": {Allow: []string{"GET /x/y"}}}},
		{Authenticated: &Block{Deny: []string{"GET /*"}}, Roles: map[string]*Block{"a": {Allow: []string{"* /x/y"}}}},
		{Roles: map[string]*Block{"a": {Allow: []string{"GET /x/y"}}, "b": {Deny: []string{"GET /{p}/y"}}}},
		{Roles: map[string]*Block{"a": {Allow: []string{"GET /x/y"}, Inherits: []string{"c"}}, "c": {Deny: []string{"GET /x/*"}}}},
		{Roles: map[string]*Block{"a": {Allow: []string{"GET /x/y"}}}, Scopes: map[string]*Block{"s": {Deny: []string{"GET /*/y"}}}},
		{Roles: map[string]*Block{"a": {Allow: []string{"GET /x/y"}}, "c": {Deny: []string{"GET /x/*"}}}, Users: map[string]Grants{"bob": {{Roles: []string{"c"}}}}},
	} {
		if d := ask(compile(t, doc), "bob:a,b:s", "GET", "/x/y"); d.Allow || d.Rule == nil || d.Rule.Allow {
			t.Errorf("%+v: got %+v", doc, d)
		}
	}
}

func TestSingleSegmentIsNeverEmpty(t *testing.T) {
	p := compile(t, &Document{Anyone: &Block{Allow: []string{"GET /a/{id}", "GET /b/*/c"}}})
	for path, want := range map[string]bool{"/a/1": true, "/a/": false, "/a": false, "/a/1/2": false, "/b/1/c": true, "/b//c": false, "/b/1/2/c": false} {
		if d := ask(p, "", "GET", path); d.Allow != want {
			t.Errorf("%s: got %v", path, d.Allow)
		}
	}
}

func TestEncodedCharactersInRulesAreCompared(t *testing.T) {
	p := compile(t, &Document{Anyone: &Block{Allow: []string{"GET /a%20b", "GET /%2A", "GET /caf%C3%A9", "GET /{x}/%7Bid%7D"}}})
	for path, want := range map[string]bool{"/a b": true, "/*": true, "/x": false, "/café": true, "/z/{id}": true, "/z/id": false} {
		if d := ask(p, "", "GET", path); d.Allow != want {
			t.Errorf("%s: got %v", path, d.Allow)
		}
	}
}

func TestCaseIsIgnoredWhereAsked(t *testing.T) {
	doc := &Document{
		IgnoreCase: true,
		Anyone:     &Block{Allow: []string{"GET /Orders/{id}/Straße when id == 'Ab'", "* /all/*"}, Deny: []string{"* /all/Secret"}},
	}
	p := compile(t, doc)
	for path, want := range map[string]bool{
		"/orders/Ab/straße": true, "/ORDERS/Ab/STRAßE": true, "/orders/ab/straße": false,
		"/ALL/x": true, "/all/SECRET": false, "/All/sEcret/": false,
	} {
		if d := ask(p, "", "GET", path); d.Allow != want {
			t.Errorf("%s: got %v", path, d.Allow)
		}
	}
	// Letters that are capitals of the same: servers compare either way.
	for _, path := range []string{"/all/\u017fecret", "/all/SECRE\u0074", "/all/\u017fECRET/"} {
		if d := ask(p, "", "GET", path); d.Allow {
			t.Errorf("%q gets round the rule that denies", path)
		}
	}
	doc.Anyone = &Block{Allow: []string{"* /all/*"}, Deny: []string{"* /all/Mike", "* /all/\u0130x"}}
	p = compile(t, doc)
	for _, path := range []string{"/all/m\u0131\u212ae", "/all/M\u0130KE", "/all/ix", "/all/IX", "/all/\u0131x"} {
		if d := ask(p, "", "GET", path); d.Allow {
			t.Errorf("%q gets round the rule that denies", path)
		}
	}
	doc.IgnoreCase = false
	if d := ask(compile(t, doc), "", "GET", "/ALL/x"); d.Allow {
		t.Error("case is ignored without being asked for")
	}
}

func TestFaultyPoliciesAreRefused(t *testing.T) {
	rule := []string{"GET /a"}
	for want, doc := range map[string]*Document{
		"the policy is empty":                            {},
		"the policy has no rules":                        {Authenticated: &Block{}},
		"role a: it has no rules":                        {Roles: map[string]*Block{"a": {}}},
		"role b: it has no rules":                        {Roles: map[string]*Block{"a": {Allow: rule}, "b": nil}},
		`role "": the name is empty`:                     {Roles: map[string]*Block{"": {Allow: rule}}},
		"role a,b: a name has no comma":                  {Roles: map[string]*Block{"a,b": {Allow: rule}}},
		`role "a ": a name does not begin or end with`:   {Roles: map[string]*Block{"a ": {Allow: rule}}},
		`role "a	b": a name has no control characters`:   {Roles: map[string]*Block{"a\tb": {Allow: rule}}},
		"role a: it inherits 'b', which is not a role":   {Roles: map[string]*Block{"a": {Inherits: []string{"b"}, Allow: rule}}},
		"scope a: it inherits 'b', which is not a scope": {Scopes: map[string]*Block{"a": {Inherits: []string{"b"}, Allow: rule}}, Roles: map[string]*Block{"b": {Allow: rule}}},
		"role a: it inherits itself: a inherits a":       {Roles: map[string]*Block{"a": {Inherits: []string{"a"}, Allow: rule}}},
		"role a: it inherits itself: a inherits b inherits c inherits a": {Roles: map[string]*Block{
			"a": {Inherits: []string{"b"}, Allow: rule}, "b": {Inherits: []string{"c"}}, "c": {Inherits: []string{"a"}},
		}},
		"role a: it inherits 'b' twice":                   {Roles: map[string]*Block{"a": {Inherits: []string{"b", "b"}}, "b": {Allow: rule}}},
		"anyone: it cannot inherit":                       {Anyone: &Block{Inherits: []string{"b"}, Allow: rule}, Roles: map[string]*Block{"b": {Allow: rule}}},
		"role a: allow: GET /a is repeated":               {Roles: map[string]*Block{"a": {Allow: []string{"GET /a", "GET  /a"}}}},
		"role a: deny: path 'a' must begin with '/'":      {Roles: map[string]*Block{"a": {Deny: []string{"GET a"}}}},
		"anyone: allow: when usr == \"\": at character 1": {Anyone: &Block{Allow: []string{"GET /a when usr == \"\""}}},
		"user bob: 'x' is not a role of this policy":      {Anyone: &Block{Allow: rule}, Users: map[string]Grants{"bob": {{Roles: []string{"x"}}}}},
		"user bob: role 'r' is repeated":                  {Roles: map[string]*Block{"r": {Allow: rule}}, Users: map[string]Grants{"bob": {{Roles: []string{"r", "r"}}}}},
		"user bob: it is given no roles":                  {Anyone: &Block{Allow: rule}, Users: map[string]Grants{"bob": {}}},
		`user "": the user's id is empty`:                 {Roles: map[string]*Block{"r": {Allow: rule}}, Users: map[string]Grants{"": {{Roles: []string{"r"}}}}},
	} {
		p, err := Compile(doc)
		var e *Error
		if p != nil || !errors.As(err, &e) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v; want %q", err, want)
		}
	}
}

func TestMergeRefusesWhatStandsInBoth(t *testing.T) {
	b := &Block{Allow: []string{"GET /a"}}
	both := []*Document{
		{Roles: map[string]*Block{"a": b}},
		{Scopes: map[string]*Block{"a": b}},
		{Anyone: b},
		{Authenticated: b},
		{Users: map[string]Grants{"a": {{Roles: []string{"b"}}}}},
	}
	for i, x := range both {
		for j, y := range both {
			y.Mark("role a", "", "file:7")
			m, err := Merge(x, y)
			if (err != nil) != (i == j) {
				t.Errorf("%d and %d: got %v", i, j, err)
			}
			if i == j && i == 0 && !strings.HasPrefix(err.Error(), "file:7: role a: it has rules in two places") {
				t.Errorf("got %v", err)
			}
			if i != j && m.Empty() {
				t.Errorf("%d and %d: nothing left", i, j)
			}
		}
	}
}

func TestDecisionsDoNotAllocate(t *testing.T) {
	for name, body := range decisions(t) {
		if strings.Contains(name, "when") {
			continue // CEL allocates
		}
		if n := testing.AllocsPerRun(100, body); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

package rbac

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestCommandsKnowTheApplication: what a rule says about the application beside
// the user can be asked about, too.
func TestCommandsKnowTheApplication(t *testing.T) {
	file := config(t, "rbac {\n authenticated {\n allow GET /reports when `app.id == \"shop\" && \"gold\" in app.roles && app.kind == \"api_key\"`\n allow GET /plans when `app.plan == \"gold\" && app.claims.region == \"eu\"`\n}\n}")
	const gold = `{"id":"shop","kind":"api_key","roles":["gold"]}`
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"--user", "alice", "--app", gold, "GET", "/reports"}, "ALLOWED: GET /reports, for user alice, by application shop\n"},
		{[]string{"--user", "alice", "--app", "shop", "GET", "/reports"}, "REFUSED with 403: GET /reports, for user alice, by application shop\n"},
		{[]string{"--user", "alice", "GET", "/reports"}, "REFUSED with 403: GET /reports, for user alice\n"},
		{[]string{"--user", "alice", "--app", `{"id":"x","plan":"gold","claims":{"region":"eu"}}`, "GET", "/plans"}, "ALLOWED: GET /plans"},
		{[]string{"--app", gold, "GET", "/reports"}, "Error: an application sends requests for a user: name user, roles, scopes or claims beside app\n"},
		{[]string{"--user", "alice", "--app", `{"ID":"shop","role":["gold"]}`, "GET", "/reports"}, "Error: --app is neither an id nor a JSON object"},
		{[]string{"--user", "alice", "--app", `{"roles":["gold"]}`, "GET", "/reports"}, "Error: app: it has no id\n"},
	} {
		got, _ := command(explainCommand(), append([]string{"--config", file}, tc.args...)...)
		if !strings.HasPrefix(got, tc.want) {
			t.Errorf("%q:\ngot  %s\nwant %s", tc.args, got, tc.want)
		}
	}
	for name, tc := range map[string]struct{ text, want string }{
		"tests.yaml": {"tests:\n- user: alice\n  app: {id: shop, kind: api_key, roles: [gold]}\n  request: GET /reports\n  expect: allow\n- user: alice\n  app: shop\n  request: GET /reports\n  expect: 403\n", "2 of 2 expectations met"},
		"tests.json": {`{"tests":[{"user":"alice","app":` + gold + `,"request":"GET /reports","expect":"allow"},{"user":"alice","app":"shop","request":"GET /reports","expect":403}]}`, "2 of 2 expectations met"},
		"typo.yaml":  {"tests:\n- user: alice\n  app: {id: shop, role: [gold]}\n  request: GET /reports\n  expect: allow\n", "field role not found"},
		"typo.json":  {`{"tests":[{"user":"alice","app":{"id":"shop","role":["gold"]},"request":"GET /reports","expect":"allow"}]}`, `unknown field "role"`},
	} {
		table := filepath.Join(t.TempDir(), name)
		write(t, table, tc.text)
		got, _ := command(testCommand(), "--config", file, table)
		if !strings.Contains(got, tc.want) {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
	}
}

// TestEqualPoliciesNeedNoChoice: a policy that several sites use is one.
func TestEqualPoliciesNeedNoChoice(t *testing.T) {
	const other = "rbac {\n role clerk {\n allow GET /b\n}\n}"
	if got, err := command(explainCommand(), "--config", config(t, shop, shop), "--role", "clerk", "GET", "/orders/1"); err != nil || !strings.HasPrefix(got, "ALLOWED") {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := command(explainCommand(), "--config", config(t, shop, other), "--role", "clerk", "GET", "/orders/1"); err == nil || !strings.Contains(got, "choose one") {
		t.Errorf("got %s, %v", got, err)
	}
}

package rbac

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// behind writes a configuration with an rbac handler behind what stands
// before it, in the form that a Caddyfile adapts to.
func behind(t *testing.T, routes string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "caddy.json")
	write(t, file, fmt.Sprintf(`{"apps":{"http":{"servers":{"srv0":{"routes":[{"terminal":true,"match":[{"host":["example.com"]}],"handle":[{"handler":"subroute","routes":[%s]}]}]}}}}}`, routes))
	return file
}

// jwt is jwt_auth, with more members.
const jwt = `{"handler":"auth","name":"jwt_auth","providers":[{"provider":"jwt"}]%s}`

func TestExplainKnowsWhatRejectsAnonymousCallersBeforeRbac(t *testing.T) {
	rbac := `{"handler":"rbac"` + anyoneRules(t)
	before := func(more string) string { return fmt.Sprintf(jwt, more) }
	for name, c := range map[string]struct {
		routes, args, want string
	}{
		"required":             {`{"handle":[` + before("") + `]},{"handle":[` + rbac + `]}`, "GET /health", "REFUSED with 401"},
		"in one route":         {`{"handle":[` + before("") + `,` + rbac + `]}`, "GET /health", "REFUSED with 401"},
		"within a subroute":    {`{"handle":[{"handler":"subroute","routes":[{"handle":[` + before("") + `]}]}]},{"match":[{"path":["/h*"]}],"handle":[{"handler":"subroute","routes":[{"handle":[` + rbac + `]}]}]}`, "GET /health", "REFUSED with 401"},
		"path of two readings": {`{"handle":[` + before("") + `,` + rbac + `]}`, "GET /health%2Fx", "REFUSED with 401"},
		"basic_auth":           {`{"handle":[{"handler":"authentication","providers":{"http_basic":{}}}]},{"handle":[` + rbac + `]}`, "GET /health", "REFUSED with 401"},
		"a known caller":       {`{"handle":[` + before("") + `,` + rbac + `]}`, "--user alice GET /health", "ALLOWED"},
		"optional":             {`{"handle":[` + before(`,"optional":true`) + `,` + rbac + `]}`, "GET /health", "ALLOWED"},
		"with a matcher":       {`{"match":[{"path":["/api/*"]}],"handle":[` + before("") + `]},{"handle":[` + rbac + `]}`, "GET /health", "ALLOWED"},
		"behind rbac":          {`{"handle":[` + rbac + `,` + before("") + `]}`, "GET /health", "ALLOWED"},
		"strips only":          {`{"handle":[{"handler":"auth","strip_headers":["X-User"]},` + rbac + `]}`, "GET /health", "ALLOWED"},
		"preflight":            {`{"handle":[` + before(`,"preflight":true`) + `,` + rbac + `]}`, "OPTIONS /health", "ALLOWED"},
		"preflight, GET":       {`{"handle":[` + before(`,"preflight":true`) + `,` + rbac + `]}`, "GET /health", "REFUSED with 401"},
		"null and odd members": {`null,{"handle":null},{"handle":[null,{"handler":"x","routes":["a",[1]],"name":{}},` + before("") + `,` + rbac + `]}`, "GET /health", "REFUSED with 401"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := command(explainCommand(), append([]string{"--config", behind(t, c.routes)}, strings.Fields(c.args)...)...)
			if !strings.HasPrefix(out, c.want+":") {
				t.Errorf("got %v\n%s", err, out)
			}
		})
	}
	file := behind(t, `{"handle":[`+before("")+`,`+rbac+`]}`)
	out, _ := command(explainCommand(), "--why-not", "--config", file, "GET", "/health")
	if !strings.Contains(out, "by jwt_auth, which is not optional") || !strings.Contains(out, "an identity, whoever it is") || strings.Contains(out, "allowed for this path") {
		t.Error(out)
	}
	table := filepath.Join(t.TempDir(), "t.yaml")
	write(t, table, "tests:\n- request: GET /health\n  expect: 401\n- request: GET /health\n  user: alice\n  expect: allow\n")
	if out, err := command(policyCommand(), "test", "--config", file, table); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// anyoneRules returns the members of an rbac whose rules are for anyone, and
// the end of the object.
func anyoneRules(t *testing.T) string {
	t.Helper()
	text, err := json.Marshal(parse(t, "rbac {\n anyone {\n allow GET,OPTIONS /health\n }\n}"))
	if err != nil {
		t.Fatal(err)
	}
	return "," + string(text[1:])
}

func TestMatrixKnowsWhatRejectsAnonymousCallersBeforeRbac(t *testing.T) {
	rbac := `{"handler":"rbac"` + anyoneRules(t)
	for more, want := range map[string]string{
		"":                  "/health,,\"GET,OPTIONS\"\r\n",
		`,"optional":true`:  "/health,\"GET,OPTIONS\",\"GET,OPTIONS\"\r\n",
		`,"preflight":true`: "/health,OPTIONS,\"GET,OPTIONS\"\r\n",
	} {
		file := behind(t, `{"handle":[`+fmt.Sprintf(jwt, more)+`]},{"handle":[`+rbac+`]}`)
		out, err := command(policyCommand(), "matrix", "--csv", "--config", file)
		if err != nil || !strings.HasSuffix(out, want) {
			t.Errorf("%s: got %v %q", more, err, out)
		}
	}
}

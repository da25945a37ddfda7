package rbac

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
)

func TestWhyNotSaysWhatWouldBeEnough(t *testing.T) {
	file := config(t, shop)
	for args, want := range map[string]string{
		"GET /orders/1": `
what is missing:
  role clerk
  role manager
`,
		"--role clerk PUT /orders/1": `
what is missing:
  role manager
allowed for this path and caller: GET
`,
		"--role clerk PUT /health": `
what is missing:
  a rule: none allows this method and path to anybody
allowed for this path and caller: GET
`,
		"--role manager --role clerk DELETE /orders/1/invoice": `
what is missing:
  that role manager: deny DELETE /orders/*/invoice does not deny it: it is there because of role manager
allowed for this path and caller: GET, POST, PUT, PATCH, OPTIONS
`,
		"--role clerk GET /teams/red/report": `
what is missing:
  that the condition holds of role manager: allow GET /teams/{team}/report when team in claims.teams, and role manager (a claim, parameter or field that it reads is missing)
`,
		`--claims {"teams":["red"]} GET /teams/red/report`: `
what is missing:
  role manager
`,
		"GET /a%2fb": `
what is missing:
  a path with one reading; no role helps
`,
		"GET /health": "",
	} {
		all := append([]string{"--why-not", "--config", file}, strings.Fields(args)...)
		got, err := command(explainCommand(), all...)
		if _, after, ok := strings.Cut(got, "\nwhat is missing:"); ok {
			got = "\nwhat is missing:" + after
		} else {
			got = ""
		}
		if got != want || (err != nil) != (want != "") || err != nil && !errors.Is(err, errNo) {
			t.Errorf("%s: %v\ngot:\n%s\nwant:\n%s", args, err, got, want)
		}
	}
	known := config(t, "rbac {\n authenticated {\n allow GET /me\n}\n role a {\n deny GET /me\n}\n}")
	got, _ := command(explainCommand(), "--why-not", "--config", known, "GET", "/me")
	if !strings.HasSuffix(got, "what is missing:\n  an identity, whoever it is\n") {
		t.Errorf("got:\n%s", got)
	}
}

func TestMatrixPageIsWholeAndEscaped(t *testing.T) {
	evil := `rbac {
	role "<script>alert(1)</script>" {
		allow GET "/<b>/{id}" when ` + "`id == \"</td><img src=x>\"`" + `
		allow POST /a"b
	}
	anyone {
		allow GET /health
	}
	user <i>lena</i> roles "<script>alert(1)</script>"
}`
	got, err := command(matrixCommand(), "--config", config(t, evil), "--html")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "<img", "<b>", "href=", "url(", "@import", "ZgotmplZ"} {
		if strings.Contains(got, bad) {
			t.Errorf("the page holds %s:\n%s", bad, got)
		}
	}
	for _, want := range []string{
		"&lt;script&gt;alert(1)&lt;/script&gt;", `<td class="may">GET?</td>`, `<td class="always">GET</td>`, `<td class="never">–</td>`,
		"<h2>Users</h2>", "<td><code>&lt;i&gt;lena&lt;/i&gt;</code></td><td>anywhere</td>",
		"default-src &#39;none&#39;", "</html>",
	} {
		if !strings.Contains(got, want) && !strings.Contains(got, strings.ReplaceAll(want, "&#39;", "'")) {
			t.Errorf("the page lacks %s:\n%s", want, got)
		}
	}
	if _, err := command(matrixCommand(), "--config", config(t, shop), "--html", "--csv"); err == nil {
		t.Error("--html and --csv were taken together")
	}
}

const (
	casbinModel = `# as in the first pages of its manual
[request_definition]
r = sub, obj, act

[policy_definition]
p = sub, obj, act, eft

[role_definition]
g = _, _

[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))

[matchers]
m = g(r.sub, p.sub) && keyMatch2(r.obj, p.obj) && \
    regexMatch(r.act, p.act) # a comment
`
	casbinPolicy = `p, clerk, /orders/*, GET
p, manager, /orders/:id, (PUT)|(PATCH), allow
p, manager, /orders/:id/invoice, DELETE, deny
p, alice, /reports, ^(GET|POST)$
# who is who
g, manager, clerk
g, alice, manager
`
)

func TestCasbinPolicyIsImported(t *testing.T) {
	dir := t.TempDir()
	model, rules := filepath.Join(dir, "model.conf"), filepath.Join(dir, "policy.csv")
	write(t, model, casbinModel)
	write(t, rules, casbinPolicy)
	got, err := command(importCasbinCommand(), model, rules)
	want := `# a rule for GET is one for HEAD too
# a rule that denies a path denies it with a slash at the end too, and its method in any letters
# the rules of a user stand under a role user:<id>: no credential may carry a role of such a name
roles:
  "clerk":
    allow:
      - "GET /orders/*"
  "manager":
    inherits: ["clerk"]
    allow:
      - "PUT,PATCH /orders/{p2_id}"
    deny:
      - "DELETE /orders/{p2_id}/invoice"
  "user:alice":
    allow:
      - "GET,POST /reports"
users:
  "alice": ["user:alice", "manager"]
`
	if err != nil || got != want {
		t.Errorf("%v\ngot:\n%s\nwant:\n%s", err, got, want)
	}
	write(t, rules, "p, clerk, data1, read\n")
	if _, err := command(importCasbinCommand(), model, rules); err == nil || !strings.Contains(fullText(err), "line 1: the object 'data1' is not a path") {
		t.Errorf("got %v", err)
	}
	if _, err := command(importCasbinCommand(), "--subjects", "both", model, rules); err == nil {
		t.Error("--subjects both was taken")
	}
}

func TestSchemaIsPrinted(t *testing.T) {
	got, err := command(schemaCommand())
	if err != nil || !bytes.Equal([]byte(got), policy.Schema) || !json.Valid([]byte(got)) {
		t.Errorf("%v: %s", err, got)
	}
}

func TestExplainAndExpectationsHaveABody(t *testing.T) {
	file := config(t, transfers)
	args := []string{"--config", file, "--user", "bob", "--role", "clerk"}
	for body, allowed := range map[string]bool{
		`{"amount":5,"from":{"owner":"bob"}}`:    true,
		`{"amount":5000,"from":{"owner":"bob"}}`: false,
	} {
		_, err := command(explainCommand(), append(args, "--body", body, "POST", "/transfers")...)
		if allowed != (err == nil) {
			t.Errorf("%s: %v", body, err)
		}
	}
	if _, err := command(explainCommand(), append(args, "--body", `{"a":1,"a":2}`, "POST", "/transfers")...); err == nil || errors.Is(err, errNo) {
		t.Errorf("a body with two readings: %v", err)
	}
	table := filepath.Join(t.TempDir(), "t.yaml")
	write(t, table, "tests:\n  - user: bob\n    roles: [clerk]\n    request: POST /transfers\n    body: {amount: 5, from: {owner: bob}}\n    expect: allow\n")
	if out, err := command(testCommand(), "--config", file, table); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

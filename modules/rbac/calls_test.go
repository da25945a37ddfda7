package rbac

import (
	"encoding/csv"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// agents is the policy of an MCP server.
const agents = `rbac {
	authenticated {
		allow GET,POST,DELETE /mcp
		tool search_*
		prompt summary
	}
	scope orders:write {
		tool refund when mcp.arguments.amount <= 100
	}
	role admin {
		tool *
		resource file:///docs/*
	}
	role trainee inherits admin {
		deny tool *_all
		deny resource file:///docs/<b>.md
	}
}`

func TestMatrixShowsCalls(t *testing.T) {
	file := config(t, agents)
	got, err := command(matrixCommand(), "-c", file)
	want := `path                          anyone  authenticated    role admin       role trainee     scope orders:write
/mcp                          -       DELETE,GET,POST  DELETE,GET,POST  DELETE,GET,POST  DELETE,GET,POST
tool *                        -       -                allow            allow            -
tool *_all                    -       -                allow            -                -
tool refund                   -       -                allow            allow            allow?
tool search_*                 -       allow            allow            allow            allow
tool search_*_all             -       allow            allow            -                allow
resource file:///docs/*       -       -                allow            allow            -
resource file:///docs/<b>.md  -       -                allow            -                -
prompt summary                -       allow            allow            allow            allow
`
	if err != nil || got != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
	got, err = command(matrixCommand(), "-c", file, "--csv")
	rows, errCSV := csv.NewReader(strings.NewReader(got)).ReadAll()
	if err != nil || errCSV != nil || len(rows) != 10 || rows[4][0] != "tool refund" || rows[4][5] != "allow?" || rows[4][1] != "" {
		t.Errorf("got %v, %v, %q", err, errCSV, rows)
	}
	got, err = command(matrixCommand(), "-c", file, "--html")
	if err != nil || strings.Contains(got, "<b>") {
		t.Errorf("%v: the page is not escaped:\n%s", err, got)
	}
	for _, want := range []string{
		`<th scope="row">resource file:///docs/&lt;b&gt;.md</th>`, `<td class="may">allow?</td>`, `<td class="always">allow</td>`,
		"stand for calls of an MCP", "<code>role trainee: deny tool *_all</code>",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %s:\n%s", want, got)
		}
	}
}

func TestDiffSaysWhoGainsWhichCalls(t *testing.T) {
	old, changed := config(t, agents), filepath.Join(t.TempDir(), "new.yaml")
	write(t, changed, `authenticated:
  allow: ["GET,POST,DELETE /mcp", "tool search_*", "prompt summary"]
scopes:
  "orders:write": {allow: ["tool refund"]}
roles:
  admin: {allow: ["tool *", "resource file:///docs/*"]}
  trainee: {inherits: [admin], deny: ["resource file:///docs/<b>.md"]}
`)
	got, err := command(diffCommand(), old, changed)
	want := `role trainee gains tool *_all
scope orders:write now always has tool refund
`
	if !errors.Is(err, errNo) || got != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
}

func TestExplainDecidesAboutCalls(t *testing.T) {
	file := config(t, agents)
	for args, want := range map[string]string{
		"--user bob --tool search_orders /mcp": `ALLOWED: POST /mcp for tool search_orders, for user bob
by authenticated: allow tool search_*
because the rule allows it and no rule denies it

rules for this name:
  authenticated: allow tool search_*  applies
  role admin: allow tool *            does not apply: the caller does not have role admin
`,
		"--user bob --tool refund --argument amount=50 POST /mcp": `REFUSED with 200 and the JSON-RPC error -32602: POST /mcp for tool refund, for user bob
by default: deny
note: data.scope of the error asks for orders:write
because no rule allows it

rules for this name:
  role admin: allow tool *                                                does not apply: the caller does not have role admin
  scope orders:write: allow tool refund when mcp.arguments.amount <= 100  does not apply: the caller does not have scope orders:write
`,
		`--scope orders:write --tool refund --arguments {"amount":500} /mcp`: `REFUSED with 200 and the JSON-RPC error -32602: POST /mcp for tool refund, for a caller with scope orders:write
by default: deny
because no rule allows it

rules for this name:
  role admin: allow tool *                                                does not apply: the caller does not have role admin
  scope orders:write: allow tool refund when mcp.arguments.amount <= 100  its condition does not hold
`,
		"--role trainee --resource file:///docs/<b>.md /mcp": `REFUSED with 200 and the JSON-RPC error -32602: POST /mcp for resource file:///docs/<b>.md, for a caller with role trainee
by role trainee: deny resource file:///docs/<b>.md
because a rule that denies beats every rule that allows

rules for this name:
  role admin: allow resource file:///docs/*         applies
  role trainee: deny resource file:///docs/<b>.md   applies
`,
		// The request decides first: there clients lose the session.
		"--tool search_orders /mcp": `REFUSED with 401: POST /mcp for tool search_orders, for an anonymous caller
by default: deny
note: it is the request that is rejected, whatever it calls
because no rule allows it

rules for this method and path:
  authenticated: allow GET,POST,DELETE /mcp  does not apply: the caller is anonymous
`,
		"--user bob --tool search_orders PUT /mcp": `REFUSED with 403: PUT /mcp for tool search_orders, for user bob
by default: deny
note: it is the request that is rejected, whatever it calls
because no rule allows it

no rule is for this method and path
`,
		"--role admin --tool ｒefund /mcp": `REFUSED with 200 and the JSON-RPC error -32602: POST /mcp for tool ｒefund, for a caller with role admin
by default: deny
note: no rule can be for this call: the name has characters with more than one form, such as full-width letters
because no rule allows it

no rule is for this name
`,
	} {
		got, err := command(explainCommand(), append([]string{"--config", file}, strings.Fields(args)...)...)
		if squeezed(got) != squeezed(want) {
			t.Errorf("%s\ngot:\n%s\nwant:\n%s", args, got, want)
		}
		if allowed := strings.HasPrefix(want, "ALLOWED"); allowed != (err == nil) || !allowed && !errors.Is(err, errNo) {
			t.Errorf("%s: ended with %v", args, err)
		}
	}
	got, _ := command(explainCommand(), "--config", file, "--why-not", "--user", "bob", "--tool", "refund", "--argument", "amount=50", "/mcp")
	_, missing, _ := strings.Cut(got, "\nwhat is missing:\n")
	if want := "  role admin\n  role trainee\n  scope orders:write\n  that the condition holds"; !strings.HasPrefix(missing, want) && !strings.HasPrefix(missing, "  role admin\n  role trainee\n  scope orders:write\n") {
		t.Errorf("got:\n%s\nwant:\n%s", missing, want)
	}
	plain := config(t, "rbac {\n authenticated {\n allow POST /mcp\n}\n}")
	got, err := command(explainCommand(), "--config", plain, "--user", "bob", "--tool", "anything", "/mcp")
	if err != nil || !strings.Contains(got, "note: the policy has no rule for a tool, resource or prompt: who may send the request may call every name\n") {
		t.Errorf("%v:\n%s", err, got)
	}
}

func squeezed(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = oneLine(l)
	}
	return strings.Join(lines, "\n")
}

func TestCallsThatCannotBeAskedAboutAreErrors(t *testing.T) {
	file := config(t, agents)
	for args, want := range map[string]string{
		"--tool a --prompt b /mcp":                    "none of the others can be",
		"--argument a=1 /mcp":                         "not a method and a path",
		"--argument a=1 POST /mcp":                    "name a tool or a prompt",
		"--resource file:///a --argument a=1 /mcp":    "without arguments",
		"--tool a --argument a /mcp":                  "is not name=value",
		"--tool a --argument a=1 --argument a=2 /mcp": "is there twice",
		`--tool a --arguments {"a":1,"a":2} /mcp`:     "one reading",
		`--tool a --arguments [1] /mcp`:               "one JSON object",
		`--tool a --arguments {} --argument a=1 /mcp`: "none of the others can be",
		"--tool a mcp":                                "is not a method and a path",
	} {
		_, err := command(explainCommand(), append([]string{"--config", file}, strings.Fields(args)...)...)
		if err == nil || errors.Is(err, errNo) || !strings.Contains(fullText(err), want) && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v; want %q", args, err, want)
		}
	}
}

func TestExpectationsOfCalls(t *testing.T) {
	file := config(t, agents)
	table := filepath.Join(filepath.Dir(file), "t.yaml")
	write(t, table, `config: caddy.json
tests:
  - {user: bob, request: /mcp, tool: search_orders, expect: allow, rule: "authenticated: allow tool search_*"}
  - {user: bob, request: POST /mcp, tool: refund, arguments: {amount: 5}, expect: -32602}
  - {scopes: ["orders:write"], request: /mcp, tool: refund, arguments: {amount: 5}, expect: allow}
  - {scopes: ["orders:write"], request: /mcp, tool: refund, arguments: {amount: 5, Amount: 500}, expect: deny}
  - {scopes: ["orders:write"], request: /mcp, tool: refund, expect: -32602}
  - {roles: [admin], request: /mcp, resource: "file:///docs/../etc/passwd", expect: -32602}
  - {user: bob, request: /mcp, prompt: summary, expect: allow}
  - {request: /mcp, prompt: summary, expect: 401}
`)
	if out, err := command(testCommand(), table); err != nil || !strings.HasPrefix(out, "8 of 8 expectations met") {
		t.Errorf("got %v, %s", err, out)
	}
	asJSON := filepath.Join(filepath.Dir(file), "t.json")
	write(t, asJSON, `{"config":"caddy.json","tests":[{"scopes":["orders:write"],"request":"/mcp","tool":"refund","arguments":{"amount":500},"expect":"allow"}]}`)
	out, err := command(testCommand(), asJSON)
	want := `FAILED test 1, /mcp
  POST /mcp for tool refund, for a caller with scope orders:write
  got  -32602 by default: deny
  want allow
`
	if !errors.Is(err, errNo) || !strings.HasPrefix(out, want) {
		t.Errorf("got %v\n%s\nwant\n%s", err, out, want)
	}
	for text, want := range map[string]string{
		"tests: [{request: GET /, expect: -32602}]":                        "name a tool, resource or prompt",
		"tests: [{request: /mcp, tool: a, prompt: b, expect: allow}]":      "calls one thing",
		"tests: [{request: /mcp, tool: a, arguments: [1], expect: allow}]": "one JSON object",
		"tests: [{request: POST /mcp, arguments: {a: 1}, expect: allow}]":  "name a tool or a prompt",
		"tests: [{request: /mcp, tol: a, expect: allow}]":                  "tol",
	} {
		write(t, table, "config: caddy.json\n"+text)
		if _, err := command(testCommand(), table); err == nil || errors.Is(err, errNo) || !strings.Contains(fullText(err), want) {
			t.Errorf("%s: got %v; want %q", text, err, want)
		}
	}
}

package rbac

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
)

// config writes a configuration with these rbac blocks and returns its name.
func config(t *testing.T, blocks ...string) string {
	t.Helper()
	var handlers []string
	for _, b := range blocks {
		h, err := json.Marshal(parse(t, b))
		if err != nil {
			t.Fatal(err)
		}
		handlers = append(handlers, `{"handler":"rbac",`+string(h[1:]))
	}
	file := filepath.Join(t.TempDir(), "caddy.json")
	write(t, file, fmt.Sprintf(`{"apps":{"http":{"servers":{"s":{"routes":[{"handle":[%s]}]}}}}}`, strings.Join(handlers, ",")))
	return file
}

// command runs a command and returns what it prints.
func command(cmd *cobra.Command, args ...string) (string, error) {
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(append([]string{}, args...)) // nil would be those of the test
	err := cmd.Execute()
	return out.String(), err
}

func TestExplainNamesTheRuleAndTheReason(t *testing.T) {
	file := config(t, shop)
	for args, want := range map[string]string{
		"--role clerk GET /orders/1": `ALLOWED: GET /orders/1, for a caller with role clerk
by role clerk: allow GET /orders/*
because the rule allows it and no rule denies it

rules for this method and path:
  role clerk: allow GET /orders/*  applies
  role manager: allow * /orders/*  does not apply: the caller does not have role manager
`,
		"GET /orders/1?x=1": `REFUSED with 401: GET /orders/1?x=1, for an anonymous caller
by default: deny
because no rule allows it

rules for this method and path:
  role clerk: allow GET /orders/*  does not apply: the caller does not have role clerk
  role manager: allow * /orders/*  does not apply: the caller does not have role manager
`,
		"--user bob --role manager DELETE /orders/1/invoice": `REFUSED with 403: DELETE /orders/1/invoice, for user bob with role manager
by role manager: deny DELETE /orders/*/invoice
because a rule that denies beats every rule that allows

rules for this method and path:
  role manager: deny DELETE /orders/*/invoice  applies
  role manager: allow * /orders/*              applies
`,
		"--role manager GET /teams/red/report": `REFUSED with 403: GET /teams/red/report, for a caller with role manager
by default: deny
because no rule allows it; the condition of role manager: allow GET /teams/{team}/report when team in claims.teams has no result: a claim, parameter or field that it reads is missing

rules for this method and path:
  role manager: allow GET /teams/{team}/report when team in claims.teams  its condition has no result: a claim, parameter or field that it reads is missing
`,
		`--role manager --claims {"teams":["red"]} GET /teams/red/report`: `ALLOWED: GET /teams/red/report, for a caller with role manager
by role manager: allow GET /teams/{team}/report when team in claims.teams
because the rule allows it and no rule denies it

rules for this method and path:
  role manager: allow GET /teams/{team}/report when team in claims.teams  applies
`,
		"GET /a%2fb": `REFUSED with 400: GET /a%2fb, for an anonymous caller
by the path itself: the path has an encoded separator
`,
		"--user x PUT /nowhere": `REFUSED with 403: PUT /nowhere, for user x
by default: deny
because no rule allows it

no rule is for this method and path
`,
	} {
		got, err := command(explainCommand(), append([]string{"--config", file}, strings.Fields(args)...)...)
		if got != want {
			t.Errorf("%s\ngot:\n%s\nwant:\n%s", args, got, want)
		}
		if allowed := strings.HasPrefix(want, "ALLOWED"); allowed != (err == nil) || !allowed && !errors.Is(err, errNo) {
			t.Errorf("%s: ended with %v", args, err)
		}
	}
}

func TestCommandsWithoutAnAnswerSayWhy(t *testing.T) {
	one, two := config(t, shop), config(t, shop, "rbac {\n anyone {\n allow GET /a\n}\n}")
	dir := t.TempDir()
	none := filepath.Join(dir, "none.json")
	write(t, none, `{}`)
	table := filepath.Join(dir, "t.yaml")
	for _, tc := range []struct {
		cmd  *cobra.Command
		args []string
		file string
		want string
	}{
		{explainCommand(), []string{"GET", "/a"}, "", "name the configuration"},
		{explainCommand(), []string{"-c", none, "GET", "/a"}, "", "has no rbac directive"},
		{explainCommand(), []string{"-c", two, "GET", "/a"}, "", "has 2 rbac directives; choose one:\n  --rbac 1: 6 rules"},
		{explainCommand(), []string{"-c", one, "--rbac", "2", "GET", "/a"}, "", "no number 2"},
		{explainCommand(), []string{"-c", one, "GET", "a"}, "", "is not a method and a path"},
		{explainCommand(), []string{"-c", one, "--claims", "[]", "GET", "/a"}, "", "--claims is not a JSON object"},
		{explainCommand(), []string{"-c", one, "--now", "noon", "GET", "/a"}, "", "is not a time"},
		{explainCommand(), []string{"-c", one, "--header", "x", "GET", "/a"}, "", "is not a header field"},
		{matrixCommand(), []string{"-c", filepath.Join(dir, "absent")}, "", "no such file"},
		{testCommand(), []string{table}, "tests: [{request: GET /, expect: allow}]", "name the configuration"},
		{testCommand(), []string{"-c", one, table}, "tests: []", "it has no tests"},
		{testCommand(), []string{"-c", one, table}, "tests: [{request: GET /, expect: maybe}]", "test 1: expect 'maybe' is not allow"},
		{testCommand(), []string{"-c", one, table}, "tests: [{reqest: GET /, expect: allow}]", "reqest"},
		{testCommand(), []string{"-c", one, table}, "tests: [{request: /, expect: allow}]", "test 1: '/' is not a method and a path"},
	} {
		write(t, table, tc.file)
		if _, err := command(tc.cmd, tc.args...); err == nil || errors.Is(err, errNo) || !strings.Contains(fullText(err), tc.want) {
			t.Errorf("%q: got %v; want %q", tc.args, err, tc.want)
		}
	}
}

// fullText returns the text of an error that Caddy's command line wrapped.
func fullText(err error) string {
	if u := errors.Unwrap(err); u != nil {
		return u.Error()
	}
	return fmt.Sprintf("%+v", err)
}

func TestMatrix(t *testing.T) {
	file := config(t, shop)
	got, err := command(matrixCommand(), "-c", file)
	want := `path                  anyone  authenticated  role clerk  role manager
/health               GET     GET            GET         GET
/orders               -       -              POST        POST
/orders/*             -       -              GET         *
/orders/*/invoice     -       -              GET         GET,POST,(other)
/teams/{team}/report  -       -              -           GET?
`
	if err != nil || got != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
	got, err = command(matrixCommand(), "-c", file, "--csv")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(got)).ReadAll()
	if err != nil || len(rows) != 6 || rows[4][4] != "GET,POST,(other)" || rows[2][1] != "" {
		t.Errorf("got %v, %q", err, rows)
	}
}

// TestOverlapsOfPathsAreShown: neither path is the more specific, and what both
// are for is in the table and in the difference.
func TestOverlapsOfPathsAreShown(t *testing.T) {
	dir := t.TempDir()
	old, changed := filepath.Join(dir, "old.yaml"), filepath.Join(dir, "new.yaml")
	write(t, old, `roles: {clerk: {allow: ["PUT /a/{x}"]}}`)
	write(t, changed, `roles: {clerk: {allow: ["PUT /a/{x}"], deny: ["PUT /{y}/b"]}}`)
	if out, err := command(diffCommand(), old, changed); !errors.Is(err, errNo) || out != "role clerk loses PUT /a/b\n" {
		t.Errorf("got %v\n%s", err, out)
	}
	if out, err := command(diffCommand(), changed, old); !errors.Is(err, errNo) || out != "role clerk gains PUT /a/b\n" {
		t.Errorf("back: got %v\n%s", err, out)
	}
	var lines []string
	for i := range 102 {
		lines = append(lines, fmt.Sprintf("clerk%d: {allow: [\"GET /a%d/{x}\"], deny: [\"GET /{y}/b%d\"]}", i, i, i))
	}
	write(t, changed, "roles: {"+strings.Join(lines, ", ")+"}")
	if out, err := command(diffCommand(), old, changed); !errors.Is(err, policy.ErrTooManyOverlaps) || errors.Is(err, errNo) {
		t.Errorf("too many: got %v\n%s", err, out)
	}
}

func TestExpectations(t *testing.T) {
	file := config(t, shop)
	dir := filepath.Dir(file)
	good := filepath.Join(dir, "good.yaml")
	write(t, good, `config: caddy.json
tests:
  - name: clerks read orders
    roles: [clerk]
    request: GET /orders/1
    expect: allow
    rule: "role clerk: allow GET /orders/*"
  - request: GET /orders/1
    expect: 401
  - {user: x, request: GET /orders/1, expect: 403}
  - {request: GET /a//b, expect: 400}
  - {roles: [manager], claims: {teams: [red]}, request: GET /teams/red/report, expect: allow}
  - {roles: [manager], claims: {teams: [red]}, request: GET /teams/blue/report, expect: deny}
`)
	if out, err := command(testCommand(), good); err != nil || !strings.HasPrefix(out, "6 of 6 expectations met by "+file+" (6 rules, sha256:") {
		t.Errorf("got %v, %s", err, out)
	}
	bad := filepath.Join(dir, "bad.json")
	write(t, bad, `{
	"config": "caddy.json",
	"tests": [
		{"name": "clerks delete", "roles": ["clerk"], "request": "DELETE /orders/1", "expect": "allow"},
		{"request": "GET /health", "expect": 401},
		{"request": "GET /health", "expect": "allow", "rule": "another"},
		{"request": "GET /health", "expect": "allow"}
	]
}`)
	out, err := command(testCommand(), bad)
	if !errors.Is(err, errNo) {
		t.Errorf("got %v", err)
	}
	want := `FAILED test 1, clerks delete
  DELETE /orders/1, for a caller with role clerk
  got  403 by default: deny
  want allow
FAILED test 2, GET /health
  GET /health, for an anonymous caller
  got  allow by anyone: allow GET /health
  want 401
FAILED test 3, GET /health
  GET /health, for an anonymous caller
  got  allow by anyone: allow GET /health
  want allow by another
1 of 4 expectations met by ` + file
	if !strings.HasPrefix(out, want) {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

func TestDiffSaysWhoGainsAndWhoLoses(t *testing.T) {
	old := config(t, shop)
	same := filepath.Join(filepath.Dir(old), "same.yaml")
	write(t, same, `roles:
  clerk: {allow: ["GET,HEAD /orders/*", "POST /orders"]}
  manager: {inherits: [clerk], allow: ["* /orders/*", "GET /teams/{t}/report when t in claims.teams"], deny: ["DELETE /orders/{id}/invoice"]}
anyone: {allow: ["GET /health"]}
`)
	if out, err := command(diffCommand(), old, same); err != nil || out != "" {
		t.Errorf("the same in other words: got %v\n%s", err, out)
	}
	other := filepath.Join(filepath.Dir(old), "other.json")
	write(t, other, `{"roles": {
	"clerk": {"allow": ["GET /orders/*", "PUT /orders/{id} when id == user"]},
	"manager": {"inherits": ["clerk"], "allow": ["GET /teams/{t}/report"]}
}}`)
	out, err := command(diffCommand(), old, other)
	want := `anyone loses GET,HEAD /health
authenticated loses GET,HEAD /health
role clerk loses GET,HEAD /health
role manager loses GET,HEAD /health
role clerk loses POST /orders
role manager loses POST /orders
role manager loses DELETE,POST,PUT,(other) /orders/*
role manager loses POST,PUT,(other) /orders/*/invoice
role clerk may gain PUT /orders/{id}
role manager loses DELETE,POST,(other) /orders/{id}
role manager may lose PUT /orders/{id}
role manager now always has GET,HEAD /teams/{team}/report
`
	if !errors.Is(err, errNo) || out != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, out, want)
	}
	for _, file := range []string{filepath.Join(filepath.Dir(old), "absent.yaml"), filepath.Join(filepath.Dir(old), "absent")} {
		if _, err := command(diffCommand(), old, file); err == nil || errors.Is(err, errNo) {
			t.Errorf("%s: got %v", file, err)
		}
	}
}

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

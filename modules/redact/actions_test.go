package redact

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The manual and the Syntax comment name the actions of the table, written as
// the parser wants them, and no others.
func TestManualNamesTheActions(t *testing.T) {
	manual, err := os.ReadFile("../../docs/redact.md")
	if err != nil {
		t.Fatal(err)
	}
	comment, err := os.ReadFile("caddyfile.go")
	if err != nil {
		t.Fatal(err)
	}
	space := regexp.MustCompile(`\s+`)
	for name, text := range map[string]string{"docs/redact.md": string(manual), "the comment of UnmarshalCaddyfile": strings.ReplaceAll(string(comment), "//", "")} {
		lines := map[string]bool{}
		for line := range strings.SplitSeq(text, "\n") {
			lines[strings.TrimSpace(space.ReplaceAllString(line, " "))] = true
		}
		for _, a := range actionList {
			if !lines[a.usage()] {
				t.Errorf("%s lacks the line %q", name, a.usage())
			}
		}
	}
	_, table, _ := strings.Cut(string(manual), "## Actions")
	table, _, _ = strings.Cut(table, "\n## ")
	rows := regexp.MustCompile("(?m)^\\| `([a-z_]+)").FindAllStringSubmatch(table, -1)
	for _, row := range rows {
		if actions[row[1]] == nil {
			t.Errorf("docs/redact.md has the action %s, which there is not", row[1])
		}
	}
	if keep := 1; len(rows) != len(actionList)-keep { // keep stands in the row of mask
		t.Errorf("docs/redact.md has %d actions in its table, of %d", len(rows), len(actionList)-keep)
	}
}

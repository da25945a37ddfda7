package layers_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-moat/caddy-moat/caddyfile"
	_ "github.com/caddy-moat/caddy-moat/modules/audit"
	_ "github.com/caddy-moat/caddy-moat/modules/auth"
	"github.com/caddy-moat/caddy-moat/modules/internal/findings"
	"github.com/caddy-moat/caddy-moat/modules/layers"
	"github.com/caddy-moat/caddy-moat/modules/layers/check"
)

func init() {
	caddy.RegisterModule(stranger{})
	caddy.RegisterModule(strangerAuth{})
}

// stranger is a handler of another plugin, strangerAuth one that authenticates
// by its name.
type (
	stranger     struct{}
	strangerAuth struct{ stranger }
)

func (stranger) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_stranger", New: func() caddy.Module { return &struct{ stranger }{} }}
}

func (strangerAuth) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_stranger_auth", New: func() caddy.Module { return new(strangerAuth) }}
}

func (stranger) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}

// run runs the command, and returns what it printed and whether it succeeded.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := check.Command(layers.Examine)
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	err := cmd.Execute()
	return out.String(), err
}

// inspect checks a configuration with the environment of the fixtures.
func inspect(t *testing.T, name, text string, args ...string) findings.Result {
	t.Helper()
	t.Setenv("MOAT_TEST_SECRET", "r4Qz9VbN2kLx7TfWc5YhJm8PsDg3RaEu6XoKtCvB1nHiZyMw")
	t.Setenv("MOAT_TEST_WORDS", "correct-horse-battery-staple-correct-horse")
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := run(t, append([]string{"--config", file, "--format", "json"}, args...)...)
	var r findings.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return r
}

// allRules returns the rules, as the command lists them.
func allRules(t *testing.T) []findings.Rule {
	t.Helper()
	out, err := run(t, "--rules", "--format", "json")
	var all []findings.Rule
	if err == nil {
		err = json.Unmarshal([]byte(out), &all)
	}
	if err != nil || len(all) < 50 {
		t.Fatalf("%d rules: %v", len(all), err)
	}
	return all
}

var section = regexp.MustCompile(`(?m)^-- (fail|pass)(\.json)? --\n`)

// fixture is the configurations of a rule: one that does not meet it, and one
// that does.
func fixture(t *testing.T, id string) map[string]string {
	t.Helper()
	body, err := os.ReadFile("testdata/check/" + id + ".txt")
	if err != nil {
		t.Errorf("%s has no configurations: %v", id, err)
		return nil
	}
	text := strings.ReplaceAll(string(body), "\r\n", "\n")
	parts := map[string]string{}
	marks := section.FindAllStringSubmatchIndex(text, -1)
	for i, m := range marks {
		end := len(text)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		name := "Caddyfile"
		if m[4] >= 0 {
			name = "caddy.json"
		}
		parts[text[m[2]:m[3]]] = name + "\n" + text[m[1]:end]
	}
	return parts
}

// TestEveryRuleFindsAndSpares runs each rule over a configuration that does not
// meet it, where "# <-" marks the line of the finding, and over one that does.
func TestEveryRuleFindsAndSpares(t *testing.T) {
	for _, rule := range allRules(t) {
		t.Run(rule.ID, func(t *testing.T) {
			parts := fixture(t, rule.ID)
			if parts["fail"] == "" || parts["pass"] == "" {
				t.Fatalf("testdata/check/%s.txt must have -- fail -- and -- pass --", rule.ID)
			}
			name, text, _ := strings.Cut(parts["fail"], "\n")
			var want, got []int
			for i, line := range strings.Split(text, "\n") {
				if strings.HasSuffix(line, "# <-") {
					want = append(want, i+1)
				}
			}
			failed := inspect(t, name, text)
			for _, f := range failed.Findings {
				switch {
				case f.Rule == rule.ID:
					got = append(got, f.Line)
				case f.Severity == findings.Error && rule.Severity != findings.Error:
					t.Errorf("fail: %s %s %s", f.At(), f.Rule, f.Text)
				}
			}
			got = slices.Compact(got)
			if len(got) == 0 || want != nil && !slices.Equal(got, want) || want == nil && name == "Caddyfile" && slices.Contains(got, 0) {
				t.Errorf("fail: found at lines %v, want %v\n%+v", got, want, failed.Findings)
			}
			name, text, _ = strings.Cut(parts["pass"], "\n")
			for _, f := range inspect(t, name, text).Findings {
				if f.Rule == rule.ID || f.Severity == findings.Error {
					t.Errorf("pass: %s %s %s", f.At(), f.Rule, f.Text)
				}
			}
		})
	}
}

package caddyfile

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

var update = flag.Bool("update", false, "rewrite the lower half of the golden files")

// separator stands between the Caddyfile and the expected JSON or error, as
// in Caddy's own adapt tests.
const separator = "----------\n"

// adapt turns a Caddyfile into indented JSON.
func adapt(t *testing.T, caddyfile string) (string, error) {
	t.Helper()
	cfg, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, cfg, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return out.String(), nil
}

// golden is a file below testdata/<directive>/ok or testdata/<directive>/err.
type golden struct {
	path, directive string
	refused         bool
}

// goldens lists all golden files and refuses those that lie elsewhere.
func goldens(t *testing.T) []golden {
	t.Helper()
	var found []golden
	err := filepath.WalkDir("testdata", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".caddyfiletest" {
			return err
		}
		parts := strings.Split(filepath.ToSlash(path), "/")
		if len(parts) != 4 || parts[2] != "ok" && parts[2] != "err" {
			t.Errorf("%s: a golden file lies in testdata/<directive>/ok if it adapts and in testdata/<directive>/err if it is refused", path)
			return nil
		}
		found = append(found, golden{path, parts[1], parts[2] == "err"})
		return nil
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("%d golden files: %v", len(found), err)
	}
	return found
}

func TestGoldens(t *testing.T) {
	for _, g := range goldens(t) {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(g.path), "testdata/"), ".caddyfiletest")
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(g.path)
			if err != nil {
				t.Fatal(err)
			}
			input, want, ok := strings.Cut(strings.ReplaceAll(string(content), "\r\n", "\n"), separator)
			if !ok && !*update {
				t.Fatalf("no line %q", separator)
			}
			got, err := adapt(t, input)
			if refused := err != nil; refused != g.refused {
				t.Fatalf("%s: refused: %t, which does not fit its directory: %v", g.path, refused, err)
			}
			if err != nil {
				got = err.Error()
			}
			if *update {
				if err := os.WriteFile(g.path, []byte(input+separator+got+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != strings.TrimSpace(want) {
				t.Errorf("input:\n%s\ngot:\n%s\nwant:\n%s", input, got, want)
			}
		})
	}
}

// TestEveryDirectiveHasGoldens asks for at least one file that adapts and one
// that is refused, for each row of the table.
func TestEveryDirectiveHasGoldens(t *testing.T) {
	good, bad := map[string]bool{}, map[string]bool{}
	for _, g := range goldens(t) {
		if g.refused {
			bad[g.directive] = true
		} else {
			good[g.directive] = true
		}
	}
	for _, d := range directives {
		if !good[d.name] {
			t.Errorf("%s: no golden that adapts; add testdata/%s/ok/….caddyfiletest", d.name, d.name)
		}
		if !bad[d.name] {
			t.Errorf("%s: no golden that is refused; add testdata/%s/err/….caddyfiletest", d.name, d.name)
		}
	}
}

package caddyfile

import (
	"bytes"
	"encoding/json"
	"flag"
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

func TestGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, ok := strings.Cut(strings.ReplaceAll(string(content), "\r\n", "\n"), separator)
			if !ok && !*update {
				t.Fatalf("no line %q", separator)
			}
			got, err := adapt(t, input)
			if err != nil {
				got = err.Error()
			}
			if *update {
				if err := os.WriteFile(file, []byte(input+separator+got+"\n"), 0o644); err != nil {
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
	for _, d := range directives {
		var good, bad bool
		files, err := filepath.Glob("testdata/" + d.name + "_*.caddyfiletest")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, want, _ := strings.Cut(string(content), separator)
			if strings.HasPrefix(want, "{") {
				good = true
			} else {
				bad = true
			}
		}
		if !good || !bad {
			t.Errorf("%s: a golden that adapts: %t, a golden that is refused: %t; add testdata/%s_….caddyfiletest", d.name, good, bad, d.name)
		}
	}
}

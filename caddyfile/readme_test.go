package caddyfile

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var readmeBlock = regexp.MustCompile("(?s)(<!-- from (\\S+) -->\n)?```caddyfile\n(.*?)```")

// TestReadmeShowsOnlyWhatTestsRun compares each Caddyfile block of the README
// with the file it says it is from.
func TestReadmeShowsOnlyWhatTestsRun(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := readmeBlock.FindAllStringSubmatch(string(readme), -1)
	if len(blocks) < 6 {
		t.Fatalf("found only %d blocks", len(blocks))
	}
	for _, b := range blocks {
		if b[2] == "" {
			t.Errorf("this block does not say which file it is from:\n%s", b[3])
			continue
		}
		body, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(b[2])))
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.Contains(string(body), b[3]) {
			t.Errorf("%s does not have this block of the README:\n%s", b[2], b[3])
		}
	}
}

func TestEveryDirectiveHasAReadmeSection(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range directives {
		if !strings.Contains(string(readme), "\n### `"+d.name+"`\n") {
			t.Errorf("README.md has no section ### `%s`", d.name)
		}
	}
}

package caddyfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

var (
	manualBlock = regexp.MustCompile("(?s)(<!-- from (\\S+) -->\n)?```caddyfile\n(.*?)```")
	manualLink  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fenced      = regexp.MustCompile("(?s)```.*?```")
)

// manual returns the README, the pages of docs and the READMEs of the
// examples by their paths below the repository's root.
func manual(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	for _, root := range []string{"../README.md", "../CHANGELOG.md", "../.github", "../docs", "../examples"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".md" {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel("..", path)
			pages[filepath.ToSlash(rel)] = strings.ReplaceAll(string(text), "\r\n", "\n")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return pages
}

// TestManualShowsOnlyWhatTestsRun compares each Caddyfile block of the README
// and of docs with the file it says it is from.
func TestManualShowsOnlyWhatTestsRun(t *testing.T) {
	blocks := 0
	for page, text := range manual(t) {
		for _, b := range manualBlock.FindAllStringSubmatch(text, -1) {
			blocks++
			if b[2] == "" {
				t.Errorf("%s: this block does not say which file it is from:\n%s", page, b[3])
				continue
			}
			body, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(b[2])))
			if err != nil {
				t.Errorf("%s: %v", page, err)
				continue
			}
			if !strings.Contains(strings.ReplaceAll(string(body), "\r\n", "\n"), b[3]) {
				t.Errorf("%s: %s does not have this block:\n%s", page, b[2], b[3])
			}
		}
	}
	if blocks < 12 {
		t.Errorf("found only %d blocks", blocks)
	}
}

func TestEveryDirectiveHasAPage(t *testing.T) {
	pages := manual(t)
	for _, d := range directives {
		if page := "docs/" + d.name + ".md"; !strings.HasPrefix(pages[page], "# `"+d.name+"`\n") {
			t.Errorf("%s does not begin with # `%s`", page, d.name)
		}
		if link := "](docs/" + d.name + ".md)"; !strings.Contains(pages["README.md"], link) {
			t.Errorf("README.md does not link to docs/%s.md", d.name)
		}
	}
}

// TestReadmeStaysShort holds the README to what a newcomer reads in one go.
func TestReadmeStaysShort(t *testing.T) {
	if n := strings.Count(manual(t)["README.md"], "\n"); n > 200 {
		t.Errorf("README.md has %d lines, want at most 200: move the details to docs/", n)
	}
}

// TestLinksOfTheManualLeadSomewhere follows each relative link.
func TestLinksOfTheManualLeadSomewhere(t *testing.T) {
	for page, text := range manual(t) {
		for _, m := range manualLink.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, ":") {
				continue
			}
			path := filepath.Join("..", filepath.Dir(filepath.FromSlash(page)), filepath.FromSlash(target))
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			}
		}
	}
}

// TestExamplesAreFormatted: Caddy warns at each start of a Caddyfile that
// caddy fmt would change, which looks like the reader's mistake.
func TestExamplesAreFormatted(t *testing.T) {
	files, err := filepath.Glob("../examples/*/Caddyfile")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d examples: %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		body := strings.ReplaceAll(string(text), "\r\n", "\n")
		if string(caddyfile.Format([]byte(body))) != body {
			t.Errorf("%s is not as caddy fmt leaves it: run caddy fmt --overwrite %s", file, file)
		}
	}
}

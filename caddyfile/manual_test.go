package caddyfile

import (
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

var (
	manualBlock = regexp.MustCompile("(?s)(?:<!-- from (\\S+) -->\n)?```(\\w*)\n(.*?)```")
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
			if b[1] == "" {
				if b[2] == "caddyfile" {
					t.Errorf("%s: this block does not say which file it is from:\n%s", page, b[3])
				}
				continue
			}
			blocks++
			body, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(b[1])))
			if err != nil {
				t.Errorf("%s: %v", page, err)
				continue
			}
			if !strings.Contains(strings.ReplaceAll(string(body), "\r\n", "\n"), b[3]) {
				t.Errorf("%s: %s does not have this block:\n%s", page, b[1], b[3])
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

// anchors returns those that GitHub gives to the headings of a page.
func anchors(text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		all = append(all, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1]))
	}
	return all
}

// TestLinksOfTheManualLeadSomewhere follows each relative link, to its heading too.
func TestLinksOfTheManualLeadSomewhere(t *testing.T) {
	pages := manual(t)
	for page, text := range pages {
		for _, m := range manualLink.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, ":") {
				continue
			}
			file := page
			if target != "" {
				file = path.Join(path.Dir(page), target)
			}
			if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(file))); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
			} else if anchor != "" && !slices.Contains(anchors(pages[file]), anchor) {
				t.Errorf("%s links to %s: %s has no such heading", page, m[1], file)
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
	for _, file := range append(files, recipes(t)...) {
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

// recipes are the Caddyfiles of docs/recipes.md.
func recipes(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../docs/recipes/*.Caddyfile")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d recipes: %v", len(files), err)
	}
	return files
}

// TestRecipesProvision adapts each recipe and provisions it, with the files
// that it names in a temporary directory.
func TestRecipesProvision(t *testing.T) {
	text := manual(t)["docs/recipes.md"]
	dir := filepath.ToSlash(t.TempDir())
	t.Setenv("HOME", dir)
	t.Setenv("XDG_DATA_HOME", dir)
	for _, key := range []string{"TOKENIZE_KEY", "TEST_HASH_KEY"} {
		t.Setenv(key, strings.Repeat("0f", 32))
	}
	policy, err := os.ReadFile("../docs/recipes/policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"policy.yaml": string(policy), "token": "token", "ca.crt": testCA,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	places := strings.NewReplacer(
		"/etc/moat/", dir+"/", "/var/log/moat/", dir+"/",
		"/var/run/secrets/kubernetes.io/serviceaccount/", dir+"/", "/srv/app", dir,
	)
	for _, file := range recipes(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".Caddyfile"), func(t *testing.T) {
			if shown := "<!-- from docs/recipes/" + filepath.Base(file) + " -->"; !strings.Contains(text, shown) {
				t.Errorf("docs/recipes.md does not show it: %s", shown)
			}
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			adapted, err := adapt(t, places.Replace(strings.ReplaceAll(string(body), "\r\n", "\n")))
			if err != nil {
				t.Fatal(err)
			}
			var cfg caddy.Config
			if err := json.Unmarshal([]byte(adapted), &cfg); err != nil {
				t.Fatal(err)
			}
			if err := caddy.Validate(&cfg); err != nil {
				t.Errorf("provisioning: %v", err)
			}
		})
	}
}

// testCA is a certificate authority of nobody.
const testCA = `-----BEGIN CERTIFICATE-----
MIIBdDCCARugAwIBAgIUUZlShnwn8gN9r0BPwP9on6oasHcwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMzAxNzUwNDFaGA8yMTI2MTEwNjE3NTA0
MVowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABI77
m1yJkMAPNykOcx0YYPB0WFss8fbbeFDwU4y2zaT4ZFVqkp4PsHUyQpC/0ufjouLs
2K1RSNxrFRK4bTwy6kejUzBRMB0GA1UdDgQWBBRlB1xTIt6BWrOC0M+GUl/2faWD
djAfBgNVHSMEGDAWgBRlB1xTIt6BWrOC0M+GUl/2faWDdjAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0cAMEQCIBdnd23RevzhFWmT+m+UztaTb3c2EFgrvlL/
UN0Xoe+wAiAJQcGtM/9vwFlbFg10XTQh21xPXjxkBSO4mJtbflzO5Q==
-----END CERTIFICATE-----
`

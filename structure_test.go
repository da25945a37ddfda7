package moat

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// source is one Go file of this module.
type source struct {
	path string // relative to the root, with slashes
	dir  string
	test bool
	file *ast.File
}

// sources parses every Go file of this module, not of modules inside it.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p == "." {
				return nil
			}
			if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, p, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		p = filepath.ToSlash(p)
		all = append(all, source{p, path.Dir(p), strings.HasSuffix(p, "_test.go"), f})
		return nil
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	return all
}

func modulePath(t *testing.T) string {
	t.Helper()
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^module (\S+)`).FindSubmatch(mod)
	if m == nil {
		t.Fatal("go.mod has no module line")
	}
	return string(m[1])
}

// within reports whether path is dir or below it.
func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// room is a folder of engines, and what of modules/internal they may import.
type room struct {
	dir string
	may []string
	why string
}

// tools are engines that know none of the promises. What stands in no room and
// is no tool is what modules share in being Caddy modules.
var tools = []string{"fileedit", "filelock", "filewatch", "keyform", "problem", "query", "strictjson", "suggest"}

// rooms hold the engines, by what the product promises.
var rooms = []room{
	{
		"identity",
		append([]string{"identity"}, tools...),
		"who calls is known before what the caller may do, see or leave behind, and must not depend on it",
	},
	{
		"access",
		append([]string{"access", "identity/principal"}, tools...),
		"a decision rests on the caller that was verified and not on how: a method that is added changes no policy",
	},
	{
		"data",
		append([]string{"data"}, tools...),
		"bytes are rewritten by rules that somebody else has chosen for this caller",
	},
	{
		"evidence",
		append([]string{"evidence", "data", "identity/principal"}, tools...),
		"a trail holds what the layers say of themselves, about which caller, without what the rules of data hide, and depends on none of them",
	},
}

// roomOf returns the room that a folder of engines is in.
func roomOf(dir string) (room, bool) {
	for _, r := range rooms {
		if within(dir, "modules/internal/"+r.dir) {
			return r, true
		}
	}
	if slices.Contains(tools, strings.TrimPrefix(dir, "modules/internal/")) {
		return room{may: tools, why: "a tool knows nothing of what it is used for"}, true
	}
	return room{}, false
}

// TestImportsPointOneWay holds the shape of the code: the root, then caddyfile,
// then modules, then engines, then libraries.
func TestImportsPointOneWay(t *testing.T) {
	self := modulePath(t)
	const caddy = "github.com/caddyserver/caddy/v2"
	for _, s := range sources(t) {
		for _, spec := range s.file.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			ours, inside := strings.CutPrefix(imp, self+"/")
			refuse := func(why string) { t.Errorf("%s imports %s: %s", s.path, imp, why) }

			if imp == caddy+"/caddyconfig/httpcaddyfile" && s.dir != "caddyfile" {
				refuse("only caddyfile registers directives, so that one table holds their order")
			}
			if s.dir == "." && !s.test && spec.Name.String() != "_" {
				refuse("the root only imports for effect; what it would do belongs into a module")
			}
			switch {
			case within(s.dir, "modules/internal"):
				if inside && !within(ours, "modules/internal") {
					refuse("what modules share must not know one of them")
				}
				rule, engine := roomOf(s.dir)
				if !engine {
					continue
				}
				if inside && ours != s.dir && !slices.ContainsFunc(rule.may, func(dir string) bool { return within(ours, "modules/internal/"+dir) }) {
					refuse(rule.why)
				}
				if imp == caddy || within(imp, caddy) || within(imp, "go.uber.org/zap") && !s.test {
					refuse("an engine is free of Caddy and of its logger, so that it can be tested and fuzzed alone")
				}
			case within(s.dir, "modules"):
				// A test from outside the package may load another module
				// as Caddy does, to measure two together.
				outside := strings.HasSuffix(s.file.Name.Name, "_test")
				if inside && !within(ours, "modules/internal") && !within(ours, s.dir) && !outside {
					refuse("modules meet only through what Caddy carries and the principal, so that each works behind any authenticator and with any log")
				}
			case within(s.dir, "integration"):
				if inside && !within(ours, "integration") {
					refuse("the integration tests know the binary, not the code")
				}
			}
		}
	}
}

func TestEveryPackageHasOneComment(t *testing.T) {
	comments := map[string][]string{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		if _, ok := comments[s.dir]; !ok {
			comments[s.dir] = nil
		}
		if s.file.Doc != nil {
			comments[s.dir] = append(comments[s.dir], s.path)
		}
	}
	for dir, files := range comments {
		if len(files) != 1 {
			t.Errorf("%s: %d package comments %v, want one", dir, len(files), files)
		}
	}
}

// TestXcaddyAgreesWithGoMod holds that the binary is built from the versions
// the tests are compiled with.
func TestXcaddyAgreesWithGoMod(t *testing.T) {
	body, err := os.ReadFile("xcaddy.json")
	if err != nil {
		t.Fatal(err)
	}
	var build struct {
		CaddyVersion string `json:"caddy_version"`
		Plugins      []struct {
			Path    string `json:"module_path"`
			Version string `json:"version"`
		} `json:"plugins"`
		Replacements []struct{ Old, New string } `json:"replacements"`
	}
	if err := json.Unmarshal(body, &build); err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	required := func(path, version string) bool {
		return slices.ContainsFunc(strings.Split(string(mod), "\n"), func(line string) bool {
			return strings.TrimSpace(line) == path+" "+version
		})
	}
	if !required("github.com/caddyserver/caddy/v2", build.CaddyVersion) {
		t.Errorf("xcaddy.json builds Caddy %s, go.mod requires another version", build.CaddyVersion)
	}
	var self bool
	for _, p := range build.Plugins {
		if p.Path == modulePath(t) {
			self = true
			continue
		}
		if !required(p.Path, p.Version) {
			t.Errorf("xcaddy.json builds %s %s, go.mod requires another version or none", p.Path, p.Version)
		}
	}
	if !self {
		t.Errorf("xcaddy.json does not build %s", modulePath(t))
	}
	for _, r := range build.Replacements {
		if r.Old != modulePath(t) || r.New != "." {
			t.Errorf("xcaddy.json replaces %s by %s; only this module may be replaced, by its checkout", r.Old, r.New)
		}
	}
}

// TestRootImportsEveryModule holds that a new module gets into the binary.
func TestRootImportsEveryModule(t *testing.T) {
	body, err := os.ReadFile("imports.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources(t) {
		if !s.test && within(s.dir, "modules") && !within(s.dir, "modules/internal") &&
			strings.Count(s.dir, "/") == 1 && !strings.Contains(string(body), `"`+modulePath(t)+"/"+s.dir+`"`) {
			t.Errorf("imports.go does not import %s", s.dir)
		}
	}
}

// TestActionsArePinned: a tag of an action can be moved to other code, a
// commit cannot.
func TestActionsArePinned(t *testing.T) {
	files, err := filepath.Glob(".github/workflows/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d workflows: %v", len(files), err)
	}
	pinned := regexp.MustCompile(`uses: \S+@[0-9a-f]{40} # v\d`)
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(body), "\n") {
			if strings.Contains(line, "uses:") && !pinned.MatchString(line) {
				t.Errorf("%s:%d: %s: write the commit and, in a comment, its version", file, i+1, strings.TrimSpace(line))
			}
		}
	}
}

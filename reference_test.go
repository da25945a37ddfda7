package moat

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// product parses the sources of the product itself: modules and caddyfile,
// without tests.
func product(t *testing.T) []*ast.File {
	t.Helper()
	var files []*ast.File
	fset := token.NewFileSet()
	for _, s := range sources(t) {
		if s.test || !strings.HasPrefix(s.path, "modules/") && !strings.HasPrefix(s.path, "caddyfile/") {
			continue
		}
		f, err := parser.ParseFile(fset, s.path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

// literal returns the value of a string literal.
func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}

// page reads a page of docs.
func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// section returns what stands under a heading of the second level.
func section(t *testing.T, text, heading string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("there is no section %q", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	return rest
}

var firstCell = regexp.MustCompile("(?m)^\\| *((?:`[^`]+`(?:, )?)+) *\\|")

// rows returns what stands in code style in the first column of the tables.
func rows(text string) []string {
	var names []string
	for _, m := range firstCell.FindAllStringSubmatch(text, -1) {
		for _, name := range strings.Split(m[1], ", ") {
			names = append(names, strings.Trim(name, "`"))
		}
	}
	return names
}

// same compares a table of the manual with the code, both ways.
func same(t *testing.T, where string, documented, real []string) {
	t.Helper()
	if len(real) == 0 {
		t.Fatal("nothing was found in the sources: has the code been written in another way?")
	}
	for _, name := range real {
		if !slices.Contains(documented, name) {
			t.Errorf("%s has no row for `%s`, which the code has", where, name)
		}
	}
	for i, name := range documented {
		if !slices.Contains(real, name) {
			t.Errorf("%s has a row for `%s`, which the code does not have", where, name)
		}
		if slices.Contains(documented[:i], name) {
			t.Errorf("%s has two rows for `%s`", where, name)
		}
	}
}

func sortedKeys(m map[string]bool) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

var codeForm = regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)

// codes finds the stable error codes: constants named Code…, members Code of
// composite literals, and what is passed to SetCode.
func codes(files []*ast.File) []string {
	found := map[string]bool{}
	add := func(e ast.Expr) {
		if s, ok := literal(e); ok && codeForm.MatchString(s) {
			found[s] = true
		}
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, name := range n.Names {
					if strings.HasPrefix(strings.ToLower(name.Name), "code") && i < len(n.Values) {
						add(n.Values[i])
					}
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Code" {
					add(n.Value)
				}
			case *ast.AssignStmt:
				for i, l := range n.Lhs {
					if sel, ok := l.(*ast.SelectorExpr); ok && sel.Sel.Name == "Code" && i < len(n.Rhs) {
						add(n.Rhs[i])
					}
				}
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "SetCode" && len(n.Args) == 1 {
					add(n.Args[0])
				}
			}
			return true
		})
	}
	return sortedKeys(found)
}

func TestErrorCodesAreDocumented(t *testing.T) {
	same(t, "docs/reference.md, Error codes", rows(section(t, page(t, "reference.md"), "Error codes")), codes(product(t)))
}

// opts returns the name of the metric that an Opts literal of Prometheus
// describes, with %s for a name that is no literal.
func opts(lit *ast.CompositeLit) (name string, variable string, ok bool) {
	sel, isSel := lit.Type.(*ast.SelectorExpr)
	if !isSel || !strings.HasSuffix(sel.Sel.Name, "Opts") {
		return "", "", false
	}
	var parts []string
	for _, key := range []string{"Namespace", "Subsystem", "Name"} {
		for _, e := range lit.Elts {
			kv, isKV := e.(*ast.KeyValueExpr)
			if !isKV {
				continue
			}
			if id, isIdent := kv.Key.(*ast.Ident); !isIdent || id.Name != key {
				continue
			}
			if s, isLit := literal(kv.Value); isLit {
				parts = append(parts, s)
			} else if id, isIdent := kv.Value.(*ast.Ident); isIdent {
				parts, variable = append(parts, "%s"), id.Name
			}
		}
	}
	return strings.Join(parts, "_"), variable, len(parts) > 0
}

// metricNames finds the metrics: descriptions, literals of options, and the
// calls of a helper in the same file that fills in the name.
func metricNames(files []*ast.File) []string {
	found := map[string]bool{}
	for _, f := range files {
		helpers := map[string]string{} // name of a helper → format
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "NewDesc" && len(n.Args) > 0 {
					if s, ok := literal(n.Args[0]); ok {
						found[s] = true
					}
				}
			case *ast.CompositeLit:
				if name, variable, ok := opts(n); ok && variable == "" {
					found[name] = true
				}
			case *ast.AssignStmt:
				if fn, ok := n.Rhs[0].(*ast.FuncLit); ok && len(n.Lhs) == 1 {
					if id, ok := n.Lhs[0].(*ast.Ident); ok {
						helpers[id.Name] = helperFormat(fn.Body)
					}
				}
			case *ast.FuncDecl:
				helpers[n.Name.Name] = helperFormat(n.Body)
			}
			return true
		})
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && len(call.Args) > 0 {
				if id, ok := call.Fun.(*ast.Ident); ok && helpers[id.Name] != "" {
					if s, ok := literal(call.Args[0]); ok {
						found[fmt.Sprintf(helpers[id.Name], s)] = true
					}
				}
			}
			return true
		})
	}
	return sortedKeys(found)
}

func helperFormat(body *ast.BlockStmt) (format string) {
	if body == nil {
		return ""
	}
	ast.Inspect(body, func(n ast.Node) bool {
		if lit, ok := n.(*ast.CompositeLit); ok {
			if name, variable, ok := opts(lit); ok && variable != "" {
				format = name
			}
		}
		return true
	})
	return format
}

func TestMetricsAreDocumented(t *testing.T) {
	names := metricNames(product(t))
	for _, name := range names {
		if !strings.HasPrefix(name, "caddy_moat_") {
			t.Errorf("the metric %s does not begin with caddy_moat_", name)
		}
	}
	same(t, "docs/reference.md, Metrics", rows(section(t, page(t, "reference.md"), "Metrics")), names)
}

func TestAdminEndpointsAreDocumented(t *testing.T) {
	found := map[string]bool{}
	for _, f := range product(t) {
		ast.Inspect(f, func(n ast.Node) bool {
			if kv, ok := n.(*ast.KeyValueExpr); ok {
				if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "Pattern" {
					if s, ok := literal(kv.Value); ok && strings.HasPrefix(s, "/") {
						found[s] = true
					}
				}
			}
			return true
		})
	}
	documented := map[string]bool{}
	for _, row := range rows(section(t, page(t, "reference.md"), "Admin endpoints")) {
		_, path, ok := strings.Cut(row, " ")
		if !ok {
			t.Errorf("docs/reference.md, Admin endpoints: `%s` has no method", row)
		}
		documented[path] = true
	}
	same(t, "docs/reference.md, Admin endpoints", sortedKeys(documented), sortedKeys(found))
}

// recordMembers lists the members of an audit record, those of objects after
// a dot.
func recordMembers(t *testing.T, files []*ast.File) []string {
	structs := map[string]*ast.StructType{}
	for _, f := range files {
		if f.Name.Name != "record" && f.Name.Name != "decision" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if st, ok := spec.Type.(*ast.StructType); ok {
					structs[spec.Name.Name] = st
				}
			}
			return true
		})
	}
	if structs["Record"] == nil {
		t.Fatal("there is no record.Record")
	}
	var members func(prefix string, st *ast.StructType) []string
	members = func(prefix string, st *ast.StructType) (all []string) {
		for _, field := range st.Fields.List {
			name := ""
			if field.Tag != nil {
				tag, _ := strconv.Unquote(field.Tag.Value)
				name, _, _ = strings.Cut(reflect.StructTag(tag).Get("json"), ",")
			}
			typ := field.Type
			if list, ok := typ.(*ast.ArrayType); ok {
				typ = list.Elt
			}
			for _, id := range field.Names {
				name := name
				if name == "" && id.IsExported() {
					name = strings.ToLower(id.Name)
				}
				if name == "" || name == "-" {
					continue
				}
				if of, ok := typ.(*ast.Ident); ok && structs[of.Name] != nil {
					all = append(all, members(prefix+name+".", structs[of.Name])...)
				} else {
					all = append(all, prefix+name)
				}
			}
		}
		return all
	}
	return members("", structs["Record"])
}

func TestRecordMembersAreDocumented(t *testing.T) {
	same(t, "docs/reference.md, Record members", rows(section(t, page(t, "reference.md"), "Record members")), recordMembers(t, product(t)))
}

var placeholderForm = regexp.MustCompile(`^\{?(http\.(?:auth\.user|auth\.app|moat|rbac|redact|audit|mcp|guard|limit|validate)\.[a-z0-9_.]*)\}?$`)

// TestPlaceholdersAreDocumented compares the table with the names that the
// code sets or answers for: literals that begin like one of ours. A literal
// that ends in a dot is a prefix, and rows below it are looked for by what
// follows it.
func TestPlaceholdersAreDocumented(t *testing.T) {
	found, prefixes, literals := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, f := range product(t) {
		ast.Inspect(f, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok {
				return true
			}
			s, ok := literal(lit)
			if !ok {
				return true
			}
			literals[s] = true
			if m := placeholderForm.FindStringSubmatch(s); m != nil {
				if strings.HasSuffix(m[1], ".") {
					prefixes[m[1]] = true
				} else {
					found[m[1]] = true
				}
			}
			return true
		})
	}
	documented := map[string]bool{}
	for _, row := range rows(section(t, page(t, "reference.md"), "Placeholders")) {
		name := strings.Trim(row, "{}")
		documented[name] = true
		if found[name] {
			continue
		}
		ok := false
		for prefix := range prefixes {
			rest, below := strings.CutPrefix(name, prefix)
			rest = regexp.MustCompile(`<[^>]*>$`).ReplaceAllString(rest, "")
			ok = ok || below && literals[rest]
		}
		if !ok {
			t.Errorf("docs/reference.md, Placeholders has a row for `%s`, which the code does not have", row)
		}
	}
	if len(found) == 0 {
		t.Fatal("nothing was found in the sources: has the code been written in another way?")
	}
	for name := range found {
		if !documented[name] {
			t.Errorf("docs/reference.md, Placeholders has no row for `{%s}`, which the code has", name)
		}
	}
}

// moatCommand is `caddy moat` with all that is below it.
func moatCommand(t *testing.T) *cobra.Command {
	t.Helper()
	c, ok := caddycmd.Commands()["moat"]
	if !ok {
		t.Fatal("there is no command moat")
	}
	caddy := &cobra.Command{Use: "caddy"}
	root := &cobra.Command{Use: "moat"}
	c.CobraFunc(root)
	caddy.AddCommand(root)
	return root
}

// TestCommandsAreDocumented asks docs/commands.md for a section on each
// command that names each of its flags, and no command or flag besides.
func TestCommandsAreDocumented(t *testing.T) {
	text := page(t, "commands.md")
	var real []string
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c.HasSubCommands() {
			return
		}
		path := c.CommandPath()
		real = append(real, path)
		heading := "`" + path + "`"
		if !strings.Contains(text, "\n## "+heading+"\n") {
			t.Errorf("docs/commands.md has no section ## %s", heading)
			return
		}
		body := section(t, text, heading)
		var flags []string
		c.Flags().VisitAll(func(f *pflag.Flag) { flags = append(flags, f.Name) })
		c.InheritedFlags().VisitAll(func(f *pflag.Flag) { flags = append(flags, f.Name) })
		for _, name := range flags {
			if name != "help" && !strings.Contains(body, "`--"+name) {
				t.Errorf("docs/commands.md, ## %s does not have the flag `--%s`", heading, name)
			}
		}
		for _, m := range regexp.MustCompile("(?m)^\\|.*?`--([a-z-]+)").FindAllStringSubmatch(body, -1) {
			if !slices.Contains(flags, m[1]) {
				t.Errorf("docs/commands.md, ## %s has a row for --%s, which the command does not have", heading, m[1])
			}
		}
	}
	walk(moatCommand(t))
	for _, m := range regexp.MustCompile("(?m)^## `([^`]+)`$").FindAllStringSubmatch(text, -1) {
		if !slices.Contains(real, m[1]) {
			t.Errorf("docs/commands.md has a section on `%s`, which is not a command", m[1])
		}
	}
}

// TestHelpEndsWithOurAddress: whoever reads the help of a command of ours
// looks for our manual and not for Caddy's.
func TestHelpEndsWithOurAddress(t *testing.T) {
	address := "https://" + modulePath(t)
	n := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		n++
		var out strings.Builder
		c.SetOut(&out)
		if err := c.Help(); err != nil {
			t.Fatal(err)
		}
		help := strings.TrimSpace(out.String())
		if last := help[strings.LastIndexByte(help, '\n')+1:]; !strings.HasPrefix(last, address) {
			t.Errorf("%s --help ends with %q, want %s", c.CommandPath(), last, address)
		}
		if strings.Contains(help, "caddyserver.com") {
			t.Errorf("%s --help sends the reader to Caddy's manual", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	root := moatCommand(t)
	root.Parent().SetHelpTemplate(root.Parent().HelpTemplate() + "\nFull documentation is available at:\nhttps://caddyserver.com/docs/command-line\n")
	walk(root)
	if n < 10 {
		t.Errorf("only %d commands", n)
	}
}

// TestTokenErrorsAreExplained asks troubleshooting for each text that a client
// is told about its token, and for no other.
func TestTokenErrorsAreExplained(t *testing.T) {
	found := map[string]bool{}
	for _, f := range product(t) {
		if f.Name.Name != "token" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if kv, ok := n.(*ast.KeyValueExpr); ok {
				if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "text" {
					if s, ok := literal(kv.Value); ok {
						found[s] = true
					}
				}
			}
			return true
		})
	}
	body, _, _ := strings.Cut(section(t, page(t, "troubleshooting.md"), "A token is rejected: why?"), "Other responses:")
	same(t, "docs/troubleshooting.md, A token is rejected", rows(body), sortedKeys(found))
}

var optionName = regexp.MustCompile(`^\[?([a-z_]+(?:\|[a-z_]+)*)`)

// options lists the words with which the lines of a grammar begin.
func options(lines []string) map[string]bool {
	found := map[string]bool{}
	for _, line := range lines {
		if m := optionName.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			for _, name := range strings.Split(m[1], "|") {
				found[name] = true
			}
		}
	}
	return found
}

// grammars returns, by directive, the options in the Syntax block of the
// comment on the function that parses it.
func grammars(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{}
	fset := token.NewFileSet()
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		f, err := parser.ParseFile(fset, s.path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Doc == nil {
				continue
			}
			_, text, ok := strings.Cut(fn.Doc.Text(), "Syntax:\n")
			if !ok {
				continue
			}
			var block []string
			for _, line := range strings.Split(text, "\n") {
				if strings.HasPrefix(line, "\t") || strings.HasPrefix(line, "  ") {
					block = append(block, line)
				}
			}
			if len(block) == 0 {
				continue
			}
			directive := strings.Fields(block[0])[0]
			all[directive] = options(block)
		}
	}
	return all
}

// TestPagesHaveTheSyntax compares the syntax on the page of each directive with
// the one in the code.
func TestPagesHaveTheSyntax(t *testing.T) {
	fence := regexp.MustCompile("(?s)```\n(.*?)```")
	n := 0
	for directive, real := range grammars(t) {
		text, err := os.ReadFile("docs/" + directive + ".md")
		if err != nil {
			continue // a matcher, or an option of another directive
		}
		n++
		var lines []string
		for _, m := range fence.FindAllStringSubmatch(section(t, string(text), "Syntax"), -1) {
			lines = append(lines, strings.Split(m[1], "\n")...)
		}
		same(t, "docs/"+directive+".md, Syntax", sortedKeys(options(lines)), sortedKeys(real))
	}
	if n < 8 {
		t.Errorf("found the syntax of only %d directives", n)
	}
}

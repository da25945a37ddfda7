package moat

import (
	"go/ast"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEveryFindingHasARule looks for the ID of each finding at load in the
// sources: caddy moat check reports it under a number, which needs a rule,
// configurations that have and do not have the finding, and a row in the manual.
func TestEveryFindingHasARule(t *testing.T) {
	const table = "modules/layers/check/rules.go"
	names := ruleNames(t)
	text := page(t, "check.md")
	for name, id := range names {
		if _, err := os.Stat("modules/layers/testdata/check/" + id + ".txt"); err != nil {
			t.Errorf("the rule %s %s has no configurations: %v", id, name, err)
		}
		if !strings.Contains(text, "\n| "+id+" | `"+name+"` | ") {
			t.Errorf("docs/check.md has no row for the rule %s %s", id, name)
		}
	}
	var found []string
	for _, f := range product(t) {
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.CompositeLit); ok && isFinding(lit.Type) {
				found = append(found, idsIn(lit)...)
				return false
			}
			return true
		})
	}
	if len(found) < 25 {
		t.Fatalf("%d findings", len(found))
	}
	for _, name := range found {
		if names[name] == "" {
			t.Errorf("the finding %s has no rule: add a line to %s, configurations to modules/layers/testdata/check and a row to docs/check.md", name, table)
		}
	}
}

// ruleNames returns the IDs of the rules of caddy moat check by their names.
func ruleNames(t *testing.T) map[string]string {
	t.Helper()
	names := map[string]string{}
	for _, f := range product(t) {
		if f.Name.Name != "check" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) < 4 {
				return true
			}
			if fun, ok := call.Fun.(*ast.Ident); !ok || fun.Name != "rule" {
				return true
			}
			id, _ := literal(call.Args[0])
			name, _ := literal(call.Args[1])
			names[name] = id
			return false
		})
	}
	if len(names) < 50 {
		t.Fatalf("%d rules", len(names))
	}
	return names
}

// isFinding reports whether a type is that of a finding at load, or a list of
// them.
func isFinding(t ast.Expr) bool {
	if list, ok := t.(*ast.ArrayType); ok {
		t = list.Elt
	}
	name := ""
	switch t := t.(type) {
	case *ast.Ident:
		name = t.Name
	case *ast.SelectorExpr:
		name = t.Sel.Name
	}
	return name == "Finding" || name == "Doubt"
}

var findingName = regexp.MustCompile(`^[a-z]+(_[a-z]+)+$`)

// idsIn returns the literal IDs in a composite literal.
func idsIn(lit *ast.CompositeLit) []string {
	var found []string
	ast.Inspect(lit, func(n ast.Node) bool {
		kv, ok := n.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "ID" {
			if id, ok := literal(kv.Value); ok && findingName.MatchString(id) && !slices.Contains(found, id) {
				found = append(found, id)
			}
		}
		return true
	})
	return found
}

package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestWarnings(t *testing.T) {
	if got := compile(t, shop()).Warnings(); got != nil {
		t.Errorf("a policy without faults: got %q", got)
	}
	p := compile(t, &Document{
		Anyone: &Block{
			Allow: []string{"* /*"},
			Deny:  []string{"* /admin/*"},
		},
		Roles: map[string]*Block{
			"a": {
				Allow: []string{"GET /admin/x", "GET /b/*", "GET,POST /b/{id}", "GET /b/{id}", "GET /c", "GET /c when user == 'x'", "GET,POST /d", "POST,GET /d"},
				Deny:  []string{"GET /e/{x}", "GET /e/{y} when user == 'x'", "GET /e/1"},
			},
			"b": {Inherits: []string{"a"}, Allow: []string{"GET /c", "GET /e/2", "HEAD /e/3"}},
		},
	})
	want := []string{
		"anyone: allow * /*: everything is allowed to everyone that no rule denies",
		"role a: deny GET /e/{y} when user == 'x': never decides anything, because of role a: deny GET /e/{x}",
		"role a: deny GET /e/1: never decides anything, because of role a: deny GET /e/{x}",
		"role a: allow GET /admin/x: never allows anything, because of anyone: deny * /admin/*",
		"role a: allow GET /b/{id}: never decides anything, because of role a: allow GET /b/*",
		"role a: allow GET /c when user == 'x': never decides anything, because of role a: allow GET /c",
		"role a: allow POST,GET /d: never decides anything, because of role a: allow GET,POST /d",
		"role b: allow GET /e/2: never allows anything, because of role a: deny GET /e/{x}",
		"role b: allow HEAD /e/3: never allows anything, because of role a: deny GET /e/{x}",
	}
	if got := p.Warnings(); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestRulesThatNeverDecideCanBeLeftOut: without the rules that are warned
// of, every decision is the same, though another rule may be named.
func TestRulesThatNeverDecideCanBeLeftOut(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	c := choice(r.IntN)
	warned := 0
	for range 150 {
		doc := c.document()
		p := compile(t, doc)
		for i, rule := range p.Rules() {
			if p.coveredBy(uint32(i)) == nil {
				continue
			}
			warned++
			q := compile(t, without(doc, rule))
			for range 60 {
				ask := c.request()
				if a, b := p.Decide(ask), q.Decide(ask); a.Allow != b.Allow {
					t.Fatalf("%s %s: %v, and %v without %s, which was to be covered by %s\n%s", ask.Method, ask.Path, a.Allow, b.Allow, rule, p.coveredBy(uint32(i)), printRules(p))
				}
			}
		}
	}
	if warned == 0 {
		t.Error("no rule was covered by another")
	}
}

// without returns a copy of the policy that lacks a rule.
func without(doc *Document, r *Rule) *Document {
	d := *doc
	cut := func(b *Block) *Block {
		c := *b
		c.Allow, c.Deny = slices.Clone(b.Allow), slices.Clone(b.Deny)
		list := &c.Deny
		if r.Allow {
			list = &c.Allow
		}
		*list = slices.DeleteFunc(*list, func(s string) bool { l, err := ParseLine(s); return err == nil && l.String() == r.Line.String() })
		c.Deny = append(c.Deny, "NONE /never") // so that no block is empty
		return &c
	}
	kind, name, _ := strings.Cut(r.Who, " ")
	switch kind {
	case "anyone":
		d.Anyone = cut(d.Anyone)
	case "authenticated":
		d.Authenticated = cut(d.Authenticated)
	case "role":
		d.Roles = map[string]*Block{}
		for n, b := range doc.Roles {
			d.Roles[n] = b
		}
		d.Roles[name] = cut(d.Roles[name])
	default:
		d.Scopes = map[string]*Block{name: cut(d.Scopes[name])}
	}
	return &d
}

func TestWarningsOfALargePolicyTakeNoTime(t *testing.T) {
	doc := &Document{Anyone: &Block{}}
	for i := range 20_000 {
		doc.Anyone.Allow = append(doc.Anyone.Allow, fmt.Sprintf("GET /r%d/{id}", i))
	}
	// Quadratic time would be minutes; the test's own limit finds it.
	if got := compile(t, doc).Warnings(); got != nil {
		t.Errorf("got %q", got)
	}
}

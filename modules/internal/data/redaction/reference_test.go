package redaction

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/jsonpath"
)

// The reference is what the Rewriter promises, as plainly as it can be said: the
// text is made into a tree, the rules are looked up in it one by one as
// RFC 9535 describes, and the tree is written out again.

type node struct {
	kind    byte // { [ " 0 t
	raw     string
	names   []string // decoded
	rawName []string
	nodes   []*node

	hits []int // rules
}

func parseTree(t testing.TB, text []byte) *node {
	d := jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	return readTree(t, d)
}

func readTree(t testing.TB, d *jsontext.Decoder) *node {
	must := func(err error) {
		if err != nil {
			t.Fatalf("reference: %v", err)
		}
	}
	n := &node{}
	switch k := d.PeekKind(); k {
	case '{':
		n.kind = '{'
		_, err := d.ReadToken()
		must(err)
		for d.PeekKind() != '}' {
			name, err := d.ReadValue()
			must(err)
			n.rawName = append(n.rawName, string(name))
			var s string
			must(json.Unmarshal(name, &s))
			n.names = append(n.names, s)
			n.nodes = append(n.nodes, readTree(t, d))
		}
		_, err = d.ReadToken()
		must(err)
	case '[':
		n.kind = '['
		_, err := d.ReadToken()
		must(err)
		for d.PeekKind() != ']' {
			n.nodes = append(n.nodes, readTree(t, d))
		}
		_, err = d.ReadToken()
		must(err)
	default:
		v, err := d.ReadValue()
		must(err)
		n.raw = string(v)
		n.kind = byte(k)
		if k == 'f' || k == 'n' {
			n.kind = 't'
		}
	}
	return n
}

// selectNodes returns what path selects, RFC 9535 sections 2.1.2, 2.3 and 2.5.
func selectNodes(root *node, path jsonpath.Path) []*node {
	list := []*node{root}
	for _, seg := range path {
		var next []*node
		for _, n := range list {
			from := []*node{n}
			if seg.Descendant {
				from = descend(n)
			}
			for _, n := range from {
				for _, sel := range seg.Selectors {
					next = append(next, selectChildren(n, sel)...)
				}
			}
		}
		list = next
	}
	return list
}

func descend(n *node) []*node {
	list := []*node{n}
	for _, c := range n.nodes {
		list = append(list, descend(c)...)
	}
	return list
}

func selectChildren(n *node, sel jsonpath.Selector) []*node {
	var list []*node
	for i, c := range n.nodes {
		switch {
		case sel.Kind == jsonpath.Wildcard,
			sel.Kind == jsonpath.Name && n.kind == '{' && n.names[i] == sel.Name,
			n.kind == '[' && sel.Kind != jsonpath.Name && sel.MatchIndex(int64(i), int64(len(n.nodes))):
			list = append(list, c)
		}
	}
	return list
}

// caseless is the same for names that differ only in case: upper case first, as
// that is not what the package does.
func caseless(name string) string {
	name = strings.NewReplacer("\u0130", "I", "\u0131", "I").Replace(name)
	return strings.Map(func(r rune) rune {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			if f < r {
				r = f
			}
		}
		return r
	}, name)
}

func (n *node) fold() {
	for i := range n.names {
		n.names[i] = caseless(n.names[i])
	}
	for _, c := range n.nodes {
		c.fold()
	}
}

func foldPath(path jsonpath.Path) {
	for i := range path {
		for j := range path[i].Selectors {
			s := &path[i].Selectors[j]
			s.Name = caseless(s.Name)
		}
	}
}

// reference returns text redacted and without space.
func reference(t testing.TB, rules []Rule, text []byte, fold bool) string {
	root := parseTree(t, text)
	if fold {
		root.fold()
	}
	for i, r := range rules {
		path, err := jsonpath.ParseSelector(r.Selector)
		if err != nil {
			t.Fatal(err)
		}
		if fold {
			foldPath(path)
		}
		for _, n := range selectNodes(root, path) {
			n.hits = append(n.hits, i)
		}
	}
	out := referenceWrite(t, rules, root, nil)
	if out == "" {
		return "null"
	}
	return out
}

// referenceWrite returns n as text, nothing if it is removed.
func referenceWrite(t testing.TB, rules []Rule, n *node, inherited []int) string {
	hits := append(slices.Clone(inherited), n.hits...)
	winner := -1
	for _, h := range hits {
		if rules[h].Action.kind == actDetect {
			continue
		}
		if winner < 0 || rules[h].Action.kind < rules[winner].Action.kind ||
			rules[h].Action.kind == rules[winner].Action.kind && h < winner {
			winner = h
		}
	}
	if winner >= 0 {
		a := &rules[winner].Action
		if a.kind == actRemove {
			return ""
		}
		if a.whole() {
			return string(a.literal)
		}
	}
	switch n.kind {
	case '{', '[':
		var parts []string
		for i, c := range n.nodes {
			part := referenceWrite(t, rules, c, hits)
			if part == "" {
				continue
			}
			if n.kind == '{' {
				part = n.rawName[i] + ":" + part
			}
			parts = append(parts, part)
		}
		return string(n.kind) + strings.Join(parts, ",") + string(n.kind+2)
	}
	v := value{kind: kindLiteral, raw: []byte(n.raw), text: []byte(n.raw)}
	switch n.kind {
	case '"':
		var s string
		if err := json.Unmarshal([]byte(n.raw), &s); err != nil {
			t.Fatal(err)
		}
		v.kind, v.text = kindString, []byte(s)
	case '0':
		v.kind = kindNumber
	}
	found := false
	if v.kind == kindString && (winner < 0 || rules[winner].Action.kind == actTruncate) {
		slices.Sort(hits)
		for _, h := range slices.Compact(hits) {
			if rules[h].Action.kind != actDetect {
				continue
			}
			out, hit, null := rules[h].Action.detect.redact(nil, &v)
			if null {
				return "null"
			}
			if hit {
				v.text, found = out, true
			}
		}
	}
	if winner >= 0 {
		if out, changed := rules[winner].Action.scalar(nil, &v); changed {
			return string(out)
		}
	}
	if found {
		return string(appendQuoted(nil, v.text))
	}
	return n.raw
}

// withoutSpace removes the space between tokens, and nothing else.
func withoutSpace(t testing.TB, text []byte) string {
	var out []byte
	in := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case in && c == '\\':
			out = append(out, c)
			i++
			c = text[i]
		case c == '"':
			in = !in
		case !in && isSpace(c):
			continue
		}
		out = append(out, c)
	}
	return string(out)
}

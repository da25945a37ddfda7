package redact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// touch is a value that a rule was applied to.
type touch struct{ pointer, rule string }

// touched finds which values of body the rules for a caller are applied to.
//
// It applies each rule alone. Rules that act on a value as a whole leave a
// mark in its place; those that act on scalars leave the shape of the document
// as it is. So a walk through the document as it was and as it became, side by
// side, finds what each has touched; of several the strictest remains.
func (v *views) touched(p *principal.Principal, body []byte) ([]touch, error) {
	before, err := parseTree(body)
	if err != nil {
		return nil, err
	}
	type hit struct {
		rank int
		rule string
	}
	hits := map[*node][]hit{}
	for _, rule := range v.concerning(p) {
		after, mark, err := alone(rule, v.limits, body)
		if err != nil {
			return nil, err
		}
		rank := actions[rule.action].rank
		before.compare(after, mark, func(n *node) { hits[n] = append(hits[n], hit{rank, rule.Name}) })
	}
	var found []touch
	err = before.walk("", func(pointer string, n *node) error {
		best := hit{rank: rankDetect + 1}
		for _, h := range hits[n] {
			if h.rank < best.rank {
				best = h
			}
		}
		if best.rank > rankDetect {
			return nil
		}
		found = append(found, touch{pointer, best.rule})
		for _, h := range hits[n] { // what is truncated is looked into before
			if best.rank == rankTruncate && h.rank == rankDetect {
				found = append(found, touch{pointer, h.rule})
			}
		}
		if best.rank <= rankWhole {
			return errSkip
		}
		return nil
	})
	return found, err
}

// oneRule is a rule of the engine, and the action it was made of.
type oneRule struct {
	redaction.Rule
	action string
	kinds  []string
}

// concerning returns the rules for a caller.
func (v *views) concerning(p *principal.Principal) []oneRule {
	var list []oneRule
	add := func(rules []redaction.Rule, of []line) {
		for i := range rules {
			list = append(list, oneRule{rules[i], of[i].rule.Action, of[i].rule.Kinds})
		}
	}
	add(v.rules, v.lines)
	for i := range v.groups {
		g := &v.groups[i]
		if p == nil || g.names(p) == (g.Mode == "only") {
			add(g.rules, g.lines)
		}
	}
	return list
}

// alone applies a rule, and returns what the document became and what stands
// in place of values that the rule acts on as a whole.
func alone(rule oneRule, l limits, body []byte) (after *node, mark string, err error) {
	if actions[rule.action].rank <= rankWhole {
		for mark = "\u00abtouched\u00bb"; strings.Contains(string(body), mark); {
			mark += "!"
		}
		rule.Action = redaction.Replace(mark)
	}
	p, err := redaction.Compile([]redaction.Rule{rule.Rule}, redaction.Options{MaxDepth: l.depth, MaxValue: l.value, FoldCase: l.fold})
	if err != nil {
		return nil, "", err
	}
	var out bytes.Buffer
	rw := p.NewRewriter(&out)
	if _, err = rw.Write(body); err == nil {
		err = rw.Close()
	}
	if err != nil {
		return nil, "", err
	}
	after, err = parseTree(out.Bytes())
	return after, mark, err
}

// node is a value of a JSON document, with where it stands in it.
type node struct {
	raw        []byte
	start, end int
	names      []string // of an object's members
	children   []*node
}

// span is where a text stands in a body.
type span struct{ from, to int }

// splitTexts returns where the JSON texts are that body is made of.
func splitTexts(body []byte) ([]span, error) {
	// The separators of RFC 7464 can stand in no text.
	spaced := bytes.ReplaceAll(body, []byte{0x1e}, []byte{' '})
	d := json.NewDecoder(bytes.NewReader(spaced))
	var list []span
	for {
		var text json.RawMessage
		switch err := d.Decode(&text); err {
		case nil:
			end := int(d.InputOffset())
			list = append(list, span{end - len(text), end})
		case io.EOF:
			if len(list) == 0 {
				return nil, fmt.Errorf("no JSON text")
			}
			return list, nil
		default:
			return nil, fmt.Errorf("reading JSON: %w", err)
		}
	}
}

// parseTree parses a document that a Rewriter would accept.
func parseTree(body []byte) (*node, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	root, err := parseNode(d, body)
	if err != nil {
		return nil, fmt.Errorf("reading JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("more text after the JSON document")
	}
	return root, nil
}

func parseNode(d *json.Decoder, body []byte) (*node, error) {
	n := &node{start: int(d.InputOffset())}
	for n.start < len(body) && strings.IndexByte(" \t\r\n,:", body[n.start]) >= 0 {
		n.start++
	}
	tok, err := d.Token()
	if err != nil {
		return nil, err
	}
	if delim, ok := tok.(json.Delim); ok {
		for d.More() {
			if delim == '{' {
				name, err := d.Token()
				if err != nil {
					return nil, err
				}
				n.names = append(n.names, name.(string))
			}
			c, err := parseNode(d, body)
			if err != nil {
				return nil, err
			}
			n.children = append(n.children, c)
		}
		if _, err := d.Token(); err != nil {
			return nil, err
		}
	}
	n.end = int(d.InputOffset())
	n.raw = body[n.start:n.end]
	return n, nil
}

// text returns the text of a string.
func (n *node) text() (string, bool) {
	if n.raw[0] != '"' {
		return "", false
	}
	var s string
	return s, json.Unmarshal(n.raw, &s) == nil
}

// errSkip tells walk not to look inside a value.
var errSkip = fmt.Errorf("skip")

// walk calls f for n and everything in it, with its JSON Pointer.
func (n *node) walk(pointer string, f func(pointer string, n *node) error) error {
	if err := f(pointer, n); err == errSkip {
		return nil
	} else if err != nil {
		return err
	}
	for i, c := range n.children {
		token := strconv.Itoa(i)
		if n.names != nil {
			token = strings.ReplaceAll(strings.ReplaceAll(n.names[i], "~", "~0"), "/", "~1")
		}
		if err := c.walk(pointer+"/"+token, f); err != nil {
			return err
		}
	}
	return nil
}

// compare calls hit for each value that became mark, or, if there is no mark,
// each scalar that became another.
func (n *node) compare(after *node, mark string, hit func(*node)) {
	if mark != "" {
		if s, ok := after.text(); ok && s == mark {
			hit(n)
			return
		}
	} else if len(n.children) == 0 && !bytes.Equal(n.raw, after.raw) {
		hit(n)
		return
	}
	for i, c := range n.children {
		if i < len(after.children) {
			c.compare(after.children[i], mark, hit)
		}
	}
}

package guard

import (
	"fmt"
	"strings"
	"sync"
)

// Template is a pattern of paths as rbac has them: {name} and * stand for one segment,
// and a last /* for everything below.
type Template struct {
	text     string
	segments []string // "{name}", "*" or what it must be
	below    bool
}

// ParseTemplate reads a pattern.
func ParseTemplate(text string) (*Template, error) {
	if !strings.HasPrefix(text, "/") || strings.ContainsAny(text, "?#\\% ") {
		return nil, fmt.Errorf("path %q: write a path that begins with a slash, without query, escapes and spaces, such as /orders/{id}", text)
	}
	t := &Template{text: text}
	rest, below := strings.CutSuffix(text[1:], "/*")
	if text == "/*" {
		rest, below = "", true
	}
	t.below = below
	if rest == "" && below {
		return t, nil
	}
	t.segments = strings.Split(rest, "/")
	for i, s := range t.segments {
		plain := !strings.ContainsAny(s, "{}*")
		variable := len(s) > 2 && s[0] == '{' && s[len(s)-1] == '}' && !strings.ContainsAny(s[1:len(s)-1], "{}*")
		if !plain && !variable && s != "*" || s == "" && i+1 < len(t.segments) || s == "." || s == ".." {
			return nil, fmt.Errorf("path %q: a segment is a name, * or a variable such as {id}; a last /* is everything below", text)
		}
	}
	return t, nil
}

// String returns the pattern.
func (t *Template) String() string { return t.text }

// Has reports whether the pattern has the variable, which stands in braces.
func (t *Template) Has(variable string) bool {
	for _, s := range t.segments {
		if s == variable {
			return true
		}
	}
	return false
}

// Match reports whether the path is one of the pattern, and returns the value of
// the variable.
func (t *Template) Match(path, variable string) (value string, ok bool) {
	rest, rooted := strings.CutPrefix(path, "/")
	if !rooted {
		return "", false
	}
	for i, want := range t.segments {
		segment, after, more := strings.Cut(rest, "/")
		last := i+1 == len(t.segments)
		if !last && !more || last && more != t.below {
			return "", false
		}
		switch {
		case want == variable && variable != "":
			value = segment
			fallthrough
		case want == "*" || want != "" && want[0] == '{':
			if segment == "" {
				return "", false
			}
		case want != segment:
			return "", false
		}
		rest = after
	}
	return value, true
}

// isVariable reports whether a text is a variable in braces.
func isVariable(text string) bool {
	return len(text) > 2 && text[0] == '{' && text[len(text)-1] == '}'
}

// templates are the patterns of routes, read once. Routes come from configuration: few.
var templates templateCache

type templateCache struct{ known sync.Map }

// of returns a pattern, nil for one that is written in another way.
func (c *templateCache) of(text string) *Template {
	if t, ok := c.known.Load(text); ok {
		return t.(*Template)
	}
	t, err := ParseTemplate(text)
	if err != nil {
		t = nil
	}
	c.known.Store(text, t)
	return t
}

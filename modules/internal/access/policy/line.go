package policy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/requestpath"
)

// Line is one rule as it is written, without who it is for and whether it
// allows or denies. [ParseLine] and String are inverse to each other.
type Line struct {
	// Call, where it is not empty, says that the rule is not for a method and a
	// path: it is for a call of the Model Context Protocol, Tool, Resource or
	// Prompt, and Name is what may be called, as written.
	Call Call
	Name string

	Methods []string // as written; nil for every method
	Path    string   // as written
	When    string   // the condition, or empty

	// Slashes says that the rule is for paths with encoded slashes (%2F), too:
	// a segment with them stays whole.
	Slashes bool
}

// String prints the line in its one form.
func (l Line) String() string {
	s := "*"
	switch {
	case l.Call != "":
		s = string(l.Call) + " " + l.Name
	case l.Methods != nil:
		s = strings.Join(l.Methods, ",") + " " + l.Path
	default:
		s += " " + l.Path
	}
	if l.Slashes {
		s += " " + slashesWord
	}
	if l.When != "" {
		s += " when " + l.When
	}
	return s
}

const example = "a rule is written as: GET,POST /orders/* when user == \"alice\""

// slashesWord stands behind the path of a rule with Slashes.
const slashesWord = "encoded_slashes"

// ParseLine reads a rule. It checks everything but the condition.
func ParseLine(text string) (Line, error) {
	methods, rest := word(text)
	path, rest := word(rest)
	if methods == "" {
		return Line{}, errors.New("the rule is empty; " + example)
	}
	if call := Call(methods); call.known() {
		args := []string{methods}
		if path != "" {
			args = append(args, path)
		}
		if keyword, when := word(rest); keyword != "" {
			args = append(args, keyword, when)
		}
		return parseCall(args)
	}
	if path == "" {
		return Line{}, fmt.Errorf("'%s': the rule needs a method and a path; %s", methods, example)
	}
	args := []string{methods, path}
	if keyword, more := word(rest); keyword == slashesWord {
		args, rest = append(args, keyword), more
	}
	if keyword, when := word(rest); keyword != "" {
		args = append(args, keyword, when)
	}
	return ParseArgs(args)
}

// space is what separates words. No other character does: a path may hold
// a no-break space.
const space = " \t\r\n"

// word cuts the first word off s.
func word(s string) (first, rest string) {
	s = strings.Trim(s, space)
	if i := strings.IndexAny(s, space); i >= 0 {
		return s[:i], strings.Trim(s[i:], space)
	}
	return s, ""
}

// ParseArgs reads a rule that has been split into its parts: methods, path
// and, where it has one, the word when and the condition.
func ParseArgs(args []string) (Line, error) {
	if len(args) > 0 && Call(args[0]).known() {
		return parseCall(args)
	}
	if len(args) < 2 {
		return Line{}, errors.New("the rule needs a method and a path; " + example)
	}
	var l Line
	var err error
	if l.Methods, err = parseMethods(args[0]); err != nil {
		return Line{}, err
	}
	if len(args) > 2 && strings.HasPrefix(args[2], "/") && !strings.HasPrefix(args[1], "/") {
		if _, err := parseMethods(args[1]); err == nil {
			return Line{}, fmt.Errorf("'%s %s': methods are joined by commas, without spaces: %s,%s", args[0], args[1], args[0], args[1])
		}
	}
	l.Path = args[1]
	if len(args) > 2 && args[2] == slashesWord {
		l.Slashes = true
		args = slices.Delete(slices.Clone(args), 2, 3)
	}
	if _, err = parsePath(l.Path, l.Slashes); err != nil {
		return Line{}, err
	}
	if len(args) == 2 {
		return l, nil
	}
	if args[2] != "when" {
		if strings.HasPrefix(args[2], "/") {
			return Line{}, fmt.Errorf("'%s': one path a rule; write another rule for this one", args[2])
		}
		if _, err := parseMethods(args[1]); err == nil {
			return Line{}, fmt.Errorf("'%s %s': methods are joined by commas, without spaces: %s,%s", args[0], args[1], args[0], args[1])
		}
		return Line{}, fmt.Errorf("'%s' where only 'when' and a condition may follow the path, or encoded_slashes before it", args[2])
	}
	l.When = strings.Trim(strings.Join(args[3:], " "), space)
	if l.When == "" {
		return Line{}, errors.New("'when' needs a condition, such as: when user == \"alice\"")
	}
	return l, nil
}

func parseMethods(s string) ([]string, error) {
	if s == "*" {
		return nil, nil
	}
	methods := strings.Split(s, ",")
	for i, m := range methods {
		switch {
		case m == "":
			return nil, fmt.Errorf("methods '%s': a method is missing beside a comma; write them without spaces: GET,POST", s)
		case strings.HasPrefix(m, "/"):
			return nil, fmt.Errorf("'%s' where a method is expected; %s", m, example)
		case strings.Contains(m, "*"):
			return nil, fmt.Errorf("methods '%s': '*' is every method and stands alone", s)
		case !token(m):
			return nil, fmt.Errorf("method '%s' is not a method", m)
		case strings.ToUpper(m) != m:
			return nil, fmt.Errorf("method '%s': methods are case-sensitive; write '%s'", m, strings.ToUpper(m))
		case slices.Contains(methods[:i], m):
			return nil, fmt.Errorf("methods '%s': '%s' is repeated", s, m)
		}
	}
	return methods, nil
}

// token reports whether s is a token of RFC 9110 section 5.6.2, as names of
// fields are.
func token(s string) bool { return httpguts.ValidHeaderFieldName(s) }

// kind is what one segment of a pattern matches.
type kind uint8

const (
	literal kind = iota // one segment, equal to text
	single              // one segment, not empty; text is its name or empty
	below               // everything that follows; only at the end
)

type segment struct {
	kind kind
	text string
}

// pattern is a path of a rule. The path /a/ has the segments "a" and "".
type pattern []segment

func parsePath(s string, slashes bool) (pattern, error) {
	switch {
	case s == "*":
		return nil, errors.New("path '*': write '/*' for every path")
	case !strings.HasPrefix(s, "/"):
		return nil, fmt.Errorf("path '%s' must begin with '/'", s)
	case strings.ContainsAny(s, space):
		return nil, fmt.Errorf("path '%s': write a space as %%20", s)
	case strings.ContainsAny(s, "?#"):
		return nil, fmt.Errorf("path '%s': a path has no query and no fragment; look at the query in a condition: when query.page == \"2\"", s)
	}
	texts := strings.Split(s[1:], "/")
	p := make(pattern, len(texts))
	plain := make([]string, len(texts))
	for i, text := range texts {
		seg, err := parseSegment(s, text, i == len(texts)-1)
		if err != nil {
			return nil, err
		}
		if seg.kind == single && seg.text != "" && slices.Contains(p[:i], seg) {
			return nil, fmt.Errorf("path '%s': two variables have the name %s", s, seg.text)
		}
		p[i], plain[i] = seg, text
		if seg.kind != literal {
			plain[i] = "x"
		}
	}
	// A rule for a path that is refused anyway is a mistake: whoever wrote
	// it expects something of it.
	u, err := url.ParseRequestURI("/" + strings.Join(plain, "/"))
	if err == nil {
		if slashes {
			_, err = requestpath.Whole(http.MethodGet, u)
		} else if _, err = requestpath.Of(http.MethodGet, u); err != nil && requestpath.HasSlash(s) {
			err = fmt.Errorf("%w; for an upstream that keeps %%2F whole, write %s behind the path", err, slashesWord)
		}
	} else {
		err = errors.New("a percent sign needs two hexadecimal digits; write it as %25 itself")
	}
	if err != nil {
		return nil, fmt.Errorf("path '%s' would never be matched: %w", s, err)
	}
	return p, nil
}

func parseSegment(path, text string, last bool) (segment, error) {
	switch {
	case text == "*" && last:
		return segment{kind: below}, nil
	case text == "*":
		return segment{kind: single}, nil
	case strings.HasPrefix(text, "{") && strings.HasSuffix(text, "}") && strings.Count(text, "{") == 1 && strings.Count(text, "}") == 1:
		name := text[1 : len(text)-1]
		if err := condition.CheckVariable(name); err != nil {
			return segment{}, fmt.Errorf("path '%s': %w", path, err)
		}
		return segment{kind: single, text: name}, nil
	case strings.Contains(text, "*"):
		return segment{}, fmt.Errorf("path '%s': '*' is a whole segment: '/a/*' for everything below /a, '/a/*/b' for one segment; write an asterisk itself as %%2A", path)
	case strings.ContainsAny(text, "{}"):
		return segment{}, fmt.Errorf("path '%s': a variable is a whole segment: '/orders/{id}'", path)
	}
	if requestpath.HasSlash(text) {
		return segment{kind: literal, text: keepSlashes(text)}, nil
	}
	decoded, err := url.PathUnescape(text)
	if err != nil {
		decoded = text // refused by the caller, with the whole path
	}
	return segment{kind: literal, text: decoded}, nil
}

// keepSlashes decodes a segment as requestpath.Whole does.
func keepSlashes(text string) string {
	u, err := url.ParseRequestURI("/" + text)
	if err != nil {
		return text
	}
	whole, err := requestpath.Whole(http.MethodGet, u)
	if err != nil {
		return text // refused by the caller
	}
	return whole[1:]
}

// folded returns the pattern with its literal segments as they are compared
// without regard to case.
func (p pattern) folded() pattern {
	f := slices.Clone(p)
	for i := range f {
		if f[i].kind == literal {
			f[i].text = foldCase(f[i].text)
		}
	}
	return f
}

// vars returns the variables of the pattern.
func (p pattern) vars() []condition.Var {
	var vars []condition.Var
	for i, s := range p {
		if s.kind == single && s.text != "" {
			vars = append(vars, condition.Var{Name: s.text, Segment: i})
		}
	}
	return vars
}

// Check parses the line and compiles its condition, for its errors alone.
func (l Line) Check(c *condition.Compiler) error {
	if l.Call != "" {
		if l.When == "" {
			return nil
		}
		if _, err := c.CompileCall(l.When); err != nil {
			return fmt.Errorf("when %s: %w", oneLine(l.When), err)
		}
		return nil
	}
	p, err := parsePath(l.Path, l.Slashes)
	if err != nil || l.When == "" {
		return err
	}
	if _, err := c.Compile(l.When, p.vars()); err != nil {
		return fmt.Errorf("when %s: %w", oneLine(l.When), err)
	}
	return nil
}

// oneLine makes an expression fit for a message.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

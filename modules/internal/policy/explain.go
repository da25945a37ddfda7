package policy

import (
	"slices"
	"strings"
)

// Considered is one rule that is for a request's method and path.
type Considered struct {
	Rule    *Rule
	Applies bool  // the caller has the rule
	Holds   bool  // it has no condition, or one that holds
	Err     error // why the condition has no result
}

// Explain returns every rule that is for the method and path of a request,
// in the order in which rules are named, whoever has it. It walks all rules:
// it is for people, not for requests.
func (p *Policy) Explain(q *Request) []Considered {
	var found []Considered
	var who numbers
	p.addSubjects(&who, q)
	segments := p.split(q.Path)
	for _, r := range p.rules {
		if !r.forMethod(q.Method) || !r.matches(segments) {
			continue
		}
		c := Considered{Rule: r, Holds: true}
		c.Applies = slices.ContainsFunc(p.heirs[r.subject], func(heir uint32) bool { return slices.Contains(who.list(), heir) })
		if r.when != nil {
			c.Holds, c.Err = r.holds(q.Env)
		}
		found = append(found, c)
	}
	return found
}

// forMethod reports whether the rule is for a method.
func (r *Rule) forMethod(m string) bool {
	if r.Line.Methods == nil || slices.Contains(covered(r.Line.Methods), m) {
		return true
	}
	return !r.Allow && slices.Contains(covered(r.Line.Methods), strings.ToUpper(m))
}

// split returns the segments of a path as they are compared, nil if it is
// not a path.
func (p *Policy) split(path string) []string {
	if path == "" || path[0] != '/' {
		return nil
	}
	return strings.Split(p.folded(path)[1:], "/")
}

// matches reports whether the rule is for a path with these segments.
func (r *Rule) matches(segments []string) bool {
	if segments == nil {
		return false
	}
	p := r.stored()
	if !r.Allow && (len(p) == 0 || p[len(p)-1].kind != below) {
		// With or without a slash at the end.
		if last := len(segments) - 1; len(segments) == len(p)+1 && segments[last] == "" {
			segments = segments[:last]
		}
	}
	for i, s := range p {
		switch {
		case s.kind == below:
			return len(segments) > i
		case i >= len(segments):
			return false
		case s.kind == single && segments[i] == "":
			return false
		case s.kind == literal && segments[i] != s.text:
			return false
		}
	}
	return len(segments) == len(p)
}

// Allowed is what the policy says about a kind of request, whatever its
// conditions would say.
type Allowed int

// Answers of Matrix.
const (
	Never     Allowed = iota // refused
	Sometimes                // a condition decides
	Always                   // allowed
)

// Row is one path of a Matrix: for each subject, what each method is.
type Row struct {
	Path  string
	Cells [][]Allowed // by subject, and then by method
}

// Matrix is who may do what. A row stands for the requests that match its
// path and no more specific path of another row.
type Matrix struct {
	Subjects []string // as in Rule.Who
	Methods  []string // the last, "*", stands for all that no rule names
	Rows     []Row
}

// Matrix works out who may do what, for every path that a rule names.
func (p *Policy) Matrix() *Matrix {
	m := &Matrix{Subjects: p.subjects, Methods: append(slices.Sorted(slices.Values(p.methods)), "*")}
	fresh := p.freshSegment()
	seen := map[string]bool{}
	for _, r := range p.rules {
		if !seen[r.Line.Path] {
			seen[r.Line.Path] = true
			m.Rows = append(m.Rows, Row{Path: r.Line.Path, Cells: p.cells(r.pattern.sample(fresh), m.Methods)})
		}
	}
	slices.SortFunc(m.Rows, func(a, b Row) int { return strings.Compare(a.Path, b.Path) })
	return m
}

// cells says what each subject may do with a path, by each method.
func (p *Policy) cells(path string, methods []string) [][]Allowed {
	var rules []*Rule
	segments := p.split(path)
	for _, r := range p.rules {
		if r.matches(segments) {
			rules = append(rules, r)
		}
	}
	cells := make([][]Allowed, len(p.subjects))
	for s := range cells {
		cells[s] = make([]Allowed, len(methods))
		for i, method := range methods {
			if method == "*" {
				method = "(ANY)" // no token, so that no rule names it
			}
			cells[s][i] = p.ever(rules, uint32(s), method)
		}
	}
	return cells
}

// ever says what a subject may do by these rules. A role or scope has the
// rules of anyone and authenticated too.
func (p *Policy) ever(rules []*Rule, subject uint32, method string) Allowed {
	var deny, mayDeny, allow, mayAllow bool
	for _, r := range rules {
		has := r.subject == anyone || subject >= authenticated && r.subject == authenticated || slices.Contains(p.heirs[r.subject], subject)
		if !has || !r.forMethod(method) {
			continue
		}
		switch {
		case r.Allow && r.when == nil:
			allow = true
		case r.Allow:
			mayAllow = true
		case r.when == nil:
			deny = true
		default:
			mayDeny = true
		}
	}
	switch {
	case deny || !allow && !mayAllow:
		return Never
	case allow && !mayDeny:
		return Always
	}
	return Sometimes
}

// freshSegment returns a text that is no literal segment of any rule, since
// it is longer than all of them.
func (p *Policy) freshSegment() string {
	n := 0
	for _, r := range p.rules {
		for _, s := range r.pattern {
			n = max(n, len(s.text))
		}
	}
	return strings.Repeat("x", n+1)
}

// sample returns a path that matches the pattern and, beside it, only rules
// that are as wide or wider.
func (p pattern) sample(fresh string) string {
	var b strings.Builder
	for _, s := range p {
		b.WriteByte('/')
		if s.kind == literal {
			b.WriteString(s.text)
		} else {
			b.WriteString(fresh)
		}
	}
	return b.String()
}

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
	var rules []*Rule
	segments := p.split(q.Path)
	for _, r := range p.rules {
		if r.forMethod(q.Method) && r.matches(segments) {
			rules = append(rules, r)
		}
	}
	return p.consider(rules, q)
}

// ExplainCall is Explain for a call: every rule for its name. There is none for a
// name that DecideCall does not allow to anybody, see CheckCallName.
func (p *Policy) ExplainCall(c Call, name string, q *Request) []Considered {
	if CheckCallName(c, name) != nil {
		return nil
	}
	return p.consider(p.rulesForCall(c, name), q)
}

// consider says of rules whether the caller has them, and whether they hold.
func (p *Policy) consider(rules []*Rule, q *Request) []Considered {
	found := make([]Considered, 0, len(rules))
	var who numbers
	p.addSubjects(&who, q)
	for _, r := range rules {
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
	if segments == nil || r.Line.Call != "" {
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

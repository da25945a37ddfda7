package policy

import (
	"slices"
	"strings"
)

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
	for _, s := range samples(p) {
		m.Rows = append(m.Rows, Row{Path: s.path, Cells: p.cells(s.of, m.Methods)})
	}
	return m
}

// sample is a path of a rule, as it is written, with a path of a request
// that matches it and, beside it, only rules that are as wide or wider.
type sample struct {
	path string
	of   string
}

// samples returns one for every path that a rule of any of the policies
// names, in the order of the paths. Paths that differ in the names of their
// variables are the same.
func samples(policies ...*Policy) []sample {
	// Segments that are longer than all in the policies, and more of them.
	long, deep := 0, 0
	for _, p := range policies {
		for _, r := range p.rules {
			deep = max(deep, len(r.pattern))
			for _, s := range r.pattern {
				long = max(long, len(s.text))
			}
		}
	}
	fresh := "/" + strings.Repeat("x", long+1)
	seen := make(map[string]bool)
	var all []sample
	for _, p := range policies {
		for _, r := range p.rules {
			s := sample{path: r.Line.Path}
			for _, seg := range r.pattern {
				switch seg.kind {
				case literal:
					s.of += "/" + seg.text
				case single:
					s.of += fresh
				case below:
					s.of += strings.Repeat(fresh, deep+1)
				}
			}
			if !seen[s.of] {
				seen[s.of] = true
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(a, b sample) int { return strings.Compare(a.path, b.path) })
	return all
}

// Gain is what somebody may do by one policy and not, or not always, by
// another.
type Gain struct {
	Who      string // as in Rule.Who
	Method   string // "*" for all that no rule names
	Path     string
	From, To Allowed
}

// Compare works out who gains and who loses by a change from one policy to
// another. It looks at every path that a rule of either names, for every role
// and scope of either: a caller with a role that only one of them knows has,
// by the other, what every caller has.
func Compare(from, to *Policy) []Gain {
	methods := slices.Concat(from.methods, to.methods)
	slices.Sort(methods)
	methods = append(slices.Compact(methods), "*")
	subjects := slices.Clone(from.subjects)
	for _, s := range to.subjects {
		if !slices.Contains(subjects, s) {
			subjects = append(subjects, s)
		}
	}
	var all []Gain
	for _, s := range samples(from, to) {
		before, after := from.cells(s.of, methods), to.cells(s.of, methods)
		for _, who := range subjects {
			a, b := from.cell(before, who), to.cell(after, who)
			for i, method := range methods {
				if a[i] != b[i] {
					all = append(all, Gain{who, method, s.path, a[i], b[i]})
				}
			}
		}
	}
	return all
}

// cell returns what a subject may do, which is what any known caller may if
// the policy does not know the subject.
func (p *Policy) cell(cells [][]Allowed, who string) []Allowed {
	if i := slices.Index(p.subjects, who); i >= 0 {
		return cells[i]
	}
	return cells[authenticated]
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

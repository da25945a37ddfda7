package policy

import (
	"cmp"
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

	// Who may call which tools, resources and prompts of MCP servers, for those
	// whose request is allowed. Empty for a policy without rules for calls, which
	// lets them call everything.
	Calls []CallRow
}

// Matrix works out who may do what, for every path that a rule names.
func (p *Policy) Matrix() *Matrix {
	m := &Matrix{Subjects: p.subjects, Methods: append(slices.Sorted(slices.Values(p.methods)), "*")}
	for _, s := range samples(p) {
		m.Rows = append(m.Rows, Row{Path: s.path, Cells: p.cells(s, m.Methods)})
	}
	m.Calls = p.callRows()
	return m
}

// sample is a path of a rule, as it is written, with a path of a request
// that matches it and, beside it, only rules that are as wide or wider. With a
// call, both are names of what is called.
type sample struct {
	path string
	of   string
	call Call

	// Of names for which two rules are: those of either.
	parents []sample
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
			if r.Line.Call != "" {
				continue
			}
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
	Method   string // "*" for all that no rule names; for a call of an MCP server tool, resource or prompt
	Path     string // or the name of what is called
	From, To Allowed
}

// Compare works out who gains and who loses by a change from one policy to
// another. It looks at every path, and every name of a call, that a rule of either names, for every role
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
	compare := func(s sample, methods []string) {
		before, after := from.cells(s, methods), to.cells(s, methods)
		for _, who := range subjects {
			a, b := from.cell(before, who), to.cell(after, who)
			for i, method := range methods {
				if a[i] != b[i] && !slices.ContainsFunc(s.parents, func(parent sample) bool {
					return from.cell(from.cells(parent, methods), who)[i] == a[i] && to.cell(to.cells(parent, methods), who)[i] == b[i]
				}) {
					all = append(all, Gain{who, method, s.path, a[i], b[i]})
				}
			}
		}
	}
	for _, s := range samples(from, to) {
		compare(s, methods)
	}
	for _, s := range callSamples(from, to) {
		compare(s, []string{string(s.call)})
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

// cells says what each subject may do with a path, by each method, or with what
// is called, by its kind.
func (p *Policy) cells(s sample, methods []string) [][]Allowed {
	rules := p.rulesFor(s)
	cells := make([][]Allowed, len(p.subjects))
	for subject := range cells {
		cells[subject] = make([]Allowed, len(methods))
		for i, method := range methods {
			cells[subject][i] = p.may(s, rules, method, uint32(subject))
		}
	}
	return cells
}

// rulesFor returns the rules for a path, or for what is called.
func (p *Policy) rulesFor(s sample) []*Rule {
	if s.call != "" {
		return p.rulesForCall(s.call, s.of)
	}
	var rules []*Rule
	segments := p.split(s.of)
	for _, r := range p.rules {
		if r.matches(segments) {
			rules = append(rules, r)
		}
	}
	return rules
}

// wildcardMethod returns the method to ask about; for "*" one that is no
// token, so that no rule names it.
func wildcardMethod(method string) string {
	if method == "*" {
		return "(ANY)"
	}
	return method
}

// CompareUsers works out which users are given other roles by a change from one
// policy to another, one line for each role, and what they gain and lose by that,
// for every path and every name of a call that a rule of either policy names. What changes for everybody
// who has a role is for Compare to say.
func CompareUsers(from, to *Policy) (roles []string, gains []Gain) {
	methods := slices.Concat(from.methods, to.methods)
	slices.Sort(methods)
	methods = append(slices.Compact(methods), "*")
	paths := append(samples(from, to), callSamples(from, to)...)
	for _, u := range usersOf(from, to) {
		before, after := from.given(u), to.given(u)
		if slices.Equal(before, after) {
			continue
		}
		who := Who("user", u.id) + fromText(u.from)
		for _, role := range before {
			if !slices.Contains(after, role) {
				roles = append(roles, who+" loses "+Who("role", role))
			}
		}
		for _, role := range after {
			if !slices.Contains(before, role) {
				roles = append(roles, who+" gains "+Who("role", role))
			}
		}
		for _, s := range paths {
			was, is := from.rulesFor(s), to.rulesFor(s)
			methods := methods
			if s.call != "" {
				methods = []string{string(s.call)}
			}
			for _, method := range methods {
				a := from.may(s, was, method, from.subjectsOf(before)...)
				b := to.may(s, is, method, to.subjectsOf(after)...)
				if a != b {
					gains = append(gains, Gain{who, method, s.path, a, b})
				}
			}
		}
	}
	return roles, gains
}

// userFrom is a user of a source, or of any if from is empty.
type userFrom struct{ id, from string }

// usersOf returns the users that policies name, in order.
func usersOf(policies ...*Policy) []userFrom {
	var all []userFrom
	for _, p := range policies {
		for id, grants := range p.users {
			for _, g := range grants {
				all = append(all, userFrom{id, g.from})
			}
		}
	}
	slices.SortFunc(all, func(a, b userFrom) int {
		return cmp.Or(strings.Compare(a.id, b.id), strings.Compare(a.from, b.from))
	})
	return slices.Compact(all)
}

// given returns the roles that a user is given, sorted.
func (p *Policy) given(u userFrom) []string {
	var all []string
	for _, g := range p.users[u.id] {
		if g.from == "" || g.from == u.from {
			all = append(all, g.names...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// subjectsOf returns a caller with roles.
func (p *Policy) subjectsOf(roles []string) []uint32 {
	all := []uint32{authenticated}
	for _, role := range roles {
		if n, ok := p.roles[role]; ok {
			all = append(all, n)
		}
	}
	return all
}

// may says what subjects may do together. A policy without rules for calls lets
// everybody call everything.
func (p *Policy) may(s sample, rules []*Rule, method string, subjects ...uint32) Allowed {
	if s.call != "" && !p.Calls() {
		return Always
	}
	return p.ever(rules, wildcardMethod(method), subjects...)
}

// ever says what subjects may do together by these rules. A role or scope has the
// rules of anyone and authenticated too.
func (p *Policy) ever(rules []*Rule, method string, subjects ...uint32) Allowed {
	var deny, mayDeny, allow, mayAllow bool
	for _, r := range rules {
		has := r.subject == anyone || slices.ContainsFunc(subjects, func(s uint32) bool {
			return s >= authenticated && r.subject == authenticated || slices.Contains(p.heirs[r.subject], s)
		})
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

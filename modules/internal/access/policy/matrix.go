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
// path and no more specific path of another row. Requests that match two of
// which neither is more specific may do what either allows: where a rule takes
// some of that away, there is a row for what both are for.
type Matrix struct {
	Subjects []string // as in Rule.Who
	Methods  []string // the last, "*", stands for all that no rule names
	Rows     []Row

	// Who may call which tools, resources and prompts of MCP servers, for those
	// whose request is allowed. Empty for a policy without rules for calls, which
	// lets them call everything.
	Calls []CallRow
}

// Matrix works out who may do what, for every path that a rule names, and for
// what paths have in common. It returns ErrTooManyOverlaps if that is too much.
func (p *Policy) Matrix() (*Matrix, error) {
	m := &Matrix{Subjects: p.subjects, Methods: append(slices.Sorted(slices.Values(p.methods)), "*")}
	all, err := samples(p)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		cells := p.cells(s, m.Methods)
		if len(s.parents) == 0 || !slices.EqualFunc(cells, p.either(s.parents, m.Methods), slices.Equal[[]Allowed]) {
			m.Rows = append(m.Rows, Row{Path: s.path, Cells: cells})
		}
	}
	m.Calls = p.callRows()
	return m, nil
}

// either returns what one of several samples allows.
func (p *Policy) either(all []sample, methods []string) [][]Allowed {
	cells := p.cells(all[0], methods)
	for _, s := range all[1:] {
		for subject, list := range p.cells(s, methods) {
			for i, a := range list {
				cells[subject][i] = max(cells[subject][i], a)
			}
		}
	}
	return cells
}

// sample is a path of a rule, as it is written, with a path of a request
// that matches it and, beside it, only rules that are as wide or wider. With a
// call, both are names of what is called.
type sample struct {
	path string
	of   string
	call Call

	// Of paths and names for which two rules are: those of either.
	parents []sample
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
// another. It looks at every path, and every name of a call, that a rule of either names, and at
// what a rule that allows and one that denies have in common, for every role
// and scope of either: a caller with a role that only one of them knows has,
// by the other, what every caller has. It returns ErrTooManyOverlaps if that is too much.
func Compare(from, to *Policy) ([]Gain, error) {
	all, err := samples(from, to)
	if err != nil {
		return nil, err
	}
	methods := methodsOf(from, to)
	gains := make([]Gain, 0, len(all))
	for _, s := range all {
		gains = append(gains, gainsAt(from, to, s, methods)...)
	}
	return append(gains, CompareCalls(from, to)...), nil
}

// CompareCalls is Compare for calls of MCP servers alone.
func CompareCalls(from, to *Policy) []Gain {
	all := callSamples(from, to)
	gains := make([]Gain, 0, len(all))
	for _, s := range all {
		gains = append(gains, gainsAt(from, to, s, []string{string(s.call)})...)
	}
	return gains
}

// methodsOf returns the methods of rules of either policy, and "*".
func methodsOf(from, to *Policy) []string {
	methods := slices.Concat(from.methods, to.methods)
	slices.Sort(methods)
	return append(slices.Compact(methods), "*")
}

// gainsAt returns what changes at a sample, and not at one of its parents already.
func gainsAt(from, to *Policy, s sample, methods []string) []Gain {
	subjects := slices.Clone(from.subjects)
	for _, who := range to.subjects {
		if !slices.Contains(subjects, who) {
			subjects = append(subjects, who)
		}
	}
	type side struct{ before, after [][]Allowed }
	at := func(s sample) side { return side{from.cells(s, methods), to.cells(s, methods)} }
	here := at(s)
	parents := make([]side, len(s.parents))
	for i, parent := range s.parents {
		parents[i] = at(parent)
	}
	var all []Gain
	for _, who := range subjects {
		a, b := from.cell(here.before, who), to.cell(here.after, who)
		for i, method := range methods {
			if a[i] != b[i] && !slices.ContainsFunc(parents, func(p side) bool {
				return from.cell(p.before, who)[i] == a[i] && to.cell(p.after, who)[i] == b[i]
			}) {
				all = append(all, Gain{who, method, s.path, a[i], b[i]})
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
// for everything that Compare looks at. What changes for everybody
// who has a role is for Compare to say.
func CompareUsers(from, to *Policy) (roles []string, gains []Gain, err error) {
	methods := methodsOf(from, to)
	paths, err := samples(from, to)
	if err != nil {
		return nil, nil, err
	}
	paths = append(paths, callSamples(from, to)...)
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
			methods := methods
			if s.call != "" {
				methods = []string{string(s.call)}
			}
			was, is := from.rulesFor(s), to.rulesFor(s)
			for _, method := range methods {
				change := func(s sample, was, is []*Rule) [2]Allowed {
					return [2]Allowed{from.may(s, was, method, from.subjectsOf(before)...), to.may(s, is, method, to.subjectsOf(after)...)}
				}
				c := change(s, was, is)
				if c[0] != c[1] && !slices.ContainsFunc(s.parents, func(p sample) bool { return change(p, from.rulesFor(p), to.rulesFor(p)) == c }) {
					gains = append(gains, Gain{who, method, s.path, c[0], c[1]})
				}
			}
		}
	}
	return roles, gains, nil
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

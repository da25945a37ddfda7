package policy

import (
	"slices"
)

// NeededScopes returns the scopes that the caller of q lacks and of which each,
// or all together, would have the request allowed: what a challenge with
// insufficient_scope asks for (RFC 6750 section 3.1). It is empty where no scope
// would help, or none is needed.
//
// It asks the policy once for every scope: it is for requests that are refused.
func (p *Policy) NeededScopes(q *Request) []string {
	lacking := p.lacking(q)
	if len(lacking) == 0 || p.with(q, nil) {
		return nil
	}
	return neededOf(lacking, func(more []string) bool { return p.with(q, more) })
}

// neededOf returns the scopes of which each will do or, where none does, all that
// are needed together.
func neededOf(lacking []string, with func(more []string) bool) []string {
	var each []string
	for _, s := range lacking {
		if with([]string{s}) {
			each = append(each, s)
		}
	}
	if len(each) > 0 {
		return each
	}
	// Conditions may ask for several at once. Of all that are known, those stay
	// without which it would not do.
	if !with(lacking) {
		return nil
	}
	for i := 0; i < len(lacking); {
		fewer := slices.Delete(slices.Clone(lacking), i, i+1)
		if with(fewer) {
			lacking = fewer
			continue
		}
		i++
	}
	return lacking
}

// with reports whether the request is allowed with more scopes.
func (p *Policy) with(q *Request, scopes []string) bool {
	more := *q
	more.Scopes = slices.Concat(q.Scopes, scopes)
	if q.Env != nil {
		env := *q.Env
		env.Scopes = more.Scopes
		more.Env = &env
	}
	return p.Decide(&more).Allow
}

// lacking returns the scopes that the policy names anywhere, in rules or in
// conditions, and the caller does not have.
func (p *Policy) lacking(q *Request) []string {
	return slices.DeleteFunc(p.KnownScopes(), func(s string) bool { return slices.Contains(q.Scopes, s) })
}

// KnownScopes returns the scopes that the policy names, those in conditions
// included, sorted. Names that no scope can have (RFC 6749 section 3.3) are left
// out: they could not be asked for.
func (p *Policy) KnownScopes() []string {
	all := p.Scopes()
	for _, r := range p.rules {
		if r.when != nil {
			all = append(all, r.when.Scopes()...)
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(s string) bool { return !scopeToken(s) })
}

// scopeToken reports whether s is a scope-token of RFC 6749 section 3.3.
func scopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// PossibleScopes returns the scopes that may have a request of somebody allowed
// of whom nothing is known yet, for the first challenge. Conditions count as if
// they held where they would allow, and as if they did not where they would
// deny. It is empty where any known caller may be allowed without a scope.
func (p *Policy) PossibleScopes(method, path string) []string {
	q := &Request{Method: method, Path: path, Authenticated: true}
	denied, plain, asked := p.possible(q)
	if denied || plain {
		return nil
	}
	all := slices.Clone(asked)
	for _, name := range p.Scopes() {
		q.Scopes = []string{name}
		denied, plain, more := p.possible(q)
		if denied || !plain && len(more) == len(asked) {
			continue // what the scope adds is nothing
		}
		all = append(all, name)
		all = append(all, more...)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(s string) bool { return !scopeToken(s) || s == anyScope })
}

// anyScope stands for a condition that names no scope. It is not a scope-token.
const anyScope = ""

// possible reports whether a rule without a condition denies a request or
// allows it, and the scopes that conditions of rules ask for that may allow it:
// at least one element if there are such rules.
func (p *Policy) possible(q *Request) (denied, allowed bool, asked []string) {
	for _, c := range p.Explain(q) {
		switch plain := c.Rule.when == nil; {
		case !c.Applies:
		case plain && !c.Rule.Allow:
			return true, false, nil
		case !c.Rule.Allow:
		case plain:
			allowed = true
		default:
			if len(c.Rule.when.Scopes()) == 0 {
				asked = append(asked, anyScope)
			}
			asked = append(asked, c.Rule.when.Scopes()...)
		}
	}
	return false, allowed, asked
}

// CallScopes returns the scopes with rules that allow calls of the Model Context
// Protocol, and those that conditions of such rules ask for, sorted: what the
// client of such a server may come to need.
func (p *Policy) CallScopes() []string {
	var all []string
	for _, name := range p.Scopes() {
		n := p.scopes[name]
		if slices.ContainsFunc(p.rules, func(r *Rule) bool {
			return r.Line.Call != "" && r.Allow && slices.Contains(p.heirs[r.subject], n)
		}) {
			all = append(all, name)
		}
	}
	for _, r := range p.rules {
		if r.Line.Call != "" && r.when != nil {
			all = append(all, r.when.Scopes()...)
		}
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(s string) bool { return !scopeToken(s) })
}

// NeededCallScopes is NeededScopes for a call.
func (p *Policy) NeededCallScopes(c Call, name string, q *Request) []string {
	var each []string
	for _, s := range p.lacking(q) {
		more := *q
		more.Scopes = append(slices.Clip(q.Scopes), s)
		if q.Env != nil {
			env := *q.Env
			env.Scopes = more.Scopes
			more.Env = &env
		}
		if p.DecideCall(c, name, &more).Allow {
			each = append(each, s)
		}
	}
	return each
}

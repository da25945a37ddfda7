package policy

import (
	"slices"
	"strings"
)

// CallRow is one name of a Matrix, of a tool, a resource or a prompt: for each
// subject, whether it may be called.
type CallRow struct {
	Call  Call
	Name  string // as it is written in a rule; asterisks stand for any run of characters
	Cells []Allowed
}

// callKinds are all kinds of calls, in the order of their rows.
var callKinds = []Call{Tool, Resource, Prompt}

// callRows works out who may call what, for every name that a rule names.
func (p *Policy) callRows() []CallRow {
	var rows []CallRow
	cells := func(s sample) []Allowed {
		each := p.cells(s, []string{string(s.call)})
		all := make([]Allowed, len(each))
		for i := range each {
			all[i] = each[i][0]
		}
		return all
	}
	for _, s := range callSamples(p) {
		if len(s.parents) > 0 && !slices.ContainsFunc(s.parents, func(parent sample) bool { return !slices.Equal(cells(parent), cells(s)) }) {
			continue // nothing that the rows of both would not say
		}
		rows = append(rows, CallRow{s.call, s.path, cells(s)})
	}
	return rows
}

// callSamples returns one sample for every name in a rule for calls of any of the
// policies, and one for names that both a rule which denies and one which allows
// are for, where neither of the two is the more specific. It is in the order of
// the kinds and names.
//
// A policy without any such rule lets everybody call everything. Where some of
// the policies have none, there is a sample for all names of each kind.
func callSamples(policies ...*Policy) []sample {
	fill := filler(policies)
	seen := make(map[sampleKey]bool)
	var all []sample
	add := func(c Call, name string, parents ...sample) {
		if key := (sampleKey{c, name}); !seen[key] {
			seen[key] = true
			all = append(all, sample{path: name, of: filled(c, name, fill), call: c, parents: parents})
		}
	}
	some, every := false, true
	for _, p := range policies {
		some, every = some || p.Calls(), every && p.Calls()
		for _, r := range p.rules {
			if r.Line.Call != "" {
				add(r.Line.Call, r.Line.Name)
			}
		}
	}
	if some && !every {
		for _, c := range callKinds {
			add(c, "*")
		}
	}
	for _, o := range overlaps(policies) {
		add(o.call, o.name, sample{path: o.a, of: filled(o.call, o.a, fill), call: o.call}, sample{path: o.b, of: filled(o.call, o.b, fill), call: o.call})
	}
	slices.SortFunc(all, func(a, b sample) int {
		if a.call != b.call {
			return slices.Index(callKinds, a.call) - slices.Index(callKinds, b.call)
		}
		return strings.Compare(a.path, b.path)
	})
	return all
}

type sampleKey struct {
	call Call
	name string
}

// filler returns a character that is in no name of the policies: what stands for
// an asterisk in a sample, so that beside it only rules match that are as wide.
func filler(policies []*Policy) string {
	var used strings.Builder
	for _, p := range policies {
		for _, r := range p.rules {
			if r.Line.Call != "" {
				used.WriteString(foldCase(r.Line.Name))
				used.WriteString(foldCase(r.deniedName()))
			}
		}
	}
	// Letters of which none is another in capitals, and all have one form only.
	for c := range 26 {
		if s := string(rune('z' - c)); !strings.Contains(used.String(), s) {
			return s
		}
	}
	c := '一'
	for strings.ContainsRune(used.String(), c) {
		c++
	}
	return string(c)
}

// filled returns a name that a name in a rule is for.
func filled(c Call, name, fill string) string {
	first, rest, ok := strings.Cut(name, "*")
	if !ok {
		return name
	}
	rest = strings.ReplaceAll(rest, "*", fill)
	// What the first asterisk of a URI stands for may have to bring a scheme.
	for _, with := range []string{fill, fill + ":" + fill, fill + "://" + fill + "/" + fill, "//" + fill + "/" + fill, "///" + fill, "/" + fill} {
		if s := first + with + rest; CheckCallName(c, s) == nil {
			return s
		}
	}
	return first + fill + rest
}

// overlap is what both of two names in rules are for.
type overlap struct {
	call       Call
	name, a, b string
}

// overlaps returns those of rules that deny and rules that allow, both with an
// asterisk, of which neither is for all that the other is for. The rules of
// different policies count, since a change may bring the one to the other.
func overlaps(policies []*Policy) []overlap {
	var allow, deny []*Rule
	for _, p := range policies {
		for _, r := range p.rules {
			switch {
			case r.Line.Call == "" || !strings.Contains(r.Line.Name, "*"):
			case r.Allow:
				allow = append(allow, r)
			default:
				deny = append(deny, r)
			}
		}
	}
	var all []overlap
	for _, d := range deny {
		for _, a := range allow {
			x, y := a.Line.Name, d.Line.Name
			if a.Line.Call != d.Line.Call || globMatches(foldCase(x), foldCase(y)) || globMatches(foldCase(y), foldCase(x)) {
				continue
			}
			if name, ok := both(x, y); ok {
				all = append(all, overlap{a.Line.Call, name, x, y})
			}
		}
	}
	return all
}

// both returns a name with asterisks that two such names are for, if there is one
// which has the beginning and the end of the longer and all that is between. Case
// does not count, as it does not for a rule that denies; the first, of a rule that
// allows, keeps its own.
func both(allow, deny string) (string, bool) {
	x, y := strings.Split(allow, "*"), strings.Split(deny, "*")
	first, ok := longer(x[0], y[0], strings.HasPrefix, func(long, short string) string { return short + long[len(short):] })
	if !ok {
		return "", false
	}
	last, ok := longer(x[len(x)-1], y[len(y)-1], strings.HasSuffix, func(long, short string) string { return long[:len(long)-len(short)] + short })
	if !ok {
		return "", false
	}
	middle := slices.Concat(x[1:len(x)-1], y[1:len(y)-1])
	return strings.Join(slices.Concat([]string{first}, middle, []string{last}), "*"), true
}

// longer returns the longer of two beginnings or ends of which one is part of the
// other, with as much of the first in it as there is.
func longer(first, second string, within func(long, short string) bool, put func(long, short string) string) (string, bool) {
	a, b := foldCase(first), foldCase(second)
	switch {
	case within(a, b):
		return first, true
	case !within(b, a):
		return "", false
	case len(a) != len(first) || len(b) != len(second):
		return second, true // letters that are longer in another case
	}
	return put(second, first), true
}

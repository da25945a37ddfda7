package policy

import (
	"fmt"
	"slices"
	"strings"
)

// ErrTooManyOverlaps is returned where the paths of rules that allow and of rules
// that deny overlap in too many ways to look at them all.
var ErrTooManyOverlaps = fmt.Errorf("paths of rules that allow and of rules that deny overlap in more than %d ways: who may do what cannot be told completely; write narrower paths in the rules that deny", maxOverlaps)

const maxOverlaps = 10_000

// written is the path of a rule with its segments as they are written.
type written struct {
	segments pattern
	texts    []string
	fold     bool
}

func writtenPath(r *Rule, fold bool) written {
	return written{r.pattern, strings.Split(r.Line.Path, "/")[1:], fold}
}

// key is the same for paths that differ in the names of their variables.
func (w written) key() string {
	var b strings.Builder
	for _, s := range w.segments {
		switch s.kind {
		case literal:
			b.WriteString("/" + s.text)
		case single:
			b.WriteString("/\x00")
		case below:
			b.WriteString("/\x00*")
		}
	}
	return b.String()
}

// forms returns the paths that a rule is for: one that denies is also for its
// path with a slash more, or less.
func forms(r *Rule, w written) []written {
	stored := r.stored()
	if r.Allow || len(stored) > 0 && stored[len(stored)-1].kind == below {
		return []written{w}
	}
	bare := written{stored, w.texts[:len(stored)], w.fold}
	slash := written{append(slices.Clip(bare.segments), segment{}), append(slices.Clip(bare.texts), ""), w.fold}
	if len(stored) == 0 {
		return []written{slash}
	}
	return []written{bare, slash}
}

// meets reports whether there are paths that both are for.
func (w written) meets(o written) bool {
	for i := 0; ; i++ {
		switch {
		case i == len(w.segments) || i == len(o.segments):
			return len(w.segments) == len(o.segments)
		case w.segments[i].kind == below || o.segments[i].kind == below:
			return true
		}
		if _, ok := common(w.segments[i], o.segments[i], w.fold, o.fold); !ok {
			return false
		}
	}
}

// common returns the segment that both are for, and whether there is one.
func common(a, b segment, foldA, foldB bool) (segment, bool) {
	switch {
	case a.kind == single:
		return b, b != segment{}
	case b.kind == single:
		return a, a != segment{}
	case a.text == b.text, foldB && foldCase(a.text) == b.text:
		return a, true
	}
	return b, foldA && foldCase(b.text) == a.text
}

// both returns the path for all that two paths which meet are for. Its variables
// have the names that they have in the first, if they have one there.
func (w written) both(o written) written {
	var all written
	for i := range max(len(w.segments), len(o.segments)) {
		if w.segments[i].kind == below {
			return all.with(o.segments[i:], o.texts[i:])
		}
		if o.segments[i].kind == below {
			return all.with(w.segments[i:], w.texts[i:])
		}
		s, _ := common(w.segments[i], o.segments[i], w.fold, o.fold)
		text := w.texts[i]
		if s.kind == literal && (w.segments[i].kind == single || s.text != w.segments[i].text) {
			text = o.texts[i]
		}
		all = all.with(pattern{s}, []string{text})
	}
	return all
}

func (w written) with(segments pattern, texts []string) written {
	return written{append(slices.Clip(w.segments), segments...), append(slices.Clip(w.texts), texts...), false}
}

// String prints the path as it could stand in a rule.
func (w written) String() string {
	var b strings.Builder
	for i, text := range w.texts {
		if last := i == len(w.texts)-1; w.segments[i].kind == single && (slices.Contains(w.texts[:i], text) || last && text == "*") {
			text = "*"
			for name := "any"; last && (text == "*" || slices.Contains(w.texts[:i], text)); name += "_" {
				text = "{" + name + "}"
			}
		}
		b.WriteString("/" + text)
	}
	return b.String()
}

// sampler finds the samples of policies.
type sampler struct {
	policies []*Policy
	fresh    string // a segment that is in no rule
	deep     int    // segments of the longest path of a rule

	numbers map[*place]int
	rows    map[string]sample // by the key of the path
	known   map[string]bool   // the rules that a sample matches
	all     []sample
}

// samples returns one for every path that a rule of any of the policies
// names, in the order of the paths. Paths that differ in the names of their
// variables are the same.
//
// There is one more for what both a rule that allows and a rule that denies are
// for, where no rule has that path. These are all that it takes to see each
// difference between two policies. If somebody may do more with a path by one of
// them, there is a rule of it that allows this, and of the other either no rule
// allows as much or one denies more. So the difference is also there for what the
// first alone is for, or what it and the one that denies are for: no rule matches
// the sample of these that does not match the path itself.
func samples(policies ...*Policy) ([]sample, error) {
	k := &sampler{policies: policies, numbers: map[*place]int{}, rows: map[string]sample{}, known: map[string]bool{}}
	long := 0
	for _, p := range policies {
		for _, r := range p.rules {
			k.deep = max(k.deep, len(r.pattern))
			for _, s := range r.pattern {
				long = max(long, len(s.text))
			}
		}
	}
	k.fresh = strings.Repeat("x", long+1)
	allow, deny := k.rules()
	if err := k.overlaps(allow, deny); err != nil {
		return nil, err
	}
	slices.SortStableFunc(k.all, func(a, b sample) int { return strings.Compare(a.path, b.path) })
	return k.all, nil
}

// ruled is a path of rules that allow, or that deny.
type ruled struct {
	written
	methods []string // nil for all
	row     string   // key of the row of the path as it is written
}

// rules adds the samples of the paths of rules, and returns these paths.
func (k *sampler) rules() (allow, deny []ruled) {
	at := map[string]int{}
	var later []func()
	for _, p := range k.policies {
		for _, r := range p.rules {
			if r.Line.Call != "" {
				continue
			}
			w := writtenPath(r, p.fold)
			key := w.key()
			if _, ok := k.rows[key]; !ok {
				s, more := k.candidates(w)
				s.path = r.Line.Path
				k.rows[key] = s
				k.known[k.matched(s.of)] = true
				k.all = append(k.all, s)
				later = append(later, func() { k.add(more, s) })
			}
			list := &deny
			if r.Allow {
				list = &allow
			}
			for _, f := range forms(r, w) {
				id := fmt.Sprint(r.Allow, p.fold, f.key())
				i, ok := at[id]
				switch {
				case !ok:
					at[id] = len(*list)
					*list = append(*list, ruled{f, r.Line.Methods, key})
				case r.Line.Methods == nil:
					(*list)[i].methods = nil
				case (*list)[i].methods != nil:
					(*list)[i].methods = slices.Concat((*list)[i].methods, r.Line.Methods)
				}
			}
		}
	}
	for _, f := range later {
		f()
	}
	return allow, deny
}

// overlaps adds the samples for what two paths are for.
func (k *sampler) overlaps(allow, deny []ruled) error {
	seen := map[string]bool{}
	for _, a := range allow {
		for _, d := range deny {
			if !a.meets(d.written) || !share(a.methods, d.methods) {
				continue
			}
			w := a.both(d.written)
			key := w.key()
			if _, ok := k.rows[key]; ok || seen[key] {
				continue
			}
			seen[key] = true
			if len(seen) > maxOverlaps {
				return ErrTooManyOverlaps
			}
			s, more := k.candidates(w)
			k.add(append([]sample{s}, more...), k.rows[a.row], k.rows[d.row])
		}
	}
	return nil
}

// share reports whether a method is in both lists.
func share(a, b []string) bool {
	return a == nil || b == nil || slices.ContainsFunc(covered(a), func(m string) bool { return slices.Contains(covered(b), m) })
}

// add adds samples that match other rules than all before them.
func (k *sampler) add(samples []sample, parents ...sample) {
	for _, s := range samples {
		if m := k.matched(s.of); !k.known[m] {
			k.known[m] = true
			s.parents = parents
			k.all = append(k.all, s)
		}
	}
}

// candidates returns the sample of a path that matches the fewest rules, and those
// that do not match all of these: there are such where narrower paths are for
// everything that it is for.
func (k *sampler) candidates(w written) (best sample, more []sample) {
	last := len(w.segments) - 1
	if last < 0 || w.segments[last].kind != below {
		return sample{path: w.String(), of: k.fill(w)}, nil
	}
	var all []sample
	add := func(w written) { all = append(all, sample{path: w.String(), of: k.fill(w)}) }
	tail := written{w.segments[:last], w.texts[:last], w.fold}
	for n := k.deep + 1; n >= 0; n-- { // the longest first, as most requests are matched by nothing narrower
		long := tail.with(slices.Repeat(pattern{{kind: single}}, n), slices.Repeat([]string{"*"}, n))
		if n > 0 {
			add(long)
		}
		add(long.with(pattern{{}}, []string{""}))
	}
	rules := make([][]int, len(all))
	at := 0
	for i, s := range all {
		if rules[i] = k.match(s.of); len(rules[i]) < len(rules[at]) {
			at = i
		}
	}
	for i, s := range all {
		if slices.ContainsFunc(rules[at], func(n int) bool { return !slices.Contains(rules[i], n) }) {
			more = append(more, s)
		}
	}
	best = all[at]
	best.path = w.String()
	return best, more
}

// fill returns a request's path that a path without a tail is for.
func (k *sampler) fill(w written) string {
	var b strings.Builder
	for _, s := range w.segments {
		b.WriteByte('/')
		if s.kind == single {
			b.WriteString(k.fresh)
			continue
		}
		b.WriteString(s.text)
	}
	return b.String()
}

// matched names the rules for a path.
func (k *sampler) matched(path string) string { return fmt.Sprint(k.match(path)) }

// match returns numbers of the places of the rules for a path, in order.
func (k *sampler) match(path string) []int {
	var all []int
	for _, p := range k.policies {
		p.root.match(p.split(path), func(at *place, whole bool) {
			n, ok := k.numbers[at]
			if !ok {
				n = 2 * len(k.numbers)
				k.numbers[at] = n
			}
			if slices.ContainsFunc(at.byMethod, func(c cell) bool { return len(c.deny) > 0 }) {
				all = append(all, n)
			}
			if whole && slices.ContainsFunc(at.byMethod, func(c cell) bool { return len(c.allow) > 0 }) {
				all = append(all, n+1)
			}
		})
	}
	slices.Sort(all)
	return all
}

// match calls f for the places of the rules for a path, as walk.visit finds them;
// not whole are those that only rules which deny are for, a slash before the end.
func (n *node) match(segments []string, f func(at *place, whole bool)) {
	if len(segments) == 0 {
		if n.end != nil {
			f(n.end, true)
		}
		return
	}
	if n.below != nil {
		f(n.below, true)
	}
	if len(segments) == 1 && segments[0] == "" && n.end != nil {
		f(n.end, false)
	}
	if next := n.literal(segments[0]); next != nil {
		next.match(segments[1:], f)
	}
	if n.single != nil && segments[0] != "" {
		n.single.match(segments[1:], f)
	}
}

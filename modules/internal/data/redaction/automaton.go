package redaction

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/jsonpath"
)

// The paths of all rules are one nondeterministic automaton over the names and
// indices that lead from the root to a value. A position in it is a rule and
// the number of its segments that are behind; a descendant segment may stay
// where it is. The deterministic automaton is made from it as documents ask for
// it, so a step costs the same however many rules there are.

// maxStates bounds the automaton that is kept. Rules such as $..a.*.*.*.* need
// a number of states that grows exponentially; beyond the bound those
// made so far are dropped and made again when needed.
const maxStates = 4096

// indexCache bounds the elements of an array that have a transition of their
// own; beyond them it is computed each time.
const indexCache = 1024

// state is what is known about a value by the way that led to it: which rules
// may still apply below, and which apply to it.
type state struct {
	positions []int32 // sorted

	// rule is the one that applies to the value, none if below zero. A rule
	// whose action works on scalars goes on to everything inside.
	rule    int32
	detects []int32 // rules that look into the value if it is a string

	acts    bool  // rule or detects is set
	remove  bool  // rule removes
	dead    bool  // no rule applies to anything inside
	spills  bool  // a long string may leave in pieces
	drops   bool  // a member may be removed
	thins   bool  // an element may be removed
	indexed bool  // the transition of an element depends on its index
	late    int64 // it depends on so many elements after it

	// Transitions are made when first needed. They never change.
	byName  []atomic.Pointer[state] // by number of the name
	element atomic.Pointer[state]   // of every element, if not indexed, else of those from horizon on
	byIndex []atomic.Pointer[state]
	horizon int64
}

const none = -1

// dead is the state of values that no rule can reach.
var dead = &state{rule: none, dead: true}

// position is a state of the automaton.
type position struct {
	rule  int32
	seg   *jsonpath.Segment // the next one
	names []uint16          // of the selectors of seg, 0 where it is not a name
	last  bool              // seg is the last one of the path
}

// automaton makes states.
type automaton struct {
	rules     []Rule
	first     bool // the rule that is written first wins
	names     *names
	positions []position
	start     []int32 // the first position of each rule
	whole     []int32 // rules that apply to the root

	mu     sync.Mutex
	states map[string]*state
	root   atomic.Pointer[state]
}

func newAutomaton(rules []Rule, paths []jsonpath.Path, o Options) *automaton {
	a := &automaton{rules: rules, first: o.FirstWins, names: newNames(o.FoldCase), states: map[string]*state{}}
	for r, path := range paths {
		if len(path) == 0 {
			a.whole = append(a.whole, int32(r))
			continue
		}
		a.start = append(a.start, int32(len(a.positions)))
		for i := range path {
			seg := &path[i]
			ids := make([]uint16, len(seg.Selectors))
			for j := range seg.Selectors {
				if seg.Selectors[j].Kind == jsonpath.Name {
					ids[j] = a.names.add(seg.Selectors[j].Name)
				}
			}
			a.positions = append(a.positions, position{int32(r), seg, ids, i == len(path)-1})
		}
	}
	a.names.build()
	a.root.Store(a.intern(slices.Clone(a.start), a.whole))
	return a
}

// intern returns the state with these positions, of a value that the rules in
// hits apply to. Callers hold mu, or are alone.
func (a *automaton) intern(positions, hits []int32) *state {
	s := &state{positions: positions, rule: none}
	for _, r := range hits {
		action := &a.rules[r].Action
		switch {
		case action.spare:
			return dead
		case action.kind == actDetect:
			s.detects = append(s.detects, r)
		case s.rule == none || a.first && r < s.rule || !a.first && stricter(action, r, &a.rules[s.rule].Action, s.rule):
			s.rule = r
		}
	}
	if s.rule != none && a.rules[s.rule].Action.whole() {
		// Nothing of the value is left for another rule.
		s.positions, s.detects = nil, nil
	}
	slices.Sort(s.positions)
	s.positions = slices.Compact(s.positions)
	slices.Sort(s.detects)
	s.detects = slices.Compact(s.detects)

	key := s.key()
	if old := a.states[key]; old != nil {
		return old
	}
	if s.rule == none && len(s.detects) == 0 && len(s.positions) == 0 {
		return dead
	}
	a.finish(s)
	if len(a.states) >= maxStates {
		clear(a.states)
		if a.root.Load() != nil {
			// A fresh root lets go of everything reachable from
			// the old one, once the rewriters at work are done.
			a.root.Store(a.intern(slices.Clone(a.start), a.whole))
		}
	}
	a.states[key] = s
	return s
}

func (s *state) key() string {
	b := binary.AppendVarint(nil, int64(s.rule))
	b = binary.AppendUvarint(b, uint64(len(s.detects)))
	for _, d := range s.detects {
		b = binary.AppendUvarint(b, uint64(d))
	}
	for _, p := range s.positions {
		b = binary.AppendUvarint(b, uint64(p))
	}
	return string(b)
}

// finish fills in what follows from the positions and rules of s.
func (a *automaton) finish(s *state) {
	s.acts = s.rule != none || len(s.detects) > 0
	s.remove = s.rule != none && a.rules[s.rule].Action.kind == actRemove
	s.dead = len(s.positions) == 0 && !a.inherits(s)
	s.spills = s.rule == none
	for _, d := range s.detects {
		if detect := a.rules[d].Action.detect; detect.any || detect.inner.kind == actNull || detect.rewrite != nil {
			s.spills = false
		}
	}
	s.byName = make([]atomic.Pointer[state], len(a.names.list))
	for _, p := range s.positions {
		pos := &a.positions[p]
		removes := pos.last && a.rules[pos.rule].Action.kind == actRemove
		for i := range pos.seg.Selectors {
			sel := &pos.seg.Selectors[i]
			named, all := sel.Kind == jsonpath.Name, sel.Kind == jsonpath.Wildcard
			s.drops = s.drops || removes && (named || all)
			s.thins = s.thins || removes && !named
			if sel.Kind == jsonpath.Index || sel.Kind == jsonpath.Slice {
				s.indexed = true
				s.horizon = max(s.horizon, horizon(sel))
				k, _ := sel.Lookahead()
				s.late = max(s.late, k)
			}
			if removes && !named && a.rules[pos.rule].Action.chosen {
				s.late = max(s.late, 1) // the element must be there to be looked at
			}
		}
	}
	if s.indexed && s.late == 0 {
		s.byIndex = make([]atomic.Pointer[state], min(s.horizon, indexCache))
	}
}

// horizon returns an index from which on sel selects all elements or none.
func horizon(sel *jsonpath.Selector) int64 {
	const never = 1 << 62
	switch {
	case sel.Kind == jsonpath.Index || sel.Step == 0:
		return max(sel.Start, 0) + 1
	case sel.Step < 0:
		if !sel.HasStart {
			return max(sel.End, 0) + 1
		}
		return max(sel.Start, 0) + 1
	case sel.HasEnd:
		return max(sel.End, 0) + 1
	case sel.Step == 1:
		return max(sel.Start, 0) + 1
	}
	return never
}

// inherits reports whether something of s goes on to the values inside.
func (a *automaton) inherits(s *state) bool {
	return len(s.detects) > 0 || s.rule != none && !a.rules[s.rule].Action.whole()
}

// edge is one step from a value to one inside it.
type edge struct {
	member bool
	name   uint16 // of a member, 0 for a name that no rule mentions
	index  int64  // of an element
	length int64  // of the array, or more if the selectors do not ask for it
}

func (pos *position) matches(e edge) bool {
	for i := range pos.seg.Selectors {
		sel := &pos.seg.Selectors[i]
		switch {
		case sel.Kind == jsonpath.Wildcard:
			return true
		case sel.Kind == jsonpath.Name:
			if e.member && pos.names[i] == e.name {
				return true
			}
		case !e.member && sel.MatchIndex(e.index, e.length):
			return true
		}
	}
	return false
}

// step returns the state of what lies behind e.
func (a *automaton) step(s *state, e edge) *state {
	var positions, hits []int32
	for _, p := range s.positions {
		pos := &a.positions[p]
		if pos.seg.Descendant {
			positions = append(positions, p)
		}
		if !pos.matches(e) {
			continue
		}
		if pos.last {
			hits = append(hits, pos.rule)
		} else {
			positions = append(positions, p+1)
		}
	}
	if a.inherits(s) {
		if s.rule != none {
			hits = append(hits, s.rule)
		}
		hits = append(hits, s.detects...)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.intern(positions, hits)
}

// member returns the state of the member whose name has that number.
func (a *automaton) member(s *state, name int) *state {
	if next := s.byName[name].Load(); next != nil {
		return next
	}
	next := a.step(s, edge{member: true, name: uint16(name)})
	s.byName[name].Store(next)
	return next
}

// endless stands for the length of an array where it makes no difference.
const endless = 1 << 60

// elementAt returns the state of an element.
func (a *automaton) elementAt(s *state, index int64, m *memo) *state {
	var slot *atomic.Pointer[state]
	switch {
	case !s.indexed || index >= s.horizon:
		slot = &s.element
	case index < int64(len(s.byIndex)):
		slot = &s.byIndex[index]
	default:
		return a.element(s, edge{index: index, length: endless}, m)
	}
	if next := slot.Load(); next != nil {
		return next
	}
	next := a.step(s, edge{index: index, length: endless})
	slot.Store(next)
	return next
}

// memo is the last result of element.
type memo struct {
	from, to *state
	matches  uint64
}

// element returns the state of an element that depends on its index. That of
// the element before is nearly always the same, so it is not computed again if
// the same selectors match.
func (a *automaton) element(s *state, e edge, m *memo) *state {
	matches, n := uint64(0), 0
	for _, p := range s.positions {
		pos := &a.positions[p]
		for i := range pos.seg.Selectors {
			if sel := &pos.seg.Selectors[i]; sel.Kind == jsonpath.Index || sel.Kind == jsonpath.Slice {
				if sel.MatchIndex(e.index, e.length) {
					matches |= 1 << (n % 64)
				}
				n++
			}
		}
	}
	if n > 64 {
		return a.step(s, e)
	}
	if m.from != s || m.matches != matches {
		*m = memo{from: s, to: a.step(s, e), matches: matches}
	}
	return m.to
}

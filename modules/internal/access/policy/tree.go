package policy

// node is a place in the tree of path segments.
type node struct {
	literals map[string]*node
	few      []branch // the literals, where there are so few that comparing is faster
	single   *node
	end      *place // rules whose path ends here
	below    *place // rules for everything below
}

type branch struct {
	text string
	node *node
}

// maxFew is how many comparisons of segments take as long as a look-up.
const maxFew = 4

// literal returns the node below n for a segment, or nil.
func (n *node) literal(text string) *node {
	if n.few == nil {
		return n.literals[text]
	}
	for i := range n.few {
		if n.few[i].text == text {
			return n.few[i].node
		}
	}
	return nil
}

// place holds the rules with one path, by the number of the method.
type place struct {
	byMethod []cell
}

// cell holds the rules with one path that are for one method.
type cell struct {
	deny  []entry
	allow []entry
}

// entry says that a rule is for a subject. The entries of a cell are sorted
// by subject, and for each subject by order.
type entry struct {
	subject uint32
	rule    uint32 // its number, with whenBit set if it has a condition
}

const whenBit = 1 << 31

func (e entry) conditional() bool { return e.rule&whenBit != 0 }

// order is the order of rules for one subject: those without a condition
// come first, since one of them settles the matter.
func (e entry) order() uint32 { return e.rule }

// stored returns the rule's pattern as it stands in the tree. A rule that
// denies loses a slash at its end: the walk finds it for paths with and
// without one.
func (r *Rule) stored() pattern {
	if last := len(r.pattern) - 1; !r.Allow && r.pattern[last] == (segment{}) {
		return r.pattern[:last]
	}
	return r.pattern
}

// insert returns the place of a rule in the tree.
func (n *node) insert(r *Rule) *place {
	for _, s := range r.stored() {
		switch s.kind {
		case below:
			if n.below == nil {
				n.below = new(place)
			}
			return n.below
		case single:
			if n.single == nil {
				n.single = new(node)
			}
			n = n.single
		default:
			child := n.literals[s.text]
			if child == nil {
				child = new(node)
				if n.literals == nil {
					n.literals = make(map[string]*node)
				}
				n.literals[s.text] = child
			}
			n = child
		}
	}
	if n.end == nil {
		n.end = new(place)
	}
	return n.end
}

// add enters a rule for every subject that has it.
func (c *cell) add(r *Rule, number uint32, heirs []uint32) {
	if r.when != nil {
		number |= whenBit
	}
	to := &c.deny
	if r.Allow {
		to = &c.allow
	}
	for _, s := range heirs {
		*to = append(*to, entry{s, number})
	}
}

// finish sorts all entries below n, and readies n for being walked.
func (n *node) finish() {
	for _, p := range []*place{n.end, n.below} {
		if p == nil {
			continue
		}
		for i := range p.byMethod {
			c := &p.byMethod[i]
			c.deny, c.allow = sortEntries(c.deny), sortEntries(c.allow)
		}
	}
	if len(n.literals) <= maxFew {
		n.few = make([]branch, 0, len(n.literals))
	}
	for text, child := range n.literals {
		if n.few != nil {
			n.few = append(n.few, branch{text, child})
		}
		child.finish()
	}
	if n.single != nil {
		n.single.finish()
	}
}

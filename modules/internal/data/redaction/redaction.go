// Package redaction rewrites JSON as it streams by: the values that rules name
// are removed, replaced or masked, and every other byte is copied as it came.
//
// A [Program] is a set of compiled rules. A [Rewriter] applies it to one text
// that is written to it in pieces of any size. It validates on the way, to the
// letter of RFC 8259 with strict UTF-8, because a text that a client might read
// differently could hide a value from the rules: at the first fault it stops,
// and not a byte more leaves. A byte order mark at its beginning is copied, as
// is half of a surrogate pair in a value; both are read by nearly everybody.
//
// # Rules
//
// Selectors match on decoded names: the spelling "s\u0073n" is the name ssn.
// Of duplicate names each is redacted. Where several rules name one value the
// strictest wins: remove, null, replace, hash and encrypt, tokenize, mask and
// keep, round and all else that makes a value less exact, truncate, detect, in
// this order; among equals the one that is written first. A rule whose action works on scalars also applies to every
// scalar inside the objects and arrays it names. Names themselves are never
// rewritten.
//
// # Memory
//
// Besides its buffers a Rewriter holds one frame for each open object or array,
// and at most [Options.MaxValue] bytes of what cannot yet be decided: a scalar
// to be masked, the comma and the name before a member that may be removed, or
// the last elements of an array where a rule counts from its end.
// A scalar beyond that is replaced entirely, whatever its mask, except that a
// string which is only looked into leaves in pieces; the others are refused.
package redaction

import (
	"fmt"
	"io"
	"sync"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/jsonpath"
)

// Rule applies an action to the values that a selector names.
type Rule struct {
	// Name is what Rewriter.Fired calls the rule.
	Name string

	// Selector is the bare name of a member, wherever it stands, or an
	// RFC 9535 path: names, indices, wildcards, slices, unions of them,
	// and descendants. Filters are refused, and slices such as [::-2]. Where
	// a negative index or bound is used, as many elements are held as it
	// counts back.
	Selector string

	Action Action
}

// Options bounds what a Rewriter does.
type Options struct {
	// MaxDepth is how deep objects and arrays may nest. Default: 512
	MaxDepth int

	// MaxValue is how many bytes are held of one value, or of the elements
	// of an array. Default: 64 KiB
	MaxValue int

	// Sequence accepts any number of values one after the other, with or
	// without space between where there is no doubt without it: JSON lines,
	// concatenated JSON, and RFC 7464 sequences with their record separators.
	// What was written up to the end of a value has left when Write returns.
	Sequence bool

	// FoldCase makes names match whatever their case, by Unicode's simple
	// case folding, and however their words are joined: isAdmin is is_admin. It is for texts whose names somebody spells who would
	// like to get past the rules, to a reader that is as liberal.
	FoldCase bool

	// FirstWins makes the rule that is written first win where several name
	// one value, whatever their actions.
	FirstWins bool
}

const (
	defaultMaxDepth = 512
	defaultMaxValue = 64 << 10

	// shortName is how much of a name is kept for the pointers of errors.
	shortName = 256
	// longName is the same where values are bound to their position.
	longName = 4096
)

// Program is a compiled set of rules. It never changes and may be used by any
// number of goroutines.
type Program struct {
	rules   []Rule
	options Options
	auto    *automaton
	nameMax int  // longest spelling of a name in a pointer
	keyMax  int  // longest spelling of a name that is held
	any     bool // some rule detects in numbers too

	pool sync.Pool // of Rewriters that are reset
}

// Compile makes a program of rules. Errors name the rule.
func Compile(rules []Rule, o Options) (*Program, error) {
	if o.MaxDepth <= 0 {
		o.MaxDepth = defaultMaxDepth
	}
	if o.MaxValue <= 0 {
		o.MaxValue = defaultMaxValue
	}
	p := &Program{rules: rules, options: o}
	paths := make([]jsonpath.Path, len(rules))
	names := 0
	for i := range rules {
		path, err := jsonpath.ParseSelector(rules[i].Selector)
		if err != nil {
			return nil, fmt.Errorf("rule %q: %w", rules[i].Name, err)
		}
		for _, seg := range path {
			names += len(seg.Selectors)
			for _, sel := range seg.Selectors {
				if _, ok := sel.Lookahead(); !ok {
					return nil, fmt.Errorf("rule %q: a slice that counts back from the end in steps of more than one is not supported, since it hangs on the length of the array", rules[i].Name)
				}
			}
		}
		paths[i] = path
	}
	if names > maxNames {
		return nil, fmt.Errorf("more than %d names in the selectors", maxNames)
	}
	p.link(paths)
	return p, nil
}

// link makes the automaton.
func (p *Program) link(paths []jsonpath.Path) {
	p.auto = newAutomaton(p.rules, paths, p.options)
	p.nameMax = shortName
	for i := range p.rules {
		action := &p.rules[i].Action
		if action.places {
			p.nameMax = longName
		}
		p.any = p.any || action.kind == actDetect && action.detect.any
	}
	p.keyMax = max(p.nameMax, p.auto.names.rawOf)
}

// Detects reports whether a rule looks into values that no rule names.
func (p *Program) Detects() bool {
	for i := range p.rules {
		if p.rules[i].Action.kind == actDetect {
			return true
		}
	}
	return false
}

// NewRewriter returns a Rewriter that writes to dst.
func (p *Program) NewRewriter(dst io.Writer) *Rewriter {
	w := &Rewriter{program: p}
	w.Reset(dst)
	return w
}

// Get is NewRewriter, but takes one that was given back with Put if there is
// one.
func (p *Program) Get(dst io.Writer) *Rewriter {
	w, _ := p.pool.Get().(*Rewriter)
	if w == nil {
		return p.NewRewriter(dst)
	}
	w.dst = dst // all else Put has done
	return w
}

// Put gives back a Rewriter of Get, which must not be used any more.
func (p *Program) Put(w *Rewriter) {
	w.Reset(nil)
	p.pool.Put(w)
}

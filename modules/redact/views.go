package redact

import (
	"fmt"
	"slices"
	"sync"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// limits bound what a body may cost.
type limits struct {
	depth, value int
	fold         bool // names match whatever their case
}

// tagKey is what entity tags are sealed with, nil if they are dropped.
type tagKey struct {
	key  []byte
	salt []byte // tells apart configurations whose rules look alike
}

// maxGroups is how many groups there can be: which of them concern a caller is
// kept in the bits of one word.
const maxGroups = 63

// maxViews is how many combinations of groups are kept compiled. Which ones
// occur is up to the callers' roles, so there has to be a bound.
const maxViews = 256

// views are the programs of a set of rules, one for each combination of the
// groups that a caller can be concerned by, made when it first occurs.
type views struct {
	rules  []redaction.Rule
	lines  []line // what rules was made of
	groups []compiledGroup
	limits limits
	tags   *tagKey

	// depends is true if callers can see different things.
	depends bool

	// strict is the view of an anonymous caller: all the rules there are.
	strict *view

	mu    sync.RWMutex
	known map[uint64]*view
}

type compiledGroup struct {
	Group
	rules []redaction.Rule
	lines []line
}

// newViews compiles rules, with the last ones behind them for every caller. All
// that can be wrong with a rule is found here.
func newViews(rules []Rule, groups []Group, keys *keyring, l limits, tags *tagKey, last ...redaction.Rule) (*views, error) {
	if len(groups) > maxGroups {
		return nil, fmt.Errorf("%d groups of except and only: at most %d are possible", len(groups), maxGroups)
	}
	v := &views{limits: l, tags: tags, depends: len(groups) > 0, known: map[uint64]*view{}}
	var err error
	if v.rules, err = build(rules, "", keys); err != nil {
		return nil, err
	}
	v.rules = append(v.rules, last...)
	v.lines = lines(rules, "")
	v.depends = v.depends || v.does(0, "noise") // which is different for each caller
	for _, g := range groups {
		c := compiledGroup{Group: g}
		if g.Mode != "except" && g.Mode != "only" {
			return nil, fmt.Errorf("group mode %q: write except or only", g.Mode)
		}
		switch g.Of {
		case "role", "scope", "user", "kind":
		default:
			return nil, fmt.Errorf("%s %q: write role, scope, user or kind", g.Mode, g.Of)
		}
		if err := g.check(); err != nil {
			return nil, err
		}
		if len(g.Names) == 0 || len(g.Rules) == 0 {
			return nil, fmt.Errorf("%s needs names and rules", g.title())
		}
		if c.rules, err = build(g.Rules, g.title()+": ", keys); err != nil {
			return nil, fmt.Errorf("%s: %w", g.title(), err)
		}
		c.lines = lines(g.Rules, g.title()+": ")
		v.groups = append(v.groups, c)
	}
	v.strict, err = v.of(nil)
	return v, err
}

// of returns the view of a caller, nil for one that no rule concerns.
func (v *views) of(p *principal.Principal) (*view, error) {
	if p == nil && v.strict != nil {
		return v.strict, nil
	}
	var key uint64
	for i := range v.groups {
		g := &v.groups[i]
		if p == nil || g.names(p) == (g.Mode == "only") {
			key |= 1 << i
		}
	}
	v.mu.RLock()
	found, ok := v.known[key]
	v.mu.RUnlock()
	if ok {
		return found, nil
	}
	made, err := v.make(key)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if found, ok := v.known[key]; ok {
		return found, nil
	}
	if len(v.known) >= maxViews {
		clear(v.known)
	}
	v.known[key] = made
	return made, nil
}

func (v *views) make(key uint64) (*view, error) {
	rules := v.rules[:len(v.rules):len(v.rules)]
	for i := range v.groups {
		if key&(1<<i) != 0 {
			rules = append(rules, v.groups[i].rules...)
		}
	}
	if len(rules) == 0 {
		return nil, nil
	}
	made := &view{names: namesOf(rules), places: v.does(key, "placeholder")}
	var err error
	options := redaction.Options{MaxDepth: v.limits.depth, MaxValue: v.limits.value, Sequence: true, FoldCase: v.limits.fold}
	made.program, err = redaction.Compile(rules, options)
	made.calls = sync.OnceValues(func() (*view, error) { return made.forCalls(rules, options) })
	if err != nil || v.tags == nil {
		return made, err
	}
	// With encrypted values no two responses have the same bytes, and with noise
	// those to two callers.
	weak := v.does(key, "encrypt") || v.does(key, "noise")
	id := append([]byte(nil), v.tags.salt...)
	for i := range rules {
		id = append(append(id, rules[i].Name...), 0)
	}
	made.tags, err = newTagCipher(v.tags.key, id, weak)
	return made, err
}

// does reports whether there is a rule with that action.
func (v *views) does(key uint64, action string) bool {
	has := func(l line) bool { return l.rule.does(action) }
	if slices.ContainsFunc(v.lines, has) {
		return true
	}
	for i := range v.groups {
		if key&(1<<i) != 0 && slices.ContainsFunc(v.groups[i].lines, has) {
			return true
		}
	}
	return false
}

// view is what some callers may see. A nil view is everything.
type view struct {
	names   map[string]bool    // of members, in the selectors
	places  bool               // a rule leaves placeholders
	program *redaction.Program // of one text or many: where there is one, the others do no harm
	tags    *tagCipher         // nil: entity tags are dropped

	calls func() (*view, error) // see ofCalls
}

func (v *view) tagCipher() *tagCipher {
	if v == nil {
		return nil
	}
	return v.tags
}

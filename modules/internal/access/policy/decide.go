package policy

import (
	"errors"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/requestpath"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// Request is what is asked of a policy.
type Request struct {
	Method string
	Path   string // begins with a slash, decoded once, with one reading: see package requestpath, also for %2F

	// Authenticated says that the caller is known. User, Roles and Scopes
	// mean nothing otherwise.
	Authenticated bool
	User          string
	Source        principal.Source // who vouches for the user
	Roles         []string
	Scopes        []string

	// Env is what conditions see. Its Path must be Path. Without it every
	// condition fails with ErrNoEnv: a decision whose Err is another, or
	// none, is the same as with it.
	Env *condition.Env
}

// Reason is a stable code for why a decision was made.
type Reason string

// Reasons of decisions.
const (
	RuleAllows     Reason = "rule_allows"      // a rule allows it
	RuleDenies     Reason = "rule_denies"      // a rule denies it
	NoRule         Reason = "no_rule"          // no rule allows it
	ConditionFails Reason = "condition_failed" // the condition of a rule that denies failed, which denies
)

// Decision is the result for a Request. The zero Decision denies.
type Decision struct {
	Allow  bool
	Rule   *Rule // the rule that decided; nil if none did
	Reason Reason

	// Err is why a condition failed: that of Rule, where the reason is
	// ConditionFails, or that of the first rule that would have allowed the
	// request otherwise, which is then Failed.
	Err    error
	Failed *Rule
}

// NoRuleText names the decision that no rule made.
const NoRuleText = "default: deny"

// RuleText returns the rule that decided, as it is recorded.
func (d Decision) RuleText() string {
	if d.Rule == nil {
		return NoRuleText
	}
	return d.Rule.text
}

// ErrNoEnv is the failure of a condition that has nothing to look at.
var ErrNoEnv = errors.New("nothing is known about the request")

const none = math.MaxUint32

// numbers is a list that is on the stack while it is short. (A slice of an
// array beside it would move both to the heap.)
type numbers struct {
	n    int
	room [12]uint32
	more []uint32
}

func (l *numbers) add(x uint32) {
	if l.n < len(l.room) {
		l.room[l.n] = x
		l.n++
		return
	}
	l.more = append(l.more, x)
}

// list returns all of them, in a slice that lives as long as l.
func (l *numbers) list() []uint32 {
	if l.more == nil {
		return l.room[:l.n]
	}
	return append(l.more, l.room[:l.n]...)
}

// walk is one decision in the making.
type walk struct {
	subjects numbers
	allowAt  int // number of the method for rules that allow
	denyAt   int // and for those that deny

	deny, allow       uint32  // the first rule without a condition, or none
	mayDeny, mayAllow numbers // rules with a condition
}

// Decide decides. It does not allocate, unless a condition does, or the
// caller has more than ten roles.
func (p *Policy) Decide(q *Request) Decision {
	if q.Path == "" || q.Path[0] != '/' {
		return Decision{Reason: NoRule}
	}
	w := walk{deny: none, allow: none}
	p.addSubjects(&w.subjects, q)
	w.allowAt, w.denyAt = p.method(q.Method)
	root := p.root
	if strings.IndexByte(q.Path, '%') >= 0 && strings.Contains(q.Path, requestpath.Slash) {
		if root = p.slashed; root == nil {
			return Decision{Reason: NoRule}
		}
	}
	w.visit(root, p.folded(q.Path)[1:])

	if w.deny != none {
		return Decision{Rule: p.rules[w.deny], Reason: RuleDenies}
	}
	if w.mayDeny.n > 0 {
		if d, ok := p.denied(w.mayDeny.list(), q.Env); ok {
			return d
		}
	}
	if w.allow != none {
		return Decision{Allow: true, Rule: p.rules[w.allow], Reason: RuleAllows}
	}
	if w.mayAllow.n == 0 {
		return Decision{Reason: NoRule}
	}
	return p.allowed(w.mayAllow.list(), q.Env)
}

// Object is what a path names by a variable.
type Object struct{ Name, Value string }

// Objects returns the path variables, with their values, that conditions of the
// rules which concern the request look at: those that deny, and those that allow
// where no rule without a condition does.
func (p *Policy) Objects(q *Request) (all []Object) {
	if !p.objects || q.Path == "" || q.Path[0] != '/' {
		return nil
	}
	w := walk{deny: none, allow: none}
	p.addSubjects(&w.subjects, q)
	w.allowAt, w.denyAt = p.method(q.Method)
	root := p.root
	if strings.Contains(q.Path, requestpath.Slash) {
		root = p.slashed
	}
	if root == nil {
		return nil
	}
	w.visit(root, p.folded(q.Path)[1:])
	may := w.mayDeny.list()
	if w.allow == none {
		may = slices.Concat(may, w.mayAllow.list())
	}
	for _, n := range may {
		for _, v := range p.rules[n].when.Variables() {
			if o := (Object{v.Name, v.Value(q.Path)}); !slices.Contains(all, o) {
				all = append(all, o)
			}
		}
	}
	return all
}

// folded returns the path as it is compared.
func (p *Policy) folded(path string) string {
	if p.fold {
		return foldCase(path)
	}
	return path
}

// foldCase returns s in the form in which letters that differ in case are the
// same, whether a server compares small letters or capitals: U+017F, the long
// s, is small, and its capital is S.
func foldCase(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return strings.Map(func(c rune) rune { return unicode.ToLower(unicode.ToUpper(c)) }, s)
		}
	}
	return strings.ToLower(s)
}

// addSubjects finds who the caller is. Names that the policy does not know
// mean nothing.
func (p *Policy) addSubjects(to *numbers, q *Request) {
	to.add(anyone)
	if !q.Authenticated {
		return
	}
	to.add(authenticated)
	for _, name := range q.Roles {
		if n, ok := p.roles[name]; ok {
			to.add(n)
		}
	}
	if len(p.scopes) > 0 {
		for _, name := range q.Scopes {
			if n, ok := p.scopes[name]; ok {
				to.add(n)
			}
		}
	}
	if len(p.users) > 0 {
		for _, u := range p.users[q.User] {
			if !q.Source.Is(u.from) {
				continue
			}
			for _, n := range u.subjects {
				to.add(n)
			}
		}
	}
}

// method returns the number of a method, for rules that allow and for rules
// that deny, which do not care about case.
func (p *Policy) method(m string) (allow, deny int) {
	for i, name := range p.methods {
		if name == m {
			return i + 1, i + 1
		}
	}
	if upper := strings.ToUpper(m); upper != m {
		_, deny = p.method(upper)
	}
	return 0, deny
}

// visit looks at everything below n that the rest of the path leads to. The
// rest begins after a slash.
func (w *walk) visit(n *node, rest string) {
	for {
		if n.below != nil {
			w.look(n.below, true)
		}
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			w.last(n, rest)
			return
		}
		text := rest[:i]
		rest = rest[i+1:]
		next := n.literal(text)
		if n.single != nil && text != "" {
			if next == nil {
				n = n.single
				continue
			}
			w.visit(n.single, rest)
		}
		if next == nil {
			return
		}
		n = next
	}
}

// last looks at where the path ends.
func (w *walk) last(n *node, text string) {
	if text == "" && n.end != nil {
		// The path has a slash more: denied all the same.
		w.look(n.end, false)
	}
	if next := n.literal(text); next != nil && next.end != nil {
		w.look(next.end, true)
	}
	if text != "" && n.single != nil && n.single.end != nil {
		w.look(n.single.end, true)
	}
}

// look notes the rules of a place that are for the method and the caller.
func (w *walk) look(at *place, allow bool) {
	if es := at.byMethod[w.denyAt].deny; len(es) > 0 {
		w.deny = w.find(es, w.deny, &w.mayDeny)
	}
	if es := at.byMethod[w.allowAt].allow; allow && len(es) > 0 {
		w.allow = w.find(es, w.allow, &w.mayAllow)
	}
}

// find looks for the caller's entries. It returns the first rule without a
// condition and adds those with one.
func (w *walk) find(es []entry, first uint32, may *numbers) uint32 {
	subjects := w.subjects.room[:w.subjects.n]
	if len(es) == 1 && w.subjects.more == nil {
		// Most places have one rule for one role.
		if !slices.Contains(subjects, es[0].subject) {
			return first
		}
		if !es[0].conditional() {
			return min(first, es[0].rule)
		}
	}
	for _, s := range subjects {
		first = findOne(es, s, first, may)
	}
	for _, s := range w.subjects.more {
		first = findOne(es, s, first, may)
	}
	return first
}

func findOne(es []entry, subject, first uint32, may *numbers) uint32 {
	for i := search(es, subject); i < len(es) && es[i].subject == subject; i++ {
		if !es[i].conditional() {
			// The others of this subject would come to the same.
			return min(first, es[i].rule)
		}
		may.add(es[i].rule &^ whenBit)
	}
	return first
}

// search returns the index of the first entry for a subject, or of a later one.
func search(es []entry, subject uint32) int {
	lo, hi := 0, len(es)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if es[mid].subject < subject {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// denied evaluates the conditions of rules that deny.
func (p *Policy) denied(may []uint32, env *condition.Env) (Decision, bool) {
	for _, n := range inOrder(may) {
		r := p.rules[n]
		holds, err := r.holds(env)
		if err != nil {
			return Decision{Rule: r, Reason: ConditionFails, Err: err, Failed: r}, true
		}
		if holds {
			return Decision{Rule: r, Reason: RuleDenies}, true
		}
	}
	return Decision{}, false
}

// allowed evaluates the conditions of rules that allow, where no other rule
// has settled the matter.
func (p *Policy) allowed(may []uint32, env *condition.Env) Decision {
	d := Decision{Reason: NoRule}
	for _, n := range inOrder(may) {
		r := p.rules[n]
		holds, err := r.holds(env)
		if holds && err == nil {
			return Decision{Allow: true, Rule: r, Reason: RuleAllows}
		}
		if err != nil && d.Err == nil {
			d.Err, d.Failed = err, r
		}
	}
	return d
}

// inOrder sorts rules and drops repeated ones: two roles may have inherited
// the same.
func inOrder(rules []uint32) []uint32 {
	if len(rules) < 2 {
		return rules
	}
	slices.Sort(rules)
	return slices.Compact(rules)
}

func (r *Rule) holds(env *condition.Env) (bool, error) {
	if env == nil {
		return false, ErrNoEnv
	}
	return r.when.Eval(env)
}

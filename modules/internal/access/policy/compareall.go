package policy

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/requestpath"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// Change is a request that one policy allows and another does not.
type Change struct {
	Gains bool // allowed by the new policy alone, or else by the old one alone

	// Who calls: nothing for a caller without an identity, else what the caller
	// has, as in Rule.Who. "authenticated" alone is one with no role, scope or
	// name that the policies know.
	Who    []string
	User   string           // of a caller whom a policy gives roles
	Source principal.Source // who vouches for that user
	Roles  []string
	Scopes []string

	Method string
	Path   string
	Shown  string // the path, with * for segments that may be anything

	// The conditions that must hold for this, and those that must not: all
	// others may be either. Empty where it is so whatever they say.
	Holds, Fails []string

	// Edge says that before the change nobody was allowed to do this, or that
	// after it nobody is.
	Edge bool
}

// ErrTooMany is returned where policies have too many kinds of paths to compare
// them all.
var ErrTooMany = fmt.Errorf("more than %d kinds of paths: the policies cannot be compared completely", maxKinds)

const maxKinds = 50_000

// Side is what decides in one of two configurations.
type Side struct {
	Policy   *Policy // nil allows everything
	Required bool    // callers without an identity are rejected before
	Nobody   bool    // no caller has an identity: nothing asks for one
	Closed   bool    // nothing is allowed to anybody: there is no such site
}

// CompareAll returns every way in which one policy allows what another does not,
// each with one request that shows it. It is complete: none means that the
// policies decide alike about every request, whatever their conditions say.
//
// Rules tell requests apart by method, path, and what the caller has. Methods
// and paths fall into finitely many kinds, of each of which one is looked at.
// Of what callers have, two things at a time are enough: one that allows, and
// one that denies. A condition is taken for something of which nothing is
// known, but that it says the same wherever it is written alike.
//
// Rules for calls of MCP servers are not looked at, see Compare.
func CompareAll(from, to Side) ([]Change, error) {
	k := kindsOf(from.Policy, to.Policy)
	if err := k.walk(); err != nil {
		return nil, err
	}
	callers := callersOf(from.Policy, to.Policy)
	var all []Change
	for _, path := range slices.Sorted(maps.Keys(k.paths)) {
		for _, method := range k.methods {
			for _, c := range compareAt(from, to, callers, method, path) {
				c.Shown = k.paths[path]
				all = append(all, c)
			}
		}
	}
	return all, nil
}

// caller is something that a caller may have.
type caller struct {
	who    string
	role   string
	scope  string
	user   string
	source principal.Source
}

// callersOf returns what callers may have that the policies tell apart.
func callersOf(policies ...*Policy) []caller {
	var all []caller
	add := func(c caller) {
		if !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	froms := map[string][]string{}
	for _, p := range policies {
		if p == nil {
			continue
		}
		for _, name := range p.Roles() {
			add(caller{who: Who("role", name), role: name})
		}
		for _, name := range p.Scopes() {
			add(caller{who: Who("scope", name), scope: name})
		}
		for id, grants := range p.users {
			for _, g := range grants {
				froms[id] = append(froms[id], g.from)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(froms)) {
		sources := sourcesFor(froms[id])
		for _, s := range sources {
			who := Who("user", id)
			if len(sources) > 1 {
				who += fromText(s.String())
			}
			add(caller{who: who, user: id, source: s})
		}
	}
	return all
}

// sourcesFor returns the sources that these names tell apart.
func sourcesFor(froms []string) []principal.Source {
	issuers, kinds := []string{"https://issuer.example"}, []string{principal.KindJWT}
	for _, from := range froms {
		switch {
		case from == "":
		case slices.Contains(principal.Kinds(), from):
			kinds = append(kinds, from)
		case from == principal.Internal:
			issuers = append(issuers, principal.InternalIssuer)
		default:
			issuers = append(issuers, from)
		}
	}
	for slices.Contains(froms, issuers[0]) {
		issuers[0] += "e"
	}
	// A kind that none of them names, if there is one.
	for _, kind := range principal.Kinds() {
		if !slices.Contains(froms, kind) {
			kinds[0] = kind
			break
		}
	}
	var all []principal.Source
	for _, issuer := range issuers {
		for _, kind := range kinds {
			if s := (principal.Source{Issuer: issuer, Kind: kind}); !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	return all
}

// request returns a request of somebody who has these.
func (c Change) request() *Request {
	return &Request{
		Method: c.Method, Path: c.Path, Authenticated: len(c.Who) > 0,
		User: c.User, Source: c.Source, Roles: c.Roles, Scopes: c.Scopes,
	}
}

func (c *Change) with(who caller) {
	if slices.Equal(c.Who, []string{"authenticated"}) {
		c.Who = nil
	}
	c.Who = append(slices.Clip(c.Who), who.who)
	switch {
	case who.role != "":
		c.Roles = append(slices.Clip(c.Roles), who.role)
	case who.scope != "":
		c.Scopes = append(slices.Clip(c.Scopes), who.scope)
	default:
		c.User, c.Source = who.user, who.source
	}
}

// formula is when a policy allows a request: if one of allow holds, or some rule
// without a condition allows it, and none of deny holds.
type formula struct {
	allow, deny    []string // conditions
	allows, denied bool
}

// formula returns when a request is allowed.
func (s Side) formula(q *Request) formula {
	switch {
	case s.Closed, s.Required && !q.Authenticated:
		return formula{}
	case s.Policy == nil:
		return formula{allows: true}
	}
	if s.Nobody {
		q = &Request{Method: q.Method, Path: q.Path}
	}
	return s.Policy.formula(q)
}

// formula returns when the policy allows a request.
func (p *Policy) formula(q *Request) formula {
	w := walk{deny: none, allow: none}
	p.addSubjects(&w.subjects, q)
	w.allowAt, w.denyAt = p.method(q.Method)
	root := p.root
	if strings.Contains(q.Path, requestpath.Slash) {
		root = p.slashed
	}
	if root == nil {
		return formula{}
	}
	w.visit(root, p.folded(q.Path)[1:])
	f := formula{allows: w.allow != none, denied: w.deny != none}
	for _, n := range w.mayAllow.list() {
		f.allow = append(f.allow, p.rules[n].condition())
	}
	for _, n := range w.mayDeny.list() {
		f.deny = append(f.deny, p.rules[n].condition())
	}
	slices.Sort(f.allow)
	slices.Sort(f.deny)
	f.allow, f.deny = slices.Compact(f.allow), slices.Compact(f.deny)
	return f
}

// condition names the condition of a rule: its text, and where in the path the
// variables are that may be in it.
func (r *Rule) condition() string {
	text := oneLine(r.Line.When)
	for i, s := range r.pattern {
		if s.kind == single && s.text != "" && strings.Contains(text, s.text) {
			text += fmt.Sprintf(" [%s is segment %d]", s.text, i+1)
		}
	}
	return text
}

// more reports whether a request may be such that f allows it and g does not,
// with the conditions that must hold and those that must not.
//
// f needs a condition of its own, or none, with all that denies not holding. g
// then refuses if something else denies, or if nothing of its own allows.
func (f formula) more(g formula) (holds, fails []string, ok bool) {
	if f.denied {
		return nil, nil, false
	}
	choices := slices.DeleteFunc(slices.Clone(f.allow), func(x string) bool { return slices.Contains(f.deny, x) })
	if f.allows {
		choices = []string{""}
	}
	for _, x := range choices {
		if x != "" {
			holds = []string{x}
		}
		if g.denied {
			return holds, f.deny, true
		}
		if !g.allows && (x == "" || !slices.Contains(g.allow, x)) {
			return holds, union(f.deny, g.allow), true
		}
		for _, d := range g.deny {
			if !slices.Contains(f.deny, d) {
				return union(holds, []string{d}), f.deny, true
			}
		}
	}
	return nil, nil, false
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// ever reports whether a request may be allowed.
func (f formula) ever() bool {
	_, _, ok := f.more(formula{})
	return ok
}

// compareAt returns what changes for a method and a path, for as few things that
// the caller has as show it.
func compareAt(from, to Side, callers []caller, method, path string) []Change {
	var all []Change
	before, after := false, false // somebody may
	look := func(c Change, gains, loses bool) (gained, lost bool) {
		q := c.request()
		old, now := from.formula(q), to.formula(q)
		before, after = before || old.ever(), after || now.ever()
		if holds, fails, ok := now.more(old); ok && !gains {
			c.Gains, c.Holds, c.Fails = true, holds, fails
			all = append(all, c)
			gained = true
		}
		if holds, fails, ok := old.more(now); ok && !loses {
			c.Gains, c.Holds, c.Fails = false, holds, fails
			all = append(all, c)
			lost = true
		}
		return gained || gains, lost || loses
	}
	anonymous := Change{Method: method, Path: path}
	gains, loses := look(anonymous, false, false)
	known := anonymous
	known.Who = []string{"authenticated"}
	gains, loses = look(known, gains, loses)
	type done struct{ gains, loses bool }
	single := make([]done, len(callers))
	plain := [2]formula{from.formula(known.request()), to.formula(known.request())}
	matters := make([]bool, len(callers))
	for i, who := range callers {
		c := known
		c.with(who)
		single[i].gains, single[i].loses = look(c, gains, loses)
		matters[i] = !equal(plain[0], from.formula(c.request())) || !equal(plain[1], to.formula(c.request()))
	}
	for i := range callers {
		for j := range callers[:i] {
			if !matters[i] || !matters[j] || callers[i].user != "" && callers[j].user != "" {
				continue // one of them changes nothing, or nobody is two users
			}
			c := known
			c.with(callers[j])
			c.with(callers[i])
			look(c, single[i].gains || single[j].gains, single[i].loses || single[j].loses)
		}
	}
	for i := range all {
		all[i].Edge = all[i].Gains && !before || !all[i].Gains && !after
	}
	return all
}

func equal(a, b formula) bool {
	return a.allows == b.allows && a.denied == b.denied && slices.Equal(a.allow, b.allow) && slices.Equal(a.deny, b.deny)
}

// kinds are the kinds of requests that policies tell apart.
type kinds struct {
	patterns []kindPattern
	methods  []string
	fresh    string
	slashes  bool // paths with encoded slashes are kinds of their own
	folds    bool
	literals map[string]bool

	paths map[string]string // one of each kind, and how it is shown
}

// kindPattern is the path of a rule as a policy compares it.
type kindPattern struct {
	segments pattern
	fold     bool
}

func kindsOf(policies ...*Policy) *kinds {
	k := &kinds{paths: map[string]string{}, literals: map[string]bool{}}
	seen := map[string]bool{}
	long := 0
	named := map[string]bool{http.MethodGet: true, http.MethodHead: true}
	for _, p := range policies {
		if p == nil {
			continue
		}
		k.slashes = k.slashes || p.slashed != nil
		k.folds = k.folds || p.fold
		for _, m := range p.methods {
			named[m] = true
		}
		for _, r := range p.rules {
			if r.Line.Call != "" {
				continue
			}
			segments := r.stored()
			key := fmt.Sprint(segments, p.fold)
			for _, s := range segments {
				if s.kind == literal {
					k.literals[s.text] = true
					long = max(long, len(s.text))
				}
			}
			if !seen[key] && len(segments) > 0 { // none is the path /, which is always looked at
				seen[key] = true
				k.patterns = append(k.patterns, kindPattern{segments, p.fold})
			}
		}
	}
	k.fresh = strings.Repeat("x", long+1)
	other := "OTHER"
	for named[other] {
		other += "S"
	}
	for _, m := range slices.Sorted(maps.Keys(named)) {
		k.methods = append(k.methods, m)
		// Rules that deny do not care about case.
		if lower := strings.ToLower(m); lower != m {
			k.methods = append(k.methods, lower)
		}
	}
	k.methods = append(k.methods, other)
	return k
}

// live is a pattern, of which the first segments have been met.
type live struct {
	pattern int
	at      int
}

func (k *kinds) walk() error {
	all := make([]live, len(k.patterns))
	for i := range all {
		all[i].pattern = i
	}
	k.visit("", "", all)
	if len(k.paths) > maxKinds {
		return ErrTooMany
	}
	return nil
}

// visit adds the paths below a prefix that the patterns tell apart.
func (k *kinds) visit(path, shown string, open []live) {
	if len(k.paths) > maxKinds {
		return
	}
	if _, known := k.paths[path+"/"]; !known {
		k.paths[path+"/"] = shown + "/"
	}
	for _, text := range k.next(open) {
		next, ended := k.step(open, text)
		p, s := path+"/"+text, shown+"/"+k.show(text)
		k.paths[p] = s
		if len(next) > 0 || ended {
			k.visit(p, s, next)
		}
	}
}

func (k *kinds) show(text string) string {
	switch text {
	case k.fresh:
		return "*"
	case k.fresh + requestpath.Slash + k.fresh:
		return "*" + requestpath.Slash + "*"
	}
	return text
}

// next returns the segments that may come next: those in the patterns, in
// letters of other cases where a policy does not care, and one in no pattern.
func (k *kinds) next(open []live) []string {
	texts := map[string]bool{k.fresh: true}
	if k.slashes {
		texts[k.fresh+requestpath.Slash+k.fresh] = true
	}
	for _, o := range open {
		s := k.patterns[o.pattern].segments[o.at]
		if s.kind != literal || s.text == "" {
			continue
		}
		texts[s.text] = true
		if k.folds {
			for _, l := range slices.Sorted(maps.Keys(k.literals)) {
				if foldCase(l) == foldCase(s.text) {
					texts[l] = true
				}
			}
			if v, ok := k.variant(s.text); ok {
				texts[v] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(texts))
}

// variant returns a text that differs from another in the case of letters, and
// is in no pattern.
func (k *kinds) variant(text string) (string, bool) {
	letters := []rune(text)
	for mask := 1; mask <= 2*len(k.literals)+2; mask++ {
		v := slices.Clone(letters)
		bit := 0
		for i, c := range v {
			if unicode.ToUpper(c) == unicode.ToLower(c) {
				continue
			}
			if mask>>bit&1 == 1 {
				if v[i] = unicode.ToUpper(c); v[i] == c {
					v[i] = unicode.ToLower(c)
				}
			}
			bit++
		}
		if s := string(v); s != text && !k.literals[s] && foldCase(s) == foldCase(text) {
			return s, true
		}
	}
	return "", false
}

// step returns the patterns that a segment leaves open, and whether one ends
// with it.
func (k *kinds) step(open []live, text string) (next []live, ended bool) {
	for _, o := range open {
		p := k.patterns[o.pattern]
		s := p.segments[o.at]
		compared := text
		if p.fold {
			compared = foldCase(text)
		}
		switch {
		case s.kind == below: // met, whatever follows
		case s.kind == literal && s.text != compared:
		case o.at+1 < len(p.segments):
			next = append(next, live{o.pattern, o.at + 1})
		default:
			ended = true
		}
	}
	return next, ended
}

// CallRules returns the rules for calls of MCP servers, in one order.
func (p *Policy) CallRules() []string {
	var all []string
	for _, r := range p.rules {
		if r.Line.Call != "" {
			all = append(all, r.String())
		}
	}
	slices.Sort(all)
	return all
}

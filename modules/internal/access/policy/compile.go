package policy

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"sort"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/suggest"
)

// Rule is one compiled rule.
type Rule struct {
	Who   string // role clerk, role "Domain Users", scope orders:read, anyone, authenticated
	Allow bool   // allows, or else denies
	Line  Line
	Place string // where it is written, where that is known

	text    string
	subject uint32
	pattern pattern
	parts   []string // of a name of a call, between its asterisks, as names are compared with it
	when    *condition.Program
}

// String prints the rule: role clerk: allow GET /orders/*
func (r *Rule) String() string { return r.text }

// Subjects that every policy has. The others follow: roles, then scopes.
const (
	anyone        = 0
	authenticated = 1
)

// Policy is a compiled policy. It is immutable.
type Policy struct {
	rules    []*Rule
	subjects []string // names as in Rule.Who
	roles    map[string]uint32
	scopes   map[string]uint32
	users    map[string][]userRoles
	heirs    [][]uint32 // for each subject, those that have its rules
	methods  []string   // methods that rules name; method i+1 is methods[i], 0 is all others
	root     *node
	slashed  *node             // of the rules for paths with encoded slashes; nil if none is
	fold     bool              // paths are compared in lower case
	body     bool              // a condition reads the request's body
	objects  bool              // a condition reads a path variable
	headers  bool              // a condition reads header fields
	stepUps  condition.StepUps // what conditions ask of the authentication of callers
	calls    map[Call]*calls   // rules for calls of the Model Context Protocol
	places   map[string]string // of users
}

// userRoles is what a user is given who comes from somewhere.
type userRoles struct {
	from     string // see principal.Source.Is
	names    []string
	subjects []uint32
}

// Rules returns the rules in the order in which they are named.
func (p *Policy) Rules() []*Rule { return p.rules }

// Roles and Scopes return the names the policy knows, sorted.
func (p *Policy) Roles() []string { return slices.Sorted(maps.Keys(p.roles)) }

// Scopes returns the names of the scopes the policy knows, sorted.
func (p *Policy) Scopes() []string { return slices.Sorted(maps.Keys(p.scopes)) }

// ReadsBody reports whether a condition may read the request's body.
func (p *Policy) ReadsBody() bool { return p.body }

// ReadsHeaders reports whether a condition may read header fields.
func (p *Policy) ReadsHeaders() bool { return p.headers }

// Covers reports whether a rule that allows is for a path with encoded slashes,
// whoever its caller is.
func (p *Policy) Covers(path string) bool {
	if p.slashed == nil {
		return false
	}
	segments := strings.Split(p.folded(path)[1:], "/")
	return slices.ContainsFunc(p.rules, func(r *Rule) bool { return r.Allow && r.Line.Slashes && r.pattern.matches(segments) })
}

// matches reports whether the pattern is for a path of these segments.
func (p pattern) matches(segments []string) bool {
	if p == nil {
		return false // of a rule that is not for paths
	}
	for i, s := range p {
		switch {
		case s.kind == below:
			return i < len(segments)
		case i >= len(segments), s.kind == single && segments[i] == "", s.kind == literal && segments[i] != s.text:
			return false
		}
	}
	return len(p) == len(segments)
}

// GivenNames returns the roles that are given to users, and the roles and
// scopes that others inherit.
func (p *Policy) GivenNames() (roles, scopes []string) {
	given := make(map[string]bool)
	for _, grants := range p.users {
		for _, u := range grants {
			for _, name := range u.names {
				given[name] = true
			}
		}
	}
	for name, n := range p.roles {
		if len(p.heirs[n]) > 1 {
			given[name] = true
		}
	}
	for name, n := range p.scopes {
		if len(p.heirs[n]) > 1 {
			scopes = append(scopes, name)
		}
	}
	return slices.Sorted(maps.Keys(given)), scopes
}

// UserRoles returns the roles that the policy itself gives to the user whom a
// source vouches for. The caller must not change them.
func (p *Policy) UserRoles(id string, source principal.Source) []string {
	var names []string
	for _, u := range p.users[id] {
		if !source.Is(u.from) {
			continue
		}
		if names == nil {
			names = slices.Clip(u.names) // the usual case, in which nothing is copied
			continue
		}
		names = append(names, u.names...)
	}
	return names
}

// compiler holds what is needed while compiling.
type compiler struct {
	doc   *Document
	p     *Policy
	conds condition.Compiler
	whens map[string]bool // rules seen, to find repeated ones
}

// Compile checks a policy and compiles it. Errors are of type *Error.
func Compile(doc *Document) (*Policy, error) {
	c := &compiler{doc: doc, whens: make(map[string]bool), p: &Policy{
		subjects: []string{"anyone", "authenticated"},
		roles:    make(map[string]uint32),
		scopes:   make(map[string]uint32),
		users:    make(map[string][]userRoles),
		root:     new(node),
		places:   make(map[string]string),
		fold:     doc.IgnoreCase,
	}}
	if doc.Empty() {
		return nil, &Error{Err: fmt.Errorf("the policy is empty and would refuse every request; write at least one rule")}
	}
	for _, step := range []func() error{c.declare, c.inherit, c.readRules, c.readUsers} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if len(c.p.rules) == 0 {
		return nil, &Error{Err: fmt.Errorf("the policy has no rules and would refuse every request; write at least one")}
	}
	c.index()
	return c.p, nil
}

// declare gives every role and scope its number.
func (c *compiler) declare() error {
	for _, s := range []struct {
		kind    string
		blocks  map[string]*Block
		numbers map[string]uint32
	}{{"role", c.doc.Roles, c.p.roles}, {"scope", c.doc.Scopes, c.p.scopes}} {
		for _, name := range slices.Sorted(maps.Keys(s.blocks)) {
			where := Who(s.kind, name)
			if err := principal.CheckName(name); err != nil {
				return c.doc.fault(where, "", "%w", err)
			}
			b := s.blocks[name]
			if b == nil || len(b.Allow)+len(b.Deny)+len(b.Inherits) == 0 {
				return c.doc.fault(where, "", "it has no rules; write some, let it inherit some, or remove it")
			}
			s.numbers[name] = uint32(len(c.p.subjects))
			c.p.subjects = append(c.p.subjects, where)
		}
	}
	return nil
}

// Who names a role, scope or user as Rule.Who does: role clerk, or, where the
// name would otherwise be read as several, role "Domain Users".
func Who(kind, name string) string { return kind + " " + principal.Quote(name) }

// inherit finds for every subject its heirs: whoever has its rules.
func (c *compiler) inherit() error {
	c.p.heirs = make([][]uint32, len(c.p.subjects))
	for i := range c.p.heirs {
		c.p.heirs[i] = []uint32{uint32(i)}
	}
	for _, s := range []struct {
		kind    string
		blocks  map[string]*Block
		numbers map[string]uint32
	}{{"role", c.doc.Roles, c.p.roles}, {"scope", c.doc.Scopes, c.p.scopes}} {
		if err := c.checkParents(s.kind, s.blocks); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(s.blocks)) {
			for _, a := range ancestors(s.blocks, name) {
				n := s.numbers[a]
				c.p.heirs[n] = append(c.p.heirs[n], s.numbers[name])
			}
		}
	}
	for what, b := range map[string]*Block{"anyone": c.doc.Anyone, "authenticated": c.doc.Authenticated} {
		if b != nil && len(b.Inherits) > 0 {
			return c.doc.fault(what, "", "it cannot inherit: only roles and scopes do")
		}
	}
	return nil
}

// checkParents refuses unknown and repeated parents, and cycles.
func (c *compiler) checkParents(kind string, blocks map[string]*Block) error {
	const visiting, done = 1, 2
	state := make(map[string]int)
	var visit func(name string, trail []string) error
	visit = func(name string, trail []string) error {
		where := Who(kind, name)
		trail = append(trail, name)
		switch state[name] {
		case done:
			return nil
		case visiting:
			i := slices.Index(trail, name)
			return c.doc.fault(where, "", "it inherits itself: %s", quoted(trail[i:], " inherits "))
		}
		state[name] = visiting
		for i, parent := range blocks[name].Inherits {
			if _, ok := blocks[parent]; !ok {
				return c.doc.fault(where, "", "it inherits '%s', which is not a %s of this policy%s", parent, kind, suggest.DidYouMean(parent, slices.Sorted(maps.Keys(blocks))))
			}
			if slices.Contains(blocks[name].Inherits[:i], parent) {
				return c.doc.fault(where, "", "it inherits '%s' twice", parent)
			}
			if err := visit(parent, trail); err != nil {
				return err
			}
		}
		state[name] = done
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(blocks)) {
		if err := visit(name, nil); err != nil {
			return err
		}
	}
	return nil
}

func quoted(names []string, separator string) string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = principal.Quote(name)
	}
	return strings.Join(list, separator)
}

// ancestors returns everything that name inherits, each once.
func ancestors(blocks map[string]*Block, name string) []string {
	var all []string
	for todo := blocks[name].Inherits; len(todo) > 0; todo = todo[1:] {
		if !slices.Contains(all, todo[0]) {
			all = append(all, todo[0])
			todo = append(slices.Clip(todo), blocks[todo[0]].Inherits...)
		}
	}
	return all
}

// readRules parses all rules.
func (c *compiler) readRules() error {
	blocks := []*Block{c.doc.Anyone, c.doc.Authenticated}
	for _, m := range []map[string]*Block{c.doc.Roles, c.doc.Scopes} {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			blocks = append(blocks, m[name])
		}
	}
	for subject, b := range blocks {
		if b == nil {
			continue
		}
		for _, text := range b.Deny {
			if err := c.readRule(uint32(subject), false, text); err != nil {
				return err
			}
		}
		for _, text := range b.Allow {
			if err := c.readRule(uint32(subject), true, text); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *compiler) readRule(subject uint32, allow bool, text string) error {
	who := c.p.subjects[subject]
	where := who + ": deny"
	if allow {
		where = who + ": allow"
	}
	l, err := ParseLine(text)
	if err != nil {
		return c.doc.fault(where, text, "%w", err)
	}
	r := &Rule{Who: who, Allow: allow, Line: l, subject: subject, text: where + " " + l.String(), Place: c.doc.place(where, text)}
	if l.Call == "" {
		if r.pattern, err = parsePath(l.Path, l.Slashes); err != nil {
			return c.doc.fault(where, text, "%w", err)
		}
	}
	if c.p.fold {
		r.pattern = r.pattern.folded()
	}
	if l.When != "" {
		if l.Call != "" {
			r.when, err = c.conds.CompileCall(l.When)
		} else {
			r.when, err = c.conds.Compile(l.When, r.pattern.vars())
		}
		if err != nil {
			return c.doc.fault(where, text, "when %s: %w", oneLine(l.When), err)
		}
		c.p.body = c.p.body || r.when.ReadsBody()
		c.p.objects = c.p.objects || len(r.when.Variables()) > 0
		c.p.headers = c.p.headers || r.when.ReadsHeaders()
		c.p.stepUps.Add(r.when.StepUps())
	}
	if c.whens[r.text] {
		return c.doc.fault(where, text, "%s is repeated", oneLine(l.String()))
	}
	c.whens[r.text] = true
	if len(c.p.rules) == math.MaxInt32 {
		return c.doc.fault(where, text, "too many rules")
	}
	c.p.rules = append(c.p.rules, r)
	return nil
}

func (c *compiler) readUsers() error {
	for _, id := range slices.Sorted(maps.Keys(c.doc.Users)) {
		where := Who("user", id)
		if id == "" {
			return c.doc.fault(where, "", "the user's id is empty")
		}
		if len(c.doc.Users[id]) == 0 {
			return c.doc.fault(where, "", "it is given no roles; name some or remove it")
		}
		for _, g := range c.doc.Users[id] {
			u, err := c.grant(where, g)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(c.p.users[id], func(o userRoles) bool { return o.from == u.from }) {
				return c.doc.fault(where, "", "roles%s are given twice; write them in one line", fromText(u.from))
			}
			c.p.users[id] = append(c.p.users[id], u)
			c.p.places[where] = c.doc.place(where, "")
		}
	}
	return nil
}

func (c *compiler) grant(where string, g Grant) (userRoles, error) {
	u := userRoles{from: g.From}
	if err := CheckFrom(g.From); err != nil {
		return u, c.doc.fault(where, "", "%w", err)
	}
	for _, role := range g.Roles {
		n, ok := c.p.roles[role]
		if !ok {
			return u, c.doc.fault(where, "", "'%s' is not a role of this policy%s", role, suggest.DidYouMean(role, c.p.Roles()))
		}
		if slices.Contains(u.names, role) {
			return u, c.doc.fault(where, "", "role '%s' is repeated", role)
		}
		u.names, u.subjects = append(u.names, role), append(u.subjects, n)
	}
	if len(u.names) == 0 {
		return u, c.doc.fault(where, "", "it is given no roles; name some or remove it")
	}
	return u, nil
}

// index builds the tree that decisions walk.
func (c *compiler) index() {
	p := c.p
	for i, r := range p.rules {
		if r.Line.Call != "" {
			p.addCall(r, uint32(i))
			continue
		}
		for _, m := range covered(r.Line.Methods) {
			if !slices.Contains(p.methods, m) {
				p.methods = append(p.methods, m)
			}
		}
	}
	p.build(p.root, func(*Rule) bool { return true })
	if slices.ContainsFunc(p.rules, func(r *Rule) bool { return r.Allow && r.Line.Slashes }) {
		p.slashed = new(node)
		p.build(p.slashed, func(r *Rule) bool { return !r.Allow || r.Line.Slashes })
	}
}

// build enters the rules that are wanted into a tree.
func (p *Policy) build(root *node, wanted func(*Rule) bool) {
	for i, r := range p.rules {
		if r.Line.Call != "" || !wanted(r) {
			continue
		}
		at := root.insert(r)
		if at.byMethod == nil {
			at.byMethod = make([]cell, len(p.methods)+1)
		}
		for m := range at.byMethod {
			if r.Line.Methods == nil || m > 0 && slices.Contains(covered(r.Line.Methods), p.methods[m-1]) {
				at.byMethod[m].add(r, uint32(i), p.heirs[r.subject])
			}
		}
	}
	root.finish()
}

// covered returns the methods that a rule for these is for.
func covered(methods []string) []string {
	if slices.Contains(methods, http.MethodGet) && !slices.Contains(methods, http.MethodHead) {
		return append(slices.Clip(methods), http.MethodHead)
	}
	return methods
}

// sortEntries puts entries in the order that find needs, and drops those
// that can never be named because an earlier one has the same effect.
func sortEntries(es []entry) []entry {
	sort.Slice(es, func(i, j int) bool {
		a, b := es[i], es[j]
		if a.subject != b.subject {
			return a.subject < b.subject
		}
		return a.order() < b.order()
	})
	out := es[:0]
	for i, e := range es {
		if i > 0 && len(out) > 0 {
			last := out[len(out)-1]
			if last.subject == e.subject && (!last.conditional() || last == e) {
				continue
			}
		}
		out = append(out, e)
	}
	return slices.Clip(out)
}

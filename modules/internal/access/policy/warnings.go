package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/suggest"
)

// registered are the methods of the HTTP Method Registry (RFC 9110 section
// 16.1.1, as of 2026), and QUERY and PURGE, which are in use.
var registered = strings.Fields(`ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY DELETE GET HEAD LABEL LINK LOCK MERGE
	MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST PRI PROPFIND PROPPATCH PUT REBIND
	REPORT SEARCH TRACE UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL QUERY PURGE`)

// unlikely returns what in a rule is hardly meant as it is written.
func (l *Line) unlikely() []string {
	var all []string
	for _, m := range l.Methods {
		if !slices.Contains(registered, m) {
			all = append(all, m+" is not a registered HTTP method, and this rule has no other"+suggest.DidYouMean(m, registered))
		}
	}
	for wide, narrow := range map[string]string{"＊": "*", "／": "/", "｛": "{", "｝": "}"} {
		if strings.Contains(l.Path, wide) {
			all = append(all, "the path has the full-width character "+wide+", which stands for itself; did you mean '"+narrow+"'?")
		}
	}
	slices.Sort(all)
	return all
}

// Warnings returns what is likely a mistake though it can be meant: rules
// that never decide anything, because others always do before them, and rules
// that allow everything to everyone.
func (p *Policy) Warnings() []string {
	var all []string
	for i, r := range p.rules {
		at := ""
		if r.Place != "" {
			at = r.Place + ": "
		}
		if r.Allow && r.subject == anyone && r.when == nil && r.Line.Methods == nil && r.Line.Path == "/*" {
			all = append(all, fmt.Sprintf("%s%s: everything is allowed to everyone that no rule denies", at, r))
		}
		for _, w := range r.Line.unlikely() {
			all = append(all, fmt.Sprintf("%s%s: %s", at, r, w))
		}
		if r.Line.Call != "" {
			continue
		}
		if by := p.coveredBy(uint32(i)); by != nil {
			what := "never decides anything"
			if r.Allow && !by.Allow {
				what = "never allows anything"
			}
			all = append(all, fmt.Sprintf("%s%s: %s, because of %s", at, r, what, by))
		}
	}
	return all
}

// coveredBy returns a rule without a condition that decides whatever the n-th
// would: one that denies for the same callers, or one with the same effect
// that is written for the same.
func (p *Policy) coveredBy(n uint32) *Rule {
	r := p.rules[n]
	places := p.root.covering(r.stored(), nil)
	var by *Rule
	for m := range len(p.methods) + 1 {
		if r.Line.Methods != nil && (m == 0 || !slices.Contains(covered(r.Line.Methods), p.methods[m-1])) {
			continue
		}
		found := p.coveredAt(places, m, n)
		if found == nil {
			return nil
		}
		by = found
	}
	return by
}

// coveredAt does it for one method.
func (p *Policy) coveredAt(places []*place, method int, n uint32) *Rule {
	r := p.rules[n]
	for _, at := range places {
		c := &at.byMethod[method]
		if r.Allow {
			for _, e := range c.deny {
				// A subject's entries hold what it inherits.
				if !e.conditional() && (e.subject == r.subject || e.subject == anyone || e.subject == authenticated && r.subject > anyone) {
					return p.rules[e.rule]
				}
			}
		}
		same := c.deny
		if r.Allow {
			same = c.allow
		}
		for _, e := range same {
			// Of two rules that cover each other, the first is kept.
			if !e.conditional() && e.rule != n && p.rules[e.rule].subject == r.subject && (e.rule < n || !p.mutual(e.rule, n)) {
				return p.rules[e.rule]
			}
		}
	}
	return nil
}

// mutual reports whether two rules are for the same paths.
func (p *Policy) mutual(a, b uint32) bool {
	return p.rules[a].pattern.like(p.rules[b].pattern)
}

// like reports whether two patterns differ only in the names of variables.
func (p pattern) like(q pattern) bool {
	return slices.EqualFunc(p, q, func(a, b segment) bool {
		return a.kind == b.kind && (a.kind != literal || a.text == b.text)
	})
}

// covering appends the places of all rules for every path that the pattern is
// for.
func (n *node) covering(p pattern, places []*place) []*place {
	if n.below != nil && len(p) > 0 {
		places = append(places, n.below)
	}
	switch {
	case len(p) == 0:
		if n.end != nil {
			places = append(places, n.end)
		}
		return places
	case p[0].kind == below:
		return places
	case p[0].kind == literal:
		if next := n.literal(p[0].text); next != nil {
			places = next.covering(p[1:], places)
		}
	}
	if n.single != nil && p[0] != (segment{}) {
		places = n.single.covering(p[1:], places)
	}
	return places
}

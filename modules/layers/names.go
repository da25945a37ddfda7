package layers

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/suggest"
)

// inheritor is a decider whose policy gives roles, to users and by inheritance.
type inheritor interface {
	GivenNames() (roles, scopes []string)
}

// roleMatcher is a matcher that names roles.
type roleMatcher interface{ RoleNames() []string }

// named is a role or scope that something names.
type named struct {
	by   string // redact, the matcher role, rbac
	of   string // role or scope
	name string
	only bool // it stands in an only block: without it, its rules are for nobody
	h    caddyhttp.MiddlewareHandler
}

// nameCheck is what one site knows of roles and scopes.
type nameCheck struct {
	given     credential.Grants // by credentials, and by the policy to users
	ruled     credential.Grants // that rbac has rules for
	named     []named           // by redact and by matchers
	gates     []caddyhttp.MiddlewareHandler
	inherited credential.Grants // that others inherit
}

// names looks for roles and scopes that no caller of a site can have. What a
// token may bring is known to nobody: there, only what is spelled nearly like
// a known name is told of.
func (e *examination) names(site caddyhttp.RouteList) {
	c := knownNames(site)
	known := append(prefixed("role ", c.given.Roles, c.ruled.Roles), prefixed("scope ", c.given.Scopes, c.ruled.Scopes)...)
	for _, n := range c.named {
		what := n.of + " " + n.name
		near := suggest.DidYouMean(what, known)
		if slices.Contains(known, what) || near == "" && c.given.Others {
			continue
		}
		text := n.by + " names a " + n.of + " that no rule, user or credential of this site gives"
		if n.only {
			text += ", so that the rules of its only block are for nobody whose identity is known"
		}
		if near == "" {
			near = ": possible typo; write rules for it in rbac, or give it to a key"
		}
		e.add(Finding{ID: n.id(), Severity: Warning, Place: placeOf(n.h), Text: text + near}, "name", what)
	}
	if c.given.Others {
		return
	}
	// Keys for a role may yet be made. But one that is nearly a role which keys
	// do give, and which has no rules, is it.
	ruled := append(prefixed("role ", c.ruled.Roles), prefixed("scope ", c.ruled.Scopes)...)
	given := append(prefixed("role ", c.given.Roles, c.inherited.Roles), prefixed("scope ", c.given.Scopes, c.inherited.Scopes)...)
	without := slices.DeleteFunc(slices.Clone(given), func(name string) bool { return slices.Contains(ruled, name) })
	for _, what := range ruled {
		near := suggest.DidYouMean(what, without)
		if slices.Contains(given, what) || near == "" {
			continue
		}
		e.add(Finding{
			ID: "rbac_unknown_name", Severity: Warning, Place: placeOf(c.gates[0]),
			Text: "rbac has rules for a role or scope that no user and no credential of this site gives" + near,
		}, "name", what)
	}
}

func (n named) id() string {
	if n.by == "redact" {
		return "redact_unknown_name"
	}
	return "matcher_unknown_name"
}

func prefixed(prefix string, lists ...[]string) []string {
	var all []string
	for _, name := range slices.Concat(lists...) {
		if !slices.Contains(all, prefix+name) {
			all = append(all, prefix+name)
		}
	}
	return all
}

// knownNames collects the names of a site.
func knownNames(site caddyhttp.RouteList) *nameCheck {
	c := new(nameCheck)
	var matched []string
	meet(site, func(h caddyhttp.MiddlewareHandler, _ bool) {
		if d, ok := h.(decider); ok {
			c.gates = append(c.gates, h)
			c.ruled.Add(d.Names())
			if i, ok := h.(inheritor); ok {
				c.inherited.Add(i.GivenNames())
			}
		}
		if m, ok := h.(caddy.Module); ok && m.CaddyModule().ID == "http.handlers.redact" {
			c.named = append(c.named, namedBy(h)...)
		}
		given := grants(h)
		c.given.Add(given.Roles, given.Scopes)
		c.given.Others = c.given.Others || given.Others
	}, func(sets caddyhttp.MatcherSets, _ bool) {
		eachMatcher(sets, func(m any) {
			if r, ok := m.(roleMatcher); ok {
				matched = append(matched, r.RoleNames()...)
			}
		})
	})
	for _, name := range matched {
		c.named = append(c.named, named{by: "the matcher role", of: "role", name: name})
	}
	slices.SortFunc(c.named, func(a, b named) int { return strings.Compare(a.by+a.of+a.name, b.by+b.of+b.name) })
	c.named = slices.CompactFunc(c.named, func(a, b named) bool { return a.by == b.by && a.of == b.of && a.name == b.name })
	return c
}

// eachMatcher calls f for the matchers of sets, those that are negated too.
func eachMatcher(sets caddyhttp.MatcherSets, f func(any)) {
	for _, set := range sets {
		for _, m := range set {
			if not, ok := m.(*caddyhttp.MatchNot); ok {
				eachMatcher(not.MatcherSets, f)
				continue
			}
			f(m)
		}
	}
}

// grants returns what the callers that a handler identifies may have.
func grants(h caddyhttp.MiddlewareHandler) credential.Grants {
	switch h := h.(type) {
	case interface{ Grants() credential.Grants }:
		return h.Grants()
	case *caddyauth.Authentication:
		var all credential.Grants
		for name, p := range h.Providers {
			m, ok := p.(credential.Method)
			if !ok {
				all.Others = all.Others || name != "http_basic"
				continue
			}
			given := m.Traits().Gives
			if given == nil {
				all.Others = true
				continue
			}
			all.Add(given.Roles, given.Scopes)
			all.Others = all.Others || given.Others
		}
		return all
	}
	if m, ok := h.(caddy.Module); ok && m.CaddyModule().ID == "http.handlers.reverse_proxy" {
		return credential.Grants{} // what forward_auth copies are fields
	}
	return credential.Grants{Others: identifies(h)}
}

// namedBy returns the roles and scopes of the except and only blocks of a
// redact handler, as its configuration says them.
func namedBy(h caddyhttp.MiddlewareHandler) []named {
	type groups []struct {
		Mode  string   `json:"mode"`
		Of    string   `json:"of"`
		Names []string `json:"names"`
	}
	var config struct {
		Groups   groups `json:"groups"`
		Requests struct {
			Groups groups `json:"groups"`
		} `json:"requests"`
	}
	text, err := json.Marshal(h)
	if err != nil || json.Unmarshal(text, &config) != nil {
		return nil
	}
	var all []named
	for _, g := range append(config.Groups, config.Requests.Groups...) {
		if g.Of == "role" || g.Of == "scope" {
			for _, name := range g.Names {
				all = append(all, named{by: "redact", of: g.Of, name: name, only: g.Mode == "only", h: h})
			}
		}
	}
	return all
}

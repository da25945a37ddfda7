package rbac

import (
	"regexp"
	"slices"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// ServesAnonymous reports whether a rule allows something without an identity.
func (h *Handler) ServesAnonymous() bool {
	for _, r := range h.active.Load().policy.Rules() {
		if r.Allow && r.Who == "anyone" && r.Line.Call == "" {
			return true
		}
	}
	return false
}

// ServesIdentified reports whether a rule is for callers whose identity is
// known.
func (h *Handler) ServesIdentified() bool {
	return slices.ContainsFunc(h.active.Load().policy.Rules(), func(r *policy.Rule) bool { return r.Who != "anyone" })
}

// DecidesOnly reports whether all requests pass, whatever is decided.
func (h *Handler) DecidesOnly() bool { return h.DryRun }

// Names returns the roles and scopes that have rules, or that the policy gives
// to users.
func (h *Handler) Names() (roles, scopes []string) {
	p := h.active.Load().policy
	return p.Roles(), p.Scopes()
}

// GivenNames returns the roles that the policy gives to users, and the roles
// and scopes that others inherit.
func (h *Handler) GivenNames() (roles, scopes []string) {
	return h.active.Load().policy.GivenNames()
}

// Unclear returns what the policy says about users of any source.
func (h *Handler) Unclear(source principal.Source) []principal.Unclear {
	return h.active.Load().policy.Unclear(source)
}

// Sources returns who has to vouch for users, as the policy names them.
func (h *Handler) Sources() []string { return h.active.Load().policy.Sources() }

// KnowSources tells the handler who can vouch for its callers, for policies
// that are loaded later.
func (h *Handler) KnowSources(sources []principal.Source) { h.sources.Store(&sources) }

// headerNames finds the header fields that a condition reads by their names.
var headerNames = regexp.MustCompile(`headers\s*\[\s*["']([^"']+)["']\s*\]|headers\.([A-Za-z0-9_]+)`)

// HeaderNames returns the header fields that conditions read.
func (h *Handler) HeaderNames() []string {
	var names []string
	for _, r := range h.active.Load().policy.Rules() {
		for _, m := range headerNames.FindAllStringSubmatch(r.Line.When, -1) {
			names = append(names, m[1]+m[2])
		}
	}
	return names
}

// String says which of several handlers this is, by its first rule.
func (h *Handler) String() string {
	rules := h.active.Load().policy.Rules()
	return place(rules[0], rules[0].String())
}

// MatchesIdentity reports that the matcher looks at who is calling.
func (*MatchRole) MatchesIdentity() bool { return true }

// MatchesIdentity reports whether what is asked about depends on who is
// calling, which only the policy knows.
func (*MatchPermission) MatchesIdentity() bool { return true }

// DecidesCalls reports whether the policy has rules for the tools, resources and
// prompts of MCP servers.
func (h *Handler) DecidesCalls() bool { return h.active.Load().policy.Calls() }

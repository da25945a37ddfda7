package rbac

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func init() {
	caddy.RegisterModule(new(MatchRole))
}

// MatchRole matches requests whose verified caller has at least one of the
// roles, whoever verified it: one of our authenticators or any other that sets
// `{http.auth.user.roles}`. It never matches an anonymous request, and so
// never before something has authenticated: a matcher with `not role` does.
//
// Names are compared exactly and are not expanded. Roles that a policy gives
// to a user (`user <id> roles …`) count behind rbac, as everywhere.
type MatchRole []string

// CaddyModule returns the Caddy module information.
func (*MatchRole) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.role",
		New: func() caddy.Module { return new(MatchRole) },
	}
}

// UnmarshalCaddyfile sets up the matcher. Syntax:
//
//	role <name>...
//
// A name with spaces is written in quotes.
func (m *MatchRole) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	// Several matchers of one set are merged: here, any of the roles.
	for d.Next() {
		names := d.RemainingArgs()
		if len(names) == 0 {
			return d.Err("role: name at least one role: role <name>...")
		}
		for _, name := range names {
			if slices.Contains(*m, name) {
				return d.Errf("role: '%s' is repeated", name)
			}
			if err := checkRole(name); err != "" {
				return d.Errf("role: '%s': %s", name, err)
			}
			*m = append(*m, name)
		}
		if d.NextBlock(0) {
			return d.Err("role: it has no block: role <name>...")
		}
	}
	return nil
}

// checkRole says why no caller can have a role of this name.
func checkRole(name string) string {
	if err := principal.CheckName(name); err != nil {
		return err.Error()
	}
	if strings.ContainsAny(name, "{}") {
		return "a role is written as it is, without placeholders"
	}
	return ""
}

// Validate refuses what could never match.
func (m *MatchRole) Validate() error {
	if len(*m) == 0 {
		return errNoRole
	}
	for _, name := range *m {
		if err := checkRole(name); err != "" {
			return roleError(err)
		}
	}
	return nil
}

// roleError is a mistake in a matcher.
type roleError string

func (e roleError) Error() string { return "role: " + string(e) }

const errNoRole roleError = "at least one role must be named"

// RoleNames returns the roles.
func (m *MatchRole) RoleNames() []string { return *m }

// Match reports whether the caller has one of the roles.
func (m *MatchRole) Match(r *http.Request) bool {
	yes, _ := m.MatchWithError(r)
	return yes
}

// MatchWithError is Match; it never fails.
func (m *MatchRole) MatchWithError(r *http.Request) (bool, error) {
	p := reqctx.Principal(r)
	return p != nil && slices.ContainsFunc(*m, p.HasRole), nil
}

// Interface guards
var (
	_ caddy.Validator                   = (*MatchRole)(nil)
	_ caddyfile.Unmarshaler             = (*MatchRole)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchRole)(nil)
)

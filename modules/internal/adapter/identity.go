package adapter

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/principal"
)

const (
	userPrefix   = "http.auth.user."
	claimsPrefix = "claims."

	// answering is what the replacer knows once it answers for the principal.
	answering = "moat.answering"
)

// AddRoles makes the caller p of the request have the roles too, for the
// layers behind and for the record, and returns the caller it then has. p
// itself, which requests may share, is not changed.
func AddRoles(r *http.Request, p *principal.Principal, roles []string) *principal.Principal {
	with := *p
	for _, role := range roles {
		if !with.HasRole(role) {
			with.Roles = append(slices.Clip(with.Roles), role)
		}
	}
	if len(with.Roles) == len(p.Roles) {
		return p
	}
	if vars := Vars(r); vars != nil {
		vars[principal.Var] = &with
	}
	if repl := Replacer(r); repl != nil {
		repl.Set(userPrefix+"roles", principal.JoinNames(with.Roles))
	}
	return &with
}

// Identify makes p the verified caller of the request: the principal in its
// variable table, and the placeholders {http.auth.user.id}, .roles and .scopes
// (as principal.JoinNames prints them), .plan, and .claims.<path>, whose values
// keep their types.
//
// What an earlier authenticator left in these placeholders is removed: a
// request has one identity, and a role of one user must not stand beside
// the name of another.
func Identify(r *http.Request, p *principal.Principal) {
	vars, repl := Vars(r), Replacer(r)
	if vars == nil || repl == nil {
		return // not a request that Caddy serves
	}
	_, again := vars[principal.Var]
	vars[principal.Var] = p
	repl.DeleteByPrefix(userPrefix)
	if again {
		if _, ok := repl.Get(answering); ok {
			return
		}
	}
	answer(vars, repl)
}

// Anonymous gives the placeholders {http.auth.user.*} of a request without an
// identity their empty values. Where nobody knows a placeholder, Caddy passes
// its name on to the upstream, which could take that for an identity.
func Anonymous(r *http.Request) {
	vars, repl := Vars(r), Replacer(r)
	if vars == nil || repl == nil {
		return
	}
	if _, ok := repl.Get(userPrefix + "id"); !ok {
		answer(vars, repl)
	}
}

// answer has the replacer answer for the principal.
func answer(vars map[string]any, repl *caddy.Replacer) {
	// One function that is asked is cheaper than values that are set and
	// that nobody may ask for. It looks for the principal that stands there
	// when it is asked: a later authenticator wins.
	repl.Map(func(key string) (any, bool) {
		name, ok := strings.CutPrefix(key, userPrefix)
		if !ok {
			return nil, key == answering
		}
		p, _ := vars[principal.Var].(*principal.Principal)
		if p == nil {
			p = nobody
		}
		return placeholder(p, name)
	})
}

// nobody is whom placeholders are about without a principal.
var nobody = new(principal.Principal)

// placeholder returns the value of {http.auth.user.<name>}. What the caller
// does not have is empty, and not unknown: see Anonymous.
func placeholder(p *principal.Principal, name string) (any, bool) {
	switch name {
	case "id":
		return p.ID, true
	case "roles":
		return principal.JoinNames(p.Roles), true
	case "scopes":
		return principal.JoinNames(p.Scopes), true
	case "plan":
		return p.Plan, true
	}
	if path, ok := strings.CutPrefix(name, claimsPrefix); ok {
		v, _ := Claim(p.Claims, path)
		return v, true
	}
	return nil, false
}

// Claim finds the claim that the last part of a placeholder names. A path
// with a leading slash is a JSON Pointer (RFC 6901). Any other is, in this
// order: the name of one top-level claim as it stands, so that a name with
// dots or slashes in it can be written plainly; or names separated by slashes
// if there are any, else by dots.
func Claim(c *principal.Claims, path string) (any, bool) {
	if path == "" || c == nil {
		return nil, false
	}
	if path[0] == '/' {
		p, err := principal.ParsePointer(path)
		if err != nil {
			return nil, false
		}
		return c.Lookup(p)
	}
	if v, ok := c.Lookup(principal.Pointer{path}); ok {
		return v, true
	}
	sep := "."
	if strings.Contains(path, "/") {
		sep = "/"
	}
	return c.Lookup(strings.Split(path, sep))
}

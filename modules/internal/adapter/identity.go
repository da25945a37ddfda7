package adapter

import (
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/principal"
)

const (
	userPrefix   = "http.auth.user."
	claimsPrefix = userPrefix + "claims."
)

// claimsVar marks a request whose replacer already answers for claims.
const claimsVar = "moat.claims"

// AddRoles makes the caller p of the request have the roles too, for the
// layers behind and for the record, and returns the caller it then has. p
// itself, which requests may share, is not changed.
func AddRoles(r *http.Request, p *principal.Principal, roles []string) *principal.Principal {
	missing := slices.DeleteFunc(slices.Clone(roles), p.HasRole)
	if len(missing) == 0 {
		return p
	}
	with := *p
	with.Roles = slices.Concat(p.Roles, missing)
	if vars := Vars(r); vars != nil {
		vars[principal.Var] = &with
	}
	if repl := Replacer(r); repl != nil {
		repl.Set(userPrefix+"roles", strings.Join(with.Roles, ","))
	}
	return &with
}

// Identify makes p the verified caller of the request: the principal in its
// variable table, and the placeholders {http.auth.user.id}, .roles and .scopes
// (separated by commas) and .claims.<path>, whose values keep their types.
//
// What an earlier authenticator left in these placeholders is removed: a
// request has one identity, and a role of one user must not stand beside
// the name of another.
func Identify(r *http.Request, p *principal.Principal) {
	vars := Vars(r)
	if vars != nil {
		vars[principal.Var] = p
	}
	repl := Replacer(r)
	if repl == nil {
		return
	}
	if _, ok := repl.Get(userPrefix + "id"); ok {
		repl.DeleteByPrefix(userPrefix)
	}
	repl.Set(userPrefix+"id", p.ID)
	if len(p.Roles) > 0 {
		repl.Set(userPrefix+"roles", strings.Join(p.Roles, ","))
	}
	if len(p.Scopes) > 0 {
		repl.Set(userPrefix+"scopes", strings.Join(p.Scopes, ","))
	}
	if vars == nil || vars[claimsVar] != nil {
		return
	}
	vars[claimsVar] = true
	repl.Map(func(key string) (any, bool) {
		path, ok := strings.CutPrefix(key, claimsPrefix)
		if !ok {
			return nil, false
		}
		// The principal that stands there now, not the one that stood
		// there when this was registered: a later authenticator wins.
		p, _ := vars[principal.Var].(*principal.Principal)
		if p == nil {
			return nil, false
		}
		return Claim(p.Claims, path)
	})
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

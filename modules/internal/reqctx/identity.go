package reqctx

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

const (
	appPrefix    = "http.auth.app."
	userPrefix   = "http.auth.user."
	callerKey    = "http.moat.caller"
	codeKey      = "http.moat.code"
	claimsPrefix = "claims."

	// answeringVar is the key of the request's variable table that is there
	// once its replacer answers for the principal.
	answeringVar = "moat.answering"
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
// keep their types, .issuer and .kind; and {http.moat.caller}: see answer.
//
// What an earlier authenticator left in these placeholders is removed: a
// request has one identity, and a role of one user must not stand beside
// the name of another.
func Identify(r *http.Request, p *principal.Principal) {
	vars, repl := Vars(r), Replacer(r)
	if vars == nil || repl == nil {
		return // not a request that Caddy serves
	}
	vars[principal.Var] = p
	repl.DeleteByPrefix(userPrefix)
	answer(vars, repl)
}

// Answer gives the placeholders {http.auth.user.*} of a request without an
// identity their empty values, {http.moat.caller} that of its client, and
// {http.moat.code} of a request that no layer of ours has rejected.
// Where nobody knows a placeholder, Caddy passes its name on to the upstream,
// which could take that for an identity.
//
// Every layer calls it, since nobody knows which one a request meets first. What another authenticator sets is not touched.
func Answer(r *http.Request) {
	if vars, repl := Vars(r), Replacer(r); vars != nil && repl != nil {
		answer(vars, repl)
	}
}

// answer has the replacer answer for the principal.
//
// {http.moat.caller} is whom to count a request for: Principal.Caller of a
// verified caller, and the client's address of an anonymous one. Anonymous
// callers do not share one key, and no caller can take that of another.
func answer(vars map[string]any, repl *caddy.Replacer) {
	if _, ok := vars[answeringVar]; ok {
		return
	}
	vars[answeringVar] = true
	// One function that is asked is cheaper than values that are set and
	// that nobody may ask for. It looks for the principal that stands there
	// when it is asked: a later authenticator wins.
	repl.Map(func(key string) (any, bool) {
		name, ok := strings.CutPrefix(key, userPrefix)
		if !ok {
			switch key {
			case callerKey:
				return caller(vars, repl), true
			case codeKey:
				return foreignCode(repl), true
			}
			if name, ok = strings.CutPrefix(key, appPrefix); ok {
				return placeholder(application(vars, repl), name)
			}
			return nil, false
		}
		p, _ := vars[principal.Var].(*principal.Principal)
		if p == nil {
			p = nobody
			if name == "kind" && principal.Of(nil, repl.Get) != nil {
				return principal.KindOther, true
			}
		}
		return placeholder(p, name)
	})
}

// foreignCode returns {http.moat.code} of a request that no layer of ours has
// rejected: that of a rate limit, or none.
func foreignCode(repl *caddy.Replacer) string {
	if status, _ := repl.GetString("http.error.status_code"); status == "429" {
		return "rate_limited"
	}
	return ""
}

// caller returns {http.moat.caller}.
func caller(vars map[string]any, repl *caddy.Replacer) string {
	if p := PrincipalIn(vars, repl); p != nil {
		return p.Caller()
	}
	address, _ := vars[caddyhttp.ClientIPVarKey].(string)
	if ip, err := netip.ParseAddr(address); err == nil {
		return ip.Unmap().WithZone("").String() // one client, one spelling
	}
	return address
}

// application returns the application of the request, or nobody.
func application(vars map[string]any, repl *caddy.Replacer) *principal.Principal {
	if p := PrincipalIn(vars, repl); p != nil && p.App != nil {
		return p.App
	}
	return nobody
}

// nobody is whom placeholders are about without a principal.
var nobody = new(principal.Principal)

// placeholder returns the value of {http.auth.user.<name>}, or of
// {http.auth.app.<name>} for the application. What the caller
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
	case "issuer":
		return p.Issuer, true
	case "kind":
		return p.Kind, true
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

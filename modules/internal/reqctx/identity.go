package reqctx

import (
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
)

// Principal returns the verified caller of the request, nil if anonymous. If
// an authenticator that is not ours has named another caller since, that is
// the one, with nothing of the earlier.
func (c *Context) Principal() *principal.Principal {
	if c.repl == nil {
		return c.principal
	}
	if c.principal != nil {
		if id, ok := c.repl.Get(userPrefix + "id"); !ok || id == c.principal.ID {
			return c.principal
		}
		c.principal = nil
	}
	return principal.Of(c.repl.Get)
}

// Verified returns the caller that a layer of ours has made known, whatever
// other authenticators say since.
func (c *Context) Verified() *principal.Principal { return c.principal }

// AddRoles makes the caller p of the request have the roles too, for the
// layers behind and for the record, and returns the caller it then has. p
// itself, which requests may share, is not changed.
func (c *Context) AddRoles(p *principal.Principal, roles []string) *principal.Principal {
	if !slices.ContainsFunc(roles, func(role string) bool { return !p.HasRole(role) }) {
		return p
	}
	with := *p
	for _, role := range roles {
		if !with.HasRole(role) {
			with.Roles = append(slices.Clip(with.Roles), role)
		}
	}
	c.principal = &with
	if c.repl != nil {
		c.repl.Set(userPrefix+"roles", principal.JoinNames(with.Roles))
	}
	return &with
}

// Identify makes p the verified caller of the request, and what the
// placeholders {http.auth.user.id}, .roles and .scopes (as principal.JoinNames
// prints them), .plan, .claims.<path>, whose values keep their types, .issuer and
// .kind say, and {http.moat.caller}: see placeholder.
//
// What an earlier authenticator left in these placeholders is removed: a
// request has one identity, and a role of one user must not stand beside
// the name of another.
func (c *Context) Identify(p *principal.Principal) {
	c.principal = p
	if c.repl != nil {
		c.repl.DeleteByPrefix(userPrefix)
	}
}

// placeholder is what the replacer asks. One function that is asked is cheaper
// than values that are set and that nobody may ask for. It looks for the
// principal that there is when it is asked: a later authenticator wins.
//
// A request without an identity has empty values for {http.auth.user.*}: where
// nobody knows a placeholder, Caddy passes its name on to the upstream, which
// could take that for an identity.
//
// {http.moat.caller} is whom to count a request for: Principal.Caller of a
// verified caller, and the client's address of an anonymous one. Anonymous
// callers do not share one key, and no caller can take that of another.
func (c *Context) placeholder(key string) (any, bool) {
	name, ok := strings.CutPrefix(key, userPrefix)
	if !ok {
		switch key {
		case callerKey:
			return c.caller(), true
		case codeKey:
			return foreignCode(c.repl), true
		}
		if name, ok = strings.CutPrefix(key, appPrefix); ok {
			return placeholder(c.application(), name)
		}
		if name, ok = strings.CutPrefix(key, mcpPrefix); ok {
			return c.messagePlaceholder(name)
		}
		return nil, false
	}
	p := c.principal
	if p == nil {
		p = nobody
		if name == "kind" && principal.Of(c.repl.Get) != nil {
			return principal.KindOther, true
		}
	}
	return placeholder(p, name)
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
func (c *Context) caller() string {
	if p := c.Principal(); p != nil {
		return p.Caller()
	}
	address, _ := c.vars[caddyhttp.ClientIPVarKey].(string)
	if ip, err := netip.ParseAddr(address); err == nil {
		return ip.Unmap().WithZone("").String() // one client, one spelling
	}
	return address
}

// application returns the application of the request, or nobody.
func (c *Context) application() *principal.Principal {
	if p := c.Principal(); p != nil && p.App != nil {
		return p.App
	}
	return nobody
}

// nobody is whom placeholders are about without a principal.
var nobody = new(principal.Principal)

// placeholder returns the value of {http.auth.user.<name>}, or of
// {http.auth.app.<name>} for the application. What the caller
// does not have is empty, and not unknown: see Context.placeholder.
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

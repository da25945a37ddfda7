package reqctx

import (
	"errors"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// Authenticate is a method of ours as Caddy's own authentication handler asks
// for it (caddyauth.Authenticator). That handler turns every rejection into
// 401 and tries the next provider, so the error, which it logs, is only for
// credentials that could not be checked. It knows neither of rights that end nor
// of Grant.Wrap.
//
// believes are Traits.Believes of the method, which that handler does not remove.
func Authenticate(m credential.Method, w http.ResponseWriter, r *http.Request, believes ...string) (caddyauth.User, bool, error) {
	EndToEnd(r)
	c := Of(r)
	if len(believes) > 0 {
		c.KeepRemoved(r.Header, believes)
		credential.Spellings(believes).Remove(r.Header)
	}
	grant, err := m.Identify(r)
	if err != nil {
		var ce *credential.Error
		if !errors.As(err, &ce) || ce.Kind == credential.Unavailable {
			return caddyauth.User{}, false, errors.New("the credential cannot be checked at the moment")
		}
		if ce.Kind == credential.Bad {
			c.SetRejected(r, m.Places(r))
		}
		for _, c := range m.Challenges(ce) {
			w.Header().Add("WWW-Authenticate", c)
		}
		for name, values := range ce.Header {
			w.Header()[name] = append([]string(nil), values...)
		}
		return caddyauth.User{}, false, nil
	}
	if principal.CheckID(grant.Principal.ID) != nil {
		return caddyauth.User{}, false, nil
	}
	if c.Admit(grant.Principal) != nil {
		return caddyauth.User{}, false, nil
	}
	c.Identify(grant.Principal)
	m.Clean(r)
	c.Grant(w, r, &grant)
	user := caddyauth.User{ID: grant.Principal.ID, Metadata: map[string]string{}}
	if c.repl != nil {
		for _, name := range []string{"roles", "scopes", "plan"} {
			if value, ok := c.repl.GetString(userPrefix + name); ok {
				user.Metadata[name] = value
			}
		}
	}
	return user, true, nil
}

// Grant adds the fields of a grant to the request and to its response.
func (c *Context) Grant(w http.ResponseWriter, r *http.Request, grant *credential.Grant) {
	for name, values := range grant.Upstream {
		c.Forward(r, name, slices.Clone(values))
	}
	if len(grant.Header) == 0 {
		return
	}
	h := w.Header()
	for name, values := range grant.Header {
		if name == "Set-Cookie" { // one cookie does not replace another
			values = append(slices.Clip(h[name]), values...)
		}
		h[name] = slices.Clone(values)
	}
}

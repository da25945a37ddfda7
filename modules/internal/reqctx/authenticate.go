package reqctx

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// Authenticate is a method of ours as Caddy's own authentication handler asks
// for it (caddyauth.Authenticator). That handler answers every refusal with
// 401 and tries the next provider, so the error, which it logs, is only for
// credentials that could not be checked.
func Authenticate(m credential.Method, w http.ResponseWriter, r *http.Request) (caddyauth.User, bool, error) {
	EndToEnd(r)
	who, err := m.Identify(r)
	if err != nil {
		var ce *credential.Error
		if !errors.As(err, &ce) || ce.Kind == credential.Unavailable {
			return caddyauth.User{}, false, errors.New("the credential cannot be checked at the moment")
		}
		for _, c := range m.Challenges(ce) {
			w.Header().Add("WWW-Authenticate", c)
		}
		for name, values := range ce.Header {
			w.Header()[name] = append([]string(nil), values...)
		}
		return caddyauth.User{}, false, nil
	}
	if principal.CheckID(who.ID) != nil {
		return caddyauth.User{}, false, nil
	}
	Identify(r, who)
	m.Clean(r)
	user := caddyauth.User{ID: who.ID, Metadata: map[string]string{}}
	if repl := Replacer(r); repl != nil {
		for _, name := range []string{"roles", "scopes", "plan"} {
			if value, ok := repl.GetString(userPrefix + name); ok {
				user.Metadata[name] = value
			}
		}
	}
	return user, true, nil
}

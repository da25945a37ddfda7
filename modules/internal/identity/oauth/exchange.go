package oauth

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
)

// accessTokenType names access tokens in exchanges (RFC 8693 section 3), jwtType
// tokens that are JWTs, as these are.
const (
	accessTokenType = "urn:ietf:params:oauth:token-type:access_token"
	jwtType         = "urn:ietf:params:oauth:token-type:jwt"
)

// maxActors is how many services may stand behind one another in a token.
const maxActors = 4

var errSubject = refuse(CodeInvalidRequest, "the subject_token is not accepted") // RFC 8693 section 2.2.2

// exchange issues a token for another service to a service that got a token of this
// server (RFC 8693). It never has more than that token: no other scopes, roles and
// subject, and no longer life.
func (s *Server) exchange(ctx context.Context, r *Request, bound *Binding) (*Response, error) {
	if err := checkExchange(r.Form); err != nil {
		return nil, err
	}
	raw, err := r.Form.Required("subject_token")
	if err != nil {
		return nil, err
	}
	t, err := s.verifier.Verify(ctx, raw, s.Now())
	switch {
	case errors.Is(err, token.ErrUnavailable):
		return nil, unavailable(err)
	case err != nil:
		return nil, errSubject.because(err)
	}
	if err := mayExchange(r.Client, t, bound); err != nil {
		return nil, err
	}
	scopes, err := scopes(r, slices.DeleteFunc(slices.Clone(t.Principal.Scopes), func(v string) bool { return !slices.Contains(r.Client.Scopes, v) }))
	if err != nil {
		return nil, err
	}
	aud, err := targets(r, r.Client.Audiences)
	if err != nil {
		return nil, err
	}
	extra, err := passedOn(r.Client, t)
	if err != nil {
		return nil, err
	}
	resp, _, err := s.issue(access{
		subject: t.Principal.ID, client: r.Client, scopes: scopes, targets: aud, roles: rolesOf(t), bound: bound, extra: extra, until: t.Expires,
	})
	if err != nil {
		return nil, unavailable(err)
	}
	resp.IssuedType = accessTokenType
	return resp, nil
}

// checkExchange checks what is asked for.
func checkExchange(f *Form) error {
	switch kind := f.Get("subject_token_type"); {
	case kind != accessTokenType && kind != jwtType:
		return refuse(CodeInvalidRequest, "subject_token_type must be "+accessTokenType)
	case f.Get("requested_token_type") != "" && f.Get("requested_token_type") != accessTokenType && f.Get("requested_token_type") != jwtType:
		return refuse(CodeInvalidRequest, "requested_token_type must be "+accessTokenType)
	case f.Get("actor_token") != "" || f.Get("actor_token_type") != "":
		return refuse(CodeInvalidRequest, "an actor_token is not supported: the client acts")
	}
	return nil
}

// mayExchange checks that a client has got a token by right: it is the service that
// the token is for, or the token is its own.
func mayExchange(c *Client, t *token.Token, bound *Binding) error {
	for _, a := range audiencesOf(t) {
		if slices.Contains(c.Introspects, a) {
			return nil
		}
	}
	if clientOf(t) != c.ID {
		return errSubject.because(errors.New("the token is neither for this client nor of it"))
	}
	// Its own token, in the hands of whoever can show what it is bound to.
	if cnf := t.Confirmation; cnf != nil && (bound == nil || bound.Key != cnf.Key || bound.Certificate != cnf.Certificate) {
		return errSubject.because(errors.New("the token is bound to another key"))
	}
	return nil
}

// passedOn returns the claims that go from one token to the next: how the user was
// authenticated, and who acts for the subject (RFC 8693 section 4.1), the latest
// outside.
func passedOn(c *Client, t *token.Token) (map[string]any, error) {
	extra := make(map[string]any)
	for _, name := range []string{"auth_time", "acr"} {
		if value, ok := t.Principal.Claims.Lookup(principal.Pointer{name}); ok {
			extra[name] = value
		}
	}
	act := map[string]any{"sub": c.ID}
	if before, ok := t.Principal.Claims.Lookup(principal.Pointer{"act"}); ok {
		chain, depth := before, 1
		for {
			m, ok := chain.(map[string]any)
			if chain = m["act"]; !ok || chain == nil {
				break
			}
			depth++
		}
		if depth >= maxActors {
			return nil, errSubject.because(errors.New("too many services act for one another"))
		}
		if m, ok := before.(map[string]any); ok {
			act["act"] = maps.Clone(m)
		}
	}
	extra["act"] = act
	return extra, nil
}

// rolesOf returns the roles that a token of this server has.
func rolesOf(t *token.Token) (roles []string) {
	value, _ := t.Principal.Claims.Lookup(principal.Pointer{"roles"})
	list, _ := value.([]any)
	for _, v := range list {
		if text, ok := v.(string); ok {
			roles = append(roles, text)
		}
	}
	return roles
}

package oauth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/dpop"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/revocation"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
)

// accessType is the typ of access tokens (RFC 9068 section 2.1).
const accessType = "at+jwt"

// Binding is whom a token is given to: a key (RFC 9449), a certificate (RFC
// 8705), or anybody where it is nil.
type Binding struct {
	Key         string // jkt
	Certificate string // x5t#S256
}

// binding returns what the tokens of a request are bound to. Where the client must
// have bound tokens, one without the proof gets none.
func (s *Server) binding(ctx context.Context, r *Request) (*Binding, error) {
	switch {
	case r.Client.Bound == BoundTLS:
		if r.Certificate == nil {
			return nil, refuse(CodeInvalidRequest, "the client's tokens are bound to its certificate, and the connection has none")
		}
		return &Binding{Certificate: fingerprint(r)}, nil
	case len(r.Proofs) == 0 && r.Client.Bound == BoundDPoP:
		return nil, refuse(CodeInvalidProof, "the client's tokens are bound to a key: a DPoP proof is needed")
	case len(r.Proofs) == 0:
		return nil, nil
	case len(r.Proofs) > 1:
		return nil, refuse(CodeInvalidProof, "one proof is needed")
	}
	key, err := s.Proofs.CheckKey(ctx, r.Proofs[0], dpop.Request{Method: "POST", URL: r.URL}, s.Now())
	if errors.Is(err, dpop.ErrProof) {
		return nil, refuse(CodeInvalidProof, "the proof is not accepted").because(err)
	}
	if err != nil {
		return nil, unavailable(err)
	}
	return &Binding{Key: key}, nil
}

// access is an access token to be made.
type access struct {
	subject string
	client  *Client
	scopes  []string
	targets []string // its audiences
	roles   []string
	bound   *Binding
	extra   map[string]any
	until   time.Time // it must not live longer; zero: no bound
}

// issue makes an access token (RFC 9068 section 2.2).
func (s *Server) issue(a access) (resp *Response, id string, err error) {
	life := s.Lifetime
	if a.client.Lifetime != 0 {
		life = a.client.Lifetime
	}
	if left := a.until.Sub(s.Now()).Truncate(time.Second); !a.until.IsZero() && left < life {
		life = left
	}
	claims := map[string]any{"sub": a.subject, "client_id": a.client.ID, "aud": a.targets}
	if len(a.targets) == 1 {
		claims["aud"] = a.targets[0]
	}
	if len(a.scopes) > 0 {
		claims["scope"] = strings.Join(a.scopes, " ")
	}
	if len(a.roles) > 0 {
		claims["roles"] = a.roles
	}
	for name, value := range a.extra {
		claims[name] = value
	}
	resp = &Response{TokenType: "Bearer", ExpiresIn: int64(life / time.Second), Scope: strings.Join(a.scopes, " ")}
	if a.bound != nil {
		cnf := map[string]string{}
		if a.bound.Key != "" {
			cnf["jkt"], resp.TokenType = a.bound.Key, "DPoP"
		}
		if a.bound.Certificate != "" {
			cnf["x5t#S256"] = a.bound.Certificate
		}
		claims["cnf"] = cnf
	}
	resp.AccessToken, id, err = s.Issuer.MintNamed(claims, accessType, life)
	return resp, id, err
}

// scopes returns those that a request asks for, which must be among the allowed
// ones; all of these where it asks for none.
func scopes(r *Request, allowed []string) ([]string, error) {
	asked, ok := words(r.Form.Get("scope"))
	switch {
	case !ok:
		return nil, refuse(CodeInvalidScope, "scope is malformed")
	case len(asked) == 0:
		return allowed, nil
	}
	for _, s := range asked {
		if !slices.Contains(allowed, s) {
			return nil, refuse(CodeInvalidScope, "the client may not ask for one of the scopes")
		}
	}
	return asked, nil
}

// targets returns the audiences that a request asks for by `resource` (RFC 8707)
// or `audience` (RFC 8693), which must be among the allowed ones. Where it asks
// for none and there are several, nothing says which is meant, and a token for all
// of them would let each service use it at the others.
func targets(r *Request, allowed []string) ([]string, error) {
	var asked []string
	for _, name := range repeatable {
		for _, t := range r.Form.All(name) {
			if !slices.Contains(allowed, t) {
				return nil, refuse(CodeInvalidTarget, "the client may not ask for tokens for this resource")
			}
			if !slices.Contains(asked, t) {
				asked = append(asked, t)
			}
		}
	}
	switch {
	case len(asked) > 0:
		return asked, nil
	case len(allowed) > 1:
		return nil, refuse(CodeInvalidTarget, "the client has several resources: say in resource which the token is for")
	}
	return allowed, nil
}

// clientCredentials issues a token to the client itself (RFC 6749 section 4.4).
func (s *Server) clientCredentials(_ context.Context, r *Request, bound *Binding) (*Response, error) {
	if s.Users != nil && s.Users.Find(r.Client.ID) != nil {
		// Nobody could tell their tokens apart (RFC 9700 section 4.15).
		return nil, refuse(CodeUnauthorizedClient, "a user has the name of the client")
	}
	scopes, err := scopes(r, r.Client.Scopes)
	if err != nil {
		return nil, err
	}
	aud, err := targets(r, r.Client.Audiences)
	if err != nil {
		return nil, err
	}
	resp, _, err := s.issue(access{
		subject: r.Client.ID, client: r.Client, scopes: scopes, targets: aud, roles: r.Client.Roles, bound: bound,
	})
	if err != nil {
		return nil, unavailable(err)
	}
	return resp, nil
}

// revoked reports whether a token is on the list of those that are revoked.
func (s *Server) revoked(t *token.Token) bool {
	return s.Revoked.List().Revoked(&revocation.Token{
		Issuer: t.Principal.Issuer, ID: t.Principal.TokenID, Subject: t.Principal.ID, KeyID: t.Principal.KeyID, IssuedAt: t.IssuedAt,
	}, s.Now())
}

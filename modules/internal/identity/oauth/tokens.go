package oauth

import (
	"context"
	"errors"
	"slices"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/revocation"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
)

// Introspect tells a client about a token (RFC 7662): about its own, and about those
// for the audiences that it is the resource server of. What it may not know
// about, or is no token, is not active.
func (s *Server) Introspect(ctx context.Context, r *Request) (map[string]any, error) {
	if err := s.authenticate(ctx, r); err != nil {
		return nil, err
	}
	if r.Client.Public {
		return nil, errClient // RFC 7662 section 2.1
	}
	raw, err := r.Form.Required("token")
	if err != nil {
		return nil, err
	}
	t, err := s.verifier.Verify(ctx, raw, s.Now())
	if errors.Is(err, token.ErrUnavailable) {
		return nil, unavailable(err)
	}
	if err != nil || !mayKnow(r.Client, t) {
		return map[string]any{"active": false}, nil
	}
	known := map[string]any{"active": true, "token_type": "Bearer"}
	for _, name := range []string{
		"iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope", "roles", "cnf", "act", "auth_time", "acr", "amr",
	} {
		if value, ok := t.Principal.Claims.Lookup(principal.Pointer{name}); ok {
			known[name] = value
		}
	}
	if t.Confirmation != nil && t.Confirmation.Key != "" {
		known["token_type"] = "DPoP"
	}
	return known, nil
}

func mayKnow(c *Client, t *token.Token) bool {
	return clientOf(t) == c.ID || slices.ContainsFunc(audiencesOf(t), func(a string) bool { return slices.Contains(c.Introspects, a) })
}

func clientOf(t *token.Token) string {
	id, _ := t.Principal.Claims.Lookup(principal.Pointer{"client_id"})
	text, _ := id.(string)
	return text
}

func audiencesOf(t *token.Token) (list []string) {
	aud, _ := t.Principal.Claims.Lookup(principal.Pointer{"aud"})
	switch aud := aud.(type) {
	case string:
		list = []string{aud}
	case []any:
		for _, a := range aud {
			if text, ok := a.(string); ok {
				list = append(list, text)
			}
		}
	}
	return list
}

// Revoke revokes a token of the client (RFC 7009). A text that is no token, or one
// that is not valid any more, is revoked already.
func (s *Server) Revoke(ctx context.Context, r *Request) error {
	if err := s.authenticate(ctx, r); err != nil {
		return err
	}
	raw, err := r.Form.Required("token")
	if err != nil {
		return err
	}
	if s.State != nil {
		if id, _, ok := s.State.parseRefresh(raw); ok {
			return s.revokeRefresh(ctx, r, id)
		}
	}
	t, err := s.verifier.Verify(ctx, raw, s.Now())
	switch {
	case errors.Is(err, token.ErrUnavailable):
		return unavailable(err)
	case err != nil:
		return nil
	case clientOf(t) != r.Client.ID:
		return refuse(CodeUnauthorizedClient, "the token is of another client") // RFC 7009 section 2.1
	}
	return s.revoke(ctx, revocation.Entry{Issuer: s.Issuer.Name(), JTI: t.Principal.TokenID, Expires: t.Expires})
}

// revoke notes a revocation, or says that it could not.
func (s *Server) revoke(ctx context.Context, e revocation.Entry) error {
	if err := s.Revoked.Add(ctx, e); err != nil {
		return unavailable(err)
	}
	return nil
}

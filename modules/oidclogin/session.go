package oidclogin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/session"
)

// unmarshalClaims decodes claims and keeps every digit.
func unmarshalClaims(raw json.RawMessage, to *map[string]any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return d.Decode(to)
}

// principalOf makes the caller of a session: the same as that of a token of this
// issuer.
func (p *Provider) principalOf(s *session.Session) (*principal.Principal, error) {
	who := &principal.Principal{
		ID: s.Subject, Issuer: p.issuer, Kind: principal.KindSession,
		Scopes: s.Private.Scopes, Claims: principal.NewClaims(s.Private.Claims),
	}
	for _, at := range p.roles {
		names, ok := who.Claims.Names(at, principal.Form{Words: at.IsScope(), Objects: true})
		if !ok {
			return nil, fmt.Errorf("the claim %s is not a list of names", at)
		}
		for _, name := range names {
			if !who.HasRole(name) {
				who.Roles = append(who.Roles, name)
			}
		}
	}
	if principal.CheckID(who.ID) != nil {
		return nil, errors.New("the subject cannot be one")
	}
	return who, nil
}

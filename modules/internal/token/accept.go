package token

import (
	"strings"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/principal"
)

// accept makes the Token of a JWS whose signature has been verified. raw is
// its text, a part of which the Token keeps.
func accept(t *jws, c *claims, iss *issuer, key *jwk.Key, now time.Time, raw string) (*Token, *Error) {
	if !iss.acceptsType(t.head.typ) {
		return nil, errType
	}
	if err := c.times(iss, now); err != nil {
		return nil, err
	}
	if err := c.accept(iss); err != nil {
		return nil, err
	}
	return newToken(t, c, iss, key, raw)
}

var (
	errSubject = errClaim("the claim that names the subject is missing or no identity")
	errRoles   = errClaim("a claim that holds roles is not a list of names")
	errScopes  = errClaim("a claim that holds scopes is not a list of names")
	errBinding = errClaim("cnf is not an object that names keys")
	errNames   = errClaim("iss, jti or kid holds control characters")
)

// newToken takes out of the claims what a Token says outright. All its texts
// are in one string, however many there are.
func newToken(t *jws, c *claims, iss *issuer, key *jwk.Key, raw string) (*Token, *Error) {
	sub, ok := c.subject(iss)
	if !ok {
		return nil, errSubject
	}
	if !printable(c.iss) || !printable(c.jti) || !printable(t.head.kid) {
		return nil, errNames
	}
	var space [24][]byte // enough for most
	list, ok := c.list(space[:0], iss.Roles)
	if !ok {
		return nil, errRoles
	}
	roles := len(list)
	if list, ok = c.list(list, iss.Scopes); !ok {
		return nil, errScopes
	}
	cnf, ok := c.confirmation()
	if !ok {
		return nil, errBinding
	}
	scopes := len(list)
	list = append(list, sub, c.jti)
	if iss.Name == "" {
		list = append(list, c.iss)
	}
	if key.ID == "" && t.head.kid != nil {
		list = append(list, t.head.kid)
	}
	texts := copyTexts(list)

	both := &struct {
		token Token
		who   principal.Principal
	}{
		token: Token{IssuedAt: c.issued, Expires: c.exp, NotBefore: c.nbf, Algorithm: t.head.alg, Key: key, Confirmation: cnf},
		who: principal.Principal{
			ID:      texts[scopes],
			Issuer:  iss.Name,
			Kind:    principal.KindJWT,
			KeyID:   key.ID,
			TokenID: texts[scopes+1],
			Roles:   texts[:roles:roles],
			Scopes:  texts[roles:scopes:scopes],
			Claims:  principal.NewEncodedClaims(raw[t.headerLen+1 : len(t.signed)]),
		},
	}
	if iss.Name == "" {
		both.who.Issuer = texts[scopes+2]
	}
	if key.ID == "" && t.head.kid != nil {
		// The key has no name here, but its issuer has one for it.
		both.who.KeyID = texts[len(texts)-1]
	}
	both.token.Principal = &both.who
	return &both.token, nil
}

// copyTexts copies list out of the memory of a work.
func copyTexts(list [][]byte) []string {
	size := 0
	for _, b := range list {
		size += len(b)
	}
	var all strings.Builder
	all.Grow(size)
	for _, b := range list {
		all.Write(b)
	}
	text := all.String()
	out := make([]string, len(list))
	for i, b := range list {
		out[i], text = text[:len(b)], text[len(b):]
	}
	return out
}

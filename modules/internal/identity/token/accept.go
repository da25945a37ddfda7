package token

import (
	"strings"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// accept makes the Token of a JWS whose signature has been verified. raw is
// its text. The Token keeps a copy, which is returned too.
func accept(t *jws, c *claims, iss *issuer, key *jwk.Key, now time.Time, raw string) (*Token, string, *Error) {
	if !iss.acceptsType(t.head.typ) {
		return nil, "", errType.because("typ is %s, and must be %s", orMissing(t.head.typ), listed(iss.types()))
	}
	if err := c.times(iss, now); err != nil {
		return nil, "", err
	}
	if err := c.accept(iss); err != nil {
		return nil, "", err
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
// are in one string behind the copy of raw, however many there are: tokens that
// are remembered take little memory.
func newToken(t *jws, c *claims, iss *issuer, key *jwk.Key, raw string) (*Token, string, *Error) {
	sub, ok := c.subject(iss)
	if !ok {
		return nil, "", errSubject
	}
	if !printable(c.iss) || !printable(c.jti) || !printable(t.head.kid) {
		return nil, "", errNames
	}
	var space [24][]byte // enough for most
	list, ok := c.list(space[:0], &iss.roles)
	if !ok {
		return nil, "", errRoles
	}
	roles := len(list)
	if list, ok = c.list(list, &iss.scopes); !ok {
		return nil, "", errScopes
	}
	cnf, ok := c.confirmation()
	if !ok {
		return nil, "", errBinding
	}
	others := [...][]byte{sub, c.jti, nil, nil}
	if iss.Name == "" {
		others[2] = c.iss
	}
	if key.ID == "" {
		others[3] = t.head.kid // the key has no name here, but its issuer has one for it
	}
	kept, names, texts := copyTexts(raw, list, others)

	both := &struct {
		token Token
		who   principal.Principal
	}{
		token: Token{IssuedAt: c.issued, Expires: c.exp, NotBefore: c.nbf, Algorithm: t.head.alg, Key: key, Confirmation: cnf},
		who: principal.Principal{
			ID:      texts[0],
			Issuer:  iss.Name,
			Kind:    principal.KindJWT,
			KeyID:   key.ID,
			TokenID: texts[1],
			Roles:   names[:roles:roles],
			Scopes:  names[roles:],
			Claims:  principal.NewEncodedClaims(strings.TrimRight(kept[t.headerLen+1:len(t.signed)], "=")), // padding, if there is any
		},
	}
	if iss.Name == "" {
		both.token.Named = texts[2]
		if iss.listed {
			both.who.Issuer = texts[2]
		}
	}
	if key.ID == "" {
		both.who.KeyID = texts[3]
	}
	both.token.Principal = &both.who
	return &both.token, kept, nil
}

// copyTexts copies raw, which may be part of a larger text such as all cookies,
// and the names and other texts, which are in the memory of a work.
func copyTexts(raw string, names [][]byte, others [4][]byte) (kept string, list []string, texts [4]string) {
	size := len(raw)
	for _, b := range names {
		size += len(b)
	}
	for _, b := range others {
		size += len(b)
	}
	var all strings.Builder
	all.Grow(size)
	all.WriteString(raw)
	for _, b := range names {
		all.Write(b)
	}
	for _, b := range others {
		all.Write(b)
	}
	text := all.String()
	kept, text = text[:len(raw)], text[len(raw):]
	list = make([]string, len(names))
	for i, b := range names {
		list[i], text = text[:len(b)], text[len(b):]
	}
	for i, b := range others {
		texts[i], text = text[:len(b)], text[len(b):]
	}
	return kept, list, texts
}

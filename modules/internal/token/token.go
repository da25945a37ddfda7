// Package token verifies JSON Web Tokens (RFC 7519) that are signed (RFC
// 7515), as RFC 8725 recommends, and remembers those it has verified.
//
// A token is verified only with keys of the issuer it names, only with the
// algorithm that a key is for, and only if there is no second way to read it:
// one spelling of base64url, one JSON text without duplicate names. What a
// token says of its own keys (jku, x5u, jwk) refuses it. After that, only the
// verified object is used.
package token

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/principal"
)

// DefaultMaxTokenSize is the size of the largest token, in bytes, where
// Options name none.
const DefaultMaxTokenSize = 16 << 10

// Issuer is one that tokens are accepted from.
type Issuer struct {
	// Name is the exact iss of its tokens. Empty means that iss is not
	// checked, which is allowed for the only issuer alone.
	Name string

	// Keys are its keys.
	Keys KeySource

	// Audience are names of this service, one of which a token must be for.
	// If there are none, tokens that name an audience are refused: they are
	// for somebody who is not us (RFC 7519 section 4.1.3).
	Audience []string

	// AnyAudience accepts tokens whoever they are for. Any service that
	// gets a token of this issuer can then use it here.
	AnyAudience bool

	// Algorithms are the algorithms allowed. Empty means those that the
	// keys are for.
	Algorithms []string

	// Type is the typ that tokens must have, such as at+jwt (RFC 9068).
	// Empty means JWT, at+jwt or none at all; a token made for another
	// purpose, such as dpop+jwt or logout+jwt, is no credential (RFC 8725
	// section 3.11).
	Type string

	// MaxAge is how long after its iat a token is accepted. 0 means that
	// only exp counts.
	MaxAge time.Duration

	// Require are claims that a token must have beyond the registered ones.
	Require []Requirement

	// Roles and Scopes are where the roles and scopes are. A string is split
	// at spaces, an array must hold strings only; a claim that is something
	// else refuses the token, a claim that is missing does not. Nil Scopes
	// means scope (RFC 8693 section 4.2) and scp.
	Roles, Scopes []principal.Pointer

	// Subject is where the identity is: a string or an integer. Nil means
	// sub. A token without it is refused.
	Subject principal.Pointer
}

// Requirement is one claim that a token must have.
type Requirement struct {
	// Claim is where it is.
	Claim principal.Pointer

	// Values are the accepted ones: a string, a number or a boolean must be
	// one of them, an array must hold one. Without any the claim must be
	// there and not be null.
	Values []string
}

// Options are for the tokens of all issuers.
type Options struct {
	// Leeway is how far the clocks of issuers may be off. It is granted to
	// exp, nbf, iat and MaxAge.
	Leeway time.Duration

	// MaxTokenSize is the size of the largest token in bytes. Default:
	// DefaultMaxTokenSize.
	MaxTokenSize int

	// Cache is how many verified tokens to remember. 0 means none. A full
	// cache takes about 2 KiB an entry with tokens of ordinary size.
	Cache int

	// Revoked reports whether a token that is otherwise good has been
	// revoked. It is asked for each request. Nil means that none are.
	Revoked func(*Token) bool

	// AllowMissingExp accepts tokens that never expire.
	AllowMissingExp bool
}

// Token is a verified token. It is immutable and shared by all requests that
// carry it.
type Token struct {
	// Principal is the caller. Its claims are the token's.
	Principal *principal.Principal

	// IssuedAt, Expires and NotBefore are iat, exp and nbf. Zero where the
	// token has none.
	IssuedAt, Expires, NotBefore time.Time

	// Algorithm is what it was signed with.
	Algorithm string

	// Key is what it was verified with.
	Key *jwk.Key

	// Confirmation says whom the token is bound to. Nil if it is good in
	// anybody's hands.
	Confirmation *Confirmation
}

// Confirmation is the claim cnf, RFC 7800: the token is good only in the hands
// of somebody who can show that he has a certain key. Whoever accepts the
// token has to see to that.
type Confirmation struct {
	// Certificate is x5t#S256, the SHA-256 of the client's certificate in
	// base64url: RFC 8705 section 3.1. Empty if there is none.
	Certificate string

	// Key is jkt, the thumbprint of the key of the client's proofs: RFC 9449
	// section 6.1. Empty if there is none.
	Key string

	// Other says that there are members that are neither.
	Other bool
}

// issuer is an Issuer made ready.
type issuer struct {
	Issuer
	leeway  time.Duration
	needExp bool
	missing []*Error // by Require
}

// Verifier verifies tokens. It may be used by many goroutines at once.
type Verifier struct {
	issuers map[string]*issuer
	only    *issuer // the issuer whose iss is not checked
	max     int
	cache   *cache
	revoked func(*Token) bool
}

// NewVerifier makes a Verifier for the tokens of issuers.
func NewVerifier(issuers []Issuer, o Options) (*Verifier, error) {
	if len(issuers) == 0 {
		return nil, errors.New("no issuer")
	}
	if o.Leeway < 0 || o.MaxTokenSize < 0 || o.Cache < 0 {
		return nil, errors.New("leeway, token size and cache size must not be negative")
	}
	v := &Verifier{
		issuers: make(map[string]*issuer, len(issuers)),
		max:     o.MaxTokenSize,
		revoked: o.Revoked,
	}
	if v.max == 0 {
		v.max = DefaultMaxTokenSize
	}
	for _, i := range issuers {
		iss, err := newIssuer(i, o)
		if err != nil {
			return nil, fmt.Errorf("issuer %q: %w", i.Name, err)
		}
		if _, dup := v.issuers[i.Name]; dup {
			return nil, fmt.Errorf("issuer %q: already configured", i.Name)
		}
		v.issuers[i.Name] = iss
	}
	if v.only = v.issuers[""]; v.only != nil && len(issuers) > 1 {
		return nil, errors.New("an issuer without a name must be the only one: nothing would tell its tokens from the others'")
	}
	if o.Cache > 0 {
		v.cache = newCache(o.Cache)
	}
	return v, nil
}

func newIssuer(i Issuer, o Options) (*issuer, error) {
	iss := &issuer{Issuer: i, leeway: o.Leeway, needExp: !o.AllowMissingExp}
	switch {
	case i.Keys == nil:
		return nil, errors.New("it has no keys")
	case i.AnyAudience && len(i.Audience) > 0:
		return nil, errors.New("an audience and any audience at once")
	case slices.Contains(i.Audience, ""):
		return nil, errors.New("an audience is empty")
	case i.MaxAge < 0:
		return nil, errors.New("the maximal age is negative")
	}
	for _, alg := range i.Algorithms {
		if _, ok := jwk.Supported([]byte(alg)); !ok {
			return nil, fmt.Errorf("algorithm %q is not supported", alg)
		}
	}
	if i.Subject == nil {
		iss.Subject = principal.Pointer{"sub"}
	}
	if i.Scopes == nil {
		iss.Scopes = []principal.Pointer{{"scope"}, {"scp"}}
	}
	for _, r := range i.Require {
		iss.missing = append(iss.missing, errClaim("claim "+r.Claim.String()+" does not meet `require`"))
	}
	iss.Type = strings.TrimPrefix(strings.ToLower(i.Type), "application/")
	for _, p := range slices.Concat([]principal.Pointer{iss.Subject}, iss.Roles, iss.Scopes, claimsOf(i.Require)) {
		if len(p) == 0 {
			return nil, errors.New("a claim pointer is empty")
		}
	}
	return iss, nil
}

func claimsOf(list []Requirement) (out []principal.Pointer) {
	for _, r := range list {
		out = append(out, r.Claim)
	}
	return out
}

// Verify returns the token that raw is, if it is good at the time now. A
// refusal is an *Error; an error that wraps ErrUnavailable, or the end of ctx,
// says nothing about the token.
func (v *Verifier) Verify(ctx context.Context, raw string, now time.Time) (*Token, error) {
	if len(raw) > v.max {
		return nil, errMalformed
	}
	var t *Token
	if v.cache != nil {
		t = v.cache.get(raw, nanos(now))
	}
	if t == nil {
		var err error
		if t, err = v.verify(ctx, raw, now); err != nil {
			return nil, err
		}
	}
	if v.revoked != nil && v.revoked(t) {
		return nil, errRevoked
	}
	return t, nil
}

// Stats returns counts for metrics.
func (v *Verifier) Stats() Stats {
	if v.cache == nil {
		return Stats{}
	}
	return v.cache.stats()
}

// verify is Verify without looking into the cache.
func (v *Verifier) verify(ctx context.Context, raw string, now time.Time) (*Token, error) {
	w := workPool.Get().(*work)
	defer workPool.Put(w)
	t, ok := w.split(raw)
	if !ok {
		return nil, errMalformed
	}
	if err := w.readHeader(&t, false); err != nil {
		return nil, err
	}
	c, ok := w.readClaims(&t)
	if !ok {
		return nil, errMalformed
	}
	iss, err := v.admit(&t, &c, now)
	if err != nil {
		return nil, err
	}
	// Asked before the keys are: if one leaves the set meanwhile, the entry
	// in the cache is of a generation that has passed.
	generation := iss.Keys.Generation()
	key, fault := t.check(ctx, iss.Keys)
	if fault != nil {
		return nil, fault
	}
	if v.cache != nil {
		raw = strings.Clone(raw) // it may be part of a larger text, such as all cookies
	}
	token, err := accept(&t, &c, iss, key, now, raw)
	if err != nil {
		return nil, err
	}
	if v.cache != nil {
		v.cache.put(raw, token, nanos(now), iss, generation)
	}
	return token, nil
}

// admit decides whether an unverified token is worth a signature check, and
// whose keys it has to be made with.
func (v *Verifier) admit(t *jws, c *claims, now time.Time) (*issuer, *Error) {
	iss := v.only
	if iss == nil {
		if iss = v.issuers[string(c.iss)]; iss == nil {
			return nil, errIssuer
		}
	}
	if len(iss.Algorithms) > 0 && !slices.Contains(iss.Algorithms, t.head.alg) {
		return nil, errAlgorithm
	}
	return iss, c.expiry(iss, now)
}

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

func (iss *issuer) acceptsType(typ []byte) bool {
	if iss.Type != "" {
		return sameType(typ, iss.Type)
	}
	return typ == nil || sameType(typ, "JWT") || sameType(typ, "at+jwt")
}

var (
	errSubject = errClaim("the claim that names the subject is missing or no identity")
	errRoles   = errClaim("a claim that holds roles is not a list of names")
	errScopes  = errClaim("a claim that holds scopes is not a list of names")
	errBinding = errClaim("cnf is not an object that names keys")
	errNames   = errClaim("iss or jti holds control characters")
)

// newToken takes out of the claims what a Token says outright. All its texts
// are in one string, however many there are.
func newToken(t *jws, c *claims, iss *issuer, key *jwk.Key, raw string) (*Token, *Error) {
	sub, ok := c.subject(iss)
	if !ok {
		return nil, errSubject
	}
	if !printable(c.iss) || !printable(c.jti) {
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

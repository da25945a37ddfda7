// Package token verifies JSON Web Tokens (RFC 7519) that are signed (RFC
// 7515), as RFC 8725 recommends, and remembers those it has verified.
//
// A token is verified only with keys of the issuer it names, only with the
// algorithm that a key is for, and only if there is no second way to read it:
// one spelling of base64url, one JSON text without duplicate names. Where a
// token says that its keys are (jku, x5u) is never looked at, and a token that
// brings its key along (jwk) is refused. After that, only the
// verified object is used.
package token

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// DefaultMaxTokenSize is the size of the largest token, in bytes, where
// Options name none.
const DefaultMaxTokenSize = 16 << 10

// Options are for the tokens of all issuers.
type Options struct {
	// Leeway is how far the clocks of issuers may be off. It is granted to
	// exp, nbf, iat and MaxAge.
	Leeway time.Duration

	// MaxTokenSize is the size of the largest token in bytes. Default:
	// DefaultMaxTokenSize.
	MaxTokenSize int

	// Cache is how many verified tokens to remember. 0 means none. An entry
	// takes less than 1 KiB and the size of the token.
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

	// Named is the iss of a token whose issuer has no name in the
	// configuration. It is what the token says: whoever has the key can say
	// anything, and it is not the Principal's Issuer unless a Requirement
	// lists it.
	Named string

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

// Verifier verifies tokens. It may be used by many goroutines at once.
type Verifier struct {
	issuers map[string]*issuer
	only    *issuer // the issuer whose iss is not checked
	max     int
	cache   *cache
	revoked func(*Token) bool
	padding bool // an issuer pads its tokens
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
		v.padding = v.padding || i.Padded
	}
	if v.only = v.issuers[""]; v.only != nil && len(issuers) > 1 {
		return nil, errors.New("an issuer without a name must be the only one: nothing would tell its tokens from the others'")
	}
	if o.Cache > 0 {
		v.cache = newCache(o.Cache)
	}
	return v, nil
}

// Verify returns the token that raw is, if it is good at the time now. A
// rejection is an *Error; an error that wraps ErrUnavailable, or the end of ctx,
// says nothing about the token.
func (v *Verifier) Verify(ctx context.Context, raw string, now time.Time) (*Token, error) {
	if len(raw) > v.max {
		return nil, errMalformed.because("the token has %d bytes, and at most %d are read", len(raw), v.max)
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
	t, ok := w.split(raw, v.padding)
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
	token, kept, err := accept(&t, &c, iss, key, now, raw)
	if err != nil {
		return nil, err
	}
	if v.cache != nil {
		v.cache.put(kept, token, nanos(now), iss, generation)
	}
	return token, nil
}

// admit decides whether an unverified token is worth a signature check, and
// whose keys it has to be made with.
func (v *Verifier) admit(t *jws, c *claims, now time.Time) (*issuer, *Error) {
	iss := v.only
	if iss == nil {
		if iss = v.issuers[string(c.iss)]; iss == nil {
			return nil, errIssuer.because("iss is %s, and must be %s", shown(c.iss), listed(slices.Sorted(maps.Keys(v.issuers))))
		}
	}
	if t.padded != iss.Padded {
		return nil, errMalformed.because("the parts of the token are padded, or are not, and the tokens of this issuer are otherwise")
	}
	if iss.Signer != "" && string(t.head.signer) != iss.Signer {
		return nil, errHeader.because("signer is %s, and must be %s", orMissing(t.head.signer), iss.Signer)
	}
	if len(iss.Algorithms) > 0 && !slices.Contains(iss.Algorithms, t.head.alg) {
		return nil, errAlgorithm.because("alg is %s, and must be %s", t.head.alg, listed(iss.Algorithms))
	}
	return iss, c.expiry(iss, now)
}

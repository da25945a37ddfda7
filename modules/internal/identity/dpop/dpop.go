// Package dpop checks that who carries a token also has the key it is bound
// to, or who asks for one the key that it shall be bound to: demonstrating
// proof of possession, RFC 9449, on the side of the servers.
package dpop

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/replay"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
)

// Algorithms are the signature algorithms of proofs, for the challenge
// (RFC 9449 section 7.1).
const Algorithms = "ES256 ES384 ES512 Ed25519 EdDSA PS256 PS384 PS512 RS256 RS384 RS512"

// ErrNonce says that the proof needs a nonce of ours and has none, or one that
// is too old: RFC 9449 section 9.
var ErrNonce = errors.New("the proof needs a fresh nonce")

// ErrProof is what errors.Is finds in every rejection of a proof but for ErrNonce
// and what a store says that cannot remember it (replay.ErrFull, or that it
// does not answer), and all that may be told to the client.
var ErrProof = errors.New("the proof is not accepted")

// Error is the reason why a proof is rejected.
type Error struct {
	// Reason says why, for the log alone. It holds nothing from the proof.
	Reason string
}

// Error returns what may be told to the client.
func (e *Error) Error() string { return ErrProof.Error() }

// Is makes every rejection an ErrProof.
func (e *Error) Is(target error) bool { return target == ErrProof }

// Request is what a proof has to be made for.
type Request struct {
	// Method is the method of the request.
	Method string

	// URL is its address, with scheme and host. Query and fragment do not
	// matter.
	URL string

	// Token is the access token that came with the proof and has been
	// verified, and Thumbprint the key that it is bound to (cnf.jkt).
	Token, Thumbprint string
}

// Checker checks proofs. It may be used by many goroutines at once.
type Checker struct {
	// MaxAge is how long after it was made a proof is accepted, and Leeway how
	// far the client's clock may be off.
	MaxAge, Leeway time.Duration

	// Used remembers proofs.
	Used replay.Store

	// Nonces makes and checks nonces. Nil means that none are asked for.
	Nonces *Nonces
}

// Check checks the one proof that came with an access token, as RFC 9449
// section 4.3 demands, whose numbers these are; that there is only one, which
// is number 1, is for the caller to see to.
func (c *Checker) Check(ctx context.Context, proof string, r Request, now time.Time) error {
	p, err := c.open(proof, r, now)
	if err != nil {
		return err
	}
	switch {
	case !same(p.AccessTokenHash, hash(r.Token)): // 12
		return &Error{"ath is of another token"}
	case r.Thumbprint == "" || !same(p.Thumbprint, r.Thumbprint):
		return &Error{"the token is bound to another key, or to none"}
	}
	// Who has not the key of the token needs no nonce: 10.
	if c.Nonces != nil && !c.Nonces.valid(p.Nonce, now) {
		return ErrNonce
	}
	// Last, so that nobody without a token and its key can fill the memory.
	return c.use(ctx, p, now)
}

// CheckKey checks the one proof that came with a request for a token (RFC 9449
// section 5), and returns the thumbprint of its key, which the token is to be
// bound to. Token and Thumbprint of the request do not matter.
func (c *Checker) CheckKey(ctx context.Context, proof string, r Request, now time.Time) (thumbprint string, err error) {
	p, err := c.open(proof, r, now)
	switch {
	case err != nil:
		return "", err
	case p.AccessTokenHash != "":
		return "", &Error{"ath is of a token, and none is used"}
	case c.Nonces != nil && !c.Nonces.valid(p.Nonce, now):
		return "", ErrNonce
	}
	return p.Thumbprint, c.use(ctx, p, now)
}

// open does the checks that need no token.
func (c *Checker) open(proof string, r Request, now time.Time) (*token.Proof, error) {
	p, err := token.OpenProof(proof) // 2 to 7
	if err != nil {
		return nil, &Error{"proof: " + err.Error()}
	}
	switch {
	case p.Method != r.Method: // 8
		return nil, &Error{"htm is another method"}
	case !sameURL(p.URI, r.URL): // 9
		return nil, &Error{"htu is another address"}
	case p.IssuedAt.After(now.Add(c.Leeway)): // 11
		return nil, &Error{"iat lies in the future"}
	case !now.Before(p.IssuedAt.Add(c.MaxAge + c.Leeway)):
		return nil, &Error{"iat is too long ago"}
	}
	return p, nil
}

// use notes that the proof has been used.
func (c *Checker) use(ctx context.Context, p *token.Proof, now time.Time) error {
	err := c.Used.Use(ctx, replay.Entry{
		Scope: p.Thumbprint, Value: p.ID, Made: p.IssuedAt, Until: p.IssuedAt.Add(c.MaxAge + c.Leeway),
	}, now)
	if errors.Is(err, replay.ErrReplayed) || errors.Is(err, replay.ErrOlder) {
		return &Error{"the proof: " + err.Error()}
	}
	return err
}

// hash is the ath of an access token, RFC 9449 section 4.2.
func hash(access string) string {
	sum := sha256.Sum256([]byte(access))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

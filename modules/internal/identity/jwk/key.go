// Package jwk holds the keys that verify signatures of tokens: keys given by
// an administrator, each pinned to one algorithm, and public key sets of
// RFC 7517.
//
// A key is admitted or it does not exist: what is too small, off its curve,
// meant for something else or contradicts itself is refused here, so that
// nobody who holds a Key has to ask again. Private keys are refused too. They
// have no business where signatures are only verified.
package jwk

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"time"
)

// Errors of Key.Verify.
var (
	// ErrAlgorithm says that the key is not for this algorithm.
	ErrAlgorithm = errors.New("key is not for this algorithm")
	// ErrSignature says that the signature is not one of this key over this text.
	ErrSignature = errors.New("signature does not verify")
)

// Key is one admitted key. It is immutable and may be used by many goroutines
// at once.
type Key struct {
	// ID is the key's kid. Empty if it has none.
	ID string

	// Alg is the one algorithm that the key is for. Empty means every
	// algorithm that fits the kind of key and its curve.
	Alg string

	// Note says what is odd about the key, which was admitted all the same.
	Note string

	// NotBefore and NotAfter are from when until when a key of a directory may be
	// used, zero where it does not say.
	NotBefore, NotAfter time.Time

	// Exactly one of these is set. public is an *rsa.PublicKey,
	// *ecdsa.PublicKey or ed25519.PublicKey.
	public crypto.PublicKey
	secret []byte

	algs []string // what fits the kind of key and its curve
}

// Algorithms returns the names of the algorithms that the key may verify.
func (k *Key) Algorithms() []string {
	if k.Alg != "" {
		if !slices.Contains(k.algs, k.Alg) {
			return nil
		}
		return []string{k.Alg}
	}
	return slices.Clone(k.algs)
}

// Fits reports whether the key may verify signatures made with alg. An
// algorithm of HMAC never fits a public key, and the other way round.
func (k *Key) Fits(alg string) bool {
	return (k.Alg == "" || k.Alg == alg) && slices.Contains(k.algs, alg)
}

// Symmetric reports whether the key is a shared secret: whoever can verify
// with it can also sign.
func (k *Key) Symmetric() bool { return k.secret != nil }

// Public returns the public key as *rsa.PublicKey, *ecdsa.PublicKey or
// ed25519.PublicKey. It is nil for a shared secret, which does not leave the
// Key. The caller must not change it.
func (k *Key) Public() any { return k.public }

// Verify checks that sig is a signature made by the key with alg over the text
// signed. It returns ErrAlgorithm or ErrSignature if not.
func (k *Key) Verify(alg, signed string, sig []byte) error {
	a := find(alg)
	if a == nil || !k.Fits(alg) {
		return ErrAlgorithm
	}
	var key any = k.secret
	if k.public != nil {
		key = k.public
	}
	if a.method.Verify(signed, sig, key) != nil {
		return ErrSignature
	}
	return nil
}

// Thumbprint returns the key's thumbprint, RFC 7638 with SHA-256, in
// base64url. It is empty for a shared secret: a hash of a secret lets whoever
// sees it guess the secret (RFC 7638 section 7).
func (k *Key) Thumbprint() string {
	if k.secret != nil {
		return ""
	}
	sum := sha256.Sum256(k.required())
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

package issuer

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Mint signs a token that expires after ttl. Claims are those beyond iss,
// iat, exp and jti, which are not the caller's to choose. typ is the token's
// type; empty means JWT.
func (i *Issuer) Mint(claims map[string]any, typ string, ttl time.Duration) (string, error) {
	raw, _, err := i.MintNamed(claims, typ, ttl)
	return raw, err
}

// MintNamed is Mint for who wants to know the ID of the token, its jti.
func (i *Issuer) MintNamed(claims map[string]any, typ string, ttl time.Duration) (raw, jti string, err error) {
	now := i.opts.Now()
	if ttl < time.Second {
		return "", "", errors.New("a token must live for one second at least")
	}
	if ttl > Keep {
		return "", "", fmt.Errorf("a token that lives longer than %v would outlive the key that verifies it", Keep)
	}
	for _, name := range []string{"iss", "iat", "exp", "jti"} {
		if _, ok := claims[name]; ok {
			return "", "", fmt.Errorf("the claim %s is set by the issuer", name)
		}
	}
	if typ == "" {
		typ = "JWT"
	}
	all := maps.Clone(claims)
	if all == nil {
		all = make(map[string]any)
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return "", "", err
	}
	all["iss"] = i.opts.Name
	all["iat"] = now.Unix()
	all["exp"] = now.Add(ttl).Unix()
	jti = base64.RawURLEncoding.EncodeToString(id)
	all["jti"] = jti
	s := i.signer(now)
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims(all))
	t.Header["kid"], t.Header["typ"] = s.public.ID, typ
	raw, err = t.SignedString(s.private)
	return raw, jti, err
}

// Signing returns the ID of the key that signs tokens now.
func (i *Issuer) Signing() string { return i.signer(i.opts.Now()).public.ID }

// signer returns the key that signs at the time now: the newest that has
// begun to.
func (i *Issuer) signer(now time.Time) signer {
	signers := i.current.Load().signers
	for n := len(signers) - 1; n > 0; n-- {
		if !signers[n].from.After(now) {
			return signers[n]
		}
	}
	return signers[0]
}

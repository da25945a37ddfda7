package jwtauth

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// Key is one key that verifies tokens, pinned to one algorithm: a token that
// names another is refused, so that a public key is never used as a secret.
//
// What the value says decides how it is read:
//
//   - `-----BEGIN …`: a public key or certificate in PEM
//   - `{"kty":…}`: a JWK
//   - `base64:…`: what follows is base64 of any of the kinds, or of the bytes
//     of a secret
//   - one placeholder, such as `{env.SECRET}` or `{file./run/secret}`: what it
//     stands for, read by these same rules, except that for HS256, HS384 and
//     HS512 anything else is the secret itself, byte for byte
//   - anything else, for HS256, HS384 and HS512: base64 of the secret
//   - anything else: the path of a file with any of the kinds; or, if it holds
//     nothing but the letters of base64, that (write ./name for a file with
//     such a name)
type Key struct {
	// The algorithm: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384,
	// ES512, EdDSA, HS256, HS384 or HS512.
	Algorithm string `json:"alg"`

	// The key. Secrets must be at least as long as the hash: 32, 48 or 64
	// bytes.
	Value string `json:"value"`
}

// load reads the key. Errors name the algorithm and where the value comes
// from, never the value.
func (k Key) load() (*jwk.Key, error) {
	if _, ok := jwk.Supported([]byte(k.Algorithm)); !ok {
		if len(k.Algorithm) > maxAlgorithm {
			return nil, errors.New("key: the algorithm is not supported; it is not shown here, since it may be a key")
		}
		return nil, fmt.Errorf("key: algorithm %q is not supported", k.Algorithm)
	}
	material := option.KeyMaterial{Value: k.Value, Secret: strings.HasPrefix(k.Algorithm, "HS")}
	text, err := material.Load(Name, "key "+k.Algorithm)
	if err != nil {
		return nil, err
	}
	key, err := jwk.Static(k.Algorithm, text)
	if err != nil {
		return nil, fmt.Errorf("key %s %s: %w", k.Algorithm, material.Source(), err)
	}
	return key, nil
}

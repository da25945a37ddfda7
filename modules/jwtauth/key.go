package jwtauth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/adapter"
	"github.com/caddy-moat/caddy-moat/modules/internal/jwk"
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

const maxKeyFile = 1 << 20

// placeholder is a text that is one placeholder and nothing else.
var placeholder = regexp.MustCompile(`^\{[A-Za-z][A-Za-z0-9_]*\.[^{}"]+\}$`)

// load reads the key. Errors name the algorithm and where the value comes
// from, never the value.
func (k Key) load() (*jwk.Key, error) {
	source := k.source()
	fail := func(err error) (*jwk.Key, error) {
		return nil, fmt.Errorf("key %s %s: %w", k.Algorithm, source, err)
	}
	if _, ok := jwk.Supported([]byte(k.Algorithm)); !ok {
		if len(k.Algorithm) > maxAlgorithm {
			return nil, errors.New("key: what stands in the place of the algorithm is none; it is not shown here, since it may be a key")
		}
		return nil, fmt.Errorf("key: algorithm %q is not supported", k.Algorithm)
	}
	text, resolved := k.Value, false
	if placeholder.MatchString(text) {
		var err error
		if text, err = adapter.Resolve(Name, "key "+k.Algorithm, text); err != nil {
			return nil, err
		}
		resolved = true
	}
	material, err := k.material(text, resolved)
	if err != nil {
		return fail(err)
	}
	if len(bytes.TrimSpace(material)) == 0 {
		return fail(errors.New("it is empty"))
	}
	key, err := jwk.Static(k.Algorithm, material)
	if err != nil {
		return fail(err)
	}
	return key, nil
}

// source says where the value comes from.
func (k Key) source() string {
	switch {
	case placeholder.MatchString(k.Value):
		return k.Value
	case k.isSecret() || inline(k.Value) || isBase64(k.Value) && k.Value[0] != '/':
		return "(written here)"
	}
	return k.Value
}

func (k Key) isSecret() bool { return strings.HasPrefix(k.Algorithm, "HS") }

const base64Prefix = "base64:"

// inline reports whether text says itself what it is.
func inline(text string) bool {
	text = strings.TrimSpace(text)
	return isPEM(text) || strings.HasPrefix(text, "{") || strings.HasPrefix(text, base64Prefix)
}

func isPEM(text string) bool { return strings.HasPrefix(text, "-----BEGIN") }

// isJWK reports whether text is a JSON object that says what kind of key it
// is. Whether it is a good one is for the engine to say.
func isJWK(text string) bool {
	var key struct {
		Type string `json:"kty"`
	}
	return strings.HasPrefix(text, "{") && strings.Contains(text, `"kty"`) && json.Unmarshal([]byte(text), &key) == nil && key.Type != ""
}

// material returns the bytes of the key that text stands for.
func (k Key) material(text string, resolved bool) ([]byte, error) {
	trimmed := strings.TrimSpace(text)
	switch {
	case strings.HasPrefix(trimmed, base64Prefix):
		return decodeBase64(strings.TrimPrefix(trimmed, base64Prefix))
	case k.isSecret() && resolved && !isJWK(trimmed) && !isPEM(trimmed):
		return []byte(text), nil
	case trimmed != "" && trimmed[0] == '{' && !isJWK(trimmed):
		// Never taken for a secret: it is meant to stand for one, and
		// anybody could guess it.
		return nil, errors.New("it is neither a JWK nor one placeholder: write {env.NAME} or {file./path} and nothing around it")
	case inline(trimmed):
		return []byte(trimmed), nil
	case k.isSecret():
		// Never taken for a path: an error would show it.
		if !isBase64(trimmed) {
			return nil, errors.New("a secret that is written out must be base64; for one in a variable or a file write {env.NAME} or {file./path}")
		}
		return decodeBase64(trimmed)
	case isBase64(trimmed) && trimmed[0] != '/':
		// base64 of a key does not begin with a slash: keys begin with the
		// tag of a sequence or with the text of PEM.
		return decodeBase64(trimmed)
	}
	return readKeyFile(trimmed)
}

// isBase64 reports whether text holds nothing but letters of base64 or
// base64url.
func isBase64(text string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_="
	return text != "" && strings.Trim(text, letters) == ""
}

// decodeBase64 decodes base64 or base64url, padded or not.
func decodeBase64(text string) ([]byte, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	enc := base64.RawStdEncoding
	if strings.ContainsAny(text, "-_") {
		enc = base64.RawURLEncoding
	}
	b, err := enc.DecodeString(text)
	if err != nil {
		return nil, errors.New("it is not base64; write ./ before the name of a file without an extension")
	}
	return b, nil
}

func readKeyFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxKeyFile {
		return nil, fmt.Errorf("the file is larger than %d bytes", maxKeyFile)
	}
	return b, nil
}

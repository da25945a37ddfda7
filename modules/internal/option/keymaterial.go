package option

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
)

// KeyMaterial is the value of an option that gives a key, public or secret.
// Its form decides how it is read:
//
//   - `-----BEGIN …`: a key or certificate in PEM
//   - `{"kty":…}`: a JWK
//   - `base64:…`: what follows is base64 of any of the kinds, or of the bytes
//     of a secret
//   - one placeholder, such as `{env.SECRET}` or `{file./run/secret}`: what it
//     stands for, read by these same rules, except that where a secret is
//     wanted anything else is the secret itself, byte for byte
//   - anything else, where a secret is wanted: base64 of the secret
//   - anything else: the path of a file with any of the kinds; or, if it holds
//     nothing but the letters of base64, that (write ./name for a file with
//     such a name)
type KeyMaterial struct {
	Value  string
	Secret bool // a shared secret is wanted
}

const maxKeyFile = 1 << 20

// onePlaceholder is a text that is one placeholder and nothing else.
var onePlaceholder = regexp.MustCompile(`^\{[A-Za-z][A-Za-z0-9_]*\.[^{}"]+\}$`)

// IsPlaceholder reports whether text is one placeholder and nothing else.
func IsPlaceholder(text string) bool { return onePlaceholder.MatchString(text) }

// Load reads the material. Errors never show it; the caller says where it comes
// from, see Source.
func (k KeyMaterial) Load(directive, option string) ([]byte, error) {
	text, resolved := k.Value, false
	if IsPlaceholder(text) {
		var err error
		if text, err = Resolve(directive, option, text); err != nil {
			return nil, err
		}
		resolved = true
	}
	material, err := keyBytes(text, k.Secret, resolved)
	if err == nil && len(bytes.TrimSpace(material)) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", option, k.Source(), err)
	}
	return material, nil
}

// Source says where the material comes from, and nothing of what it is.
func (k KeyMaterial) Source() string {
	switch {
	case IsPlaceholder(k.Value):
		return k.Value
	case k.Secret || inline(k.Value) || isBase64(k.Value) && k.Value[0] != '/':
		return "(written here)"
	}
	return k.Value
}

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

// keyBytes returns the bytes of the key that text stands for.
func keyBytes(text string, secret, resolved bool) ([]byte, error) {
	trimmed := strings.TrimSpace(text)
	switch {
	case strings.HasPrefix(trimmed, base64Prefix):
		return decodeBase64(strings.TrimPrefix(trimmed, base64Prefix))
	case secret && resolved && !isJWK(trimmed) && !isPEM(trimmed):
		return []byte(text), nil
	case trimmed != "" && trimmed[0] == '{' && !isJWK(trimmed):
		// Never taken for a secret: it is meant to stand for one, and
		// anybody could guess it.
		return nil, errors.New("it is neither a JWK nor one placeholder: write {env.NAME} or {file./path} and nothing around it")
	case inline(trimmed):
		return []byte(trimmed), nil
	case secret:
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
	return filewatch.Read(trimmed, maxKeyFile)
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

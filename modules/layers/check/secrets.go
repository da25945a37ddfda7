package check

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// published are secrets that stand in the documentation of something, or that
// everybody would try first. They are compared without regard to case.
var published = []string{
	"your-256-bit-secret", "your-384-bit-secret", "your-512-bit-secret", // jwt.io until 2024
	"a-string-secret-at-least-256-bits-long", "a-string-secret-at-least-384-bits-long", "a-string-secret-at-least-512-bits-long", // jwt.io since
	"a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
	"super-secret-jwt-token-with-at-least-32-characters-long", "your-super-secret-jwt-token-with-at-least-32-characters-long", // Supabase
	"d8pd5gogo-zepwz_cudxmwyvlclibbcjhhsx0bjc0uq", "4c97a1d5a7a5b6d95f5c4a0d3ba7ae5f",
	"your_jwt_secret", "your-jwt-secret", "your-secret-key", "your_secret_key", "jwt_secret", "jwt-secret", "jwtsecret", "mysecretkey", "my-secret-key", "my_secret_key",
	"secret", "secretkey", "secret-key", "secret_key", "supersecret", "super-secret", "changeme", "change-me", "change_me", "please-change-me", "password", "passw0rd", "default", "test", "example", "shhhhh", "keyboard cat",
	"404e635266556a586e3272357538782f413f4428472b4b6250645367566b5970", "thisisasecretkeythatisatleast32characterslong", "this-is-a-secret-key-that-is-at-least-32-characters-long",
	"whsec_mfkqr9gffwvnlk7ycfvn8wdoowlvryqo",                                   // Svix
	"it's a secret to everybody",                                               // GitHub's webhooks
	"0123456789abcdef0123456789abcdef", "abcdefghijklmnopqrstuvwxyz0123456789", // counting
}

// rfc7515 is the key of RFC 7515 appendix A.1, with which many libraries are
// tested.
const rfc7515 = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"

// leastBits is the entropy of a secret that cannot be guessed, as far as its
// characters tell: one of 32 random bytes has 150, of 32 hexadecimal digits 110.
const leastBits = 90

// secret is one that a configuration names.
type secret struct {
	option, text string
	at           spot
	site         *site
	long         bool // it must withstand guessing without asking the server
}

// secrets looks at every secret in the configuration. No text of a finding has
// one in it.
func (c *checker) secrets() {
	var all []secret
	for _, s := range c.sites {
		for _, h := range s.handlers {
			if h.name == "redact" {
				if key := into[struct {
					Key string `json:"hash_key"`
				}](h.raw).Key; key != "" && key != "internal" {
					all = append(all, secret{"hash_key", key, c.spot(h, "hash_key"), s, true})
				}
			}
			for _, p := range h.providers {
				all = append(all, c.secretsOf(h, p)...)
			}
		}
	}
	for _, s := range all {
		c.secret(s)
	}
}

func (c *checker) secretsOf(h *handler, p provider) []secret {
	m := into[methodConfig](p.raw)
	var all []secret
	keys := m.Keys
	for _, i := range m.Issuers {
		keys = append(keys, i.Keys...)
	}
	for _, k := range keys {
		if alg := strings.ToLower(k.Algorithm); strings.HasPrefix(alg, "hs") || strings.HasPrefix(alg, "hmac") {
			all = append(all, secret{"key " + k.Algorithm, k.Value, c.spot(h, "key", k.Value), h.site, true})
		}
	}
	if m.Introspection != nil && m.Introspection.Secret != "" {
		all = append(all, secret{"client_secret", m.Introspection.Secret, c.spot(h, m.Introspection.Secret), h.site, false})
	}
	if m.Pepper != "" {
		all = append(all, secret{"pepper", m.Pepper, c.spot(h, "pepper"), h.site, true})
	}
	for _, sender := range m.Senders {
		for _, text := range sender.Secrets {
			all = append(all, secret{"secret", text, c.spot(h, text), h.site, true})
		}
	}
	return all
}

func (c *checker) secret(s secret) {
	text := resolved(s.text)
	if option.IsPlaceholder(text) {
		return // not known here
	}
	written := text == s.text
	if !written {
		text = strings.TrimRight(text, "\r\n")
	}
	key := []byte(text)
	if all := readings(text); written || strings.HasPrefix(text, "base64:") {
		key = all[len(all)-1] // as the module reads it
	}
	switch {
	case isPublished(text):
		c.add("secret_published", s.at, s.site, s.option+" is an example from a manual or the first that anybody tries: whoever knows it can make credentials")
	case s.long && weak(key):
		c.add("secret_weak", s.at, s.site, s.option+" has few different characters, or is made of words: whoever has one credential can try secrets until one fits, millions a second")
	}
	if written {
		c.add("secret_written_out", s.at, s.site, s.option+" is written out here: it is in every backup and copy of this file, and in what the admin endpoint shows at /config/")
	}
}

// readings returns the texts that a secret may stand for: itself, and what it
// is base64 of.
func readings(text string) [][]byte {
	all := [][]byte{[]byte(text)}
	encoded := strings.TrimRight(strings.TrimPrefix(text, "base64:"), "=")
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := e.DecodeString(encoded); err == nil {
			all = append(all, b)
			break
		}
	}
	var jwk struct {
		K string `json:"k"`
	}
	if strings.HasPrefix(text, "{") && json.Unmarshal([]byte(text), &jwk) == nil && jwk.K != "" {
		if b, err := base64.RawURLEncoding.DecodeString(jwk.K); err == nil {
			all = append(all, b, []byte(jwk.K))
		}
	}
	return all
}

// isPublished reports whether a secret is a published one, also repeated until
// it was long enough.
func isPublished(text string) bool {
	for _, reading := range readings(text) {
		if string(reading) == rfc7515 {
			return true
		}
		lower := strings.ToLower(strings.TrimSpace(string(reading)))
		if slices.ContainsFunc(published, func(p string) bool { return lower == p || lower != "" && strings.ReplaceAll(lower, p, "") == "" }) {
			return true
		}
	}
	rfc, err := base64.RawURLEncoding.DecodeString(rfc7515)
	return err == nil && slices.ContainsFunc(readings(text), func(r []byte) bool { return bytes.Equal(r, rfc) })
}

// weak reports whether a secret can be guessed, as far as its characters tell.
func weak(secret []byte) bool {
	bits, different := entropy(secret)
	return bits < leastBits || different < 8 || guessable(secret)
}

func entropy(b []byte) (bits float64, different int) {
	var count [256]int
	for _, c := range b {
		count[c]++
	}
	for _, n := range count {
		if n > 0 {
			different++
			bits -= float64(n) * math.Log2(float64(n)/float64(len(b)))
		}
	}
	return bits, different
}

func printable(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c < ' ' || c > '~' })
}

// guessable reports whether a text is letters of one case with words' marks
// between them, as no generator of secrets writes it.
func guessable(b []byte) bool {
	if !printable(b) {
		return false
	}
	letters, vowels := 0, 0
	for _, c := range bytes.ToLower(b) {
		if c >= 'a' && c <= 'z' {
			letters++
		}
		if strings.IndexByte("aeiou", c) >= 0 {
			vowels++
		}
	}
	upper := bytes.ToUpper(b)
	one := bytes.Equal(upper, b) || bytes.Equal(bytes.ToLower(b), b)
	hex := !slices.ContainsFunc(bytes.ToLower(b), func(c byte) bool { return strings.IndexByte("0123456789abcdef", c) < 0 })
	return one && !hex && letters*10 >= len(b)*7 && vowels*10 >= letters*3
}

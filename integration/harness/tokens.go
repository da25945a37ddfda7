package harness

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/crypto/bcrypt"
)

// Signer makes tokens for a site that knows its public key.
type Signer struct {
	t      testing.TB
	Key    *rsa.PrivateKey
	Public string // PEM
}

// NewSigner makes a signer with an RSA key.
func NewSigner(t testing.TB) *Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return &Signer{t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}
}

// Claims returns good claims, with changes: a nil value removes a claim.
func Claims(changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": "https://id.test", "aud": "api", "sub": "alice",
		"exp": time.Now().Add(time.Hour).Unix(), "roles": []string{"clerk"},
	}
	for k, v := range changes {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	return c
}

// Good returns a token that is accepted.
func (s *Signer) Good() string { return s.Sign(nil, Claims(nil)) }

// Sign signs claims with RS256, with changes to the header.
func (s *Signer) Sign(header map[string]any, c map[string]any) string {
	s.t.Helper()
	tok := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims(c))
	for k, v := range header {
		tok.Header[k] = v
	}
	signed, err := tok.SignedString(s.Key)
	if err != nil {
		s.t.Fatal(err)
	}
	return signed
}

// HS256 signs claims with a secret.
func HS256(t testing.TB, secret string, c map[string]any) string {
	t.Helper()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(c)).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// Part encodes one part of a token.
func Part(v any) string {
	b, _ := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(b)
}

// Bearer returns the header line of a token.
func Bearer(tok string) string { return "Authorization: Bearer " + tok }

// BasicUser returns a line of basic_auth, with a hash that is quick to check.
func BasicUser(t testing.TB, name, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return name + " " + string(hash)
}

// Basic returns the header line of a user of basic_auth.
func Basic(name, password string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(name, password)
	return "Authorization: " + r.Header.Get("Authorization")
}

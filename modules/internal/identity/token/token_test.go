package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// now is the time of the tests: 2026-11-22T10:00:00Z.
var now = time.Unix(1795341600, 0)

// pair is a key to sign with and the same to verify with.
type pair struct {
	alg    string
	sign   any
	verify *jwk.Key
	public any // as golang-jwt takes it
}

const secret = "a secret that is long enough for every HMAC, HS512 among them: 64"

// families are one pair for each algorithm, made once.
var families = sync.OnceValue(func() map[string]pair {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	all := make(map[string]pair)
	add := func(alg string, sign, public any) {
		material, ok := sign.([]byte)
		if !ok {
			der, err := x509.MarshalPKIXPublicKey(public)
			if err != nil {
				panic(err)
			}
			material = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		}
		k, err := jwk.Static(alg, material)
		if err != nil {
			panic(err)
		}
		all[alg] = pair{alg, sign, k, public}
	}
	for _, alg := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"} {
		add(alg, rsaKey, &rsaKey.PublicKey)
	}
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		add(alg, k, &k.PublicKey)
	}
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	add("EdDSA", priv, pub)
	for _, alg := range []string{"HS256", "HS384", "HS512"} {
		add(alg, []byte(secret), []byte(secret))
	}
	return all
})

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// signParts signs header and claims as they stand.
func signParts(t testing.TB, p pair, header, payload string) string {
	t.Helper()
	text := b64(header) + "." + b64(payload)
	sig, err := jwt.GetSigningMethod(p.alg).Sign(text, p.sign)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// sign signs claims with the plainest header.
func sign(t testing.TB, p pair, payload string) string {
	t.Helper()
	return signParts(t, p, `{"alg":"`+p.alg+`","typ":"JWT"}`, payload)
}

func verifier(t testing.TB, o Options, issuers ...Issuer) *Verifier {
	t.Helper()
	v, err := NewVerifier(issuers, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

const issuerName = "https://id.example.com"

// standard is the issuer most tests use: one key, one audience.
func standard(p pair) Issuer {
	return Issuer{
		Name:     issuerName,
		Keys:     StaticKeys(p.verify),
		Audience: []string{"orders-api"},
		Roles:    []principal.Pointer{{"realm_access", "roles"}},
	}
}

// goodClaims is a token of ordinary size with everything in it.
const goodClaims = `{"iss":"https://id.example.com","sub":"3fa85f64-5717-4562-b3fc-2c963f66afa6","aud":["orders-api","account"],` +
	`"exp":1795342500,"nbf":1795341500,"iat":1795341500,"jti":"8b0b5f0e-6c0a-4a39-9d57-8f7a5c1f2d11","azp":"web","scope":"openid profile orders:read",` +
	`"realm_access":{"roles":["clerk","manager","offline_access"]},"resource_access":{"account":{"roles":["manage-account","view-profile"]}},` +
	`"email_verified":true,"name":"Alice Example","preferred_username":"alice","email":"alice@example.com","ten\u0061nt":9007199254740993}`

func reasonOf(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

func TestGoodTokenOfEveryAlgorithmIsAccepted(t *testing.T) {
	for alg, p := range families() {
		for _, entries := range []int{0, 10} {
			v := verifier(t, Options{Cache: entries}, standard(p))
			raw := sign(t, p, goodClaims)
			for range 2 {
				tok, err := v.Verify(context.Background(), raw, now)
				if err != nil {
					t.Fatalf("%s: %v", alg, err)
				}
				who := tok.Principal
				got := strings.Join([]string{who.ID, who.Issuer, who.Kind, who.TokenID, strings.Join(who.Roles, ","), strings.Join(who.Scopes, ",")}, "|")
				want := "3fa85f64-5717-4562-b3fc-2c963f66afa6|https://id.example.com|jwt|8b0b5f0e-6c0a-4a39-9d57-8f7a5c1f2d11|clerk,manager,offline_access|openid,profile,orders:read"
				if got != want {
					t.Errorf("%s: got %s, want %s", alg, got, want)
				}
				if tenant, _ := who.Claims.Lookup(principal.Pointer{"tenant"}); tenant != int64(9007199254740993) {
					t.Errorf("%s: tenant = %v", alg, tenant)
				}
				if !tok.Expires.Equal(time.Unix(1795342500, 0)) || !tok.IssuedAt.Equal(time.Unix(1795341500, 0)) || tok.Algorithm != alg {
					t.Errorf("%s: %+v", alg, tok)
				}
			}
			if entries > 0 && v.Stats() != (Stats{Hits: 1, Misses: 1, Entries: 1}) {
				t.Errorf("%s: %+v", alg, v.Stats())
			}
		}
	}
}

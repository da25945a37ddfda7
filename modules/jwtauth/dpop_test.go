package jwtauth

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// prover is a client with a key.
type prover struct {
	key ed25519.PrivateKey
	jwk string
}

func newProver(seed byte) prover {
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(seed), 32)))
	x := base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
	return prover{key, `{"kty":"OKP","crv":"Ed25519","x":"` + x + `"}`}
}

func (p prover) thumbprint(t *testing.T) string {
	t.Helper()
	k, err := jwk.Parse([]byte(p.jwk))
	if err != nil {
		t.Fatal(err)
	}
	return k.Thumbprint()
}

func (p prover) proof(raw string, changes claims) string {
	sum := sha256.Sum256([]byte(raw))
	b64 := base64.RawURLEncoding.EncodeToString
	all := claims{"jti": b64(sum[:4]), "htm": "GET", "htu": "https://example.com/orders", "iat": now.Unix(), "ath": b64(sum[:])}
	maps.Copy(all, changes)
	payload, _ := json.Marshal(all)
	signed := b64([]byte(`{"typ":"dpop+jwt","alg":"EdDSA","jwk":`+p.jwk+`}`)) + "." + b64(payload)
	return signed + "." + b64(ed25519.Sign(p.key, []byte(signed)))
}

func proved(raw string, proofs ...string) *http.Request {
	r := get("Authorization", "DPoP "+raw)
	r.TLS = &tls.ConnectionState{}
	r.Header["Dpop"] = proofs
	return r
}

func TestTokenBoundToAKeyNeedsAProofForTheRequest(t *testing.T) {
	alice, mallory := newProver('a'), newProver('m')
	raw := sign(t, claims{"cnf": claims{"jkt": alice.thumbprint(t)}})
	p := provider(t, shared+"bind dpop")
	good := func(id string) string { return alice.proof(raw, claims{"jti": id}) }

	want(t, p, proved(raw, good("1")), 0, "")
	for name, r := range map[string]*http.Request{
		"none":              proved(raw),
		"two":               proved(raw, good("2"), good("3")),
		"again":             proved(raw, good("1")),
		"another method":    proved(raw, alice.proof(raw, claims{"jti": "4", "htm": "POST"})),
		"another path":      proved(raw, alice.proof(raw, claims{"jti": "5", "htu": "https://example.com/other"})),
		"another token":     proved(raw, alice.proof("other", claims{"jti": "6"})),
		"another key":       proved(raw, mallory.proof(raw, claims{"jti": "7"})),
		"too old":           proved(raw, alice.proof(raw, claims{"jti": "8", "iat": now.Add(-2 * time.Minute).Unix()})),
		"an access token":   proved(raw, raw),
		"in another header": func() *http.Request { r := proved(raw); r.Header.Set("X-Dpop", good("9")); return r }(),
	} {
		t.Run(name, func(t *testing.T) { want(t, p, r, credential.Bad, codeProof) })
	}
	// The scheme Bearer is for tokens that anybody may carry.
	bearer := proved(raw, good("10"))
	bearer.Header.Set("Authorization", "Bearer "+raw)
	want(t, p, bearer, credential.Bad, credential.CodeInvalidToken)
	want(t, p, get(), credential.Missing, credential.CodeMissing)
	// Tokens that are bound to nothing, or in another way.
	for _, cnf := range []any{nil, claims{"x5t#S256": "x"}, claims{"jkt": alice.thumbprint(t), "x5t#S256": "x"}, claims{"jkt": alice.thumbprint(t), "kid": "x"}} {
		raw := sign(t, claims{"cnf": cnf})
		want(t, p, proved(raw, alice.proof(raw, claims{"jti": "11"})), credential.Bad, credential.CodeInvalidToken)
	}
	why := want(t, p, proved(raw), credential.Bad, codeProof)
	if got := p.Challenges(why)[0]; !strings.HasPrefix(got, `DPoP realm="restricted", algs="ES256 `) || !strings.Contains(got, `error="invalid_dpop_proof"`) {
		t.Errorf("got %s", got)
	}
	if got := p.Challenges(nil)[0]; strings.Contains(got, "error") || !strings.HasPrefix(got, "DPoP ") {
		t.Errorf("got %s", got)
	}
}

func TestProofIsOfTheAddressThatTheClientHasAskedFor(t *testing.T) {
	alice := newProver('a')
	raw := sign(t, claims{"cnf": claims{"jkt": alice.thumbprint(t)}})
	p := provider(t, shared+"bind dpop")
	n := 0
	request := func(htu string, change func(*http.Request)) *http.Request {
		n++
		r := proved(raw, alice.proof(raw, claims{"jti": string(rune('a' + n)), "htu": htu}))
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), new(caddyhttp.Server))
		change(r)
		return r
	}
	rewritten := func(r *http.Request) { r.URL.Path, r.Method = "/rewritten", http.MethodPost }
	want(t, p, request("https://example.com/orders", rewritten), 0, "")
	want(t, p, request("https://example.com/rewritten", rewritten), credential.Bad, codeProof)
	plain := func(r *http.Request) { r.TLS = nil }
	want(t, p, request("https://example.com/orders", plain), credential.Bad, codeProof)
	want(t, p, request("http://example.com/orders", plain), 0, "")
	behind := func(trusted bool) func(*http.Request) {
		return func(r *http.Request) {
			r.TLS = nil
			r.Host = "inner:8080"
			r.Header.Set("X-Forwarded-Proto", "https")
			r.Header.Set("X-Forwarded-Host", "example.com")
			reqctx.Vars(r)[caddyhttp.TrustedProxyVarKey] = trusted
		}
	}
	want(t, p, request("https://example.com/orders", behind(true)), 0, "")
	want(t, p, request("https://example.com/orders", behind(false)), credential.Bad, codeProof)
}

func TestUsedProofsSurviveAReload(t *testing.T) {
	t.Setenv("MOAT_SECRET", secret)
	alice := newProver('a')
	raw := sign(t, claims{"cnf": claims{"jkt": alice.thumbprint(t)}})
	ctx := testContext(t)
	first, err := load(t, ctx, shared+"bind dpop")
	if err != nil {
		t.Fatal(err)
	}
	r := proved(raw, alice.proof(raw, nil))
	want(t, first, r, 0, "")
	second, err := load(t, ctx, shared+"bind dpop\nrealm other\nleeway 10s")
	if err != nil {
		t.Fatal(err)
	}
	_ = first.Cleanup()
	want(t, second, r, credential.Bad, codeProof)
}

// TestUsedProofsStayUsedWhenTheLeewayGrows: the first would not have accepted
// the proof any more, and has forgotten it.
func TestUsedProofsStayUsedWhenTheLeewayGrows(t *testing.T) {
	t.Setenv("MOAT_SECRET", secret)
	alice := newProver('a')
	raw := sign(t, claims{"cnf": claims{"jkt": alice.thumbprint(t)}})
	ctx := testContext(t)
	first, err := load(t, ctx, shared+"bind dpop\nleeway 10s")
	if err != nil {
		t.Fatal(err)
	}
	used := proved(raw, alice.proof(raw, claims{"jti": "used"}))
	want(t, first, used, 0, "")
	second, err := load(t, ctx, shared+"bind dpop\nleeway 2m")
	if err != nil {
		t.Fatal(err)
	}
	_ = first.Cleanup()
	at := now
	second.now = func() time.Time { return at }
	for ; at.Before(now.Add(4 * time.Minute)); at = at.Add(10 * time.Second) {
		want(t, second, used, credential.Bad, codeProof)
	}
	// And there is such a thing as a proof that is that old and good.
	want(t, second, proved(raw, alice.proof(raw, claims{"jti": "new", "iat": at.Add(-170 * time.Second).Unix()})), 0, "")
}

func TestNonceIsGivenWithARefusal(t *testing.T) {
	alice := newProver('a')
	raw := sign(t, claims{"cnf": claims{"jkt": alice.thumbprint(t)}})
	p := provider(t, shared+"bind dpop nonce")
	why := want(t, p, proved(raw, alice.proof(raw, nil)), credential.Bad, codeNonce)
	nonce := why.Header.Get("DPoP-Nonce")
	if nonce == "" || !strings.Contains(p.Challenges(why)[0], `error="use_dpop_nonce"`) {
		t.Errorf("got %q, %q", nonce, p.Challenges(why))
	}
	want(t, p, proved(raw, alice.proof(raw, claims{"nonce": nonce})), 0, "")
	want(t, p, proved(raw, alice.proof(raw, claims{"jti": "2", "nonce": "x"})), credential.Bad, codeNonce)
	w := httptest.NewRecorder()
	if _, ok, err := p.Authenticate(w, proved(raw, alice.proof(raw, claims{"jti": "3"}))); ok || err != nil || w.Header().Get("DPoP-Nonce") == "" {
		t.Errorf("in Caddy's handler: %v, %v, %v", ok, err, w.Header())
	}
}

func TestStripRemovesTheProofToo(t *testing.T) {
	r := proved("x", "proof")
	provider(t, shared+"bind dpop\nstrip").Clean(r)
	if len(r.Header) != 0 {
		t.Errorf("got %v", r.Header)
	}
}

func TestBindingsThatCannotBeAreRefused(t *testing.T) {
	for _, p := range []*Provider{
		{Bind: []string{"dpop"}, From: []Source{{Cookie: "id"}}},
		{Bind: []string{"dpop"}, From: []Source{{Header: "Authorization", Scheme: "Bearer"}}},
		{Bind: []string{"dpop", "tls"}},
		{Bind: []string{"ip"}},
		{DPoPNonce: true},
		{Issuers: []*Issuer{nil}},
	} {
		p.Issuers = append(p.Issuers, &Issuer{})
		if p.compile() == nil {
			t.Errorf("%+v was accepted", p)
		}
	}
}

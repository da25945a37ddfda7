package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// certificate makes a self-signed client certificate.
func certificate(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestStolenTokenIsOfNoUseWithoutTheCertificate(t *testing.T) {
	s := harness.Start(t, `
{
	skip_install_trust
}
https://localhost:{$PORT} {
	tls internal {
		client_auth {
			mode request
		}
	}
	jwt_auth {
		issuer internal
		bind tls
	}
	respond "{http.auth.user.id}"
}
`)
	mine, other := certificate(t, "mine"), certificate(t, "other")
	sum := sha256.Sum256(mine.Certificate[0])
	bound := s.Token("--sub", "alice", "--claim", "/cnf/x5t#S256="+base64.RawURLEncoding.EncodeToString(sum[:]))
	for _, test := range []struct {
		name  string
		cert  *tls.Certificate
		token string
		want  int
	}{
		{"its own certificate", &mine, bound, 200},
		{"another certificate", &other, bound, 401},
		{"no certificate", nil, bound, 401},
		{"token that is not bound", &mine, s.Token("--sub", "alice"), 401},
	} {
		for _, protocol := range harness.Protocols {
			a := s.Send(s.ClientOver(protocol, test.cert, ""), "GET", "/", harness.Bearer(test.token))
			if a.StatusCode != test.want || !strings.HasPrefix(a.Proto, protocol) {
				t.Errorf("%s, %s: got %s %d %s", test.name, protocol, a.Proto, a.StatusCode, a.Body)
			}
		}
	}
}

func TestProofOfPossessionInTheBinary(t *testing.T) {
	harness.OverEachProtocol(t, func(t *testing.T, protocol string) { proofOfPossession(t, protocol) })
}

func proofOfPossession(t *testing.T, protocol string) {
	s := harness.StartOver(t, protocol, `
:{$PORT} {
	jwt_auth {
		issuer internal
		bind dpop nonce
	}
	rewrite * /behind
	respond "{http.auth.user.id} {uri}"
}
`)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	x := b64(key.Public().(ed25519.PublicKey))
	// RFC 7638 section 3.2: the members it takes, in their order.
	thumb := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + x + `"}`))
	tok := s.Token("--sub", "alice", "--claim", "/cnf/jkt="+b64(thumb[:]))
	hash := sha256.Sum256([]byte(tok))
	proof := func(id, path, nonce string) string {
		signed := harness.Part(map[string]any{"typ": "dpop+jwt", "alg": "EdDSA", "jwk": map[string]string{"kty": "OKP", "crv": "Ed25519", "x": x}}) + "." +
			harness.Part(map[string]any{
				"jti": id, "htm": "GET", "htu": s.Origin("PORT") + path, "iat": time.Now().Unix(),
				"ath": b64(hash[:]), "nonce": nonce,
			})
		return "DPoP: " + signed + "." + b64(ed25519.Sign(key, []byte(signed)))
	}
	dpop := "Authorization: DPoP " + tok
	a := s.Get("PORT", "/orders?a=1", dpop, proof("1", "/orders", "none"))
	nonce := a.Header.Get("DPoP-Nonce")
	if a.StatusCode != 401 || a.Code() != "use_dpop_nonce" || nonce == "" || !strings.Contains(a.Header.Get("WWW-Authenticate"), `DPoP realm="restricted", algs="`) {
		t.Fatalf("got %d %s %v", a.StatusCode, a.Body, a.Header)
	}
	good := proof("2", "/orders", nonce)
	if a := s.Get("PORT", "/orders?a=1", dpop, good); a.StatusCode != 200 || a.Body != "alice /behind?a=1" {
		t.Fatalf("got %d %s", a.StatusCode, a.Body)
	}
	for name, header := range map[string][]string{
		"the same proof":  {dpop, good},
		"two proofs":      {dpop, proof("3", "/orders", nonce), proof("4", "/orders", nonce)},
		"no proof":        {dpop},
		"another address": {dpop, proof("5", "/behind", nonce)},
		"as Bearer":       {harness.Bearer(tok), proof("6", "/orders", nonce)},
	} {
		if a := s.Get("PORT", "/orders?a=1", header...); a.StatusCode != 401 {
			t.Errorf("%s: got %d %s", name, a.StatusCode, a.Body)
		}
	}
	// What was used stays used, whatever is reloaded.
	if err := s.Reload(`
{
	metrics
}
:{$PORT} {
	jwt_auth {
		issuer internal
		bind dpop nonce
		leeway 10s
	}
	respond "again"
}
`); err != nil {
		t.Fatal(err)
	}
	if a := s.Get("PORT", "/orders", dpop, good); a.StatusCode != 401 || a.Code() != "invalid_dpop_proof" {
		t.Errorf("after a reload: got %d %s", a.StatusCode, a.Body)
	}
	if a := s.Get("PORT", "/orders", dpop, proof("7", "/orders", nonce)); a.StatusCode != 200 {
		t.Errorf("after a reload: got %d %s", a.StatusCode, a.Body)
	}
	metrics := harness.Fetch(t, http.DefaultClient, "http://"+s.Admin+"/metrics")
	for _, want := range []string{
		`caddy_moat_replay_entries{store="dpop"} 2`,
		`caddy_moat_replay_refused_total{reason="replayed",store="dpop"} 2`,
		`caddy_moat_replay_refused_total{reason="full",store="dpop"} 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

func TestOpaqueTokensInTheBinary(t *testing.T) {
	up := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if id, secret, _ := r.BasicAuth(); id != "moat" || secret != "s3cret" {
			w.WriteHeader(401)
			return
		}
		fmt.Fprintf(w, `{"active":%v,"sub":"alice","scope":"read"}`, r.FormValue("token") == "good")
	})
	s := harness.StartAll(t, `
:{$PORT} {
	jwt_auth {
		introspection {
			endpoint http://`+up+`
			client_id moat
			client_secret {env.CLIENT_SECRET}
		}
	}
	respond "{http.auth.user.id} {http.auth.user.scopes}"
}
`, "CLIENT_SECRET=s3cret")
	for _, protocol := range harness.Protocols {
		s := s.Over(protocol)
		if a := s.Get("PORT", "/", harness.Bearer("good")); a.StatusCode != 200 || a.Body != "alice read" {
			t.Errorf("%s: got %d %s", protocol, a.StatusCode, a.Body)
		}
		if a := s.Get("PORT", "/", harness.Bearer("bad")); a.StatusCode != 401 || a.Code() != "invalid_token" {
			t.Errorf("%s: got %d %s", protocol, a.StatusCode, a.Body)
		}
	}
	if strings.Contains(s.Log.String(), "s3cret") {
		t.Error("the log shows the secret")
	}
	// That it is down is not the token's fault.
	if err := s.Reload(`
:{$PORT} {
	jwt_auth {
		introspection {
			endpoint http://127.0.0.1:1
			client_id moat
			client_secret {env.CLIENT_SECRET}
		}
	}
	respond "{http.auth.user.id}"
}
`); err != nil {
		t.Fatal(err)
	}
	for _, protocol := range harness.Protocols {
		if a := s.Over(protocol).Get("PORT", "/", harness.Bearer("good")); a.StatusCode != 503 || a.Code() != "identity_provider_unavailable" || a.Header.Get("Retry-After") == "" || a.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("endpoint down, %s: got %d %s %v", protocol, a.StatusCode, a.Body, a.Header)
		}
	}
	if strings.Contains(s.Log.String(), "s3cret") {
		t.Error("the log shows the secret")
	}
}

// TestTokenMetricsAreThere sends over HTTP/1.1 alone: it counts.
func TestTokenMetricsAreThere(t *testing.T) {
	s := harness.Start(t, `
{
	metrics
}
:{$PORT} {
	jwt_auth {
		issuer internal
	}
	respond ok
}
:{$PORT2} {
	jwt_auth {
		issuer http://127.0.0.1:1
	}
	respond ok
}
`)
	tok := s.Token("--sub", "alice")
	for range 3 {
		s.Get("PORT", "/", harness.Bearer(tok))
	}
	s.Get("PORT", "/")
	resp, err := http.Get("http://" + s.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	for _, want := range []string{
		`caddy_moat_decisions_total{code="",layer="jwt_auth",result="allow"} 3`,
		`caddy_moat_decisions_total{code="missing_credentials",layer="jwt_auth",result="deny"} 1`,
		`caddy_moat_token_cache_hits_total 2`,
		`caddy_moat_token_verifications_total 1`,
		`caddy_moat_keyset_keys{source="http://127.0.0.1:1"} 0`,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %s", want)
		}
	}
}

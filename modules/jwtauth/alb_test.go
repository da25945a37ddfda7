package jwtauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
)

const (
	albName = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/site/50dc6c495c0c9188"
	albKid  = "8f4d2c1e-0b7a-4f53-9a0f-2f6f0f1c9b7d"
)

// balancer signs as a load balancer does, and serves its key.
type balancer struct {
	t     *testing.T
	key   *ecdsa.PrivateKey
	url   string
	asked atomic.Int32
	down  atomic.Bool
}

func newBalancer(t *testing.T) *balancer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{t: t, key: key}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.asked.Add(1)
		switch {
		case b.down.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path != "/keys/"+albKid:
			w.WriteHeader(http.StatusForbidden)
		default:
			_ = pem.Encode(w, &pem.Block{Type: "PUBLIC KEY", Bytes: der})
		}
	}))
	t.Cleanup(s.Close)
	b.url = s.URL + "/keys"
	return b
}

// sign makes a token with padding, and with more in its header and its claims.
func (b *balancer) sign(head, more claims) string {
	b.t.Helper()
	header := claims{"typ": "JWT", "kid": albKid, "alg": "ES256", "iss": "https://id.example.com", "client": "c", "signer": albName, "exp": now.Add(time.Minute).Unix()}
	payload := claims{"sub": "alice", "email": "alice@example.com", "iss": "https://id.example.com", "exp": now.Add(time.Minute).Unix()}
	var parts []string
	for _, p := range []struct{ all, more claims }{{header, head}, {payload, more}} {
		for name, v := range p.more {
			p.all[name] = v
		}
		text, err := json.Marshal(p.all)
		if err != nil {
			b.t.Fatal(err)
		}
		parts = append(parts, base64.URLEncoding.EncodeToString(text))
	}
	signed := strings.Join(parts, ".")
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, b.key, sum[:])
	if err != nil {
		b.t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return signed + "." + base64.URLEncoding.EncodeToString(sig)
}

func (b *balancer) provider() *Provider {
	return provider(b.t, fmt.Sprintf("issuer https://id.example.com {\nalb %s %s\n}\nfrom header X-Amzn-Oidc-Data\nfrom header Authorization\nstrip", albName, b.url))
}

func TestTokensOfALoadBalancer(t *testing.T) {
	b := newBalancer(t)
	p := b.provider()
	bad := credential.CodeInvalidToken
	good := b.sign(nil, nil)
	for name, c := range map[string]struct {
		token string
		code  string
	}{
		"good":                {good, ""},
		"other claims":        {b.sign(nil, claims{"name": "Łukasz", "roles": []string{"a"}}), ""},
		"other balancer":      {b.sign(claims{"signer": strings.Replace(albName, "/site/", "/other/", 1)}, nil), bad},
		"no signer":           {b.sign(claims{"signer": nil}, nil), bad},
		"signer in claims":    {b.sign(claims{"signer": nil}, claims{"signer": albName}), bad},
		"expired":             {b.sign(nil, claims{"exp": now.Add(-time.Hour).Unix()}), bad},
		"expired in head":     {b.sign(claims{"exp": 1}, claims{"exp": now.Add(-time.Hour).Unix()}), bad},
		"other issuer":        {b.sign(nil, claims{"iss": "https://evil.example"}), bad},
		"issuer in head":      {b.sign(nil, claims{"iss": nil}), bad},
		"HS256":               {b.sign(claims{"alg": "HS256"}, nil), bad},
		"none":                {b.sign(claims{"alg": "none"}, nil), bad},
		"no kid":              {b.sign(claims{"kid": nil}, nil), bad},
		"path in kid":         {b.sign(claims{"kid": "x/../" + albKid}, nil), bad},
		"query in kid":        {b.sign(claims{"kid": albKid + "?x"}, nil), bad},
		"unknown kid":         {b.sign(claims{"kid": "00000000-0b7a-4f53-9a0f-2f6f0f1c9b7d"}, nil), bad},
		"changed":             {strings.Replace(good, ".", "A.", 1), bad},
		"without padding":     {strings.ReplaceAll(good, "=", ""), bad},
		"without a signature": {good[:strings.LastIndex(good, ".")+1], bad},
		"of another balancer": {newBalancer(t).sign(nil, nil), bad},
	} {
		t.Run(name, func(t *testing.T) {
			r := get(albHeader, c.token)
			want(t, p, r, credential.Bad, c.code)
			if p.Clean(r); len(r.Header) > 0 {
				t.Errorf("the upstream sees %v", r.Header)
			}
		})
	}
	if n := b.asked.Load(); n != 2 {
		t.Errorf("the keys were asked for %d times", n)
	}
	want(t, p, get(albHeader, good, "Authorization", "Bearer "+good), credential.Malformed, credential.CodeInvalidRequest)
	want(t, p, get(albHeader, good, "X_amzn_oidc_data", good), credential.Malformed, credential.CodeInvalidRequest)
	// The set's state is there for the administrator.
	found := false
	for _, s := range keySets() {
		found = found || s.Source == b.url+"/" && len(s.Keys) == 1 && s.Keys[0] == albKid
	}
	if !found {
		t.Errorf("key sets: %+v", keySets())
	}
}

func TestALoadBalancerWhoseKeysCannotBeHad(t *testing.T) {
	b := newBalancer(t)
	p := b.provider()
	b.down.Store(true)
	want(t, p, get(albHeader, b.sign(nil, nil)), credential.Unavailable, credential.CodeUnavailable)
	b.down.Store(false)
	want(t, p, get(albHeader, b.sign(nil, nil)), credential.Bad, "")
}

func TestHeaderOfALoadBalancerWithoutOneIsDoubtful(t *testing.T) {
	p := provider(t, shared+"from header X-Amzn-Oidc-Data")
	if d, ok := p.albDoubt(); !ok || !strings.Contains(d.Text, "write alb <arn>") {
		t.Errorf("got %+v", d)
	}
	for _, block := range []string{shared, shared + "from header X-Token"} {
		if d, ok := provider(t, block).albDoubt(); ok {
			t.Errorf("%s: %+v", block, d)
		}
	}
}

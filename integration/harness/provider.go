package harness

import (
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Provider is an OpenID Connect provider that a test controls. Its URL, and each
// path below it, is an issuer.
type Provider struct {
	*httptest.Server
	mu      sync.Mutex
	Keys    map[string]*rsa.PublicKey // by kid
	Answer  http.HandlerFunc          // instead of the key set
	fetches int
}

// StartProvider starts a provider at an address, or at a free one if it is empty.
func StartProvider(t testing.TB, addr string) *Provider {
	t.Helper()
	p := &Provider{Keys: map[string]*rsa.PublicKey{}}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if realm, ok := strings.CutSuffix(r.URL.Path, "/.well-known/openid-configuration"); ok {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, p.URL+realm, p.URL+realm+"/keys")
		} else if strings.HasSuffix(r.URL.Path, "/keys") {
			p.ServeKeys(w, r)
		} else {
			http.NotFound(w, r)
		}
	})
	if addr == "" {
		p.Server = httptest.NewServer(handler)
	} else {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		p.Server = httptest.NewUnstartedServer(handler)
		p.Listener.Close()
		p.Listener = ln
		p.Start()
	}
	t.Cleanup(p.Close)
	return p
}

// ServeKeys writes the key set, or what Answer writes.
func (p *Provider) ServeKeys(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetches++
	if p.Answer != nil {
		p.Answer(w, r)
		return
	}
	var list []string
	b64 := base64.RawURLEncoding.EncodeToString
	for kid, k := range p.Keys {
		list = append(list, fmt.Sprintf(`{"kty":"RSA","use":"sig","alg":"RS256","kid":%q,"n":%q,"e":%q}`,
			kid, b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "max-age=3600")
	fmt.Fprintf(w, `{"keys":[%s]}`, strings.Join(list, ","))
}

// Set changes the provider while it runs.
func (p *Provider) Set(f func(*Provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

// Fetches returns how often the key set was requested.
func (p *Provider) Fetches() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

// Token signs a token of the provider.
func (p *Provider) Token(s *Signer, kid string) string {
	return s.Sign(map[string]any{"kid": kid}, Claims(map[string]any{"iss": p.URL}))
}

package integration

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
	"time"
)

// idp is an OpenID provider that a test controls.
type idp struct {
	*httptest.Server
	mu      sync.Mutex
	keys    map[string]*rsa.PublicKey // by kid
	answer  http.HandlerFunc          // instead of the key set
	fetches int
}

// startIDP starts a provider at an address, or at a free one if it is empty.
func startIDP(t testing.TB, addr string) *idp {
	t.Helper()
	p := &idp{keys: map[string]*rsa.PublicKey{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, p.URL, p.URL+"/keys")
	})
	mux.HandleFunc("GET /keys", p.serveKeys)
	if addr == "" {
		p.Server = httptest.NewServer(mux)
	} else {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		p.Server = httptest.NewUnstartedServer(mux)
		p.Listener.Close()
		p.Listener = ln
		p.Start()
	}
	t.Cleanup(p.Close)
	return p
}

func (p *idp) serveKeys(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetches++
	if p.answer != nil {
		p.answer(w, r)
		return
	}
	var list []string
	b64 := base64.RawURLEncoding.EncodeToString
	for kid, k := range p.keys {
		list = append(list, fmt.Sprintf(`{"kty":"RSA","use":"sig","alg":"RS256","kid":%q,"n":%q,"e":%q}`,
			kid, b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())))
	}
	w.Header().Set("Cache-Control", "max-age=3600")
	fmt.Fprintf(w, `{"keys":[%s]}`, strings.Join(list, ","))
}

func (p *idp) set(f func(*idp)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

func (p *idp) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

// token signs a token of the provider.
func (p *idp) token(s *signer, kid string) string {
	return s.sign(map[string]any{"kid": kid}, claims(map[string]any{"iss": p.URL}))
}

const idpSite = `
:{$PORT} {
	jwt_auth {
		issuer {env.IDP}
		audience api
	}
	respond "{http.auth.user.id}"
}
`

func bearer(tok string) string { return "Authorization: Bearer " + tok }

func TestKeysOfAProviderAreDiscoveredAndRotate(t *testing.T) {
	p := startIDP(t, "")
	one, two := newSigner(t), newSigner(t)
	p.keys["one"] = &one.key.PublicKey
	s := start(t, idpSite, "IDP="+p.URL)
	if a := s.get("PORT", "/", bearer(p.token(one, "one"))); a.StatusCode != 200 || a.body != "alice" {
		t.Fatalf("got %d %s", a.StatusCode, a.body)
	}
	p.set(func(p *idp) { p.keys["two"] = &two.key.PublicKey })
	if a := s.get("PORT", "/", bearer(p.token(two, "two"))); a.StatusCode != 200 {
		t.Errorf("rotated: got %d %s", a.StatusCode, a.body)
	}
	// A key set survives a reload: no request waits for it again.
	before := p.count()
	if err := s.reload(strings.Replace(idpSite, "respond \"", "respond \"again ", 1)); err != nil {
		t.Fatal(err)
	}
	if a := s.get("PORT", "/", bearer(p.token(one, "one"))); a.StatusCode != 200 || a.body != "again alice" {
		t.Errorf("reloaded: got %d %s", a.StatusCode, a.body)
	}
	if n := p.count(); n != before {
		t.Errorf("the reload fetched the keys again: %d fetches, %d before", n, before)
	}
}

func TestThousandTokensOfUnknownKeysCostTwoFetches(t *testing.T) {
	p := startIDP(t, "")
	one := newSigner(t)
	p.keys["one"] = &one.key.PublicKey
	s := start(t, idpSite, "IDP="+p.URL)
	if a := s.get("PORT", "/", bearer(p.token(one, "one"))); a.StatusCode != 200 {
		t.Fatalf("got %d %s", a.StatusCode, a.body)
	}
	good := p.token(one, "one")
	body := good[strings.IndexByte(good, '.'):]
	client := s.client()
	var wg sync.WaitGroup
	for n := range 10 {
		wg.Go(func() {
			for i := range 100 {
				req, _ := http.NewRequest("GET", "http://"+s.addr("PORT")+"/", nil)
				head := part(map[string]any{"alg": "RS256", "kid": fmt.Sprint("k", n, "-", i)})
				req.Header.Set("Authorization", "Bearer "+head+body)
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
				if resp.StatusCode != 401 {
					t.Errorf("got %d", resp.StatusCode)
				}
			}
		})
	}
	wg.Wait()
	if n := p.count(); n > 2 {
		t.Errorf("got %d fetches", n)
	}
}

func TestProviderThatIsDownIs503AndRecovers(t *testing.T) {
	addr := "127.0.0.1:" + freePorts(t, 1)[0]
	one := newSigner(t)
	s := start(t, idpSite, "IDP=http://"+addr) // starting while it is down works
	tok := one.sign(map[string]any{"kid": "one"}, claims(map[string]any{"iss": "http://" + addr}))
	a := s.get("PORT", "/", bearer(tok))
	if a.StatusCode != 503 || a.code() != "identity_provider_unavailable" || a.Header.Get("Retry-After") == "" || a.Header.Get("WWW-Authenticate") != "" {
		t.Errorf("got %d %s %v", a.StatusCode, a.body, a.Header)
	}
	if a := s.get("PORT", "/"); a.StatusCode != 401 || a.code() != "missing_credentials" {
		t.Errorf("without a token: got %d %s", a.StatusCode, a.body)
	}
	p := startIDP(t, addr)
	p.set(func(p *idp) { p.keys["one"] = &one.key.PublicKey })
	eventually(t, func() error {
		if a := s.get("PORT", "/", bearer(tok)); a.StatusCode != 200 {
			return fmt.Errorf("got %d %s", a.StatusCode, a.body)
		}
		return nil
	})
	// Down again: the keys stay in use, unknown ones cannot be judged.
	for name, answer := range map[string]http.HandlerFunc{
		"500":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"garbage": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"redirect": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://localhost:1/keys")
			w.WriteHeader(302)
		},
	} {
		p.set(func(p *idp) { p.answer = answer })
		if a := s.get("PORT", "/", bearer(tok)); a.StatusCode != 200 {
			t.Errorf("%s: got %d %s", name, a.StatusCode, a.body)
		}
	}
	if a := s.get("PORT", "/", bearer(p.token(one, "unknown"))); a.StatusCode != 503 {
		t.Errorf("unknown key while down: got %d %s", a.StatusCode, a.body)
	}
	p.Close()
	if a := s.get("PORT", "/", bearer(tok)); a.StatusCode != 200 {
		t.Errorf("gone: got %d %s", a.StatusCode, a.body)
	}
}

func TestSlowProviderDoesNotHoldUpKnownKeys(t *testing.T) {
	p := startIDP(t, "")
	one := newSigner(t)
	p.keys["one"] = &one.key.PublicKey
	s := start(t, idpSite, "IDP="+p.URL)
	tok := p.token(one, "one")
	if a := s.get("PORT", "/", bearer(tok)); a.StatusCode != 200 {
		t.Fatalf("got %d %s", a.StatusCode, a.body)
	}
	release := make(chan struct{})
	p.set(func(p *idp) { p.answer = func(http.ResponseWriter, *http.Request) { <-release } })
	done := make(chan int, 1)
	go func() { done <- s.get("PORT", "/", bearer(p.token(one, "unknown"))).StatusCode }()
	for range 50 {
		if a := s.get("PORT", "/", bearer(p.token(one, "one"))); a.StatusCode != 200 {
			t.Fatalf("got %d %s", a.StatusCode, a.body)
		}
	}
	select {
	case code := <-done:
		if code != 503 {
			t.Errorf("unknown key: got %d", code)
		}
	case <-time.After(patience):
		t.Error("a request with an unknown key waits for ever")
	}
	close(release)
}

func TestKeySetFileIsWatched(t *testing.T) {
	one, two := newSigner(t), newSigner(t)
	p := &idp{keys: map[string]*rsa.PublicKey{}}
	set := func(kid string, s *signer) string {
		p.keys = map[string]*rsa.PublicKey{kid: &s.key.PublicKey}
		w := httptest.NewRecorder()
		p.serveKeys(w, nil)
		return w.Body.String()
	}
	s := prepare(t, `
:{$PORT} {
	jwt_auth {
		issuer https://id.test {
			jwks keys.json
			audience api
		}
	}
	respond "{http.auth.user.id}"
}
`)
	s.write("keys.json", set("one", one))
	s.run()
	s.wait()
	old := one.sign(map[string]any{"kid": "one"}, claims(nil))
	if a := s.get("PORT", "/", bearer(old)); a.StatusCode != 200 {
		t.Fatalf("got %d %s", a.StatusCode, a.body)
	}
	s.write("keys.json", set("two", two))
	next := two.sign(map[string]any{"kid": "two"}, claims(nil))
	eventually(t, func() error {
		if a := s.get("PORT", "/", bearer(next)); a.StatusCode != 200 {
			return fmt.Errorf("got %d %s", a.StatusCode, a.body)
		}
		return nil
	})
	// The key that has left took the tokens that are remembered with it.
	if a := s.get("PORT", "/", bearer(old)); a.StatusCode != 401 {
		t.Errorf("got %d %s", a.StatusCode, a.body)
	}
}

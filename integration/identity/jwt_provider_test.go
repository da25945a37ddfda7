package identity

import (
	"crypto/rsa"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// idpSite is a site with the tokens of a provider. The tests of when its keys
// are fetched count or wait, and send over HTTP/1.1 alone.
const idpSite = `
:{$PORT} {
	jwt_auth {
		issuer {env.IDP}
		audience api
	}
	respond "{http.auth.user.id}"
}
`

func TestKeysOfAProviderAreDiscoveredAndRotate(t *testing.T) {
	p := harness.StartProvider(t, "")
	one, two := harness.NewSigner(t), harness.NewSigner(t)
	p.Keys["one"] = &one.Key.PublicKey
	s := harness.Start(t, idpSite, "IDP="+p.URL)
	if a := s.Get("PORT", "/", harness.Bearer(p.Token(one, "one"))); a.StatusCode != 200 || a.Body != "alice" {
		t.Fatalf("got %d %s", a.StatusCode, a.Body)
	}
	p.Set(func(p *harness.Provider) { p.Keys["two"] = &two.Key.PublicKey })
	if a := s.Get("PORT", "/", harness.Bearer(p.Token(two, "two"))); a.StatusCode != 200 {
		t.Errorf("rotated: got %d %s", a.StatusCode, a.Body)
	}
	// A key set survives a reload: no request waits for it again.
	before := p.Fetches()
	if err := s.Reload(strings.Replace(idpSite, "respond \"", "respond \"again ", 1)); err != nil {
		t.Fatal(err)
	}
	if a := s.Get("PORT", "/", harness.Bearer(p.Token(one, "one"))); a.StatusCode != 200 || a.Body != "again alice" {
		t.Errorf("reloaded: got %d %s", a.StatusCode, a.Body)
	}
	if n := p.Fetches(); n != before {
		t.Errorf("the reload fetched the keys again: %d fetches, %d before", n, before)
	}
}

func TestThousandTokensOfUnknownKeysCostTwoFetches(t *testing.T) {
	p := harness.StartProvider(t, "")
	one := harness.NewSigner(t)
	p.Keys["one"] = &one.Key.PublicKey
	s := harness.Start(t, idpSite, "IDP="+p.URL)
	if a := s.Get("PORT", "/", harness.Bearer(p.Token(one, "one"))); a.StatusCode != 200 {
		t.Fatalf("got %d %s", a.StatusCode, a.Body)
	}
	good := p.Token(one, "one")
	body := good[strings.IndexByte(good, '.'):]
	client := s.Client()
	var wg sync.WaitGroup
	for n := range 10 {
		wg.Go(func() {
			for i := range 100 {
				req, _ := http.NewRequest("GET", "http://"+s.Addr("PORT")+"/", nil)
				head := harness.Part(map[string]any{"alg": "RS256", "kid": fmt.Sprint("k", n, "-", i)})
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
	if n := p.Fetches(); n > 2 {
		t.Errorf("got %d fetches", n)
	}
}

func TestProviderThatIsDownIs503AndRecovers(t *testing.T) {
	addr := "127.0.0.1:" + harness.FreePorts(t, 1)[0]
	one := harness.NewSigner(t)
	s := harness.StartAll(t, idpSite, "IDP=http://"+addr) // starting while it is down works
	tok := one.Sign(map[string]any{"kid": "one"}, harness.Claims(map[string]any{"iss": "http://" + addr}))
	for _, protocol := range harness.Protocols {
		s := s.Over(protocol)
		a := s.Get("PORT", "/", harness.Bearer(tok))
		if a.StatusCode != 503 || a.Code() != "identity_provider_unavailable" || a.Header.Get("Retry-After") == "" || a.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("got %d %s %v", a.StatusCode, a.Body, a.Header)
		}
		if a := s.Get("PORT", "/"); a.StatusCode != 401 || a.Code() != "missing_credentials" {
			t.Errorf("without a token: got %d %s", a.StatusCode, a.Body)
		}
	}
	p := harness.StartProvider(t, addr)
	p.Set(func(p *harness.Provider) { p.Keys["one"] = &one.Key.PublicKey })
	harness.Eventually(t, func() error {
		if a := s.Get("PORT", "/", harness.Bearer(tok)); a.StatusCode != 200 {
			return fmt.Errorf("got %d %s", a.StatusCode, a.Body)
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
		p.Set(func(p *harness.Provider) { p.Answer = answer })
		if a := s.Get("PORT", "/", harness.Bearer(tok)); a.StatusCode != 200 {
			t.Errorf("%s: got %d %s", name, a.StatusCode, a.Body)
		}
	}
	if a := s.Get("PORT", "/", harness.Bearer(p.Token(one, "unknown"))); a.StatusCode != 503 {
		t.Errorf("unknown key while down: got %d %s", a.StatusCode, a.Body)
	}
	p.Close()
	if a := s.Get("PORT", "/", harness.Bearer(tok)); a.StatusCode != 200 {
		t.Errorf("gone: got %d %s", a.StatusCode, a.Body)
	}
}

func TestSlowProviderDoesNotHoldUpKnownKeys(t *testing.T) {
	p := harness.StartProvider(t, "")
	one := harness.NewSigner(t)
	p.Keys["one"] = &one.Key.PublicKey
	s := harness.Start(t, idpSite, "IDP="+p.URL)
	tok := p.Token(one, "one")
	if a := s.Get("PORT", "/", harness.Bearer(tok)); a.StatusCode != 200 {
		t.Fatalf("got %d %s", a.StatusCode, a.Body)
	}
	release := make(chan struct{})
	p.Set(func(p *harness.Provider) { p.Answer = func(http.ResponseWriter, *http.Request) { <-release } })
	done := make(chan int, 1)
	go func() { done <- s.Get("PORT", "/", harness.Bearer(p.Token(one, "unknown"))).StatusCode }()
	for range 50 {
		if a := s.Get("PORT", "/", harness.Bearer(p.Token(one, "one"))); a.StatusCode != 200 {
			t.Fatalf("got %d %s", a.StatusCode, a.Body)
		}
	}
	select {
	case code := <-done:
		if code != 503 {
			t.Errorf("unknown key: got %d", code)
		}
	case <-time.After(harness.Patience):
		t.Error("a request with an unknown key waits for ever")
	}
	close(release)
}

func TestKeySetFileIsWatched(t *testing.T) {
	one, two := harness.NewSigner(t), harness.NewSigner(t)
	p := &harness.Provider{Keys: map[string]*rsa.PublicKey{}}
	set := func(kid string, s *harness.Signer) string {
		p.Keys = map[string]*rsa.PublicKey{kid: &s.Key.PublicKey}
		w := httptest.NewRecorder()
		p.ServeKeys(w, nil)
		return w.Body.String()
	}
	s := harness.Prepare(t, `
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
	s.WriteFile("keys.json", set("one", one))
	s.Run()
	s.Wait()
	old := one.Sign(map[string]any{"kid": "one"}, harness.Claims(nil))
	if a := s.Get("PORT", "/", harness.Bearer(old)); a.StatusCode != 200 {
		t.Fatalf("got %d %s", a.StatusCode, a.Body)
	}
	s.WriteFile("keys.json", set("two", two))
	next := two.Sign(map[string]any{"kid": "two"}, harness.Claims(nil))
	harness.Eventually(t, func() error {
		if a := s.Get("PORT", "/", harness.Bearer(next)); a.StatusCode != 200 {
			return fmt.Errorf("got %d %s", a.StatusCode, a.Body)
		}
		return nil
	})
	// The key that has left took the tokens that are remembered with it.
	if a := s.Get("PORT", "/", harness.Bearer(old)); a.StatusCode != 401 {
		t.Errorf("got %d %s", a.StatusCode, a.Body)
	}
}

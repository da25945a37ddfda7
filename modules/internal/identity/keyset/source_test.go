package keyset

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestKeyThatWasMadeAnewUnderItsNameIsFetched is for a provider that keeps the
// key ID: the old key is known and verifies nothing any longer.
func TestKeyThatWasMadeAnewUnderItsNameIsFetched(t *testing.T) {
	p := &provider{body: jwks("a")}
	bubble(t, p, func(t *testing.T, s *Set, _ *journal) {
		wantKey(t, s, "a")
		if s.Refetch(t.Context()) {
			t.Error("the same keys are others")
		}
		p.set(func(p *provider) { p.body = strings.ReplaceAll(jwks("b"), `"b"`, `"a"`) })
		before, _ := s.Keys(t.Context(), "a", "EdDSA")
		for range 1000 {
			if s.Refetch(t.Context()) {
				t.Fatal("fetched twice within a while")
			}
		}
		if n := p.count(); n != 2 {
			t.Errorf("got %d fetches, want 2", n)
		}
		time.Sleep(demandEvery)
		if !s.Refetch(t.Context()) {
			t.Error("the new key is not fetched")
		}
		after, err := s.Keys(t.Context(), "a", "EdDSA")
		if err != nil || len(after) != 1 || after[0].Thumbprint() == before[0].Thumbprint() {
			t.Errorf("got %v, %v", after, err)
		}
	})
}

// TestHeaderGoesToTheNamedHostAlone holds that a discovery document cannot send
// the administrator's credential elsewhere.
func TestHeaderGoesToTheNamedHostAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[string]string{}
		value := "Bearer one"
		transport := roundTrip(func(r *http.Request) (*http.Response, error) {
			seen[r.URL.Host+r.URL.Path] = r.Header.Get("Authorization") + r.Header.Get("X-Api")
			body := jwks("a")
			if strings.Contains(r.URL.Path, "well-known") {
				body = `{"issuer":"https://id.example.com","jwks_uri":"https://keys.example.com/k"}`
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, Request: r, Body: io.NopCloser(strings.NewReader(body))}, nil
		})
		opts := Options{Transport: transport, Now: time.Now, Expand: func(text string) (string, error) {
			return strings.ReplaceAll(text, "{token}", value), nil
		}}
		header := "Authorization: {token}\nX-Api: x"
		f := newFetcher(Source{Issuer: "https://id.example.com", Header: header}, opts)
		if _, err := f.fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		if seen["id.example.com/.well-known/openid-configuration"] != "Bearer onex" || seen["keys.example.com/k"] != "" {
			t.Errorf("got %v", seen)
		}
		f = newFetcher(Source{URL: "https://k8s.example.com/keys", Header: header}, opts)
		for _, value = range []string{"Bearer one", "Bearer two"} {
			if _, err := f.fetch(t.Context()); err != nil || seen["k8s.example.com/keys"] != value+"x" {
				t.Errorf("got %v, %v", seen, err)
			}
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestPrivateAuthorityVouchesForTheProvider(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, jwks("a"))
	}))
	defer srv.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	s := Open(Source{URL: srv.URL, CA: ca}, Options{})
	defer s.Close()
	wantKey(t, s, "a")
}

func TestDiscoveryNamesTheOtherIssuer(t *testing.T) {
	p := pages{"https://id.example.com/.well-known/openid-configuration": `{"issuer":"https://id.example.com/","jwks_uri":"https://id.example.com/k"}`}
	_, err := newFetcher(Source{Issuer: "https://id.example.com"}, Options{Transport: p, Now: time.Now}).fetch(t.Context())
	if err == nil || !strings.Contains(err.Error(), `"https://id.example.com/"`) || !strings.Contains(err.Error(), `"https://id.example.com" is configured`) {
		t.Errorf("got %v", err)
	}
}

package keyset

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
)

// pages is a provider that serves documents by their address.
type pages map[string]string

func (p pages) RoundTrip(r *http.Request) (*http.Response, error) {
	body, ok := p[r.URL.String()]
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Request: r, Body: io.NopCloser(strings.NewReader(body))}
	if !ok {
		resp.StatusCode = 404
	}
	return resp, nil
}

func TestDiscoveryFindsTheKeysOfTheVeryIssuer(t *testing.T) {
	const oidc, oauth = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"
	for _, test := range []struct {
		name, issuer, at, doc, jwks string
		ok                          bool
	}{
		{"OpenID", "https://id.example.com", "https://id.example.com" + oidc, `{"issuer":"https://id.example.com","jwks_uri":"https://cdn.example.net/k"}`, "https://cdn.example.net/k", true},
		{"OpenID below a path", "https://id.example.com/realms/x", "https://id.example.com/realms/x" + oidc, `{"issuer":"https://id.example.com/realms/x","jwks_uri":"https://id.example.com/k"}`, "https://id.example.com/k", true},
		{"slash at the end", "https://id.example.com/", "https://id.example.com" + oidc, `{"issuer":"https://id.example.com/","jwks_uri":"https://id.example.com/k"}`, "https://id.example.com/k", true},
		{"OAuth", "https://id.example.com/t", "https://id.example.com" + oauth + "/t", `{"issuer":"https://id.example.com/t","jwks_uri":"https://id.example.com/k"}`, "https://id.example.com/k", true},
		{"loopback without TLS", "http://127.0.0.1:9000", "http://127.0.0.1:9000" + oidc, `{"issuer":"http://127.0.0.1:9000","jwks_uri":"http://localhost:9001/k"}`, "http://localhost:9001/k", true},
		{"http as written", "http://id.internal", "http://id.internal" + oidc, `{"issuer":"http://id.internal","jwks_uri":"http://id.internal/k"}`, "http://id.internal/k", true},

		{"another issuer", "https://id.example.com", "https://id.example.com" + oidc, `{"issuer":"https://evil.example.com","jwks_uri":"https://id.example.com/k"}`, "https://id.example.com/k", false},
		{"slash added", "https://id.example.com", "https://id.example.com" + oidc, `{"issuer":"https://id.example.com/","jwks_uri":"https://id.example.com/k"}`, "https://id.example.com/k", false},
		{"no issuer", "https://id.example.com", "https://id.example.com" + oidc, `{"jwks_uri":"https://id.example.com/k"}`, "https://id.example.com/k", false},
		{"no jwks_uri", "https://id.example.com", "https://id.example.com" + oidc, `{"issuer":"https://id.example.com"}`, "", false},
		{"keys without TLS", "https://id.example.com", "https://id.example.com" + oidc, `{"issuer":"https://id.example.com","jwks_uri":"http://id.example.com/k"}`, "http://id.example.com/k", false},
		{"keys on loopback without TLS", "https://id.example.com", "https://id.example.com" + oidc, `{"issuer":"https://id.example.com","jwks_uri":"http://127.0.0.1/k"}`, "http://127.0.0.1/k", false},
		{"http spreads to another host", "http://id.internal", "http://id.internal" + oidc, `{"issuer":"http://id.internal","jwks_uri":"http://other.internal/k"}`, "http://other.internal/k", false},
		{"keys in a file", "https://id.example.com", "https://id.example.com" + oidc, `{"issuer":"https://id.example.com","jwks_uri":"file:///etc/passwd"}`, "file:///etc/passwd", false},
		{"not JSON", "https://id.example.com", "https://id.example.com" + oidc, `<html>`, "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := Open(Source{Issuer: test.issuer}, Options{Transport: pages{test.at: test.doc, test.jwks: jwks("a")}})
				defer s.Close()
				if test.ok {
					wantKey(t, s, "a")
				} else {
					wantUnavailable(t, s, "a")
				}
			})
		})
	}
}

// TestDiscoveryDoesNotFollowElsewhere: who can answer for the issuer's host
// cannot name another host, nor leave TLS, as the place of its metadata.
func TestDiscoveryDoesNotFollowElsewhere(t *testing.T) {
	for name, location := range map[string]string{
		"another host":  "https://evil.example.com/.well-known/openid-configuration",
		"another port":  "https://id.example.com:8443/.well-known/openid-configuration",
		"without TLS":   "http://id.example.com/.well-known/openid-configuration",
		"a longer name": "https://id.example.com.evil.example/.well-known/openid-configuration",
		"a file":        "file:///etc/passwd",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &provider{redirect: location, body: `{"issuer":"https://id.example.com","jwks_uri":"https://id.example.com/k"}`}
				s := Open(Source{Issuer: "https://id.example.com"}, Options{Transport: p})
				defer s.Close()
				wantUnavailable(t, s, "a")
				for _, asked := range p.asked {
					if !strings.HasPrefix(asked, "https://id.example.com/") {
						t.Errorf("%s was asked", asked)
					}
				}
			})
		})
	}
}

// TestProviderThatNobodyVouchesForIsUnavailable serves keys over TLS with a
// certificate that no authority of this machine has signed.
func TestProviderThatNobodyVouchesForIsUnavailable(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, jwks("a"))
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	s := Open(Source{URL: srv.URL}, Options{})
	defer s.Close()
	wantUnavailable(t, s, "a")
	if st := s.Status(); !strings.Contains(st.Error, "certificate") {
		t.Errorf("got %+v", st)
	}
}

func TestKeySetThatHasMovedIsDiscoveredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const place = "https://id.example.com/.well-known/openid-configuration"
		p := pages{place: `{"issuer":"https://id.example.com","jwks_uri":"https://id.example.com/old"}`, "https://id.example.com/old": jwks("a")}
		f := newFetcher(Source{Issuer: "https://id.example.com"}, Options{Transport: p, Now: synctestNow})
		if _, err := f.fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
		delete(p, "https://id.example.com/old")
		p[place] = `{"issuer":"https://id.example.com","jwks_uri":"https://id.example.com/new"}`
		p["https://id.example.com/new"] = jwks("b")
		if _, err := f.fetch(t.Context()); err == nil {
			t.Error("the old place still has keys")
		}
		if got, err := f.fetch(t.Context()); err != nil || got.keys[0].ID != "b" {
			t.Errorf("got %v, error %v", got, err)
		}
	})
}

func TestSourcesThatCannotBeAreRefused(t *testing.T) {
	for _, good := range []Source{
		{URL: "https://id.example.com/keys?v=1"},
		{URL: "http://id.example.com/keys"},
		{Issuer: "https://id.example.com/a/b"},
		{Issuer: "http://[::1]:8080"},
	} {
		if err := good.Check(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, bad := range []Source{
		{},
		{URL: "id.example.com"},
		{URL: "ftp://id.example.com"},
		{URL: "https://"},
		{URL: "https:id"},
		{URL: "https://u:p@id.example.com"},
		{Issuer: "https://id.example.com?x=1"},
		{Issuer: "https://id.example.com?"},
		{Issuer: "https://id.example.com#f"},
		{Issuer: "https://id.example.com#"},
		{Issuer: "my issuer"},
		{URL: "https://id.example.com/%zz"},
	} {
		err := bad.Check()
		if err == nil {
			t.Errorf("%+v was accepted", bad)
		} else if strings.Contains(err.Error(), "u:p") {
			t.Errorf("%v shows a password", err)
		}
	}
}

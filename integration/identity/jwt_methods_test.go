package identity

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// basicHash is the bcrypt hash of "hiccup", of the lowest cost.
const basicHash = "$2a$04$MzlWlv2tZPwPfy/FvntOFOGXtyg6xTMLtIjkgIuSRnnDhrsik7Tfq"

func TestFirstMethodThatFitsDecides(t *testing.T) {
	s := harness.StartAll(t, `
:{$PORT} {
	auth {
		jwt_auth {
			issuer internal
		}
		basic {
			bob `+basicHash+`
		}
		forward sub X-User
	}
	respond "{http.auth.user.id} {http.request.header.X-User}"
}
:{$PORT2} {
	auth {
		jwt_auth {
			issuer internal
			from cookie id
		}
		jwt_auth {
			issuer internal
		}
		optional
	}
	respond "user {http.auth.user.id}"
}
`)
	tok := s.Token("--sub", "alice")
	const basic = "Authorization: Basic Ym9iOmhpY2N1cA=="
	for _, protocol := range harness.Protocols {
		s := s.Over(protocol)
		for name, test := range map[string]struct {
			header []string
			status int
			body   string
		}{
			"token":           {[]string{harness.Bearer(tok)}, 200, "alice alice"},
			"password":        {[]string{basic}, 200, "bob bob"},
			"bad token":       {[]string{harness.Bearer(tok + "x")}, 401, "invalid_token"},
			"bad password":    {[]string{"Authorization: Basic Ym9iOng="}, 401, "invalid_credentials"},
			"nothing":         {nil, 401, "missing_credentials"},
			"another scheme":  {[]string{"Authorization: Digest x"}, 401, "missing_credentials"},
			"both":            {[]string{harness.Bearer(tok), basic}, 400, "invalid_request"},
			"both, reordered": {[]string{basic, harness.Bearer(tok)}, 400, "invalid_request"},
		} {
			a := s.Get("PORT", "/", test.header...)
			got := a.Code()
			if a.StatusCode == 200 {
				got = a.Body
			}
			if a.StatusCode != test.status || got != test.body {
				t.Errorf("%s, %s: got %d %q, want %d %q", name, protocol, a.StatusCode, got, test.status, test.body)
			}
			challenges := a.Header.Values("WWW-Authenticate")
			switch {
			case a.StatusCode == 200 && len(challenges) > 0:
				t.Errorf("%s: a good answer asks for credentials: %q", name, challenges)
			case a.StatusCode == 401 && (len(challenges) != 2 || !strings.HasPrefix(challenges[0], "Bearer ") || !strings.HasPrefix(challenges[1], "Basic ")):
				t.Errorf("%s: challenges: %q", name, challenges)
			case test.body == "missing_credentials" && strings.Contains(challenges[0], "error="):
				t.Errorf("%s: an error without a credential: %q", name, challenges)
			}
		}
		// Two tokens in the places of two methods are one too many.
		if a := s.Get("PORT2", "/", harness.Bearer(tok), "Cookie: id="+tok); a.StatusCode != 400 || a.Code() != "invalid_request" {
			t.Errorf("two tokens: got %d %s", a.StatusCode, a.Body)
		}
		for _, h := range [][]string{{harness.Bearer(tok)}, {"Cookie: id=" + tok}} {
			if a := s.Get("PORT2", "/", h...); a.Body != "user alice" {
				t.Errorf("got %d %s", a.StatusCode, a.Body)
			}
		}
		if a := s.Get("PORT2", "/"); a.StatusCode != 200 || a.Body != "user " {
			t.Errorf("optional: got %d %q", a.StatusCode, a.Body)
		}
		if a := s.Get("PORT2", "/", harness.Bearer("x")); a.StatusCode != 401 {
			t.Errorf("optional with a bad token: got %d", a.StatusCode)
		}
	}
}

func TestUpstreamSeesIdentityAndNoCredential(t *testing.T) {
	seen := make(chan *http.Request, 1)
	up := harness.Upstream(t, func(_ http.ResponseWriter, r *http.Request) { seen <- r })
	s := harness.StartAll(t, `
:{$PORT} {
	jwt_auth /private* {
		issuer internal
		from header Authorization
		from cookie id
		from query token
		strip
		preflight
		forward sub X-User
		forward /n X-N
	}
	reverse_proxy `+up+`
}
`)
	tok := s.Token("--sub", "alice", "--claim", "n=9007199254740993")
	spoof := []string{"X-User: root", "x_user: root", "X.User: root", "X-N: 1"}
	for _, protocol := range harness.Protocols {
		s := s.Over(protocol)
		check := func(path, wantUser, wantN string, header ...string) *http.Request {
			t.Helper()
			a := s.Do("PORT", "GET", path, "", append(slices.Clone(spoof), header...)...)
			if a.StatusCode != 200 {
				t.Fatalf("%s: got %d %s", path, a.StatusCode, a.Body)
			}
			r := <-seen
			for name := range r.Header {
				if n := strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name)); n == "x-user" && name != "X-User" {
					t.Errorf("%s: the upstream saw %s", path, name)
				}
			}
			if r.Header.Get("X-User") != wantUser || r.Header.Get("X-N") != wantN || len(r.Header.Values("X-User")) > 1 {
				t.Errorf("%s: the upstream saw %q and %q", path, r.Header["X-User"], r.Header["X-N"])
			}
			if strings.Contains(fmt.Sprint(r.Header, r.URL), tok) {
				t.Errorf("%s: the upstream saw the token: %v %v", path, r.URL, r.Header)
			}
			return r
		}
		check("/private", "alice", "9007199254740993", harness.Bearer(tok))
		if r := check("/private", "alice", "9007199254740993", "Cookie: a=b; id="+tok+"; c=d"); r.Header.Get("Cookie") != "a=b; c=d" {
			t.Errorf("cookie: %q", r.Header.Get("Cookie"))
		}
		if r := check("/private?a=%31&token="+tok+"&b", "alice", "9007199254740993"); r.URL.RawQuery != "a=%31&b" {
			t.Errorf("query: %q", r.URL.RawQuery)
		}
		check("/public", "", "") // outside the matcher
		a := s.Do("PORT", "OPTIONS", "/private", "", append(slices.Clone(spoof), "Origin: https://a", "Access-Control-Request-Method: PUT")...)
		if a.StatusCode != 200 {
			t.Fatalf("preflight: got %d %s", a.StatusCode, a.Body)
		}
		if r := <-seen; r.Header.Get("X-User") != "" {
			t.Errorf("preflight: the upstream saw %q", r.Header["X-User"])
		}
		for _, method := range []string{"OPTIONS", "GET"} {
			if a := s.Do("PORT", method, "/private", "", "Origin: https://a"); a.StatusCode != 401 {
				t.Errorf("%s, %s: got %d", method, protocol, a.StatusCode)
			}
		}
	}
	// A trailer is a header that comes late.
	body := "POST /private HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-User, X-Sum\r\n" +
		harness.Bearer(tok) + "\r\n\r\n1\r\na\r\n0\r\nX-User: root\r\nX-Sum: 1\r\n\r\n"
	trailers := make(chan http.Header, 1)
	up2 := harness.Upstream(t, func(_ http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 10)
		for {
			if _, err := r.Body.Read(buf); err != nil {
				break
			}
		}
		trailers <- r.Trailer.Clone()
	})
	if err := s.Reload(`
:{$PORT} {
	jwt_auth {
		issuer internal
		forward sub X-User
	}
	reverse_proxy ` + up2 + `
}
`); err != nil {
		t.Fatal(err)
	}
	if a := harness.Raw(t, s.Addr("PORT"), body); a.StatusCode != 200 {
		t.Fatalf("trailer: got %d %s", a.StatusCode, a.Body)
	}
	if h := <-trailers; h.Get("X-User") != "" || h.Get("X-Sum") != "1" {
		t.Errorf("trailer: the upstream saw %v", h)
	}
	for _, protocol := range harness.Protocols[1:] {
		r := s.Over(protocol).Request("PORT", "POST", "/private", io.MultiReader(strings.NewReader("a")), harness.Bearer(tok))
		r.Trailer = http.Header{"X-User": {"root"}, "X-Sum": {"1"}}
		if a := s.Over(protocol).RoundTrip(r); a.StatusCode != 200 {
			t.Fatalf("trailer, %s: got %d %s", protocol, a.StatusCode, a.Body)
		}
		// quic-go puts the values into a request that Caddy has copied before.
		if h := <-trailers; len(h["X-User"]) > 0 || h.Get("X-Sum") != "1" && protocol != harness.HTTP3 {
			t.Errorf("trailer, %s: the upstream saw %v", protocol, h)
		}
	}
}

func TestErrorRoutesDecideThePage(t *testing.T) {
	s := harness.StartAll(t, `
:{$PORT} {
	jwt_auth {
		issuer internal
		realm "the \"api\""
	}
	respond ok
	handle_errors {
		respond "{http.error.status_code} {http.moat.code}"
	}
}
`)
	for _, protocol := range harness.Protocols {
		a := s.Over(protocol).Get("PORT", "/")
		if a.StatusCode != 401 || a.Body != "401 missing_credentials" {
			t.Errorf("%s: got %d %s", protocol, a.StatusCode, a.Body)
		}
		if got := a.Header.Get("WWW-Authenticate"); got != `Bearer realm="the \"api\""` {
			t.Errorf("%s: got %s", protocol, got)
		}
	}
}

func TestReloadsLeakNothing(t *testing.T) {
	p := harness.StartProvider(t, "")
	one := harness.NewSigner(t)
	p.Keys["one"] = &one.Key.PublicKey
	site := `
:{$PORT} {
	jwt_auth {
		issuer {env.IDP} {
			audience api
		}
		issuer internal
		revocations revoked.jsonl
	}
	respond "%d"
}
`
	s := harness.Prepare(t, fmt.Sprintf(site, 0), "IDP="+p.URL)
	s.WriteFile("revoked.jsonl", "")
	s.Run()
	s.Wait()
	before := s.Goroutines()
	for i := range 20 {
		if err := s.Reload(fmt.Sprintf(site, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	harness.Eventually(t, func() error {
		if n := s.Goroutines(); n > before+10 {
			return fmt.Errorf("%d goroutines, %d before 20 reloads", n, before)
		}
		return nil
	})
	if n := p.Fetches(); n > 1 {
		t.Errorf("20 reloads fetched the keys %d times", n)
	}
}

func TestWhatOnlyLoadingFindsKeepsTheRunningConfiguration(t *testing.T) {
	good := ":{$PORT} {\n\tjwt_auth {\n\t\tissuer internal\n\t}\n\trespond ok\n}\n"
	s := harness.Start(t, good)
	s.WriteFile("empty.pem", "")
	for option, parts := range map[string][]string{
		"key RS256 nowhere.pem":  {"jwt_auth", "key RS256", "nowhere.pem"},
		"key RS256 empty.pem":    {"jwt_auth", "key RS256", "empty.pem"},
		"key HS256 {env.UNSET}":  {"jwt_auth", "key HS256", "{env.UNSET}"},
		"key HS256 aHVudGVyMg==": {"jwt_auth", "key HS256", "too short"},
		"jwks nowhere.json":      {"jwt_auth", "jwks", "nowhere.json"},
	} {
		err := s.Reload(strings.Replace(good, "issuer internal", option, 1))
		if err == nil {
			t.Errorf("%s was loaded", option)
			continue
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: the error does not say %s: %v", option, part, err)
			}
		}
		if strings.Contains(err.Error(), "aHVudGVy") {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
	if a := s.Get("PORT", "/"); a.StatusCode != 401 {
		t.Errorf("the running configuration did not stay: %d %s", a.StatusCode, a.Body)
	}
}

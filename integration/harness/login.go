package harness

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// LoginProvider is an OpenID Connect provider for logins of browsers. Everybody who
// comes to it is logged in at once, as the test says.
type LoginProvider struct {
	*httptest.Server
	signer *Signer
	keys   *Provider

	mu      sync.Mutex
	Claims  map[string]any // of the next users, beside those of the protocol
	Answer  http.HandlerFunc
	NoIss   bool // no iss in responses, RFC 9207
	Life    time.Duration
	ID      func(claims map[string]any) // changes the claims of ID tokens
	Asked   url.Values                  // the parameters of the last authorization request
	Subject string                      // of userinfo, if it is another
	codes   map[string]grant
	refresh map[string]grant // by token
	used    map[string]bool  // refresh tokens that were rotated out
	renewed int
	reused  int
}

// grant is what a code or a refresh token stands for.
type grant struct {
	asked  url.Values
	claims map[string]any
}

// Client and its secret, as they are registered at a LoginProvider.
const (
	LoginClient = "app"
	LoginSecret = "a-secret-of-the-client"
)

// StartLoginProvider starts a provider. Its access tokens live for an hour.
func StartLoginProvider(t testing.TB) *LoginProvider {
	t.Helper()
	p := &LoginProvider{
		signer: NewSigner(t), keys: &Provider{Keys: map[string]*rsa.PublicKey{}}, Life: time.Hour,
		codes: map[string]grant{}, refresh: map[string]grant{}, used: map[string]bool{},
	}
	p.keys.Keys["1"] = &p.signer.Key.PublicKey
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, 200, map[string]any{
			"issuer": p.URL, "jwks_uri": p.URL + "/keys", "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token",
			"userinfo_endpoint": p.URL + "/userinfo", "end_session_endpoint": p.URL + "/logout",
			"authorization_response_iss_parameter_supported": !p.NoIss,
		})
	})
	mux.HandleFunc("/keys", p.keys.ServeKeys)
	mux.HandleFunc("/authorize", p.authorize)
	mux.HandleFunc("/token", p.token)
	mux.HandleFunc("/userinfo", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		writeJSON(w, 200, map[string]any{"sub": cmp.Or(p.Subject, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer access-token-of-")), "acr": "9", "team": "red"})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// Set changes the provider while it runs.
func (p *LoginProvider) Set(f func(*LoginProvider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

// Refreshes returns how often tokens were refreshed, and how often that was tried
// with a refresh token that had been used.
func (p *LoginProvider) Refreshes() (n, reused int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.renewed, p.reused
}

// Sign signs claims with the key of the provider.
func (p *LoginProvider) Sign(header, claims map[string]any) string {
	header = maps.Clone(header)
	if header == nil {
		header = map[string]any{}
	}
	header["kid"] = "1"
	return p.signer.Sign(header, claims)
}

// LogoutToken is a good logout token, with changes: a nil value removes a claim.
func (p *LoginProvider) LogoutToken(changes map[string]any) string {
	c := Claims(map[string]any{
		"iss": p.URL, "aud": LoginClient, "roles": nil, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "jti": rand.Text(),
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	})
	for k, v := range changes {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	return p.Sign(map[string]any{"typ": "logout+jwt"}, c)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (p *LoginProvider) authorize(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := r.URL.Query()
	p.Asked = q
	code := rand.Text()
	p.codes[code] = grant{q, maps.Clone(p.Claims)}
	back := url.Values{"code": {code}, "state": {q.Get("state")}}
	if !p.NoIss {
		back.Set("iss", p.URL)
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound) //nolint:gosec // a provider of tests
}

func (p *LoginProvider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Answer != nil {
		p.Answer(w, r)
		return
	}
	id, secret, _ := r.BasicAuth()
	if id != LoginClient || secret != LoginSecret {
		writeJSON(w, 401, map[string]any{"error": "invalid_client"})
		return
	}
	var g grant
	var ok bool
	switch r.FormValue("grant_type") {
	case "authorization_code":
		code := r.FormValue("code")
		g, ok = p.codes[code]
		delete(p.codes, code)
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		ok = ok && g.asked.Get("code_challenge_method") == "S256" && g.asked.Get("code_challenge") == base64.RawURLEncoding.EncodeToString(sum[:]) &&
			g.asked.Get("redirect_uri") == r.FormValue("redirect_uri")
	case "refresh_token":
		old := r.FormValue("refresh_token")
		if g, ok = p.refresh[old]; ok {
			delete(p.refresh, old)
			p.used[old] = true
			p.renewed++
		} else if p.used[old] {
			p.reused++
		}
	}
	if !ok {
		writeJSON(w, 400, map[string]any{"error": "invalid_grant"})
		return
	}
	claims := Claims(map[string]any{
		"iss": p.URL, "aud": LoginClient, "nonce": g.asked.Get("nonce"), "iat": time.Now().Unix(), "auth_time": time.Now().Unix(),
	})
	maps.Copy(claims, g.claims)
	if p.ID != nil {
		p.ID(claims)
	}
	refresh := "refresh-token-" + rand.Text()
	p.refresh[refresh] = g
	sub, _ := claims["sub"].(string)
	writeJSON(w, 200, map[string]any{
		"access_token": "access-token-of-" + sub, "token_type": "Bearer", "expires_in": max(int(p.Life/time.Second), 1),
		"refresh_token": refresh, "id_token": p.Sign(nil, claims), "scope": g.asked.Get("scope"),
	})
}

// Browser is one that has cookies and goes where it is sent.
type Browser struct {
	t       testing.TB
	server  *Server
	port    string
	Cookies map[string]string
}

// NewBrowser returns a browser without cookies that looks at a server.
func NewBrowser(t testing.TB, s *Server, port string) *Browser {
	return &Browser{t, s, port, map[string]string{}}
}

// Page asks for a page, as when its address is typed in.
func (b *Browser) Page(path string, header ...string) *Response {
	b.t.Helper()
	return b.Do("GET", path, "", append([]string{"Sec-Fetch-Dest: document", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: none", "Accept: text/html"}, header...)...)
}

// Do sends a request with the cookies of the browser, and keeps those of the
// response.
func (b *Browser) Do(method, path, body string, header ...string) *Response {
	b.t.Helper()
	pairs := make([]string, 0, len(b.Cookies))
	for name, value := range b.Cookies {
		pairs = append(pairs, name+"="+value)
	}
	if len(pairs) > 0 {
		header = append([]string{"Cookie: " + strings.Join(pairs, "; ")}, header...)
	}
	r := b.server.Do(b.port, method, path, body, header...)
	for _, c := range (&http.Response{Header: r.Header}).Cookies() {
		if c.MaxAge < 0 || c.Value == "" {
			delete(b.Cookies, c.Name)
			continue
		}
		b.Cookies[c.Name] = c.Value
	}
	return r
}

// AtProvider goes to where the response of a login sends the browser, and returns
// the path and query that the provider sends it back to.
func (b *Browser) AtProvider(r *Response) string {
	b.t.Helper()
	if r.StatusCode != http.StatusSeeOther {
		b.t.Fatalf("not sent to the provider: %d %s", r.StatusCode, r.Body)
	}
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Get(r.Header.Get("Location"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	u, err := resp.Location()
	if err != nil {
		b.t.Fatalf("the provider responds with %d: %v", resp.StatusCode, err)
	}
	return u.RequestURI()
}

// Login opens a page, logs in and returns the response to the callback.
func (b *Browser) Login(path string) *Response {
	b.t.Helper()
	return b.Page(b.AtProvider(b.Page(path)), "Sec-Fetch-Site: cross-site")
}

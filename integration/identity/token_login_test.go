package identity

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

const loginSites = `
{
	storage file_system {$STORE}
}
http://:{$PORT} {
	audit trail.audit
	token_server {
		issuer http://127.0.0.1:{$PORT}
		clients clients.jsonl
		users users.jsonl
	}
}
http://:{$PORT2} {
	jwt_auth {
		issuer internal {
			name http://127.0.0.1:{$PORT}
			audience orders
		}
	}
	respond "{http.auth.user.id} {http.auth.user.roles} {http.auth.user.scopes}"
}
`

const (
	callback      = "https://app.example.com/callback"
	alicePassword = "correct horse battery"
	pkceVerifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)

// browser is a client that keeps cookies and follows no redirects.
type browser struct {
	*http.Client
	t    testing.TB
	base string
}

func newBrowser(t testing.TB, s *harness.Server) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{&http.Client{
		Jar: jar, Timeout: harness.Patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, t, "http://127.0.0.1:" + s.Ports["PORT"]}
}

func (b *browser) send(method, path, body string, header ...string) (*http.Response, string) {
	b.t.Helper()
	r, err := http.NewRequest(method, b.base+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp, string(text)
}

// request is the address of a request for authorization.
func authorizePath(change map[string]string) string {
	sum := sha256.Sum256([]byte(pkceVerifier))
	v := url.Values{
		"response_type": {"code"}, "client_id": {"app"}, "redirect_uri": {callback}, "state": {"xyz"}, "scope": {"orders:read"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	for name, value := range change {
		if v.Set(name, value); value == "" {
			v.Del(name)
		}
	}
	return "/authorize?" + v.Encode()
}

var sealedField = regexp.MustCompile(`name="request" value="([^"]*)"`)

// page returns the form of the login page, filled in.
func (b *browser) page(user, password, code string) url.Values {
	b.t.Helper()
	return b.pageAt(authorizePath(nil), user, password, code)
}

func (b *browser) pageAt(path, user, password, code string) url.Values {
	b.t.Helper()
	resp, body := b.send("GET", path, "")
	m := sealedField.FindStringSubmatch(body)
	if resp.StatusCode != 200 || m == nil {
		b.t.Fatalf("got %d %s", resp.StatusCode, body)
	}
	return url.Values{"request": {html.UnescapeString(m[1])}, "user": {user}, "password": {password}, "code": {code}, "action": {"allow"}}
}

// code logs in and returns the code that the browser is sent back with.
func (b *browser) code(user, password, factor string) string {
	b.t.Helper()
	return b.codeAt(authorizePath(nil), user, password, factor)
}

func (b *browser) codeAt(path, user, password, factor string) string {
	b.t.Helper()
	resp, body := b.send("POST", "/authorize", b.pageAt(path, user, password, factor).Encode(), "Origin: "+b.base, "Sec-Fetch-Site: same-origin")
	at, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || resp.StatusCode != 303 || !strings.HasPrefix(at.String(), callback+"?") || at.Query().Get("state") != "xyz" || at.Query().Get("iss") != b.base {
		b.t.Fatalf("got %d %s %s", resp.StatusCode, resp.Header, body)
	}
	return at.Query().Get("code")
}

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Error   string `json:"error"`
}

func (b *browser) tokens(pairs ...string) (int, tokens) {
	v := url.Values{"client_id": {"app"}}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	resp, body := b.send("POST", "/token", v.Encode())
	var doc tokens
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		b.t.Errorf("got %d %s", resp.StatusCode, body)
	}
	return resp.StatusCode, doc
}

func (b *browser) redeem(code string) (int, tokens) {
	return b.tokens("grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", pkceVerifier)
}

func (b *browser) refresh(token string) (int, tokens) {
	return b.tokens("grant_type", "refresh_token", "refresh_token", token)
}

// loginServer starts a token server with the public client app and the user alice.
func loginServer(t *testing.T) *harness.Server {
	t.Helper()
	s := harness.PrepareAll(t, loginSites, "STORE="+t.TempDir())
	s.NewClient("app", "--public", "--name", "The <App>", "--redirect", callback, "--audience", "orders", "--scope", "orders:read", "--scope", "orders:write")
	withPassword(t, s, alicePassword, "new", "--id", "alice", "--role", "clerk")
	s.Run()
	s.Wait()
	return s
}

// withPassword runs `caddy moat user` with a password on standard input.
func withPassword(t testing.TB, s *harness.Server, password string, args ...string) {
	t.Helper()
	cmd := exec.Command(s.Binary, append([]string{"moat", "user"}, args...)...)
	cmd.Dir, cmd.Env, cmd.Stdin = s.WorkDir, s.Env, strings.NewReader(password+"\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestUserLogsInWithoutScript(t *testing.T) {
	s := loginServer(t)
	b := newBrowser(t, s)
	resp, body := b.send("GET", authorizePath(nil), "")
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Content-Language": "en",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	csp := resp.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self' https://app.example.com"} {
		if !strings.Contains(csp, want) {
			t.Errorf("the policy is %s", csp)
		}
	}
	if strings.Contains(body, "<script") || strings.Contains(body, "The <App>") || !strings.Contains(body, "The &lt;App&gt;") || !strings.Contains(body, "orders:read") {
		t.Errorf("the page is %s", body)
	}
	if c := resp.Cookies(); len(c) != 1 || !c[0].HttpOnly || c[0].SameSite != http.SameSiteLaxMode {
		t.Errorf("cookies %v", c)
	}
	for accept, want := range map[string]string{"zh-CN,zh;q=0.9,en;q=0.8": "zh", "de,en;q=0.5,zh;q=0.4": "en", "fr": "en", "": "en"} {
		if resp, body := b.send("GET", authorizePath(nil), "", "Accept-Language: "+accept); resp.Header.Get("Content-Language") != want || !strings.Contains(body, `<html lang="`+want+`">`) {
			t.Errorf("%s: got %s", accept, resp.Header.Get("Content-Language"))
		}
	}

	status, doc := b.redeem(b.code("alice", alicePassword, ""))
	if status != 200 || doc.Refresh == "" {
		t.Fatalf("got %d %+v", status, doc)
	}
	s.Get("PORT2", "/", harness.Bearer(doc.Access)).Want(t, 200, "alice clerk orders:read")
	// A restart keeps the login.
	s.Stop()
	s.Run()
	s.Wait()
	status, next := b.refresh(doc.Refresh)
	if status != 200 || next.Refresh == doc.Refresh {
		t.Fatalf("after a restart: got %d %+v", status, next)
	}
	s.Get("PORT2", "/", harness.Bearer(next.Access)).Want(t, 200, "alice clerk orders:read")
	trail := s.TrailText("trail.audit")
	for _, secret := range []string{alicePassword, "correct+horse", doc.Refresh, next.Refresh, pkceVerifier} {
		if strings.Contains(trail, secret) || strings.Contains(s.Log.String(), secret) {
			t.Errorf("%s stands in the trail or the log", secret)
		}
	}
	// Another password ends the login.
	withPassword(t, s, "another horse battery", "passwd", "alice")
	harness.Eventually(t, func() error {
		if status, again := b.refresh(next.Refresh); status != 400 {
			next = again
			return fmt.Errorf("got %d", status)
		}
		return nil
	})
}

func TestLoginPageRefusesWhatComesFromElsewhere(t *testing.T) {
	s := loginServer(t)
	b := newBrowser(t, s)
	good := b.page("alice", alicePassword, "")
	other := newBrowser(t, s)
	for what, c := range map[string]struct {
		b      *browser
		form   url.Values
		header []string
		status int
	}{
		"another browser":        {other, good, nil, 400},
		"another origin":         {b, good, []string{"Origin: https://evil.example"}, 403},
		"no origin at all":       {b, good, []string{"Origin: null"}, 403},
		"another site":           {b, good, []string{"Sec-Fetch-Site: cross-site"}, 403},
		"another host":           {b, good, []string{"Sec-Fetch-Site: same-site"}, 403},
		"a request that is made": {b, url.Values{"request": {"AAAA"}, "user": {"alice"}, "password": {alicePassword}}, nil, 400},
		"no request":             {b, url.Values{"user": {"alice"}, "password": {alicePassword}}, nil, 400},
	} {
		resp, body := c.b.send("POST", "/authorize", c.form.Encode(), c.header...)
		if resp.StatusCode != c.status || resp.Header.Get("Location") != "" {
			t.Errorf("%s: got %d %s", what, resp.StatusCode, body)
		}
	}
	bad := b.page("alice", "wrong", "")
	resp, body := b.send("POST", "/authorize", bad.Encode())
	if resp.StatusCode != 403 || !strings.Contains(body, `role="alert"`) || strings.Contains(body, `value="wrong"`) || !sealedField.MatchString(body) {
		t.Errorf("a wrong password: got %d %s", resp.StatusCode, body)
	}
	denied := b.page("", "", "")
	denied.Set("action", "deny")
	if resp, _ := b.send("POST", "/authorize", denied.Encode()); !strings.HasPrefix(resp.Header.Get("Location"), callback+"?error=access_denied") {
		t.Errorf("declined: got %d %s", resp.StatusCode, resp.Header.Get("Location"))
	}
	for what, change := range map[string]map[string]string{
		"another redirect": {"redirect_uri": "https://evil.example/"}, "a path below": {"redirect_uri": callback + "/x"}, "an unknown client": {"client_id": "evil"},
	} {
		if resp, body := b.send("GET", authorizePath(change), ""); resp.StatusCode != 400 || resp.Header.Get("Location") != "" || sealedField.MatchString(body) {
			t.Errorf("%s: got %d %s", what, resp.StatusCode, resp.Header.Get("Location"))
		}
	}
	resp, _ = b.send("GET", authorizePath(map[string]string{"code_challenge_method": "plain"}), "")
	at, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || at.Query().Get("error") != "invalid_request" || at.Query().Get("iss") != b.base || at.Query().Get("state") != "xyz" || at.Host != "app.example.com" {
		t.Errorf("plain PKCE: got %d %s", resp.StatusCode, at)
	}
	if resp, _ := b.send("GET", authorizePath(nil)+"&client_id=app", ""); resp.StatusCode != 400 {
		t.Errorf("a parameter twice: got %d", resp.StatusCode)
	}
}

func TestStolenCodesAndRefreshTokensEndTheLogin(t *testing.T) {
	s := loginServer(t)
	b := newBrowser(t, s)
	code := b.code("alice", alicePassword, "")
	_, doc := b.redeem(code)
	if status, again := b.redeem(code); status != 400 || again.Error != "invalid_grant" {
		t.Errorf("a code again: got %d %+v", status, again)
	}
	if status, _ := b.refresh(doc.Refresh); status != 400 {
		t.Errorf("its refresh token: got %d", status)
	}
	s.Get("PORT2", "/", harness.Bearer(doc.Access)).Want(t, 401, "invalid_token")

	_, doc = b.redeem(b.code("alice", alicePassword, ""))
	var wg sync.WaitGroup
	got := make([]tokens, 20)
	for i := range got {
		wg.Go(func() { _, got[i] = b.refresh(doc.Refresh) })
	}
	wg.Wait()
	for _, g := range got {
		if g.Refresh == "" || g.Refresh != got[0].Refresh {
			t.Fatalf("20 at once: got %+v", got)
		}
	}
	status, next := b.refresh(got[0].Refresh)
	if status != 200 {
		t.Fatalf("the honest client is logged out: %d %+v", status, next)
	}
	if status, _ := b.refresh(doc.Refresh); status != 400 {
		t.Errorf("a token whose successor was used: got %d", status)
	}
	if status, _ := b.refresh(next.Refresh); status != 400 {
		t.Errorf("its family: got %d", status)
	}
}

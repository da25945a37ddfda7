package identity

import (
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

const (
	sessionCookie = "__Host-moat-session"
	loginCookie   = "__Host-moat-login-"
)

// loginSite is a site that browsers log in to.
func loginSite(t testing.TB, p *harness.LoginProvider, options string) string {
	return `http://localhost:{$PORT} {
	audit trail
	oidc_login ` + p.URL + ` {
		client_id     ` + harness.LoginClient + `
		client_secret {env.OIDC_SECRET}
		roles         roles
		forward       sub X-User
		` + options + `
	}
	rbac {
		anyone {
			allow GET /open
		}
		role clerk {
			allow * /app/*
			deny DELETE /app/invoices/*
		}
		authenticated {
			allow GET,POST /secret when ` + "`acr(\"2\", \"5m\")`" + `
		}
	}
	reverse_proxy ` + harness.HeaderUpstream(t) + `
}`
}

// reloadLogin reloads the site.
func reloadLogin(t testing.TB, s *harness.Server, p *harness.LoginProvider, options string) {
	t.Helper()
	if err := s.Reload(loginSite(t, p, options)); err != nil {
		t.Fatal(err)
	}
}

func startLogin(t testing.TB, options string) (*harness.Server, *harness.LoginProvider, *harness.Browser) {
	t.Helper()
	p := harness.StartLoginProvider(t)
	s := harness.Start(t, loginSite(t, p, options), "OIDC_SECRET="+harness.LoginSecret)
	return s, p, harness.NewBrowser(t, s, "PORT")
}

func TestBrowsersLogIn(t *testing.T) {
	for _, protocol := range harness.Protocols {
		t.Run(protocol, func(t *testing.T) {
			p := harness.StartLoginProvider(t)
			s := harness.StartOver(t, protocol, loginSite(t, p, "scopes email offline_access"), "OIDC_SECRET="+harness.LoginSecret)
			b := harness.NewBrowser(t, s, "PORT")
			r := b.Page("/app/orders?page=2&q=a%20b")
			if r.StatusCode != 303 || !strings.HasPrefix(r.Header.Get("Location"), p.URL+"/authorize?") || r.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("%d %v %s", r.StatusCode, r.Header, r.Body)
			}
			where, _ := url.Parse(r.Header.Get("Location"))
			for name, want := range map[string]string{
				"client_id": "app", "response_type": "code", "scope": "openid email offline_access", "code_challenge_method": "S256",
				"redirect_uri": s.Origin("PORT") + "/.moat/callback",
			} {
				if got := where.Query().Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			for _, cookie := range r.Header["Set-Cookie"] {
				for _, want := range []string{loginCookie, "; Path=/;", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
					if !strings.Contains(cookie, want) || strings.Contains(cookie, "Domain") {
						t.Errorf("%s is not in %s", want, cookie)
					}
				}
			}
			r = b.Page(b.AtProvider(r), "Sec-Fetch-Site: cross-site")
			if r.StatusCode != 303 || r.Header.Get("Location") != "/app/orders?page=2&q=a%20b" {
				t.Fatalf("%d %v %s", r.StatusCode, r.Header, r.Body)
			}
			if len(b.Cookies) != 1 || b.Cookies[sessionCookie] == "" || len(b.Cookies[sessionCookie]) > 1000 {
				t.Errorf("the browser has %v", b.Cookies)
			}
			r = b.Page("/app/orders?page=2")
			if r.StatusCode != 200 || !strings.Contains(r.Body, "X-User: alice") || strings.Contains(r.Body, "moat") {
				t.Errorf("%d %s", r.StatusCode, r.Body)
			}
			// Programs of the page get answers and no redirects.
			if r := b.Do("GET", "/app/x", "", "Sec-Fetch-Dest: empty", "Sec-Fetch-Mode: cors"); r.StatusCode != 200 {
				t.Errorf("%d %s", r.StatusCode, r.Body)
			}
			if r := b.Do("DELETE", "/app/invoices/1", "", "Sec-Fetch-Site: same-origin"); r.StatusCode != 403 || r.Code() != "forbidden" || r.Header.Get("Www-Authenticate") != "" {
				t.Errorf("%d %s %v", r.StatusCode, r.Body, r.Header)
			}
			rec := s.RecordOf("trail", "/app/x")
			if rec.User.ID != "alice" || rec.User.Kind != "session" {
				t.Errorf("the record has %+v", rec)
			}
			harness.GrepTree(t, s.Dir, "access-token-of-", "refresh-token-", harness.LoginSecret)
		})
	}
}

func TestOnlyPagesLeadToALogin(t *testing.T) {
	onlyPagesLeadToALogin(t, "")
	onlyPagesLeadToALogin(t, "optional") // it is rbac then that rejects
}

func onlyPagesLeadToALogin(t *testing.T, options string) {
	s, _, b := startLogin(t, options)
	if r := b.Page("/open"); (r.StatusCode == 200) != (options == "optional") {
		t.Errorf("%s: %d %s", options, r.StatusCode, r.Body)
	}
	b.Cookies = map[string]string{}
	document := []string{"Sec-Fetch-Dest: document", "Sec-Fetch-Mode: navigate", "Accept: text/html"}
	for name, test := range map[string]struct {
		method string
		header []string
		login  bool
	}{
		"a page":                     {"GET", document, true},
		"the head of a page":         {"HEAD", document, true},
		"an old browser":             {"GET", []string{"Accept: text/html,application/xhtml+xml,*/*;q=0.8"}, true},
		"curl":                       {"GET", []string{"Accept: */*"}, false},
		"a program":                  {"GET", []string{"Accept: application/json"}, false},
		"one that wants no HTML":     {"GET", []string{"Accept: text/html;q=0, application/json"}, false},
		"a script":                   {"GET", []string{"Sec-Fetch-Dest: empty", "Sec-Fetch-Mode: cors", "Accept: text/html"}, false},
		"a frame":                    {"GET", []string{"Sec-Fetch-Dest: iframe", "Sec-Fetch-Mode: navigate", "Accept: text/html"}, false},
		"an image":                   {"GET", []string{"Sec-Fetch-Dest: image", "Sec-Fetch-Mode: no-cors", "Accept: image/*"}, false},
		"a form":                     {"POST", document, false},
		"a library":                  {"GET", append([]string{"X-Requested-With: XMLHttpRequest"}, document...), false},
		"a page that is prefetched":  {"GET", append([]string{"Sec-Purpose: prefetch"}, document...), false},
		"a request with credentials": {"GET", append([]string{"Authorization: Bearer x"}, document...), false},
		"an upgrade":                 {"GET", append([]string{"Upgrade: websocket"}, document...), false},
	} {
		r := s.Do("PORT", test.method, "/app/x", "", test.header...)
		switch {
		case test.login && r.StatusCode != 303:
			t.Errorf("%s: %d %s", name, r.StatusCode, r.Body)
		case !test.login && (r.StatusCode != 401 || r.Header.Get("Location") != "" || r.Header.Get("Set-Cookie") != "" ||
			r.Header.Get("Www-Authenticate") != `Session realm="restricted", login="/.moat/login"` || r.Code() != "missing_credentials"):
			t.Errorf("%s: %d %v %s", name, r.StatusCode, r.Header, r.Body)
		}
	}
	if len(b.Cookies) != 0 {
		t.Error(b.Cookies)
	}
}

func TestCallbacksOfOthersAreRejected(t *testing.T) {
	s, p, b := startLogin(t, "")
	callback := b.AtProvider(b.Page("/app/x"))
	flow := maps.Clone(b.Cookies)
	u, _ := url.Parse(callback)
	with := func(name string, values ...string) string {
		q := u.Query()
		q[name] = values
		return u.Path + "?" + q.Encode()
	}
	other := harness.NewBrowser(t, s, "PORT")
	otherCallback := other.AtProvider(other.Page("/app/x"))
	ou, _ := url.Parse(otherCallback)
	var name, value string
	for name, value = range flow {
	}
	try := func(what, path string, cookies map[string]string) {
		t.Helper()
		b := harness.NewBrowser(t, s, "PORT")
		b.Cookies = maps.Clone(cookies)
		r := b.Page(path, "Sec-Fetch-Site: cross-site")
		if r.StatusCode != 400 || r.Code() != "invalid_login_response" || b.Cookies[sessionCookie] != "" || r.Header.Get("Location") != "" {
			t.Errorf("%s: %d %v %s", what, r.StatusCode, r.Header, r.Body)
		}
		if strings.Contains(r.Body, u.Query().Get("code")) || strings.Contains(r.Body, u.Query().Get("state")) {
			t.Errorf("%s: the response shows what was sent: %s", what, r.Body)
		}
	}
	try("without the cookie", callback, nil)
	try("state of another browser", otherCallback, flow)
	try("cookie under another state", with("state", ou.Query().Get("state")), map[string]string{loginCookie + ou.Query().Get("state")[:8]: value})
	try("changed cookie", callback, map[string]string{name: value[:len(value)-2] + "AA"})
	try("empty cookie", callback, map[string]string{name: ""})
	try("long cookie", callback, map[string]string{name: strings.Repeat("A", 6000)})
	try("session cookie's place", callback, map[string]string{name: value + "x"})
	try("no state", with("state"), flow)
	try("two states", with("state", u.Query().Get("state"), u.Query().Get("state")), flow)
	try("another state", with("state", strings.Repeat("A", 26)), flow)
	try("state with a slash", with("state", "../../../../../../../x"), flow)
	try("iss of another provider", with("iss", "https://evil.example"), flow)
	// The mix-up has used the state up, as a response that was good.
	try("after that", callback, flow)
	// Another one, whose response lacks the iss that the provider says it sends.
	callback = b.AtProvider(b.Page("/app/x"))
	u, _ = url.Parse(callback)
	try("without iss", with("iss"), b.Cookies)
	// A good one, once.
	b.Cookies = map[string]string{}
	callback = b.AtProvider(b.Page("/app/x"))
	flow = maps.Clone(b.Cookies)
	if r := b.Page(callback); r.StatusCode != 303 {
		t.Fatalf("%d %s", r.StatusCode, r.Body)
	}
	try("a second time", callback, flow)
	// A code that was stolen, in a login of the thief.
	p.Set(func(p *harness.LoginProvider) { p.Claims = map[string]any{"sub": "victim"} })
	victim := harness.NewBrowser(t, s, "PORT")
	stolen, _ := url.Parse(victim.AtProvider(victim.Page("/app/x")))
	thief := harness.NewBrowser(t, s, "PORT")
	own, _ := url.Parse(thief.AtProvider(thief.Page("/app/x")))
	q := own.Query()
	q.Set("code", stolen.Query().Get("code"))
	if r := thief.Page(own.Path + "?" + q.Encode()); r.StatusCode != 403 || r.Code() != "login_denied" || thief.Cookies[sessionCookie] != "" {
		t.Errorf("code injection: %d %s", r.StatusCode, r.Body)
	}
	harness.GrepTree(t, s.Dir, stolen.Query().Get("code"), stolen.Query().Get("state"))
}

func TestIDTokensThatAreNotGoodLogNobodyIn(t *testing.T) {
	s, p, _ := startLogin(t, "")
	for name, change := range map[string]func(map[string]any){
		"another issuer":         func(c map[string]any) { c["iss"] = "https://evil.example" },
		"another client":         func(c map[string]any) { c["aud"] = "other" },
		"several, without azp":   func(c map[string]any) { c["aud"] = []string{"app", "other"} },
		"azp is another":         func(c map[string]any) { c["azp"] = "other" },
		"azp is a list":          func(c map[string]any) { c["azp"] = []string{"app"} },
		"another nonce":          func(c map[string]any) { c["nonce"] = "x" },
		"no nonce":               func(c map[string]any) { delete(c, "nonce") },
		"expired":                func(c map[string]any) { c["exp"] = time.Now().Add(-time.Hour).Unix() },
		"no expiry":              func(c map[string]any) { delete(c, "exp") },
		"from the future":        func(c map[string]any) { c["iat"] = time.Now().Add(time.Hour).Unix() },
		"not yet good":           func(c map[string]any) { c["nbf"] = time.Now().Add(time.Hour).Unix() },
		"no subject":             func(c map[string]any) { delete(c, "sub") },
		"empty subject":          func(c map[string]any) { c["sub"] = "" },
		"at_hash of another":     func(c map[string]any) { c["at_hash"] = "AAAAAAAAAAAAAAAAAAAAAA" },
		"roles that are no list": func(c map[string]any) { c["roles"] = 7 },
	} {
		p.Set(func(p *harness.LoginProvider) { p.ID = change })
		b := harness.NewBrowser(t, s, "PORT")
		if r := b.Login("/app/x"); r.StatusCode != 403 || r.Code() != "login_denied" || len(b.Cookies) != 0 {
			t.Errorf("%s: %d %s %v", name, r.StatusCode, r.Body, b.Cookies)
		}
	}
	p.Set(func(p *harness.LoginProvider) {
		p.ID = func(c map[string]any) { c["aud"], c["azp"] = []string{"app", "other"}, "app" }
	})
	if r := harness.NewBrowser(t, s, "PORT").Login("/app/x"); r.StatusCode != 303 {
		t.Errorf("%d %s", r.StatusCode, r.Body)
	}
}

func TestLoginsLeadNowhereElse(t *testing.T) {
	_, _, b := startLogin(t, "")
	for target, want := range map[string]string{
		"/app/x?a=b":                    "/app/x?a=b",
		"/app//x":                       "/app//x",
		"":                              "/",
		"//evil.example":                "/",
		"/\\evil.example":               "/",
		"\\\\evil.example":              "/",
		"/app\\..\\evil":                "/",
		"https://evil.example/":         "/",
		"http:evil.example":             "/",
		"javascript:alert(1)":           "/",
		"app/x":                         "/",
		"/\t/evil.example":              "/",
		"/\r\nSet-Cookie: a=b":          "/",
		"/ /evil":                       "/",
		"/a#b":                          "/",
		"/\u2028x":                      "/",
		"/.moat/logout":                 "/",
		"/.moat/login?target=/x":        "/",
		"@evil.example":                 "/",
		"/" + strings.Repeat("a", 3000): "/",
	} {
		r := b.Page("/.moat/login?target=" + url.QueryEscape(target))
		if r = b.Page(b.AtProvider(r)); r.StatusCode != 303 || r.Header.Get("Location") != want {
			t.Errorf("%.40q: %d to %q, want %q", target, r.StatusCode, r.Header.Get("Location"), want)
		}
	}
	// What a page of the site itself is called.
	for _, path := range []string{"//evil.example/x", "/%5cevil.example"} {
		r := b.Page("/app/x", "X: y")
		b.Cookies = map[string]string{}
		if r = b.Page(path); r.StatusCode == 303 {
			if r = b.Page(b.AtProvider(r)); r.StatusCode != 303 || strings.HasPrefix(r.Header.Get("Location"), "//") {
				t.Errorf("%s: %d %v", path, r.StatusCode, r.Header["Location"])
			}
		}
	}
}

func TestSessionCookiesThatAreNotOurs(t *testing.T) {
	s, _, b := startLogin(t, "")
	b.Login("/app/x")
	good := b.Cookies[sessionCookie]
	other, p2, b2 := startLogin(t, "")
	b2.Login("/app/x")
	_ = p2
	for name, value := range map[string]string{
		"of another site and key": b2.Cookies[sessionCookie],
		"changed":                 good[:40] + "A" + good[41:],
		"cut":                     good[:len(good)-4],
		"longer":                  good + "AAAA",
		"with another key":        "AAAAAAAA" + good[8:],
		"too large":               strings.Repeat("A", 9000),
		"padded":                  good + "=",
		"garbled":                 "%00%ff",
	} {
		r := s.Get("PORT", "/app/x", "Cookie: "+sessionCookie+"="+value)
		if r.StatusCode != 401 && r.StatusCode != 400 || r.StatusCode == 401 && r.Code() != "invalid_credentials" {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.Body)
		}
	}
	if r := s.Get("PORT", "/app/x", "Cookie: "+sessionCookie+"="+good+"; "+sessionCookie+"="+good); r.StatusCode != 400 {
		t.Errorf("twice: %d %s", r.StatusCode, r.Body)
	}
	// The same session under the name of another host.
	raw := harness.Raw(t, s.Addr("PORT"), "GET /app/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: "+sessionCookie+"="+good+"\r\n\r\n")
	if raw.StatusCode != 200 {
		t.Errorf("%d %s", raw.StatusCode, raw.Body)
	}
	_ = other
	// A page of another site cannot use it.
	if r := b.Do("POST", "/app/x", "", "Sec-Fetch-Site: cross-site", "Origin: https://evil.example"); r.StatusCode != 403 || r.Code() != "cross_origin" {
		t.Errorf("%d %s", r.StatusCode, r.Body)
	}
	if r := b.Do("GET", "/app/x", "", "Upgrade: websocket", "Connection: Upgrade", "Origin: https://evil.example"); r.StatusCode != 403 {
		t.Errorf("%d %s", r.StatusCode, r.Body)
	}
	// Who has one already when they log in gets another: it was not fixed by somebody.
	if b.Login("/.moat/login?target=/app/x"); b.Cookies[sessionCookie] == good {
		t.Error("the session goes on over a login")
	}
	if r := s.Get("PORT", "/app/x", "Cookie: "+sessionCookie+"="+good); r.StatusCode != 401 {
		t.Errorf("the session before it: %d", r.StatusCode)
	}
}

func TestLogout(t *testing.T) {
	s, p, b := startLogin(t, "after_logout /open")
	b.Login("/app/x")
	cookie := b.Cookies[sessionCookie]
	r := b.Page("/.moat/logout")
	if r.StatusCode != 200 || !strings.Contains(r.Body, "<form method=\"post\"") || r.Header.Get("X-Frame-Options") != "DENY" || !strings.Contains(r.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
		t.Errorf("%d %v %s", r.StatusCode, r.Header, r.Body)
	}
	if r := b.Do("POST", "/.moat/logout", "", "Sec-Fetch-Site: cross-site", "Origin: https://evil.example"); r.StatusCode != 403 || b.Cookies[sessionCookie] == "" {
		t.Errorf("of another site: %d %s", r.StatusCode, r.Body)
	}
	if r := b.Page("/app/x"); r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, r.Body)
	}
	r = b.Do("POST", "/.moat/logout", "", "Sec-Fetch-Site: same-origin", "Origin: http://localhost")
	if want := p.URL + "/logout?client_id=app&post_logout_redirect_uri=http%3A%2F%2Flocalhost%2Fopen"; r.StatusCode != 303 || r.Header.Get("Location") != want || b.Cookies[sessionCookie] != "" {
		t.Errorf("%d %v, want %s", r.StatusCode, r.Header, want)
	}
	// Whoever kept the cookie has nothing of it.
	if r := s.Get("PORT", "/app/x", "Cookie: "+sessionCookie+"="+cookie); r.StatusCode != 401 || r.Code() != "invalid_credentials" {
		t.Errorf("%d %s", r.StatusCode, r.Body)
	}
	reloadLogin(t, s, p, "after_logout /open")
	if r := s.Get("PORT", "/app/x", "Cookie: "+sessionCookie+"="+cookie); r.StatusCode != 401 {
		t.Errorf("after a reload: %d %s", r.StatusCode, r.Body)
	}
}

func TestSessionsSurviveReloadsAndRestarts(t *testing.T) {
	s, p, b := startLogin(t, "")
	b.Login("/app/x")
	reloadLogin(t, s, p, "")
	if r := b.Page("/app/x"); r.StatusCode != 200 {
		t.Errorf("after a reload: %d %s", r.StatusCode, r.Body)
	}
	s.Stop()
	s.Run()
	s.Wait()
	if r := b.Page("/app/x"); r.StatusCode != 200 {
		t.Errorf("after a restart: %d %s", r.StatusCode, r.Body)
	}
	if out := s.Output("moat", "session", "list", "--config", s.Config); !strings.Contains(out, "alice") {
		t.Errorf("the list: %s", out)
	}
	if out := s.Output("moat", "session", "revoke", "--config", s.Config, "--user", "alice"); !strings.Contains(out, "1 session") {
		t.Errorf("revoked: %s", out)
	}
	harness.Eventually(t, func() error {
		if r := b.Do("GET", "/app/x", ""); r.StatusCode != 401 {
			return fmt.Errorf("%d %s", r.StatusCode, r.Body)
		}
		return nil
	})
}

func TestBackChannelLogout(t *testing.T) {
	s, p, b := startLogin(t, "")
	p.Set(func(p *harness.LoginProvider) { p.Claims = map[string]any{"sid": "s1"} })
	b.Login("/app/x")
	post := func(tok string) *harness.Response {
		return s.Do("PORT", "POST", "/.moat/backchannel-logout", "logout_token="+url.QueryEscape(tok), "Content-Type: application/x-www-form-urlencoded")
	}
	intruder := harness.NewSigner(t)
	for name, tok := range map[string]string{
		"of another signer": intruder.Sign(map[string]any{"typ": "logout+jwt", "kid": "1"}, harness.Claims(map[string]any{"iss": p.URL, "aud": "app"})),
		"without a kind":    p.LogoutToken(map[string]any{"events": nil}),
		"of another kind":   p.LogoutToken(map[string]any{"events": map[string]any{"x": map[string]any{}}}),
		"with a nonce":      p.LogoutToken(map[string]any{"nonce": "x"}),
		"for another":       p.LogoutToken(map[string]any{"aud": "other"}),
		"of another issuer": p.LogoutToken(map[string]any{"iss": "https://evil.example"}),
		"about nobody":      p.LogoutToken(map[string]any{"sub": nil}),
		"expired":           p.LogoutToken(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}),
		"without a jti":     p.LogoutToken(map[string]any{"jti": nil}),
		"old":               p.LogoutToken(map[string]any{"iat": time.Now().Add(-2 * time.Hour).Unix()}),
		"sid is a number":   p.LogoutToken(map[string]any{"sid": 1}),
		"garbled":           "x.y.z",
		"empty":             "",
	} {
		if r := post(tok); r.StatusCode != 400 || r.Code() != "invalid_logout_token" || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.Body)
		}
	}
	if r := s.Do("PORT", "POST", "/.moat/backchannel-logout", p.LogoutToken(nil), "Content-Type: application/jwt"); r.StatusCode != 400 {
		t.Errorf("not as a form: %d", r.StatusCode)
	}
	// Of others.
	for _, tok := range []string{p.LogoutToken(map[string]any{"sub": "bob"}), p.LogoutToken(map[string]any{"sid": "s2"}), p.LogoutToken(map[string]any{"sub": "bob", "sid": "s1"})} {
		if r := post(tok); r.StatusCode != 200 {
			t.Errorf("%d %s", r.StatusCode, r.Body)
		}
	}
	if r := b.Page("/app/x"); r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, r.Body)
	}
	tok := p.LogoutToken(map[string]any{"sub": nil, "sid": "s1"})
	if r := post(tok); r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, r.Body)
	}
	if r := b.Do("GET", "/app/x", ""); r.StatusCode != 401 {
		t.Errorf("%d %s", r.StatusCode, r.Body)
	}
	if r := post(tok); r.StatusCode != 400 {
		t.Errorf("the same again: %d", r.StatusCode)
	}
	b.Login("/app/x")
	if r := post(p.LogoutToken(nil)); r.StatusCode != 200 { // by sub
		t.Errorf("%d %s", r.StatusCode, r.Body)
	}
	if r := b.Do("GET", "/app/x", ""); r.StatusCode != 401 {
		t.Errorf("%d %s", r.StatusCode, r.Body)
	}
}

func TestLogoutTokenIsGoodAgainWhereTheStorageWasAway(t *testing.T) {
	s, p, b := startLogin(t, "")
	b.Login("/app/x")
	locks := ""
	_ = filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "locks" {
			locks = path
		}
		return nil
	})
	if err := os.Rename(locks, locks+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(locks, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tok := p.LogoutToken(nil)
	for _, want := range []int{503, 503, 200, 400} {
		if want == 200 {
			if err := os.Remove(locks); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(locks+".away", locks); err != nil {
				t.Fatal(err)
			}
		}
		r := s.Do("PORT", "POST", "/.moat/backchannel-logout", "logout_token="+url.QueryEscape(tok), "Content-Type: application/x-www-form-urlencoded")
		if r.StatusCode != want {
			t.Fatalf("%d instead of %d: %s", r.StatusCode, want, r.Body)
		}
	}
	if r := b.Do("GET", "/app/x", ""); r.StatusCode != 401 {
		t.Errorf("%d %s", r.StatusCode, r.Body)
	}
}

func TestSessionsAreRefreshedOnce(t *testing.T) {
	s, p, b := startLogin(t, "")
	p.Set(func(p *harness.LoginProvider) { p.Life = time.Second })
	b.Login("/app/x")
	cookie := "Cookie: " + sessionCookie + "=" + b.Cookies[sessionCookie]
	p.Set(func(p *harness.LoginProvider) {
		p.Life = time.Hour
		p.ID = func(c map[string]any) { c["roles"] = []string{"clerk", "chief"} }
	})
	harness.Eventually(t, func() error {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if r := s.Get("PORT", "/app/x", cookie); r.StatusCode != 200 {
					t.Errorf("%d %s", r.StatusCode, r.Body)
				}
			})
		}
		wg.Wait()
		if n, _ := p.Refreshes(); n == 0 {
			return fmt.Errorf("not refreshed yet")
		}
		return nil
	})
	if n, reused := p.Refreshes(); n != 1 || reused != 0 {
		t.Errorf("refreshed %d times, %d with a token that was used", n, reused)
	}
	if r := s.Get("PORT", "/app/x", cookie); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.Body)
	}
}

func TestProviderThatIsAwayLogsNobodyOut(t *testing.T) {
	s, p, b := startLogin(t, "")
	p.Set(func(p *harness.LoginProvider) { p.Life = time.Second })
	b.Login("/app/x")
	cookie := "Cookie: " + sessionCookie + "=" + b.Cookies[sessionCookie]
	asked := make(chan struct{}, 100)
	p.Set(func(p *harness.LoginProvider) {
		p.Answer = func(w http.ResponseWriter, _ *http.Request) {
			asked <- struct{}{}
			http.Error(w, "away", http.StatusBadGateway)
		}
	})
	harness.Eventually(t, func() error {
		if r := s.Get("PORT", "/app/x", cookie); r.StatusCode != 200 {
			t.Fatalf("%d %s", r.StatusCode, r.Body)
		}
		if len(asked) == 0 {
			return fmt.Errorf("the provider has not been asked")
		}
		return nil
	})
	// A login meanwhile is 503, and says when to come back.
	other := harness.NewBrowser(t, s, "PORT")
	if r := other.Login("/app/x"); r.StatusCode != 503 || r.Code() != "identity_provider_unavailable" || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", r.StatusCode, r.Body)
	}
	if r := s.Get("PORT", "/app/x", cookie); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.Body)
	}
}

func TestRefreshTokenThatIsTakenBackEndsTheSession(t *testing.T) {
	s, p, b := startLogin(t, "")
	p.Set(func(p *harness.LoginProvider) { p.Life = time.Second })
	b.Login("/app/x")
	p.Set(func(p *harness.LoginProvider) {
		p.Answer = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(400)
			_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
		}
	})
	cookie := "Cookie: " + sessionCookie + "=" + b.Cookies[sessionCookie]
	harness.Eventually(t, func() error {
		if r := s.Get("PORT", "/app/x", cookie); r.StatusCode != 401 {
			return fmt.Errorf("%d %s", r.StatusCode, r.Body)
		}
		return nil
	})
}

func TestStepUpIsALogin(t *testing.T) {
	_, p, b := startLogin(t, "")
	p.Set(func(p *harness.LoginProvider) {
		p.Claims = map[string]any{"acr": "1", "auth_time": time.Now().Add(-time.Hour).Unix()}
	})
	b.Login("/app/x")
	r := b.Do("GET", "/secret", "", "Sec-Fetch-Dest: empty")
	if want := `Session error="insufficient_user_authentication", error_description="Another authentication of the user is required", acr_values="2", max_age="300"`; r.StatusCode != 401 || r.Header.Get("Www-Authenticate") != want || r.Code() != "insufficient_user_authentication" {
		t.Errorf("%d %v %s", r.StatusCode, r.Header, r.Body)
	}
	before := b.Cookies[sessionCookie]
	// A provider that does not do as it is asked does not make the browser go round.
	r = b.Page("/secret")
	callback := b.AtProvider(r)
	if p.Asked.Get("acr_values") != "2" || p.Asked.Get("max_age") != "300" {
		t.Errorf("asked for %v", p.Asked)
	}
	if r = b.Page(callback); r.StatusCode != 403 || r.Code() != "login_denied" || b.Cookies[sessionCookie] != before {
		t.Errorf("%d %s", r.StatusCode, r.Body)
	}
	p.Set(func(p *harness.LoginProvider) { p.Claims["acr"] = "2" })
	if r = b.Login("/secret"); r.StatusCode != 403 { // the login is old
		t.Errorf("%d %s", r.StatusCode, r.Body)
	}
	p.Set(func(p *harness.LoginProvider) { p.Claims = map[string]any{"acr": "2"} })
	if r = b.Login("/secret"); r.StatusCode != 303 || r.Header.Get("Location") != "/secret" {
		t.Fatalf("%d %s", r.StatusCode, r.Body)
	}
	if r = b.Page("/secret"); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.Body)
	}
}

func TestSessionCookieReachesNoUpstream(t *testing.T) {
	p := harness.StartLoginProvider(t)
	s := harness.Start(t, `http://localhost:{$PORT} {
	oidc_login /app/* `+p.URL+` {
		client_id     `+harness.LoginClient+`
		client_secret {env.OIDC_SECRET}
		userinfo
		forward       /team X-Team
		forward       /acr X-ACR
	}
	reverse_proxy `+harness.HeaderUpstream(t)+`
}`, "OIDC_SECRET="+harness.LoginSecret)
	b := harness.NewBrowser(t, s, "PORT")
	b.Page("/app/other") // a login that is never finished
	b.Login("/app/x")
	if len(b.Cookies) != 2 {
		t.Fatal(b.Cookies)
	}
	b.Cookies["theme"] = "dark"
	for _, path := range []string{"/app/x", "/public"} {
		r := b.Page(path, "X-Team: blue", "X_ACR: 2")
		if r.StatusCode != 200 || strings.Contains(r.Body, "moat") || !strings.Contains(r.Body, "theme=dark") || strings.Contains(r.Body, "blue") {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.Body)
		}
		// Of the userinfo endpoint, not what only an ID token can say.
		if strings.Contains(r.Body, "X-Team: red") != (path == "/app/x") || strings.Contains(strings.ToLower(r.Body), "acr") {
			t.Errorf("%s: %s", path, r.Body)
		}
	}
}

func TestUserinfoAboutAnotherUserIsRejected(t *testing.T) {
	s, p, _ := startLogin(t, "userinfo")
	b := harness.NewBrowser(t, s, "PORT")
	if r := b.Login("/app/x"); r.StatusCode != 303 {
		t.Fatalf("%d %s", r.StatusCode, r.Body)
	}
	p.Set(func(p *harness.LoginProvider) { p.Subject = "victim" })
	b = harness.NewBrowser(t, s, "PORT")
	if r := b.Login("/app/x"); r.StatusCode != 403 || r.Code() != "login_denied" || len(b.Cookies) != 0 {
		t.Errorf("%d %s", r.StatusCode, r.Body)
	}
}

func TestLoginNeedsHTTPS(t *testing.T) {
	p := harness.StartLoginProvider(t)
	s := harness.Start(t, strings.Replace(loginSite(t, p, ""), "http://localhost:", "http://:", 1), "OIDC_SECRET="+harness.LoginSecret)
	for host, want := range map[string]int{"app.example.com": 400, "localhost": 303, "localhost.example.com": 400, "127.0.0.1": 303} {
		r := harness.Raw(t, s.Addr("PORT"), "GET /app/x HTTP/1.1\r\nHost: "+host+"\r\nAccept: text/html\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n")
		if r.StatusCode != want || want == 400 && (r.Code() != "https_required" || r.Header.Get("Set-Cookie") != "") {
			t.Errorf("%s: %d %s", host, r.StatusCode, r.Body)
		}
	}
}

func TestStreamsEndWithTheSession(t *testing.T) {
	p := harness.StartLoginProvider(t)
	upstream, _ := streaming(t)
	s := harness.Start(t, `http://localhost:{$PORT} {
	oidc_login `+p.URL+` {
		client_id     `+harness.LoginClient+`
		client_secret {env.OIDC_SECRET}
	}
	reverse_proxy `+upstream+`
}`, "OIDC_SECRET="+harness.LoginSecret)
	b := harness.NewBrowser(t, s, "PORT")
	b.Login("/events")
	cookie := "Cookie: " + sessionCookie + "=" + b.Cookies[sessionCookie]
	ended := make(chan string, 1)
	go func() { ended <- s.Get("PORT", "/events", cookie).Body }()
	time.Sleep(100 * time.Millisecond) // so that there is a stream, most of the time
	if r := b.Do("POST", "/.moat/logout", "", "Sec-Fetch-Site: same-origin"); r.StatusCode != 303 {
		t.Fatalf("%d %s", r.StatusCode, r.Body)
	}
	select {
	case <-ended:
	case <-time.After(harness.Patience):
		t.Error("the stream goes on")
	}
}

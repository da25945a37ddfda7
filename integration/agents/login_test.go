package agents

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// loginAt is a site whose browsers log in at a real provider, npm oidc-provider.
func loginAt(t *testing.T) (s *harness.Server, issuer string) {
	npm(t)
	s = harness.Prepare(t, "", "OIDC_SECRET="+harness.LoginSecret)
	at := "http://localhost:" + s.Ports["PORT"]
	issuer = node(t, "login.mjs", harness.LoginClient, harness.LoginSecret, at+"/.moat/backchannel-logout", at+"/.moat/callback", "http://localhost/.moat/callback")
	s.WriteFile("Caddyfile", `http://localhost:{$PORT} {
	oidc_login `+issuer+` {
		client_id     `+harness.LoginClient+`
		client_secret {env.OIDC_SECRET}
		scopes        offline_access
		roles         roles
	}
	rbac {
		role clerk {
			allow GET /app/*
			allow GET /secret when `+"`acr(\"2\")`"+`
		}
	}
	header Content-Type text/html
	respond "<p>hello {http.auth.user.id} of {http.auth.user.issuer} at {path}</p>"
}
`)
	s.Run()
	s.Wait()
	return s, issuer
}

func TestLoginAtARealProvider(t *testing.T) {
	s, issuer := loginAt(t)
	b := harness.NewBrowser(t, s, "PORT")
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	at := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if r.URL.Hostname() == "localhost" || len(via) > 10 {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	login := func(path string) {
		t.Helper()
		r := b.Page(path)
		if r.StatusCode != 303 {
			t.Fatalf("%s: %d %s", path, r.StatusCode, r.Body)
		}
		if where, _ := url.Parse(r.Header.Get("Location")); where.Query().Get("request_uri") == "" || where.Query().Get("state") != "" {
			t.Errorf("the request was not pushed (RFC 9126): %s", where)
		}
		resp, err := at.Get(r.Header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		back, err := resp.Location()
		if err != nil {
			t.Fatalf("the provider responds with %d", resp.StatusCode)
		}
		if back.Query().Get("iss") != issuer {
			t.Errorf("the response has no iss: %s", back.Path)
		}
		if r = b.Page(back.RequestURI()); r.StatusCode != 303 || r.Header.Get("Location") != path {
			t.Fatalf("%d %v %s", r.StatusCode, r.Header, r.Body)
		}
	}
	login("/app/x?a=b")
	if r := b.Page("/app/x?a=b"); r.StatusCode != 200 || !strings.Contains(r.Body, "hello alice of "+issuer) {
		t.Errorf("%d %s", r.StatusCode, r.Body)
	}
	if r := b.Do("GET", "/secret", ""); r.StatusCode != 401 || r.Code() != "insufficient_user_authentication" {
		t.Errorf("%d %s", r.StatusCode, r.Body)
	}
}

// TestChromiumLogsIn drives a real browser, where there is one, over the whole way.
func TestChromiumLogsIn(t *testing.T) {
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("no Chromium in PATH")
	}
	s, issuer := loginAt(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*harness.Patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+s.Path("profile"),
		"--virtual-time-budget=20000", "--dump-dom", "http://localhost:"+s.Ports["PORT"]+"/app/page?x=y").Output()
	if err != nil {
		t.Skipf("the browser does not run here: %v", err)
	}
	if want := fmt.Sprintf("<p>hello alice of %s at /app/page</p>", issuer); !strings.Contains(string(out), want) {
		t.Errorf("the browser shows %s", out)
	}
}

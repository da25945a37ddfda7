package examples

import (
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

func TestExampleLogin(t *testing.T) {
	p := harness.StartLoginProvider(t)
	s := startExample(t, "login", "OIDC_ISSUER="+p.URL, "OIDC_CLIENT_ID="+harness.LoginClient, "OIDC_SECRET="+harness.LoginSecret)
	c := s.Client()
	s.Send(c, "GET", "/").Want(t, 200, "Log out")
	s.Send(c, "GET", "/notes/1").Want(t, 401, "missing_credentials")

	// A browser follows where it is sent, over the provider and back.
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Jar, c.CheckRedirect = jar, nil
	document := []string{"Sec-Fetch-Dest: document", "Sec-Fetch-Mode: navigate", "Accept: text/html"}
	s.Send(c, "GET", "/notes/1", document...).Want(t, 200, "Notes of alice")
	s.Send(c, "GET", "/notes/1").Want(t, 200, "Notes of alice")
	s.Send(c, "DELETE", "/notes/1", "Sec-Fetch-Site: same-origin").Want(t, 200)
	s.Send(c, "GET", "/admin/x").Want(t, 403)
	s.Send(c, "DELETE", "/notes/1", "Sec-Fetch-Site: cross-site").Want(t, 403, "cross_origin")

	if out := s.Output("moat", "session", "list", "--config", s.Config); !strings.Contains(out, `"alice"`) {
		t.Errorf("the list is %s", out)
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if r := s.Send(c, "POST", "/.moat/logout", "Sec-Fetch-Site: same-origin"); r.StatusCode != 303 || !strings.HasPrefix(r.Header.Get("Location"), p.URL+"/logout?") {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
	s.Send(c, "GET", "/notes/1").Want(t, 401)
}

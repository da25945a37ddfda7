package layers

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// hiddenSSN is in the upstream's responses.
const hiddenSSN = "hidden-9b1d"

// TestErrorRoutesThatPassRequestsOnAreWarnedOf has what an administrator may
// write into handle_errors, and shows that the warning is about something.
func TestErrorRoutesThatPassRequestsOnAreWarnedOf(t *testing.T) {
	up := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"path":%q,"ssn":"%s"}`, r.URL.Path, hiddenSSN)
	})
	const (
		warning = "handle_errors hands requests to an upstream as they came"
		redact  = "redact {\n\t\tremove ssn\n\t}\n"
		rbac    = "jwt_auth {\n\t\tissuer internal\n\t}\n\trbac {\n\t\tauthenticated {\n\t\t\tallow * /*\n\t\t}\n\t}\n"
	)
	proxy := "reverse_proxy " + up + "\n"
	for name, tc := range map[string]struct {
		layers, errors string
		warned         string // of these layers
		other          string // another site
	}{
		"as it came":           {redact + rbac, proxy, "auth rbac redact", ""},
		"redact alone":         {redact, proxy, "redact", ""},
		"rewritten":            {redact + rbac, "rewrite * /{err.status_code}.json\n" + proxy, "", ""},
		"rewritten by itself":  {redact + rbac, "reverse_proxy " + up + " {\n\trewrite /error.json\n}\n", "", ""},
		"redacted":             {redact, redact + proxy, "", ""},
		"a stand-in":           {rbac, "@down expression `{err.status_code} == 502`\nhandle @down {\n" + proxy + "}\n", "", ""},
		"a stand-in, redacted": {redact + rbac, "@down expression `{err.status_code} == 502`\nhandle @down {\n" + proxy + "}\n", "redact", ""},
		"for rejections":       {rbac, "@a expression `{err.status_code} in [401, 403]`\nhandle @a {\n" + proxy + "}\n", "auth rbac", ""},
		"another method":       {rbac, "method GET\n" + proxy, "auth rbac", ""},
		"a part taken off":     {rbac, "uri strip_prefix /zz\n" + proxy, "auth rbac", ""},
		"rewritten to itself":  {rbac, "rewrite * {uri}\n" + proxy, "auth rbac", ""},
		"rewritten sometimes":  {rbac, "rewrite /nope /err\n" + proxy, "auth rbac", ""},
		"rewritten by proxy":   {rbac, "reverse_proxy " + up + " {\nmethod GET\nrewrite {uri}\n}\n", "auth rbac", ""},
		"behind another layer": {rbac, redact + proxy, "auth rbac", ""},
		"files":                {rbac, "root * .\nfile_server\n", "auth rbac", ""},
		"pages in files":       {rbac, "rewrite * /{err.status_code}.html\nfile_server\n", "", ""},
		"a page":               {redact + rbac, "respond sorry\n", "", ""},
		"no layer":             {"", proxy, "", ""},
		"of another site":      {redact, "respond sorry\n", "", "http://other.test:{$PORT} {\n" + proxy + "\thandle_errors {\n" + proxy + "}\n}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := harness.Start(t, "http://localhost:{$PORT} {\n\t"+tc.layers+proxy+"\thandle_errors {\n"+tc.errors+"\t}\n}\n"+tc.other)
			if name == "as it came" {
				if a := s.Get("PORT", "/secret"); !strings.Contains(a.Body, "/secret") || !strings.Contains(a.Body, hiddenSSN) {
					t.Errorf("there is nothing to warn of any more: %d %s", a.StatusCode, a.Body)
				}
			}
			s.Stop()
			log := s.Log.String()
			var warned []string
			for _, layer := range []string{"auth", "rbac", "redact"} {
				if strings.Contains(log, `"layer":"`+layer+`"`) && strings.Contains(log, warning) {
					warned = append(warned, layer)
				}
			}
			if got := strings.Join(warned, " "); got != tc.warned {
				t.Errorf("warned of %q, want %q", got, tc.warned)
			}
		})
	}
}

// TestWarningsComeWithoutTheAdminEndpoint holds that turning it off, as
// hardening guides say, does not turn off what is said of the configuration; and
// that it is said once where it is on.
func TestWarningsComeWithoutTheAdminEndpoint(t *testing.T) {
	for name, admin := range map[string]string{"on": "admin {$CADDY_ADMIN}\n", "off": "admin off\n"} {
		s := harness.Prepare(t, "{\n"+admin+"auto_https off\n}\n"+`http://localhost:{$PORT} {
	jwt_auth {
		issuer internal
	}
	rbac {
		authenticated {
			allow * /*
		}
	}
	respond ok
	handle_errors {
		reverse_proxy 127.0.0.1:1
	}
}
`)
		s.Run()
		harness.Eventually(t, func() error {
			c, err := net.Dial("tcp", s.Addr("PORT"))
			if err == nil {
				_ = c.Close()
			}
			return err
		})
		const want = 2 // for auth and for rbac
		warnings := func() int { return strings.Count(s.Log.String(), `"id":"error_route_bypass"`) }
		harness.Eventually(t, func() error { // they come after the start
			if n := warnings(); n < want {
				return fmt.Errorf("admin %s: %d warnings, want %d", name, n, want)
			}
			return nil
		})
		s.Stop()
		if n := warnings(); n != want {
			t.Errorf("admin %s: %d warnings, want %d", name, n, want)
		}
	}
}

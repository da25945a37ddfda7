package evidence

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// planted stands wherever a credential does in the requests and answers of
// these tests. It must be seen nowhere afterwards.
const planted = "SECRET7x9Q"

// A corpus of requests with a secret in every place that a credential has,
// through the whole binary, and then a look into everything that it writes.
func TestConcealNoPlantedSecretIsSeenAnywhere(t *testing.T) {
	app := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if code := r.URL.Query().Get("status"); code != "" {
			w.Header().Set("Content-Type", r.Header.Get("X-Answer-Type"))
			w.Header().Set("X-Amz-Server-Side-Encryption-Customer-Key", planted)
			w.Header().Set("Location", "/cb#access_token="+planted)
			w.WriteHeader(500)
			_, _ = w.Write(body)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Set-Cookie", "sid="+planted)
		fmt.Fprintf(w, `{"session":{"id":%q},"note":"ok"}`, planted)
	})
	s := harness.Start(t, `{
	admin {$CADDY_ADMIN}
	http_port {$HTTP_PORT}
	log {
		output file default.log
		format moat {
			path /share/{token}
		}
		level debug
	}
	metrics
}
(guarded) {
	audit trail {
		record request_body 8KiB
		record response_body 8KiB
		record query
		record headers Referer User-Agent X-Note
		path /share/{token}
	}
}
http://localhost:{$PORT} {
	import guarded
	log {
		output file access.log
		format moat {
			path /share/{token}
		}
	}
	redact {
		remove internal
		hide_errors
	}
	reverse_proxy `+app+`
}
http://localhost:{$PORT2} {
	import guarded
	log {
		output file console.log
		format moat {
			wrap console
			path /share/{token}
		}
	}
	reverse_proxy 127.0.0.1:1
}
`, "API_KEY_PEPPER=a pepper of the tests, of at least 32 bytes")
	key := mintedKey(s)
	for _, port := range []string{"PORT", "PORT2"} {
		for _, req := range secretRequests(key) {
			req.send(s, port)
		}
	}
	s.Output("moat", "audit", "verify", "trail")
	if n := s.Records("trail"); len(n) < 2*len(secretRequests(key)) {
		t.Fatalf("%d records", len(n))
	}
	admin := ""
	for _, path := range []string{"/metrics", "/moat/revocations", "/moat/keysets", "/config/"} {
		if resp, err := http.Get("http://" + s.Admin + path); err == nil {
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			admin += string(b)
		}
	}
	s.WriteFile("admin.txt", admin)
	for _, format := range []string{"ocsf", "ecs", "cef"} {
		s.WriteFile("export."+format, s.Output("moat", "audit", "export", "--format", format, "trail"))
	}
	s.Output("moat", "audit", "report", "-o", "r.html", "--csv", "r.csv", "trail")
	s.Stop()
	s.WriteFile("stderr.txt", s.Log.String())
	if err := os.Remove(s.Path("Caddyfile")); err != nil {
		t.Fatal(err)
	}
	harness.GrepTree(t, s.Dir, planted, url.QueryEscape(planted), key[len("moat_")+13:])
}

// mintedKey returns an API key of the product.
func mintedKey(s *harness.Server) string {
	s.T.Helper()
	out := s.Output("moat", "key", "--store", s.Path("keys.jsonl"), "new", "--owner", "ann", "--expires", "never")
	for _, word := range strings.Fields(out) {
		if strings.HasPrefix(word, "moat_") {
			return word
		}
	}
	s.T.Fatalf("no key in %q", out)
	return ""
}

// secretRequest is a request with a secret.
type secretRequest struct {
	method, target, kind, body string
	header                     [][2]string
}

func (q secretRequest) send(s *harness.Server, port string) {
	s.T.Helper()
	r, err := http.NewRequest(q.method, "http://localhost:"+s.Ports[port]+q.target, strings.NewReader(q.body))
	if err != nil {
		s.T.Fatalf("%s: %v", q.target, err)
	}
	if q.kind != "" {
		r.Header.Set("Content-Type", q.kind)
	}
	for _, h := range q.header {
		r.Header.Set(h[0], h[1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		s.T.Fatalf("%s: %v", q.target, err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

func secretRequests(key string) []secretRequest {
	var list []secretRequest
	for _, target := range []string{
		"/u?subscription-key=SECRET7x9Q&PHPSESSID=SECRET7x9Q&my_key=SECRET7x9Q&x=1", "/u?device_code=SECRET7x9Q&oobCode=SECRET7x9Q&oauth_verifier=SECRET7x9Q",
		"/u?_csrf=SECRET7x9Q&invite=SECRET7x9Q&magic=SECRET7x9Q&otac=SECRET7x9Q&bearer=SECRET7x9Q&ssn=SECRET7x9Q", "/u?user[password]=SECRET7x9Q&TOKEN=SECRET7x9Q",
		"/u?data=%7B%22password%22%3A%22SECRET7x9Q%22%7D", "/u?next=https%3A%2F%2Fh%2Fcb%3Faccess_token%3DSECRET7x9Q", "/u;jsessionid=SECRET7x9Q",
		"/bot123456:SECRET7x9Q/sendMessage", "/services/T0/B0/SECRET7x9Q", "/api/webhooks/1/SECRET7x9Q", "/reset-password/SECRET7x9Q", "/share/SECRET7x9Q",
		"/me/" + key, "/me/" + key + "/x?x=" + key, "/u?" + key, "/u?a=b;token=SECRET7x9Q",
	} {
		list = append(list, secretRequest{method: "GET", target: target})
	}
	for _, name := range []string{
		"X-Registry-Auth", "X-JFrog-Art-Api", "X-Amz-Server-Side-Encryption-Customer-Key", "X-Goog-Encryption-Key", "X-GitHub-OTP", "X-Pin", "X-Origin-Verify", "X-Session",
		"X-WP-Nonce", "X-Sentry-Auth", "X-Forwarded-Client-Cert", "X-Key", "X-Api-Key", "Authorization", "Cookie", "X-Acme-Token", "Proxy-Authorization", "Subscription-Key",
	} {
		list = append(list, secretRequest{method: "GET", target: "/h", header: [][2]string{{name, planted}}})
	}
	for _, value := range []string{
		"https://h/x?token=SECRET7x9Q", "https://u:SECRET7x9Q@h/", "https://h/bot1:SECRET7x9Q/x", "https://h/share/SECRET7x9Q", "Bearer SECRET7x9Q", `{"password":"SECRET7x9Q"}`, key,
	} {
		list = append(list, secretRequest{method: "GET", target: "/h", header: [][2]string{{"Referer", value}, {"X-Note", value}, {"User-Agent", value}}})
	}
	for _, c := range [][2]string{
		{"application/x-www-form-urlencoded", `{"password":"SECRET7x9Q","tokens":["SECRET7x9Q"]}`},
		{"application/x-www-form-urlencoded", `[{"note":"a=b","password":"SECRET7x9Q"}]`},
		{"application/x-www-form-urlencoded", `password=SECRET7x9Q&payload=%7B%22pin%22%3A%22SECRET7x9Q%22%7D`},
		{"application/json", `{"credentials":{"k":"SECRET7x9Q"},"headers":{"Cookie":"SECRET7x9Q"}}`},
		{"application/json", `[{"name":"password","value":"SECRET7x9Q"}]`},
		{"application/json", `{"k":"-----BEGIN PRIVATE KEY-----\nSECRET7x9Q\n-----END PRIVATE KEY-----"}`},
		{"application/json", `{"kty":"EC","d":"SECRET7x9Q"}`},
		{"application/json", `{"d":"` + key + `","e":["X-Api-Key","` + key + `"]}`},
		{"text/plain", `{"password":"SECRET7x9Q"}`},
		{"text/plain", "password: SECRET7x9Q"},
		{"text/plain", "login failed: user=bob password=SECRET7x9Q token=SECRET7x9Q dsn=postgres://u:SECRET7x9Q@db/x"},
		{"text/html", "<p>Authorization: Basic SECRET7x9Q=="},
		{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nSECRET7x9Q\r\n--x--\r\n"},
	} {
		list = append(list,
			secretRequest{method: "POST", target: "/b", kind: c[0], body: c[1]},
			secretRequest{method: "POST", target: "/b?status=500", kind: c[0], body: c[1], header: [][2]string{{"X-Answer-Type", c[0]}}},
		)
	}
	return list
}

// Caddy hides Authorization and cookies in its logs. Where a credential stands
// elsewhere the log of errors shows it, unless the default logger conceals too.
func TestConcealCredentialsInTheErrorLogAreWarnedOf(t *testing.T) {
	const site = `
http://localhost:{$PORT} {
	log {
		format moat
	}
	SITE
	reverse_proxy 127.0.0.1:1
}
`
	keys := func(from string) string {
		return "api_key_auth {\n\t\tstore keys.jsonl\n\t\tpepper {env.API_KEY_PEPPER}\n\t\t" + from + "\n\t}"
	}
	for name, c := range map[string]struct {
		global, auth string
		warned       string
	}{
		"header":           {"", keys("from header X-API-Key"), "header X-Api-Key"},
		"query":            {"", keys("from query api_key"), "query api_key"},
		"default place":    {"", keys(""), ""},
		"concealed":        {"log {\n\t\tformat moat\n\t}", keys("from header X-API-Key"), ""},
		"another encoder":  {"log {\n\t\tformat console\n\t}", keys("from header X-API-Key"), "header X-Api-Key"},
		"wrapped":          {"log {\n\t\tformat moat {\n\t\t\twrap console\n\t\t}\n\t}", keys("from header X-API-Key"), ""},
		"a token's header": {"", "jwt_auth {\n\t\tissuer internal\n\t\tfrom header X-Token\n\t}", "header X-Token"},
		"a cookie":         {"", "jwt_auth {\n\t\tissuer internal\n\t\tfrom cookie id\n\t}", ""},
		"another log":      {"log {\n\t\tformat moat\n\t}\n\tlog errors {\n\t\toutput file errors.log\n\t\tinclude http.log.error\n\t}", keys("from header X-API-Key"), "header X-Api-Key"},
	} {
		t.Run(name, func(t *testing.T) {
			s := harness.Prepare(t, "{\n\tadmin {$CADDY_ADMIN}\n\thttp_port {$HTTP_PORT}\n\t"+c.global+"\n}\n"+strings.Replace(site, "SITE", c.auth, 1), "API_KEY_PEPPER=a pepper of the tests, of at least 32 bytes")
			mintedKey(s)
			s.Run()
			s.Wait()
			const id = "credentials_logged"
			if c.warned == "" {
				if log := s.Log.String(); strings.Contains(log, id) {
					t.Errorf("want no warning, log:\n%s", log)
				}
				return
			}
			harness.Eventually(t, func() error {
				if log := s.Log.String(); !strings.Contains(log, id) || !strings.Contains(log, c.warned) {
					return fmt.Errorf("want a warning of %q, log:\n%s", c.warned, log)
				}
				return nil
			})
		})
	}
}

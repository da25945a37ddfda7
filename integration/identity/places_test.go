package identity

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestTokensAsPasswordsOfGit has a real git fetch with a token in its URL.
func TestTokensAsPasswordsOfGit(t *testing.T) {
	secret := strings.Repeat("s", 32)
	tok := harness.HS256(t, secret, map[string]any{"sub": "alice", "exp": time.Now().Add(time.Hour).Unix()})
	s := harness.Prepare(t, "", "SECRET="+secret)
	headers := harness.HeaderUpstream(t)
	s.WriteFile("Caddyfile", `{
	debug
	log {
		format moat
	}
}
http://:{$PORT} {
	audit `+s.Path("trail")+` {
		sync always
	}
	jwt_auth {
		key HS256 {env.SECRET}
		from basic password
		from header Authorization Bearer
		strip
	}
	rbac {
		authenticated {
			allow GET /*
		}
	}
	handle /git/* {
		file_server {
			root `+s.Dir+`
		}
	}
	handle {
		reverse_proxy `+headers+`
	}
}
http://:{$PORT2} {
	auth {
		jwt_auth {
			key HS256 {env.SECRET}
			from basic password
		}
		basic {
			`+harness.BasicUser(t, "bob", "passw0rd")+`
		}
	}
	respond "{http.auth.user.kind} {http.auth.user.id}"
}
http://:{$PORT3} {
	auth {
		basic {
			`+harness.BasicUser(t, "bob", "passw0rd")+`
		}
		jwt_auth {
			key HS256 {env.SECRET}
			from basic password
		}
	}
	respond "{http.auth.user.kind} {http.auth.user.id}"
}
`)
	s.Run()
	s.Wait()
	for name, c := range map[string]struct {
		line   string
		status int
		code   string
	}{
		"token":             {harness.Basic("oauth2", tok), 200, ""},
		"Bearer":            {harness.Bearer(tok), 200, ""},
		"a password":        {harness.Basic("alice", "secret"), 401, "missing_credentials"},
		"a bad token":       {harness.Basic("oauth2", tok+"A"), 401, "invalid_token"},
		"as user name":      {harness.Basic(tok, "x"), 401, "missing_credentials"},
		"in both":           {harness.Basic(tok, tok), 400, "invalid_request"},
		"not to be decoded": {"Authorization: Basic " + tok, 400, "invalid_request"},
		"Latin-1":           {harness.Basic("\xe9", tok), 400, "invalid_request"},
		"spare bits":        {"Authorization: Basic YTph=", 400, "invalid_request"},
		"nothing":           {"X-Nothing: 1", 401, "missing_credentials"},
	} {
		a := s.Get("PORT", "/x", c.line)
		if a.StatusCode != c.status || a.Code() != c.code {
			t.Errorf("%s: got %d %s, want %d %s", name, a.StatusCode, a.Code(), c.status, c.code)
		}
		if asked := a.Header.Values("WWW-Authenticate"); c.status == 401 && !strings.Contains(strings.Join(asked, "\n"), `Basic realm="restricted", charset="UTF-8"`) {
			t.Errorf("%s: the challenges are %q", name, asked)
		}
		if strings.Contains(a.Body, "Authorization") {
			t.Errorf("%s: the upstream sees %s", name, a.Body)
		}
	}
	for line, want := range map[string]string{
		harness.Basic("oauth2", tok): "jwt alice", harness.Basic("bob", "passw0rd"): "basic bob", harness.Basic("bob", "wrong"): "401",
	} {
		for _, port := range []string{"PORT2", "PORT3"} { // in either order
			got := s.Get(port, "/", line)
			if text := got.Body; text != want && !(want == "401" && got.StatusCode == 401) {
				t.Errorf("%s, %s: got %d %s, want %s", port, line, got.StatusCode, text, want)
			}
		}
	}
	// Browsers send what was typed into the dialog of Basic by themselves.
	s.Do("PORT", "POST", "/x", "a=b", harness.Basic("oauth2", tok), "Sec-Fetch-Site: cross-site").Want(t, 403, "cross_origin")
	gitFetches(t, s, tok)
	s.Stop()
	encoded := base64.StdEncoding.EncodeToString([]byte("oauth2:" + tok))
	for _, secret := range []string{tok[strings.LastIndex(tok, ".")+1:], encoded[:40]} {
		if strings.Contains(s.Log.String(), secret) {
			t.Errorf("the log shows %s", secret)
		}
		harness.GrepTree(t, s.Path("trail"), secret)
	}
}

// gitFetches has git read a repository that a file server has.
func gitFetches(t *testing.T, s *harness.Server, tok string) {
	t.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Log("there is no git here")
		return
	}
	run := func(dir string, args ...string) (string, error) {
		cmd := exec.Command(git, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "HOME="+s.Dir,
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	work, bare := filepath.Join(t.TempDir(), "work"), filepath.Join(s.Dir, "git", "repo.git")
	for _, step := range [][]string{
		{s.Dir, "init", "-q", "-b", "main", work},
		{work, "commit", "-q", "--allow-empty", "-m", "first"},
		{s.Dir, "clone", "-q", "--bare", work, bare},
		{bare, "update-server-info"},
	} {
		if out, err := run(step[0], step[1:]...); err != nil {
			t.Fatalf("%v: %v\n%s", step, err, out)
		}
	}
	for user, good := range map[string]bool{"oauth2:" + tok + "@": true, "": false, "oauth2:" + tok + "A@": false, "alice:secret@": false} {
		out, err := run(s.Dir, "ls-remote", "http://"+user+s.Addr("PORT")+"/git/repo.git")
		if (err == nil) != good || good && !strings.Contains(out, "refs/heads/main") {
			t.Errorf("git as %.10s: %v\n%s", user, err, out)
		}
	}
}

// TestKeysAsUserNamesOfBasic has keys as curl -u <key>: sends them.
func TestKeysAsUserNamesOfBasic(t *testing.T) {
	store, key := harness.NewKeyStore(t)
	s := harness.Start(t, `
http://:{$PORT} {
	api_key_auth {
		store `+store.File+`
		pepper {env.API_KEY_PEPPER}
		from basic user
		strip
	}
	reverse_proxy `+harness.HeaderUpstream(t)+`
}
`, harness.KeyPepper)
	for name, c := range map[string]struct {
		line string
		want string
	}{
		"key":           {harness.Basic(key, ""), "200 "},
		"mistyped":      {harness.Basic(harness.Flip(key), ""), "401 invalid_api_key"},
		"somebody":      {harness.Basic("alice", "secret"), "401 missing_credentials"},
		"both":          {harness.Basic(key, key), "400 invalid_request"},
		"behind ApiKey": {"Authorization: ApiKey " + key, "401 missing_credentials"},
	} {
		a := s.Get("PORT", "/", c.line)
		if got := fmt.Sprint(a.StatusCode, " ", a.Code()); got != c.want || strings.Contains(a.Body, "Authorization") {
			t.Errorf("%s: got %s %s, want %s", name, got, a.Body, c.want)
		}
		if asked := a.Header.Values("WWW-Authenticate"); a.StatusCode == 401 && strings.Join(asked, "") != `Basic realm="restricted", charset="UTF-8"` {
			t.Errorf("%s: the challenges are %q", name, asked)
		}
	}
}

// TestTokensOfAnAWSLoadBalancer has a stand-in for the address of its keys.
func TestTokensOfAnAWSLoadBalancer(t *testing.T) {
	const arn, kid = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/site/50dc6c495c0c9188", "8f4d2c1e-0b7a-4f53-9a0f-2f6f0f1c9b7d"
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	keys := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/"+kid {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_ = pem.Encode(w, &pem.Block{Type: "PUBLIC KEY", Bytes: der})
	})
	sign := func(signer, kid, sub string) string {
		exp := time.Now().Add(2 * time.Minute).Unix()
		part := func(v any) string {
			text, _ := json.Marshal(v)
			return base64.URLEncoding.EncodeToString(text)
		}
		text := part(map[string]any{"typ": "JWT", "kid": kid, "alg": "ES256", "iss": "https://id.example.com", "client": "c", "signer": signer, "exp": exp}) +
			"." + part(map[string]any{"sub": sub, "email": "a@example.com", "iss": "https://id.example.com", "exp": exp})
		sum := sha256.Sum256([]byte(text))
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		sig := make([]byte, 64)
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
		return text + "." + base64.URLEncoding.EncodeToString(sig)
	}
	s := harness.Start(t, `
http://:{$PORT} {
	jwt_auth {
		issuer https://id.example.com {
			alb `+arn+` http://`+keys+`
		}
		from header X-Amzn-Oidc-Data
		from header Authorization Bearer
		forward /sub X-User
		strip
	}
	reverse_proxy `+harness.HeaderUpstream(t)+`
}
`)
	good := sign(arn, kid, "alice")
	for name, c := range map[string]struct {
		line, want string
	}{
		"good":             {"X-Amzn-Oidc-Data: " + good, "200 alice"},
		"other user":       {"X-Amzn-Oidc-Data: " + sign(arn, kid, "zoë"), "200 zoë"},
		"another balancer": {"X-Amzn-Oidc-Data: " + sign(strings.Replace(arn, "site", "evil", 1), kid, "alice"), "401 invalid_token"},
		"unknown kid":      {"X-Amzn-Oidc-Data: " + sign(arn, "8f4d2c1e-0b7a-4f53-9a0f-000000000000", "alice"), "401 invalid_token"},
		"path in kid":      {"X-Amzn-Oidc-Data: " + sign(arn, "../"+kid, "alice"), "401 invalid_token"},
		"without padding":  {"X-Amzn-Oidc-Data: " + strings.TrimRight(good, "="), "401 invalid_token"},
	} {
		a := s.Get("PORT", "/", c.line)
		got := fmt.Sprint(a.StatusCode, " ", a.Code())
		if a.StatusCode == 200 {
			h, _ := http.ReadResponse(bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\n"+a.Body+"\r\n")), nil)
			got = "200 " + h.Header.Get("X-User")
			if h.Header.Get("X-Amzn-Oidc-Data") != "" {
				t.Errorf("%s: the upstream sees the token", name)
			}
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

// TestCertificatesInTheFormsOfProxies has what nginx, Cloudflare and Envoy send,
// from the proxy that is listed and from somebody else.
func TestCertificatesInTheFormsOfProxies(t *testing.T) {
	ca, other := harness.NewClientCA(t, "Clients"), harness.NewClientCA(t, "Clients")
	der := func(c *tls.Certificate) string { return base64.StdEncoding.EncodeToString(c.Certificate[0]) }
	text := func(c *tls.Certificate) string {
		return strings.ReplaceAll(url.QueryEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))), "+", "%20")
	}
	alice, mallory := ca.Issue("alice", nil), ca.Issue("mallory", nil)
	forged := other.Issue("alice", nil)
	upstream := harness.HeaderUpstream(t)
	var site strings.Builder
	for i, line := range []string{
		"X-SSL-Cert pem_escaped from 127.0.0.1", "Cf-Client-Cert-Der-Base64 der_base64 from 127.0.0.1", "X-Forwarded-Client-Cert xfcc from 127.0.0.1",
		"X-SSL-Cert pem_escaped from 10.9.9.9", "X-Forwarded-Client-Cert xfcc from 10.9.9.9",
	} {
		port := "PORT"
		if i > 0 {
			port = fmt.Sprintf("PORT%d", i+1)
		}
		fmt.Fprintf(&site, "http://:{$%s} {\n\tclient_cert_auth {\n\t\tidentity cn\n\t\tclient_cert_header %s\n\t\ttrust %s\n\t\tforward sub X-User\n\t\toptional\n\t}\n\trbac {\n\t\tanyone {\n\t\t\tallow GET /*\n\t\t}\n\t}\n\treverse_proxy %s\n}\n", port, line, ca.File, upstream)
	}
	s := harness.Start(t, site.String())
	for name, c := range map[string]struct {
		port, line, want string
	}{
		"nginx":                         {"PORT", "X-SSL-Cert: " + text(alice), "200 alice"},
		"nginx, none":                   {"PORT", "X-SSL-Cert: ", "200 "},
		"nginx, forged":                 {"PORT", "X-SSL-Cert: " + text(forged), "401 invalid_client_certificate"},
		"nginx, two":                    {"PORT", "X-SSL-Cert: " + text(alice) + "\r\nX-SSL-Cert: " + text(mallory), "400 invalid_request"},
		"nginx, folded":                 {"PORT", "X-SSL-Cert: " + text(alice) + text(mallory), "400 invalid_request"},
		"nginx, garbage":                {"PORT", "X-SSL-Cert: x", "400 invalid_request"},
		"nginx, other names":            {"PORT", "X_SSL_Cert: " + text(alice) + "\r\nClient-Cert: " + field(alice), "200 "},
		"Cloudflare":                    {"PORT2", "Cf-Client-Cert-Der-Base64: " + der(alice), "200 alice"},
		"Cloudflare, forged":            {"PORT2", "Cf-Client-Cert-Der-Base64: " + der(forged), "401 invalid_client_certificate"},
		"Cloudflare, two in one":        {"PORT2", "Cf-Client-Cert-Der-Base64: " + der(alice) + ", " + der(mallory), "400 invalid_request"},
		"Envoy":                         {"PORT3", `X-Forwarded-Client-Cert: By=spiffe://a/b;Subject="CN=x,O=\"y;z\"";Cert="` + text(alice) + `"`, "200 alice"},
		"Envoy, appended":               {"PORT3", `X-Forwarded-Client-Cert: Cert="` + text(mallory) + `",By=a;Cert="` + text(alice) + `"`, "200 alice"},
		"Envoy, described":              {"PORT3", `X-Forwarded-Client-Cert: By=a;Hash=00;Subject="CN=alice"`, "400 invalid_request"},
		"Envoy, forged":                 {"PORT3", `X-Forwarded-Client-Cert: Cert="` + text(forged) + `"`, "401 invalid_client_certificate"},
		"Envoy, an open quote":          {"PORT3", `X-Forwarded-Client-Cert: A=",Cert="` + text(alice) + `"`, "400 invalid_request"},
		"nginx, from somebody else":     {"PORT4", "X-SSL-Cert: " + text(alice), "200 "},
		"nginx, garbage from elsewhere": {"PORT4", "X-SSL-Cert: x\r\nx-ssl-cert: y", "200 "},
		"Envoy, from somebody else":     {"PORT5", `X-Forwarded-Client-Cert: Cert="` + text(alice) + `"`, "200 "},
	} {
		a := s.Get(c.port, "/", c.line, "X-User: root")
		got := fmt.Sprint(a.StatusCode, " ", a.Code())
		if a.StatusCode == 200 {
			got = "200 "
			for line := range strings.Lines(a.Body) {
				switch name, value, _ := strings.Cut(strings.TrimSpace(line), ": "); {
				case name == "X-User":
					got += value
				case strings.Contains(strings.ToLower(name), "cert"):
					t.Errorf("%s: the upstream sees %s", c.port, line)
				}
			}
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
	out := harness.FailsToLoad(t, "http://:{$PORT} {\n\tclient_cert_auth {\n\t\tclient_cert_header X-SSL-Cert pem_escaped from 0.0.0.0/0\n\t\ttrust "+ca.File+"\n\t}\n}\n")
	if !strings.Contains(out, "list the addresses of your proxies") {
		t.Error(out)
	}
}

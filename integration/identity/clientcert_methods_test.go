package identity

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestCertificatesAccompanyTokens has clients whose connections always have a
// certificate, and the two methods in both orders.
func TestCertificatesAccompanyTokens(t *testing.T) {
	ca := harness.NewClientCA(t, "Clients")
	site := func(host, first, second string) string {
		return mutual(host, "verify_if_given", ca.File, "auth {\n"+first+"\n"+second+"\npreflight\nforward sub X-User\n}\nrespond \"{http.auth.user.id} {http.request.header.X-User}\"\n")
	}
	cert, token := "client_cert_auth {\nidentity cn\n}", "jwt_auth {\nissuer internal\n}"
	s := harness.Start(t, "{\nskip_install_trust\n}\n"+site("certs.localhost", cert, token)+site("tokens.localhost", token, cert))
	s.Ready("PORT", "certs.localhost")
	s.Ready("PORT", "tokens.localhost")
	machine := ca.Issue("machine", nil)
	alice := harness.Bearer(s.Token("--sub", "alice"))
	for name, test := range map[string]struct {
		cert          *tls.Certificate
		header        []string
		certs, tokens string
	}{
		"neither":               {nil, nil, "401 missing_credentials", "401 missing_credentials"},
		"certificate":           {machine, nil, "200 machine machine", "200 machine machine"},
		"token":                 {nil, []string{alice}, "200 alice alice", "200 alice alice"},
		"both":                  {machine, []string{alice}, "200 machine machine", "200 alice alice"},
		"both, the token bad":   {machine, []string{alice + "x"}, "200 machine machine", "401 invalid_token"},
		"both, two tokens":      {machine, []string{alice, alice}, "400 invalid_request", "400 invalid_request"},
		"the token bad":         {nil, []string{alice + "x"}, "401 invalid_token", "401 invalid_token"},
		"unclear, with a token": {ca.Issue("", nil), []string{alice}, "401 invalid_client_certificate", "200 alice alice"},
		"unclear":               {ca.Issue("", nil), nil, "401 invalid_client_certificate", "401 invalid_client_certificate"},
	} {
		for host, want := range map[string]string{"certs.localhost": test.certs, "tokens.localhost": test.tokens} {
			for _, protocol := range harness.Protocols {
				if got := harness.Fetch(t, s.ClientOver(protocol, test.cert, ""), "https://"+host+":"+s.Ports["PORT"]+"/", append(test.header, "X-User: root")...); got != want {
					t.Errorf("%s at %s, %s: got %s, want %s", name, host, protocol, got, want)
				}
			}
		}
	}
	// A preflight has no credentials; the connection is not the request.
	req, err := http.NewRequest("OPTIONS", "https://certs.localhost:"+s.Ports["PORT"]+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://app.example.com")
	req.Header.Set("Access-Control-Request-Method", "GET")
	resp, err := s.ClientWith(machine, true, "").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(body) != " " {
		t.Errorf("preflight: got %d %q", resp.StatusCode, body)
	}
	// Both are asked for.
	req, _ = http.NewRequest("GET", "https://certs.localhost:"+s.Ports["PORT"]+"/", nil)
	resp, err = s.ClientWith(nil, true, "").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if c := resp.Header.Values("WWW-Authenticate"); len(c) != 2 || c[0] != `ClientCertificate realm="restricted"` || !strings.HasPrefix(c[1], "Bearer ") {
		t.Errorf("challenges %q", c)
	}
}

// TestClientCertOfProxies has a proxy that ends TLS and sends Client-Cert (RFC
// 9440), and strangers who send it, too.
func TestClientCertOfProxies(t *testing.T) {
	ca, other := harness.NewClientCA(t, "Clients"), harness.NewClientCA(t, "Clients")
	seen := make(chan http.Header, 1)
	app := harness.Upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		h := r.Header.Clone()
		for name, values := range r.Trailer {
			h["Trailer-"+name] = values
		}
		seen <- h
		fmt.Fprint(w, r.Header.Get("X-User"))
	})
	behind := func(port, from string) string {
		return ":{$" + port + "} {\nclient_cert_auth /api/* {\nidentity cn\nclient_cert_header from " + from + "\ntrust " + ca.File + "\nforward sub X-User\noptional\n}\nreverse_proxy " + app + "\n}\n"
	}
	s := harness.StartAll(t, "{\n}\n"+mutual("proxy.localhost", "require_and_verify", ca.File, `
	reverse_proxy 127.0.0.1:{$PORT2} {
		header_up Client-Cert ":{http.request.tls.client.certificate_der_base64}:"
	}`)+behind("PORT2", "127.0.0.1")+behind("PORT3", "10.99.99.99"))
	s.ReadyFor("PORT", "proxy.localhost", ca)
	clean := func(what string) {
		t.Helper()
		for name := range <-seen {
			if plain := strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(name)); strings.Contains(plain, "client-cert") && plain != "client-certs" {
				t.Errorf("%s: the application sees %s", what, name)
			}
		}
	}
	alice := ca.Issue("alice", nil)
	if got := harness.Fetch(t, s.ClientWith(alice, true, ""), "https://proxy.localhost:"+s.Ports["PORT"]+"/api/", "Client-Cert: "+field(ca.Issue("root", nil))); got != "200 alice" {
		t.Errorf("through the proxy: got %s", got)
	} else {
		clean("through the proxy")
	}
	line := "Client-Cert: " + field(alice)
	for _, test := range []struct {
		port, path string
		header     []string
		want       string // the answer; the application's where there is no code
	}{
		{"PORT2", "/api/", []string{line}, "200 alice"},
		{"PORT2", "/api/", []string{"client-cert: " + field(alice)}, "200 alice"},
		{"PORT2", "/api/", nil, "200 "},
		{"PORT2", "/api/", []string{line, line}, "400 invalid_request"},
		{"PORT2", "/api/", []string{line + ", " + field(alice)}, "400 invalid_request"},
		{"PORT2", "/api/", []string{"Client-Cert: ::"}, "400 invalid_request"},
		{"PORT2", "/api/", []string{"Client-Cert: :AAAA"}, "400 invalid_request"},
		{"PORT2", "/api/", []string{"Client-Cert-Chain: " + field(alice)}, "400 invalid_request"},
		{"PORT2", "/api/", []string{line, "Client-Cert-Chain: " + strings.Repeat(field(alice)+", ", 40) + field(alice)}, "400 invalid_request"},
		{"PORT2", "/api/", []string{"Client-Cert: " + field(other.Issue("alice", nil))}, "401 invalid_client_certificate"},
		{"PORT2", "/api/", []string{"Client-Cert: " + field(ca.Issue("alice", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }))}, "401 invalid_client_certificate"},
		{"PORT2", "/api/", []string{"Client-Cert: " + field(ca.Issue("alice", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }))}, "401 invalid_client_certificate"},
		{"PORT2", "/api/", []string{line, "Connection: Client-Cert"}, "200 "},
		{"PORT2", "/open", []string{line}, "200 "}, // not the matcher's
		{"PORT3", "/api/", []string{line}, "200 "},
		{"PORT3", "/api/", []string{line, line, "Client-Cert-Chain: x", "X-User: root"}, "200 "},
		{"PORT3", "/api/", []string{"Client_Cert: " + field(alice), "Client.Cert: " + field(alice), "CLIENT-CERT_CHAIN: x", "client-CERT: x"}, "200 "},
		{"PORT3", "/open", []string{line, "Client.cert.chain: x"}, "200 "},
		{"PORT3", "/api/", []string{line, "X-Forwarded-For: 10.99.99.99", "Forwarded: for=10.99.99.99"}, "200 "},
	} {
		for _, protocol := range harness.Protocols {
			// HTTP/1.1 alone has hop-by-hop fields, and does not tell the client
			// how much the server takes.
			if protocol != harness.HTTP1 && slices.ContainsFunc(test.header, func(l string) bool { return strings.HasPrefix(l, "Connection:") || len(l) > 16<<10 }) {
				continue
			}
			a := s.Over(protocol).Get(test.port, test.path, test.header...)
			got := fmt.Sprint(a.StatusCode, " ", a.Code())
			if a.Code() == "" {
				got += a.Body
			}
			if got != test.want {
				t.Errorf("%s%s %.60q, %s: got %s, want %s", test.port, test.path, test.header, protocol, got, test.want)
			}
			if a.StatusCode == 200 {
				clean(fmt.Sprintf("%s%s %.60q, %s", test.port, test.path, test.header, protocol))
			}
		}
	}
	trailer := "POST /api/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: Client-Cert\r\n\r\n1\r\nx\r\n0\r\nClient-Cert: " + field(alice) + "\r\n\r\n"
	if a := harness.Raw(t, s.Addr("PORT3"), trailer); a.StatusCode != 200 || a.Body != "" {
		t.Errorf("in a trailer: got %d %s", a.StatusCode, a.Body)
	} else {
		clean("in a trailer")
	}
}

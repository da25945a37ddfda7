package integration

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

// clientCA issues client certificates for tests.
type clientCA struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newClientCA(t testing.TB, name string) *clientCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &clientCA{t: t, key: key}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	ca.file = t.TempDir() + "/ca.pem"
	if err := os.WriteFile(ca.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return ca
}

// loadClientCA returns an authority of Caddy's own, from its storage.
func loadClientCA(t testing.TB, dir string) *clientCA {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(dir+"/root.crt", dir+"/root.key")
	if err != nil {
		t.Fatal(err)
	}
	return &clientCA{t: t, cert: pair.Leaf, key: pair.PrivateKey.(*ecdsa.PrivateKey), file: dir + "/root.crt"}
}

// issue makes a certificate for a common name and URIs, as change leaves it.
func (ca *clientCA) issue(cn string, change func(*x509.Certificate), uris ...string) *tls.Certificate {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: cn},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, text := range uris {
		u, err := url.Parse(text)
		if err != nil {
			ca.t.Fatal(err)
		}
		template.URIs = append(template.URIs, u)
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func field(cert *tls.Certificate) string {
	return ":" + base64.StdEncoding.EncodeToString(cert.Certificate[0]) + ":"
}

// with returns a client that has a certificate, if it is not nil, and speaks
// HTTP/2 or HTTP/1.1. It makes connections for the name sni, if that is not
// empty, whatever host it sends requests to.
func (s *server) with(cert *tls.Certificate, http2 bool, sni string) *http.Client {
	s.t.Helper()
	c := s.client()
	tr := c.Transport.(*http.Transport)
	tr.ForceAttemptHTTP2 = http2
	tr.TLSClientConfig.ServerName = sni
	if !http2 {
		tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
	}
	if cert != nil {
		// Whatever authorities the server names: the client is hostile.
		tr.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	return c
}

// fetchWith sends a request and returns the status with the body or the code, or
// that there was no connection.
func fetchWith(t testing.TB, c *http.Client, url string, header ...string) string {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		req.Header[name] = append(req.Header[name], value)
	}
	resp, err := c.Do(req)
	if err != nil {
		return "no connection"
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	a := &answer{Response: resp, body: string(body)}
	if code := a.code(); code != "" {
		return fmt.Sprint(resp.StatusCode, " ", code)
	}
	return fmt.Sprint(resp.StatusCode, " ", a.body)
}

// ready waits until a site has its certificate.
func (s *server) ready(port, host string) {
	s.t.Helper()
	eventually(s.t, func() error {
		config := s.tls()
		config.ServerName = host
		conn, err := tls.Dial("tcp", s.addr(port), config)
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// mutual is a site with client certificates of a CA.
func mutual(host, mode, file, rest string) string {
	return "https://" + host + ":{$PORT} {\n\ttls internal {\n\t\tclient_auth {\n\t\t\tmode " + mode + "\n\t\t\ttrust_pool file " + file + "\n\t\t}\n\t}\n" + rest + "\n}\n"
}

func TestClientCertificatesIdentify(t *testing.T) {
	ca, other := newClientCA(t, "Clients"), newClientCA(t, "Clients")
	s := prepare(t, "")
	clients := s.write("clients.jsonl", `{"spiffe":"spiffe://example.org/orders","user":"orders","roles":["clerk"],"plan":"gold"}
{"subject":"CN=gone","disabled":true}
`)
	s.write("Caddyfile", "{\n\tskip_install_trust\n\tmetrics\n}\n"+mutual("localhost", "verify_if_given", ca.file, `
	audit `+s.path("trail")+` {
		sync always
	}
	client_cert_auth {
		map `+clients+`
		forward sub X-User
	}
	rbac {
		role clerk {
			allow GET /*
		}
	}
	redact {
		remove secret
		except kind client_cert {
			remove internal
		}
	}
	header Content-Type application/json
	respond `+"`"+`{"user":"{http.request.header.X-User}","plan":"{http.auth.user.plan}","spiffe":"{http.auth.user.claims.spiffe}","secret":1,"internal":2}`+"`"))
	s.run()
	s.wait()
	s.ready("PORT", "localhost")
	years := func(from, until int) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().AddDate(from, 0, 0), time.Now().AddDate(until, 0, 0)
		}
	}
	const id = "spiffe://example.org/orders"
	good := ca.issue("x", nil, id)
	url := "https://localhost:" + s.ports["PORT"] + "/"
	for name, test := range map[string]struct {
		cert *tls.Certificate
		want string
	}{
		"good":            {good, `200 {"user":"orders","plan":"gold","spiffe":"spiffe://example.org/orders","internal":2}`},
		"none":            {nil, "401 missing_credentials"},
		"not in the map":  {ca.issue("x", nil, "spiffe://example.org/other"), "403 client_certificate_not_allowed"},
		"disabled":        {ca.issue("gone", nil, id), "403 client_certificate_not_allowed"},
		"two IDs":         {ca.issue("x", nil, id, "spiffe://example.org/admin"), "401 invalid_client_certificate"},
		"other authority": {other.issue("x", nil, id), "no connection"},
		"self-signed":     {func() *tls.Certificate { c := certificate(t, "x"); return &c }(), "no connection"},
		"expired":         {ca.issue("x", years(-2, -1), id), "no connection"},
		"not yet valid":   {ca.issue("x", years(1, 2), id), "no connection"},
		"for servers": {ca.issue("x", func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}, id), "no connection"},
	} {
		for _, http2 := range []bool{false, true} {
			c := s.with(test.cert, http2, "")
			for range 2 { // a new connection and the same again
				if got := fetchWith(t, c, url, "X-User: root", "x_user: root"); got != test.want {
					t.Errorf("%s, HTTP/2 %t: got %s, want %s", name, http2, got, test.want)
				}
			}
		}
	}

	// The map changes under a connection that stays.
	c := s.with(good, true, "")
	s.write("clients.jsonl", `{"spiffe":"spiffe://example.org/orders","disabled":true}`)
	eventually(t, func() error {
		if got := fetchWith(t, c, url); got != "403 client_certificate_not_allowed" {
			return fmt.Errorf("disabled in the map: got %s", got)
		}
		return nil
	})
	s.write("clients.jsonl", `{"spiffe":`)
	eventually(t, func() error {
		if !strings.Contains(s.log.String(), "what was read last stays in force") {
			return fmt.Errorf("the log does not say that the map is bad")
		}
		return nil
	})
	if got := fetchWith(t, c, url); got != "403 client_certificate_not_allowed" {
		t.Errorf("with a bad map: got %s", got)
	}
	metrics := fetchWith(t, http.DefaultClient, "http://"+s.admin+"/metrics")
	for _, want := range []string{
		`caddy_moat_client_certificates{map="` + clients + `"} 1`,
		`caddy_moat_client_certificate_map_unusable{map="` + clients + `"} 1`,
		`caddy_moat_decisions_total{code="client_certificate_not_allowed",layer="client_cert_auth",result="deny"}`,
		`caddy_moat_decisions_total{code="",layer="client_cert_auth",result="allow"}`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	config, err := os.ReadFile(s.path("Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.reload(string(config) + "# changed\n"); err == nil || !strings.Contains(err.Error(), "client_cert_auth: map") {
		t.Errorf("a configuration with a bad map: %v", err)
	}
	if got := fetchWith(t, c, url); got != "403 client_certificate_not_allowed" {
		t.Errorf("after it was refused: got %s", got)
	}
	s.stop()
	trail := s.trailText("trail")
	for _, want := range []string{`"client_cert"`, "CN=Clients", `"orders"`, ": not in the map", ": disabled", "clients changed", "clients refused", "disabled", "several names|not understood"} {
		if !containsAny(trail, strings.Split(want, "|")) {
			t.Errorf("the trail lacks %s", want)
		}
	}
}

func containsAny(text string, any []string) bool {
	for _, s := range any {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// trailText returns all that the files of a trail say.
func (s *server) trailText(name string) string {
	s.t.Helper()
	entries, err := os.ReadDir(s.path(name))
	if err != nil {
		s.t.Fatal(err)
	}
	var all strings.Builder
	for _, e := range entries {
		body, _ := os.ReadFile(s.path(name + "/" + e.Name()))
		all.Write(body)
	}
	return all.String()
}

func TestConfigurationsThatWouldBelieveAnyCertificateAreRefused(t *testing.T) {
	ca, other := newClientCA(t, "Clients"), newClientCA(t, "Others")
	auth := "client_cert_auth\nrespond ok\n"
	tlsWith := func(lines string) string {
		return "https://localhost:{$PORT} {\ntls internal {\nclient_auth {\n" + lines + "\n}\n}\n" + auth + "}\n"
	}
	global := func(options string) string { return "{\nskip_install_trust\n" + options + "\n}\n" }
	two := "https://a.localhost:{$PORT} {\ntls internal\nrespond open\n}\n" + mutual("b.localhost", "require_and_verify", ca.file, auth)
	for name, test := range map[string]struct{ config, want string }{
		"mode request":              {global("") + tlsWith("mode request"), "client_auth does not verify certificates"},
		"mode require":              {global("") + tlsWith("mode require\ntrust_pool file "+ca.file), "write mode require_and_verify"},
		"no trust pool":             {global("") + tlsWith("mode require_and_verify"), "has no trust_pool"},
		"the system's trust pool":   {global("") + tlsWith("mode verify_if_given\ntrust_pool system"), "or that of the system"},
		"no trust pool, if given":   {global("") + tlsWith("mode verify_if_given"), "has no trust_pool"},
		"no client_auth":            {global("") + "https://localhost:{$PORT} {\ntls internal\n" + auth + "}\n", "nobody is asked for a client certificate"},
		"in auth, no client_auth":   {global("") + "https://localhost:{$PORT} {\ntls internal\nauth {\nclient_cert_auth\n}\n}\n", "nobody is asked for a client certificate"},
		"in a handle block":         {global("") + "https://localhost:{$PORT} {\ntls internal\nhandle /a {\n" + auth + "}\n}\n", "client_cert_auth (localhost)"},
		"no TLS":                    {global("") + "http://localhost:{$PORT} {\n" + auth + "}\n", "no TLS connection is made here"},
		"no TLS, any host":          {global("") + ":{$PORT} {\n" + auth + "}\n", "client_cert_auth (any host): no TLS"},
		"another site's":            {global("") + mutual("a.localhost", "require_and_verify", ca.file, "respond ok") + "https://b.localhost:{$PORT} {\ntls internal\n" + auth + "}\n", "client_cert_auth (b.localhost)"},
		"fronting":                  {global("servers {\nstrict_sni_host insecure_off\n}") + two, "strict_sni_host insecure_off"},
		"fronting, two trust pools": {global("servers {\nstrict_sni_host insecure_off\n}") + mutual("a.localhost", "require_and_verify", other.file, auth) + mutual("b.localhost", "require_and_verify", ca.file, auth), "strict_sni_host insecure_off"},
		"named route":               {global("") + "&(clients) {\n" + auth + "}\nhttps://localhost:{$PORT} {\ntls internal {\nclient_auth {\nmode request\n}\n}\ninvoke clients\n}\n", "client_cert_auth, in a named route: client_auth does not verify"},
		"proxies, mode request":     {global("") + strings.ReplaceAll(tlsWith("mode request"), "client_cert_auth\n", "client_cert_auth {\nclient_cert_header from 10.0.0.1\ntrust "+ca.file+"\n}\n"), "client_auth does not verify certificates"},
	} {
		out := failsToLoad(t, test.config)
		if !strings.Contains(out, test.want) {
			t.Errorf("%s: it says\n%s\nwant …%s…", name, out, test.want)
		}
	}

	// The running configuration stays where the next one is refused.
	s := start(t, global("")+mutual("localhost", "require_and_verify", ca.file, auth))
	s.ready2("PORT", "localhost", ca)
	c := s.with(ca.issue("a", nil), true, "")
	url := "https://localhost:" + s.ports["PORT"] + "/"
	if got := fetchWith(t, c, url); got != "200 ok" {
		t.Fatalf("got %s", got)
	}
	if err := s.reload(global("") + tlsWith("mode request")); err == nil || !strings.Contains(err.Error(), "client_cert_auth (localhost)") {
		t.Errorf("reload: %v", err)
	}
	if got := fetchWith(t, s.with(ca.issue("a", nil), true, ""), url); got != "200 ok" {
		t.Errorf("after a refused reload: got %s", got)
	}
	if got := fetchWith(t, s.with(other.issue("a", nil), true, ""), url); got != "no connection" {
		t.Errorf("after a refused reload, with another authority's: got %s", got)
	}
}

// ready2 is ready for a site that requires a certificate.
func (s *server) ready2(port, host string, ca *clientCA) {
	s.t.Helper()
	cert := ca.issue("ready", nil)
	eventually(s.t, func() error {
		config := s.tls()
		config.ServerName = host
		config.Certificates = []tls.Certificate{*cert}
		conn, err := tls.Dial("tcp", s.addr(port), config)
		if err == nil {
			conn.Close()
		}
		return err
	})
}

func TestCertificatesAreShownAsTheyAreCompared(t *testing.T) {
	ca := newClientCA(t, "Clients")
	s := prepare(t, "")
	cert := ca.issue("orders", func(c *x509.Certificate) {
		c.DNSNames = []string{"Orders.example.com"}
		c.SerialNumber = big.NewInt(0x1a2b3)
	}, "spiffe://example.org/orders")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	file := s.write("orders.crt", string(bytes.Join([][]byte{[]byte("text before\n"), block}, nil)))
	out := s.output("moat", "cert", file)
	for _, want := range []string{
		"spiffe      spiffe://example.org/orders\n", "dns         orders.example.com\n", "subject     CN=orders\n", "issuer      CN=Clients\n", "serial      01A2B3\n", "spki        ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it shows\n%s\nwant %s", out, want)
		}
	}
	if out, err := s.caddy("moat", "cert", s.write("none.crt", "nothing")); err == nil || !strings.Contains(out, "no certificate in PEM form") {
		t.Errorf("got %v, %s", err, out)
	}
}

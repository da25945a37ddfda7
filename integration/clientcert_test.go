package integration

import (
	"bytes"
	"context"
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
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
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

// TestAConnectionForOneSiteIsNoneForAnother makes connections for a site that
// asks for no certificate, or for that of another authority, and sends requests
// for the protected one on them, as browsers may with HTTP/2 (RFC 9113 section
// 9.1.1) and attackers do (domain fronting).
func TestAConnectionForOneSiteIsNoneForAnother(t *testing.T) {
	ours, partners := newClientCA(t, "Ours"), newClientCA(t, "Partners")
	auth := "client_cert_auth {\nidentity cn\n}\nrespond {http.auth.user.id}\n"
	s := start(t, "{\nskip_install_trust\n}\nhttps://open.localhost:{$PORT} {\ntls internal\nrespond open\n}\n"+
		mutual("ours.localhost", "verify_if_given", ours.file, auth)+mutual("partners.localhost", "require_and_verify", partners.file, auth))
	s.ready("PORT", "open.localhost")
	s.ready("PORT", "ours.localhost")
	s.ready2("PORT", "partners.localhost", partners)
	admin, partner := ours.issue("admin", nil), partners.issue("admin", nil)
	for _, test := range []struct {
		sni, host string
		cert      *tls.Certificate
		want      string
	}{
		{"open.localhost", "open.localhost", nil, "200 open"},
		{"ours.localhost", "ours.localhost", admin, "200 admin"},
		{"partners.localhost", "partners.localhost", partner, "200 admin"},
		{"ours.localhost", "ours.localhost", partner, "no connection"},
		{"ours.localhost", "ours.localhost", nil, "401 missing_credentials"},
		{"open.localhost", "ours.localhost", admin, "421 "},
		{"open.localhost", "ours.localhost", nil, "421 "},
		{"open.localhost", "partners.localhost", partner, "421 "},
		{"partners.localhost", "ours.localhost", partner, "421 "},
		{"ours.localhost", "partners.localhost", admin, "421 "},
		{"ours.localhost", "partners.localhost", nil, "421 "},
		{"ours.localhost", "ours.localhost.", admin, "421 "},
		{"OURS.localhost", "ours.localhost", admin, "200 admin"},
	} {
		for _, http2 := range []bool{false, true} {
			c := s.with(test.cert, http2, test.sni)
			c.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true // the name is another's
			got := fetchWith(t, c, "https://"+test.host+":"+s.ports["PORT"]+"/")
			if got != test.want {
				t.Errorf("connection for %s, request for %s, HTTP/2 %t: got %s, want %s", test.sni, test.host, http2, got, test.want)
			}
		}
	}
}

// TestSessionsAreNotResumedWithoutTheCertificate tries to use the session of
// one connection, and of another site, for a second one.
func TestSessionsAreNotResumedWithoutTheCertificate(t *testing.T) {
	ca := newClientCA(t, "Clients")
	s := start(t, "{\nskip_install_trust\n}\nhttps://open.localhost:{$PORT} {\ntls internal\nrespond open\n}\n"+
		mutual("ours.localhost", "verify_if_given", ca.file, "client_cert_auth {\nidentity cn\n}\nrespond {http.auth.user.id}\n"))
	s.ready("PORT", "open.localhost")
	s.ready("PORT", "ours.localhost")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		sessions := &oneSession{}
		ask := func(host string, cert *tls.Certificate) string {
			c := s.with(cert, false, host)
			config := c.Transport.(*http.Transport).TLSClientConfig
			config.InsecureSkipVerify = true // the session is another name's
			config.MaxVersion, config.ClientSessionCache = version, sessions
			defer c.CloseIdleConnections()
			return fetchWith(t, c, "https://"+host+":"+s.ports["PORT"]+"/")
		}
		alice := ca.issue("alice", nil)
		for i, step := range []struct {
			host string
			cert *tls.Certificate
			want string
		}{
			{"ours.localhost", alice, "200 alice"},
			{"ours.localhost", alice, "200 alice"},
			{"ours.localhost", nil, "401 missing_credentials"},
			{"open.localhost", alice, "200 open"},
			{"open.localhost", nil, "200 open"},
			{"ours.localhost", nil, "401 missing_credentials"},
			{"ours.localhost", ca.issue("bob", nil), "200 bob"},
		} {
			if got := ask(step.host, step.cert); got != step.want {
				t.Errorf("TLS %x, step %d: got %s, want %s", version, i, got, step.want)
			}
		}
		if version == tls.VersionTLS13 && sessions.kept == 0 {
			t.Error("the open site offers no session, so that nothing was tried")
		}
	}
}

// oneSession offers the last session it got to whomever.
type oneSession struct {
	mu   sync.Mutex
	last *tls.ClientSessionState
	kept int
}

func (o *oneSession) Get(string) (*tls.ClientSessionState, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last, o.last != nil
}

func (o *oneSession) Put(_ string, s *tls.ClientSessionState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s != nil {
		o.last = s
		o.kept++
	}
}

func TestAConnectionOutlivesItsCertificateInTheBinary(t *testing.T) {
	ca := newClientCA(t, "Clients")
	s := start(t, "{\nskip_install_trust\n}\n"+mutual("localhost", "require_and_verify", ca.file, "client_cert_auth {\nidentity cn\n}\nrespond {http.auth.user.id}\n"))
	s.ready2("PORT", "localhost", ca)
	url := "https://localhost:" + s.ports["PORT"] + "/"
	short := ca.issue("alice", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(8 * time.Second) })
	c := s.with(short, true, "")
	dials := 0
	dial := c.Transport.(*http.Transport).DialContext
	c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials++
		return dial(ctx, network, addr)
	}
	if got := fetchWith(t, c, url); got != "200 alice" {
		t.Fatalf("got %s", got)
	}
	eventually(t, func() error {
		if got := fetchWith(t, c, url); got != "401 invalid_client_certificate" {
			return fmt.Errorf("got %s", got)
		}
		return nil
	})
	if dials != 1 {
		t.Errorf("%d connections", dials)
	}
}

// TestCertificatesAccompanyTokens has clients whose connections always have a
// certificate, and the two methods in both orders.
func TestCertificatesAccompanyTokens(t *testing.T) {
	ca := newClientCA(t, "Clients")
	site := func(host, first, second string) string {
		return mutual(host, "verify_if_given", ca.file, "auth {\n"+first+"\n"+second+"\npreflight\nforward sub X-User\n}\nrespond \"{http.auth.user.id} {http.request.header.X-User}\"\n")
	}
	cert, token := "client_cert_auth {\nidentity cn\n}", "jwt_auth {\nissuer internal\n}"
	s := start(t, "{\nskip_install_trust\n}\n"+site("certs.localhost", cert, token)+site("tokens.localhost", token, cert))
	s.ready("PORT", "certs.localhost")
	s.ready("PORT", "tokens.localhost")
	machine := ca.issue("machine", nil)
	alice := bearer(s.token("--sub", "alice"))
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
		"unclear, with a token": {ca.issue("", nil), []string{alice}, "401 invalid_client_certificate", "200 alice alice"},
		"unclear":               {ca.issue("", nil), nil, "401 invalid_client_certificate", "401 invalid_client_certificate"},
	} {
		for host, want := range map[string]string{"certs.localhost": test.certs, "tokens.localhost": test.tokens} {
			if got := fetchWith(t, s.with(test.cert, true, ""), "https://"+host+":"+s.ports["PORT"]+"/", append(test.header, "X-User: root")...); got != want {
				t.Errorf("%s at %s: got %s, want %s", name, host, got, want)
			}
		}
	}
	// A preflight has no credentials; the connection is not the request.
	req, err := http.NewRequest("OPTIONS", "https://certs.localhost:"+s.ports["PORT"]+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://app.example.com")
	req.Header.Set("Access-Control-Request-Method", "GET")
	resp, err := s.with(machine, true, "").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(body) != " " {
		t.Errorf("preflight: got %d %q", resp.StatusCode, body)
	}
	// Both are asked for.
	req, _ = http.NewRequest("GET", "https://certs.localhost:"+s.ports["PORT"]+"/", nil)
	resp, err = s.with(nil, true, "").Do(req)
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
	ca, other := newClientCA(t, "Clients"), newClientCA(t, "Clients")
	seen := make(chan http.Header, 1)
	app := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		h := r.Header.Clone()
		for name, values := range r.Trailer {
			h["Trailer-"+name] = values
		}
		seen <- h
		fmt.Fprint(w, r.Header.Get("X-User"))
	})
	behind := func(port, from string) string {
		return ":{$" + port + "} {\nclient_cert_auth /api/* {\nidentity cn\nclient_cert_header from " + from + "\ntrust " + ca.file + "\nforward sub X-User\noptional\n}\nreverse_proxy " + app + "\n}\n"
	}
	s := start(t, "{\nskip_install_trust\n}\n"+mutual("localhost", "require_and_verify", ca.file, `
	reverse_proxy 127.0.0.1:{$PORT2} {
		header_up Client-Cert ":{http.request.tls.client.certificate_der_base64}:"
	}`)+behind("PORT2", "127.0.0.1")+behind("PORT3", "10.99.99.99"))
	s.ready2("PORT", "localhost", ca)
	clean := func(what string) {
		t.Helper()
		for name := range <-seen {
			if plain := strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(name)); strings.Contains(plain, "client-cert") && plain != "client-certs" {
				t.Errorf("%s: the application sees %s", what, name)
			}
		}
	}
	alice := ca.issue("alice", nil)
	if got := fetchWith(t, s.with(alice, true, ""), "https://localhost:"+s.ports["PORT"]+"/api/", "Client-Cert: "+field(ca.issue("root", nil))); got != "200 alice" {
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
		{"PORT2", "/api/", []string{"Client-Cert: " + field(other.issue("alice", nil))}, "401 invalid_client_certificate"},
		{"PORT2", "/api/", []string{"Client-Cert: " + field(ca.issue("alice", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }))}, "401 invalid_client_certificate"},
		{"PORT2", "/api/", []string{"Client-Cert: " + field(ca.issue("alice", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }))}, "401 invalid_client_certificate"},
		{"PORT2", "/api/", []string{line, "Connection: Client-Cert"}, "200 "},
		{"PORT2", "/open", []string{line}, "200 "}, // not the matcher's
		{"PORT3", "/api/", []string{line}, "200 "},
		{"PORT3", "/api/", []string{line, line, "Client-Cert-Chain: x", "X-User: root"}, "200 "},
		{"PORT3", "/api/", []string{"Client_Cert: " + field(alice), "Client.Cert: " + field(alice), "CLIENT-CERT_CHAIN: x", "client-CERT: x"}, "200 "},
		{"PORT3", "/open", []string{line, "Client.cert.chain: x"}, "200 "},
		{"PORT3", "/api/", []string{line, "X-Forwarded-For: 10.99.99.99", "Forwarded: for=10.99.99.99"}, "200 "},
	} {
		a := s.get(test.port, test.path, test.header...)
		got := fmt.Sprint(a.StatusCode, " ", a.code())
		if a.code() == "" {
			got += a.body
		}
		if got != test.want {
			t.Errorf("%s%s %.60q: got %s, want %s", test.port, test.path, test.header, got, test.want)
		}
		if a.StatusCode == 200 {
			clean(fmt.Sprintf("%s%s %.60q", test.port, test.path, test.header))
		}
	}
	trailer := "POST /api/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: Client-Cert\r\n\r\n1\r\nx\r\n0\r\nClient-Cert: " + field(alice) + "\r\n\r\n"
	if a := raw(t, s.addr("PORT3"), trailer); a.StatusCode != 200 || a.body != "" {
		t.Errorf("in a trailer: got %d %s", a.StatusCode, a.body)
	} else {
		clean("in a trailer")
	}
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

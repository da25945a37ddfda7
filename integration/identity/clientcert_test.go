package identity

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

func field(cert *tls.Certificate) string {
	return ":" + base64.StdEncoding.EncodeToString(cert.Certificate[0]) + ":"
}

// mutual is a site with client certificates of a CA.
func mutual(host, mode, file, rest string) string {
	return "https://" + host + ":{$PORT} {\n\ttls internal {\n\t\tclient_auth {\n\t\t\tmode " + mode + "\n\t\t\ttrust_pool file " + file + "\n\t\t}\n\t}\n" + rest + "\n}\n"
}

func TestClientCertificatesIdentify(t *testing.T) {
	ca, other := harness.NewClientCA(t, "Clients"), harness.NewClientCA(t, "Clients")
	s := harness.Prepare(t, "")
	clients := s.WriteFile("clients.jsonl", `{"spiffe":"spiffe://example.org/orders","user":"orders","roles":["clerk"],"plan":"gold"}
{"subject":"CN=gone","disabled":true}
`)
	s.WriteFile("Caddyfile", "{\n\tskip_install_trust\n\tmetrics\n}\n"+mutual("localhost", "verify_if_given", ca.File, `
	audit `+s.Path("trail")+` {
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
	s.Run()
	s.Wait()
	s.Ready("PORT", "localhost")
	years := func(from, until int) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().AddDate(from, 0, 0), time.Now().AddDate(until, 0, 0)
		}
	}
	const id = "spiffe://example.org/orders"
	good := ca.Issue("x", nil, id)
	url := "https://localhost:" + s.Ports["PORT"] + "/"
	for name, test := range map[string]struct {
		cert *tls.Certificate
		want string
	}{
		"good":            {good, `200 {"user":"orders","plan":"gold","spiffe":"spiffe://example.org/orders","internal":2}`},
		"none":            {nil, "401 missing_credentials"},
		"not in the map":  {ca.Issue("x", nil, "spiffe://example.org/other"), "403 client_certificate_not_allowed"},
		"disabled":        {ca.Issue("gone", nil, id), "403 client_certificate_not_allowed"},
		"two IDs":         {ca.Issue("x", nil, id, "spiffe://example.org/admin"), "401 invalid_client_certificate"},
		"other authority": {other.Issue("x", nil, id), "no connection"},
		"self-signed":     {func() *tls.Certificate { c := certificate(t, "x"); return &c }(), "no connection"},
		"expired":         {ca.Issue("x", years(-2, -1), id), "no connection"},
		"not yet valid":   {ca.Issue("x", years(1, 2), id), "no connection"},
		"for servers": {ca.Issue("x", func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}, id), "no connection"},
	} {
		for _, protocol := range harness.Protocols {
			c := s.ClientOver(protocol, test.cert, "")
			for range 2 { // a new connection and the same again
				if got := harness.Fetch(t, c, url, "X-User: root", "x_user: root"); got != test.want {
					t.Errorf("%s, %s: got %s, want %s", name, protocol, got, test.want)
				}
			}
		}
	}

	// The map changes under a connection that stays.
	c := s.ClientWith(good, true, "")
	s.WriteFile("clients.jsonl", `{"spiffe":"spiffe://example.org/orders","disabled":true}`)
	harness.Eventually(t, func() error {
		if got := harness.Fetch(t, c, url); got != "403 client_certificate_not_allowed" {
			return fmt.Errorf("disabled in the map: got %s", got)
		}
		return nil
	})
	s.WriteFile("clients.jsonl", `{"spiffe":`)
	harness.Eventually(t, func() error {
		if !strings.Contains(s.Log.String(), "what was read last stays in force") {
			return fmt.Errorf("the log does not say that the map is bad")
		}
		return nil
	})
	if got := harness.Fetch(t, c, url); got != "403 client_certificate_not_allowed" {
		t.Errorf("with a bad map: got %s", got)
	}
	metrics := harness.Fetch(t, http.DefaultClient, "http://"+s.Admin+"/metrics")
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
	config, err := os.ReadFile(s.Path("Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(string(config) + "# changed\n"); err == nil || !strings.Contains(err.Error(), "client_cert_auth: map") {
		t.Errorf("a configuration with a bad map: %v", err)
	}
	if got := harness.Fetch(t, c, url); got != "403 client_certificate_not_allowed" {
		t.Errorf("after it was refused: got %s", got)
	}
	s.Stop()
	trail := s.TrailText("trail")
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

func TestConfigurationsThatWouldBelieveAnyCertificateAreRefused(t *testing.T) {
	ca, other := harness.NewClientCA(t, "Clients"), harness.NewClientCA(t, "Others")
	auth := "client_cert_auth\nrespond ok\n"
	tlsWith := func(lines string) string {
		return "https://localhost:{$PORT} {\ntls internal {\nclient_auth {\n" + lines + "\n}\n}\n" + auth + "}\n"
	}
	global := func(options string) string { return "{\nskip_install_trust\n" + options + "\n}\n" }
	two := "https://a.localhost:{$PORT} {\ntls internal\nrespond open\n}\n" + mutual("b.localhost", "require_and_verify", ca.File, auth)
	for name, test := range map[string]struct{ config, want string }{
		"mode request":              {global("") + tlsWith("mode request"), "client_auth does not verify certificates"},
		"mode require":              {global("") + tlsWith("mode require\ntrust_pool file "+ca.File), "write mode require_and_verify"},
		"no trust pool":             {global("") + tlsWith("mode require_and_verify"), "has no trust_pool"},
		"the system's trust pool":   {global("") + tlsWith("mode verify_if_given\ntrust_pool system"), "or that of the system"},
		"no trust pool, if given":   {global("") + tlsWith("mode verify_if_given"), "has no trust_pool"},
		"no client_auth":            {global("") + "https://localhost:{$PORT} {\ntls internal\n" + auth + "}\n", "nobody is asked for a client certificate"},
		"in auth, no client_auth":   {global("") + "https://localhost:{$PORT} {\ntls internal\nauth {\nclient_cert_auth\n}\n}\n", "nobody is asked for a client certificate"},
		"in a handle block":         {global("") + "https://localhost:{$PORT} {\ntls internal\nhandle /a {\n" + auth + "}\n}\n", "client_cert_auth (localhost)"},
		"no TLS":                    {global("") + "http://localhost:{$PORT} {\n" + auth + "}\n", "no TLS connection is made here"},
		"no TLS, any host":          {global("") + ":{$PORT} {\n" + auth + "}\n", "client_cert_auth (any host): no TLS"},
		"another site's":            {global("") + mutual("a.localhost", "require_and_verify", ca.File, "respond ok") + "https://b.localhost:{$PORT} {\ntls internal\n" + auth + "}\n", "client_cert_auth (b.localhost)"},
		"fronting":                  {global("servers {\nstrict_sni_host insecure_off\n}") + two, "strict_sni_host insecure_off"},
		"fronting, two trust pools": {global("servers {\nstrict_sni_host insecure_off\n}") + mutual("a.localhost", "require_and_verify", other.File, auth) + mutual("b.localhost", "require_and_verify", ca.File, auth), "strict_sni_host insecure_off"},
		"named route":               {global("") + "&(clients) {\n" + auth + "}\nhttps://localhost:{$PORT} {\ntls internal {\nclient_auth {\nmode request\n}\n}\ninvoke clients\n}\n", "client_cert_auth, in a named route: client_auth does not verify"},
		"proxies, mode request":     {global("") + strings.ReplaceAll(tlsWith("mode request"), "client_cert_auth\n", "client_cert_auth {\nclient_cert_header from 10.0.0.1\ntrust "+ca.File+"\n}\n"), "client_auth does not verify certificates"},
	} {
		out := harness.FailsToLoad(t, test.config)
		if !strings.Contains(out, test.want) {
			t.Errorf("%s: it says\n%s\nwant …%s…", name, out, test.want)
		}
	}

	// The running configuration stays where the next one is refused.
	s := harness.Start(t, global("")+mutual("localhost", "require_and_verify", ca.File, auth))
	s.ReadyFor("PORT", "localhost", ca)
	c := s.ClientWith(ca.Issue("a", nil), true, "")
	url := "https://localhost:" + s.Ports["PORT"] + "/"
	if got := harness.Fetch(t, c, url); got != "200 ok" {
		t.Fatalf("got %s", got)
	}
	if err := s.Reload(global("") + tlsWith("mode request")); err == nil || !strings.Contains(err.Error(), "client_cert_auth (localhost)") {
		t.Errorf("reload: %v", err)
	}
	if got := harness.Fetch(t, s.ClientWith(ca.Issue("a", nil), true, ""), url); got != "200 ok" {
		t.Errorf("after a refused reload: got %s", got)
	}
	if got := harness.Fetch(t, s.ClientWith(other.Issue("a", nil), true, ""), url); got != "no connection" {
		t.Errorf("after a refused reload, with another authority's: got %s", got)
	}
}

func TestCertificatesAreShownAsTheyAreCompared(t *testing.T) {
	ca := harness.NewClientCA(t, "Clients")
	s := harness.Prepare(t, "")
	cert := ca.Issue("orders", func(c *x509.Certificate) {
		c.DNSNames = []string{"Orders.example.com"}
		c.SerialNumber = big.NewInt(0x1a2b3)
	}, "spiffe://example.org/orders")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	file := s.WriteFile("orders.crt", string(bytes.Join([][]byte{[]byte("text before\n"), block}, nil)))
	out := s.Output("moat", "cert", file)
	for _, want := range []string{
		"spiffe      spiffe://example.org/orders\n", "dns         orders.example.com\n", "subject     CN=orders\n", "issuer      CN=Clients\n", "serial      01A2B3\n", "spki        ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it shows\n%s\nwant %s", out, want)
		}
	}
	if out, err := s.Caddy("moat", "cert", s.WriteFile("none.crt", "nothing")); err == nil || !strings.Contains(out, "no certificate in PEM form") {
		t.Errorf("got %v, %s", err, out)
	}
}

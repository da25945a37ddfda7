package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestAConnectionForOneSiteIsNoneForAnother makes connections for a site that
// asks for no certificate, or for that of another authority, and sends requests
// for the protected one on them, as browsers may with HTTP/2 (RFC 9113 section
// 9.1.1) and attackers do (domain fronting).
func TestAConnectionForOneSiteIsNoneForAnother(t *testing.T) {
	ours, partners := harness.NewClientCA(t, "Ours"), harness.NewClientCA(t, "Partners")
	auth := "client_cert_auth {\nidentity cn\n}\nrespond {http.auth.user.id}\n"
	s := harness.Start(t, "{\nskip_install_trust\n}\nhttps://open.localhost:{$PORT} {\ntls internal\nrespond open\n}\n"+
		mutual("ours.localhost", "verify_if_given", ours.File, auth)+mutual("partners.localhost", "require_and_verify", partners.File, auth))
	s.Ready("PORT", "open.localhost")
	s.Ready("PORT", "ours.localhost")
	s.ReadyFor("PORT", "partners.localhost", partners)
	admin, partner := ours.Issue("admin", nil), partners.Issue("admin", nil)
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
			c := s.ClientWith(test.cert, http2, test.sni)
			c.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true // the name is another's
			got := harness.Fetch(t, c, "https://"+test.host+":"+s.Ports["PORT"]+"/")
			if got != test.want {
				t.Errorf("connection for %s, request for %s, HTTP/2 %t: got %s, want %s", test.sni, test.host, http2, got, test.want)
			}
		}
	}
}

// TestCertificatesIdentifyOverHTTP3 has no connection that TCP would make.
func TestCertificatesIdentifyOverHTTP3(t *testing.T) {
	ours, partners := harness.NewClientCA(t, "Ours"), harness.NewClientCA(t, "Partners")
	auth := "client_cert_auth {\nidentity cn\n}\nrespond {http.auth.user.id}\n"
	s := harness.Start(t, "{\nskip_install_trust\n}\nhttps://open.localhost:{$PORT} {\ntls internal\nrespond open\n}\n"+
		mutual("ours.localhost", "verify_if_given", ours.File, auth)+mutual("partners.localhost", "require_and_verify", partners.File, auth))
	s.Ready("PORT", "open.localhost")
	s.Ready("PORT", "ours.localhost")
	s.ReadyFor("PORT", "partners.localhost", partners)
	admin, partner := ours.Issue("admin", nil), partners.Issue("admin", nil)
	for _, test := range []struct {
		sni, host string
		cert      *tls.Certificate
		want      string
	}{
		{"ours.localhost", "ours.localhost", admin, "200 admin"},
		{"ours.localhost", "ours.localhost", nil, "401 missing_credentials"},
		{"ours.localhost", "ours.localhost", partner, "no connection"},
		{"partners.localhost", "partners.localhost", nil, "no connection"},
		{"open.localhost", "ours.localhost", admin, "421 "},
		{"partners.localhost", "ours.localhost", partner, "421 "},
	} {
		tr := &http3.Transport{TLSClientConfig: s.ClientWith(test.cert, true, test.sni).Transport.(*http.Transport).TLSClientConfig.Clone()}
		tr.TLSClientConfig.NextProtos = nil
		tr.TLSClientConfig.InsecureSkipVerify = true // the name is another's
		tr.Dial = func(ctx context.Context, _ string, config *tls.Config, qc *quic.Config) (*quic.Conn, error) {
			config.ServerName = test.sni
			return quic.DialAddrEarly(ctx, s.Addr("PORT"), config, qc)
		}
		got := harness.Fetch(t, &http.Client{Transport: tr, Timeout: harness.Patience}, "https://"+test.host+":"+s.Ports["PORT"]+"/")
		if got != test.want {
			t.Errorf("connection for %s, request for %s: got %s, want %s", test.sni, test.host, got, test.want)
		}
		tr.Close()
	}
}

// TestSessionsAreNotResumedWithoutTheCertificate tries to use the session of
// one connection, and of another site, for a second one.
func TestSessionsAreNotResumedWithoutTheCertificate(t *testing.T) {
	ca := harness.NewClientCA(t, "Clients")
	s := harness.Start(t, "{\nskip_install_trust\n}\nhttps://open.localhost:{$PORT} {\ntls internal\nrespond open\n}\n"+
		mutual("ours.localhost", "verify_if_given", ca.File, "client_cert_auth {\nidentity cn\n}\nrespond {http.auth.user.id}\n"))
	s.Ready("PORT", "open.localhost")
	s.Ready("PORT", "ours.localhost")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		sessions := &oneSession{}
		ask := func(host string, cert *tls.Certificate) string {
			c := s.ClientWith(cert, false, host)
			config := c.Transport.(*http.Transport).TLSClientConfig
			config.InsecureSkipVerify = true // the session is another name's
			config.MaxVersion, config.ClientSessionCache = version, sessions
			defer c.CloseIdleConnections()
			return harness.Fetch(t, c, "https://"+host+":"+s.Ports["PORT"]+"/")
		}
		alice := ca.Issue("alice", nil)
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
			{"ours.localhost", ca.Issue("bob", nil), "200 bob"},
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
	ca := harness.NewClientCA(t, "Clients")
	s := harness.Start(t, "{\nskip_install_trust\n}\n"+mutual("localhost", "require_and_verify", ca.File, "client_cert_auth {\nidentity cn\n}\nrespond {http.auth.user.id}\n"))
	s.ReadyFor("PORT", "localhost", ca)
	url := "https://localhost:" + s.Ports["PORT"] + "/"
	// A busy machine may need longer for the first request than a certificate lives.
	for _, life := range []time.Duration{5 * time.Second, 15 * time.Second, harness.Patience / 2} {
		c := s.ClientWith(ca.Issue("alice", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(life) }), true, "")
		dials := 0
		dial := c.Transport.(*http.Transport).DialContext
		c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials++
			return dial(ctx, network, addr)
		}
		if got := harness.Fetch(t, c, url); got == "no connection" || got == "401 invalid_client_certificate" {
			continue
		} else if got != "200 alice" {
			t.Fatalf("got %s", got)
		}
		harness.Eventually(t, func() error {
			if got := harness.Fetch(t, c, url); got != "401 invalid_client_certificate" {
				return fmt.Errorf("got %s", got)
			}
			return nil
		})
		if dials != 1 {
			t.Errorf("%d connections", dials)
		}
		return
	}
	t.Error("no request came while its certificate was valid")
}

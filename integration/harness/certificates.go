package harness

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"
)

// ClientCA issues client certificates for tests.
type ClientCA struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	File string // the authority's certificate
}

// NewClientCA makes an authority with that common name.
func NewClientCA(t testing.TB, name string) *ClientCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &ClientCA{t: t, key: key}
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
	ca.File = t.TempDir() + "/ca.pem"
	if err := os.WriteFile(ca.File, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return ca
}

// LoadClientCA returns an authority of Caddy's own, from its storage.
func LoadClientCA(t testing.TB, dir string) *ClientCA {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(dir+"/root.crt", dir+"/root.key")
	if err != nil {
		t.Fatal(err)
	}
	return &ClientCA{t: t, cert: pair.Leaf, key: pair.PrivateKey.(*ecdsa.PrivateKey), File: dir + "/root.crt"}
}

// Issue makes a certificate for a common name and URIs, as change leaves it.
func (ca *ClientCA) Issue(cn string, change func(*x509.Certificate), uris ...string) *tls.Certificate {
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

// ClientWith returns a client that has a certificate, if it is not nil, and speaks
// HTTP/2 or HTTP/1.1. It makes connections for the name sni, if that is not
// empty, whatever host it sends requests to.
func (s *Server) ClientWith(cert *tls.Certificate, http2 bool, sni string) *http.Client {
	s.T.Helper()
	c := s.Client()
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

// Ready waits until a site has its certificate, which Caddy obtains in the
// background.
func (s *Server) Ready(port, host string) {
	s.T.Helper()
	s.ready(port, host, nil)
}

// ReadyFor is Ready for a site that requires a client certificate.
func (s *Server) ReadyFor(port, host string, ca *ClientCA) {
	s.T.Helper()
	s.ready(port, host, []tls.Certificate{*ca.Issue("ready", nil)})
}

func (s *Server) ready(port, host string, certificates []tls.Certificate) {
	s.T.Helper()
	Eventually(s.T, func() error {
		config := s.TLS()
		config.ServerName, config.Certificates = host, certificates
		conn, err := tls.Dial("tcp", s.Addr(port), config)
		if err == nil {
			conn.Close()
		}
		return err
	})
}

package clientcert

import (
	"crypto/x509"
	"errors"
	"strings"
	"time"
)

// Bounds of the header fields of RFC 9440.
const (
	maxChain      = 10       // certificates in Client-Cert-Chain
	maxChainBytes = 64 << 10 // of its text
)

// ErrField is a Client-Cert or Client-Cert-Chain, or what a proxy sends in its
// place, that cannot be read.
var ErrField = errors.New("the field with the client certificate cannot be read")

// ErrUntrusted is a certificate from a field that nobody who is trusted has
// issued for clients, or that is not good at this time.
var ErrUntrusted = errors.New("the client certificate is not trusted")

// Field is what a request says in the fields Client-Cert and
// Client-Cert-Chain (RFC 9440), one text a field line, or in one field of
// another form.
type Field struct {
	Form        Form
	Cert, Chain []string
}

// Parse reads the certificates.
//
// Client-Cert is a singleton (RFC 9440 section 2.2), and has no meaning beside
// another: two are an error. The chain may stand in several lines.
func (f Field) Parse() (cert *x509.Certificate, chain []*x509.Certificate, err error) {
	if len(f.Cert) != 1 {
		return nil, nil, ErrField // a chain without a certificate, too (section 2.3)
	}
	if f.Form != RFC9440 {
		return f.parseForm()
	}
	if cert, err = parseItem(f.Cert[0]); err != nil {
		return nil, nil, err
	}
	n := 0
	for _, line := range f.Chain {
		if n += len(line); n > maxChainBytes {
			return nil, nil, ErrField
		}
		for item := range strings.SplitSeq(line, ",") {
			if len(chain) == maxChain {
				return nil, nil, ErrField
			}
			c, err := parseItem(strings.Trim(item, " \t"))
			if err != nil {
				return nil, nil, err
			}
			chain = append(chain, c)
		}
	}
	return cert, chain, nil
}

// parseItem reads a certificate in a byte sequence (RFC 8941 section 3.3.5).
// RFC 9440 gives it no parameters, so one is an error. Padding is required and
// its bits are zero: each certificate has one text, where a reader of
// structured fields such as httpsfv accepts several (RFC 8941 section 4.2.7).
func parseItem(s string) (*x509.Certificate, error) {
	der, err := decodeItem(s)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, ErrField // x509 would repeat what the client sent
	}
	return cert, nil
}

func decodeItem(s string) ([]byte, error) {
	s, ok := strings.CutPrefix(strings.Trim(s, " "), ":")
	if !ok {
		return nil, ErrField
	}
	s, ok = strings.CutSuffix(s, ":")
	if !ok {
		return nil, ErrField
	}
	return decodeDER(s)
}

// Verify checks that the certificate is one for clients, that it leads to
// one of the roots, and that all of it is good now. That the client has its
// key is what the proxy has seen; who is behind the certificate it need not
// have asked.
func Verify(cert *x509.Certificate, chain []*x509.Certificate, roots *x509.CertPool, now time.Time) ([][]*x509.Certificate, error) {
	if roots == nil {
		return nil, ErrUntrusted // x509 would take those of the system
	}
	intermediates := x509.NewCertPool()
	for _, c := range chain {
		intermediates.AddCert(c)
	}
	chains, err := cert.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, errors.Join(ErrUntrusted, err)
	}
	return chains, nil
}

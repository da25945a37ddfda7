package clientcert

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

const spiffeScheme = "spiffe"

// ID is a SPIFFE ID, such as spiffe://example.org/orders.
type ID string

// TrustDomain returns the trust domain.
func (id ID) TrustDomain() string {
	domain, _, _ := strings.Cut(strings.TrimPrefix(string(id), spiffeScheme+"://"), "/")
	return domain
}

// Path returns the path, with its slash; empty where there is none.
func (id ID) Path() string {
	return strings.TrimPrefix(string(id), spiffeScheme+"://"+id.TrustDomain())
}

// ParseID reads a SPIFFE ID by the rules of the SPIFFE-ID standard, sections 2
// to 2.3. There is one spelling of each: what would need to be normalised,
// unescaped or trimmed is refused.
func ParseID(s string) (ID, error) {
	rest, ok := strings.CutPrefix(s, spiffeScheme+"://")
	if !ok || len(s) > maxURI {
		return "", fmt.Errorf("a SPIFFE ID begins with %s:// and has at most %d bytes", spiffeScheme, maxURI)
	}
	domain, path, hasPath := strings.Cut(rest, "/")
	if err := CheckTrustDomain(domain); err != nil {
		return "", err
	}
	if !hasPath {
		return ID(s), nil
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return "", errors.New("the path of a SPIFFE ID has no empty segments and none of dots")
		}
		for i := range len(segment) {
			if c := segment[i]; !idByte(c) && c-'A' > 'Z'-'A' {
				return "", errors.New("the path of a SPIFFE ID has letters, digits, dots, hyphens and underscores")
			}
		}
	}
	return ID(s), nil
}

// CheckTrustDomain says why a text cannot be a trust domain, nil if it can.
func CheckTrustDomain(s string) error {
	if s == "" || len(s) > 255 {
		return errors.New("a trust domain has 1 to 255 bytes")
	}
	for i := range len(s) {
		if !idByte(s[i]) {
			return errors.New("a trust domain has small letters, digits, dots, hyphens and underscores")
		}
	}
	return nil
}

func idByte(c byte) bool {
	return c-'a' <= 'z'-'a' || c-'0' <= '9'-'0' || c == '.' || c == '-' || c == '_'
}

// svid returns the SPIFFE ID of a certificate. It is empty where the
// certificate has none, and an error where it has one and is not what the
// X509-SVID standard, section 5.2, asks of a leaf.
func svid(cert *x509.Certificate, uris []string) (ID, error) {
	var id ID
	for _, uri := range uris {
		if strings.HasPrefix(uri, spiffeScheme+"://") {
			id = ID(uri) // CheckURI has parsed it
		}
	}
	switch {
	case id == "":
		return "", nil
	case len(uris) > 1:
		return "", unreadable("a certificate with a SPIFFE ID has one URI alone")
	case id.Path() == "":
		return "", unreadable("the SPIFFE ID is that of a trust domain, not of somebody in it")
	case cert.IsCA || cert.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return "", unreadable("the certificate with a SPIFFE ID is one to sign others with")
	}
	return id, nil
}

package clientcert

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// MaxCertificate is how long a certificate may be, in bytes of its DER. What
// is known of one is kept, so that it must be bounded.
const MaxCertificate = 16 << 10

// Names is what a certificate says of its holder, of its issuer and of
// itself, each in the one spelling that is compared.
type Names struct {
	URIs   []string // as they are written
	DNS    []string // in lower case
	Emails []string // the domain in lower case, the rest as it is written

	Subject     string // RFC 4514; empty where there is none
	CommonNames []string
	Issuer      string // RFC 4514
	Serial      string // hexadecimal digits, an even number of them, in capitals
	SPKI        string // base64 of the SHA-256 of the SubjectPublicKeyInfo (RFC 7469 section 2.4)

	// ID is the SPIFFE ID, empty where the certificate is not an SVID.
	ID ID
}

// ErrUnreadable is a certificate that says something that cannot be shown,
// compared or understood: it is not worth guessing what the rest means.
var ErrUnreadable = errors.New("the client certificate cannot be understood")

func unreadable(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnreadable, fmt.Sprintf(format, args...))
}

// Read returns the names in a certificate.
//
// It reads the encoded names itself: crypto/x509 gives URIs parsed, which
// loses what makes two of them differ, and subjects flattened, which makes two
// of them the same.
func Read(cert *x509.Certificate) (*Names, error) {
	if len(cert.Raw) > MaxCertificate {
		return nil, unreadable("it is longer than %d bytes", MaxCertificate)
	}
	n := &Names{Serial: serialText(cert.SerialNumber), SPKI: SPKI(cert)}
	var err error
	if n.Subject, n.CommonNames, err = readDN(cert.RawSubject); err != nil {
		return nil, unreadable("its subject: %v", err)
	}
	if n.Issuer, _, err = readDN(cert.RawIssuer); err != nil {
		return nil, unreadable("its issuer: %v", err)
	}
	if err := n.readAlternatives(cert); err != nil {
		return nil, err
	}
	n.ID, err = svid(cert, n.URIs)
	return n, err
}

// SPKI returns the pin of a certificate's public key, RFC 7469 section 2.4.
func SPKI(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// serialText prints a serial number as openssl does.
func serialText(n *big.Int) string {
	if n == nil || n.Sign() < 0 {
		return ""
	}
	digits := fmt.Sprintf("%X", n)
	if len(digits)%2 == 1 {
		digits = "0" + digits
	}
	return digits
}

// Tags of GeneralName, RFC 5280 section 4.2.1.6.
var (
	tagEmail = asn1.Tag(1).ContextSpecific()
	tagDNS   = asn1.Tag(2).ContextSpecific()
	tagURI   = asn1.Tag(6).ContextSpecific()
)

// readAlternatives reads the subject alternative names.
func (n *Names) readAlternatives(cert *x509.Certificate) error {
	seen := false
	for _, ext := range cert.Extensions {
		if ext.Id.String() != "2.5.29.17" {
			continue
		}
		if seen {
			return unreadable("it has two lists of alternative names")
		}
		seen = true
		der := cryptobyte.String(ext.Value)
		var list cryptobyte.String
		if !der.ReadASN1(&list, asn1.SEQUENCE) || !der.Empty() {
			return unreadable("its alternative names")
		}
		for !list.Empty() {
			var value cryptobyte.String
			var tag asn1.Tag
			if !list.ReadAnyASN1(&value, &tag) {
				return unreadable("its alternative names")
			}
			if err := n.addAlternative(tag, string(value)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *Names) addAlternative(tag asn1.Tag, value string) (err error) {
	switch tag {
	case tagURI:
		if err = CheckURI(value); err == nil {
			n.URIs = append(n.URIs, value)
		}
	case tagDNS:
		// A wildcard names many and thus nobody. It is not a mistake in a
		// certificate that is a server's too.
		if strings.HasPrefix(value, "*.") {
			return nil
		}
		if value, err = NormalDNS(value); err == nil {
			n.DNS = append(n.DNS, value)
		}
	case tagEmail:
		if value, err = NormalEmail(value); err == nil {
			n.Emails = append(n.Emails, value)
		}
	}
	if err != nil {
		return unreadable("an alternative name: %v", err)
	}
	return nil
}

// CheckURI says why a text cannot be a URI that names somebody, nil if it can.
// URIs are compared as they are written (RFC 3986 section 6.2.1).
func CheckURI(s string) error {
	if s == "" || len(s) > maxURI {
		return fmt.Errorf("a URI has 1 to %d bytes", maxURI)
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return errors.New("a URI has no such characters")
		}
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" {
		return errors.New("not a URI")
	}
	// Who is called so must not be mistaken for a SPIFFE ID by anyone.
	if strings.EqualFold(u.Scheme, spiffeScheme) {
		if _, err := ParseID(s); err != nil {
			return err
		}
	}
	return nil
}

const maxURI = 2048

// NormalDNS returns a host name in the spelling that is compared, which is
// lower case.
func NormalDNS(s string) (string, error) {
	if s == "" || len(s) > 253 {
		return "", errors.New("a host name has 1 to 253 bytes")
	}
	s = strings.ToLower(s)
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", errors.New("not a host name")
		}
		for i := range len(label) {
			if c := label[i]; c-'a' > 'z'-'a' && c-'0' > '9'-'0' && c != '-' && c != '_' {
				return "", errors.New("a host name has no such characters")
			}
		}
	}
	return s, nil
}

// NormalEmail returns an e-mail address in the spelling that is compared: the
// host is in lower case, and the local part, which only the host may
// interpret, as it was (RFC 5280 section 7.5).
func NormalEmail(s string) (string, error) {
	local, host, ok := strings.Cut(s, "@")
	if !ok || local == "" || len(local) > 64 {
		return "", errors.New("not an e-mail address")
	}
	for i := range len(local) {
		// atext and dots (RFC 5322 section 3.2.3); what is quoted is refused.
		c := local[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),:;<>@[\]`, c) >= 0 {
			return "", errors.New("an e-mail address has no such characters")
		}
	}
	host, err := NormalDNS(host)
	if err != nil {
		return "", err
	}
	return local + "@" + host, nil
}

// NormalSerial returns a serial number, written in hexadecimal digits with or
// without colons, in the spelling that is compared.
func NormalSerial(s string) (string, error) {
	digits := strings.ReplaceAll(s, ":", "")
	if digits == "" || len(digits) > 64 {
		return "", errors.New("a serial number is written in hexadecimal digits, as openssl x509 -serial prints it")
	}
	for i := range len(digits) {
		if strings.IndexByte("0123456789abcdefABCDEF", digits[i]) < 0 {
			return "", errors.New("a serial number is written in hexadecimal digits, as openssl x509 -serial prints it")
		}
	}
	n, _ := new(big.Int).SetString(digits, 16)
	return serialText(n), nil
}

// CheckPin says why a text cannot be the pin of a key, nil if it can.
func CheckPin(s string) error {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != sha256.Size {
		return errors.New("a pin is the base64 of the SHA-256 of a public key, 44 characters, as `caddy moat cert` prints it")
	}
	return nil
}

package clientcert

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
)

// Form is how a proxy writes a certificate into a header field.
type Form string

const (
	// RFC9440 is Client-Cert with Client-Cert-Chain.
	RFC9440 Form = ""

	// PEMEscaped is PEM of which at least the line breaks are
	// percent-encoded: $ssl_client_escaped_cert of nginx, and
	// X-Amzn-Mtls-Clientcert of AWS, which leaves "+", "=" and "/" as they
	// are. The certificates of its chain may follow that of the client.
	PEMEscaped Form = "pem_escaped"

	// DERBase64 is DER in base64, as in Cf-Client-Cert-Der-Base64 of
	// Cloudflare. The certificates of its chain may follow that of the client,
	// separated by commas, as in X-Forwarded-Tls-Client-Cert of Traefik.
	DERBase64 Form = "der_base64"

	// XFCC is X-Forwarded-Client-Cert of Envoy.
	XFCC Form = "xfcc"
)

// Forms are the forms besides that of RFC 9440.
var Forms = []Form{PEMEscaped, DERBase64, XFCC}

// ErrNotContained is an X-Forwarded-Client-Cert that only describes the
// certificate, which then cannot be verified.
var ErrNotContained = errors.New("the field X-Forwarded-Client-Cert describes the client certificate and does not contain it")

// Empty reports whether the field says that the client has no certificate: a
// proxy that fills it from a variable sends it empty then. RFC 9440 has no
// such form.
func (f Field) Empty() bool {
	return f.Form != RFC9440 && len(f.Cert) == 1 && strings.Trim(f.Cert[0], " \t") == ""
}

// parseForm reads a field in a form other than that of RFC 9440.
//
// All of them are singletons like Client-Cert: what stands in a second line, or
// is added to the first as if it were one, may be the client's own word. That
// is why all certificates behind the first have to be those of authorities.
func (f Field) parseForm() (cert *x509.Certificate, chain []*x509.Certificate, err error) {
	text := strings.Trim(f.Cert[0], " \t")
	if len(text) > maxChainBytes || len(f.Chain) > 0 {
		return nil, nil, ErrField
	}
	var certs []*x509.Certificate
	switch f.Form {
	case PEMEscaped:
		certs, err = parsePEM(text)
	case DERBase64:
		certs, err = parseDER(text)
	case XFCC:
		certs, err = parseXFCC(text)
	default:
		return nil, nil, ErrField
	}
	if err != nil {
		return nil, nil, err
	}
	for _, c := range certs[1:] {
		if !c.IsCA {
			return nil, nil, ErrField
		}
	}
	return certs[0], certs[1:], nil
}

func parseDER(text string) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for item := range strings.SplitSeq(text, ",") {
		der, err := decodeDER(strings.Trim(item, " \t"))
		if err != nil {
			return nil, err
		}
		if certs, err = addCertificate(certs, der); err != nil {
			return nil, err
		}
	}
	return certs, nil
}

// decodeDER decodes base64 in its one spelling.
func decodeDER(s string) ([]byte, error) {
	if s == "" || base64.StdEncoding.DecodedLen(len(s)) > MaxCertificate+2 || strings.ContainsAny(s, "\r\n") {
		return nil, ErrField
	}
	der, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, ErrField
	}
	return der, nil
}

func addCertificate(certs []*x509.Certificate, der []byte) ([]*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil || len(certs) > maxChain {
		return nil, ErrField // x509 would repeat what the client sent
	}
	return append(certs, cert), nil
}

const (
	pemBegin = "-----BEGIN CERTIFICATE-----"
	pemEnd   = "-----END CERTIFICATE-----"
)

// parsePEM reads one certificate after the other. encoding/pem would pass over
// what stands before and between them, and over headers within.
func parsePEM(text string) ([]*x509.Certificate, error) {
	text, ok := unescape(text)
	if !ok {
		return nil, ErrField
	}
	var certs []*x509.Certificate
	for len(certs) == 0 || text != "" {
		body, found := strings.CutPrefix(text, pemBegin)
		if !found {
			return nil, ErrField
		}
		body, rest, found := strings.Cut(body, pemEnd)
		if !found {
			return nil, ErrField
		}
		der, err := decodeDER(dropBreaks.Replace(body))
		if err != nil {
			return nil, err
		}
		if certs, err = addCertificate(certs, der); err != nil {
			return nil, err
		}
		text = strings.TrimLeft(rest, lineBreaks)
	}
	return certs, nil
}

// lineBreaks are line breaks, and what proxies make of those that cannot stand
// in a field: nginx a tab, Apache httpd a space.
const lineBreaks = "\r\n\t "

var dropBreaks = strings.NewReplacer("\r", "", "\n", "", "\t", "", " ", "")

// unescape decodes percent-encoding (RFC 3986 section 2.1). A plus sign stays a
// plus sign: this is not form encoding, and base64 has them.
func unescape(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		c, err := hex.DecodeString(s[i+1 : i+3])
		if err != nil {
			return "", false
		}
		b = append(b, c[0])
		i += 2
	}
	return string(b), true
}

// parseXFCC reads the certificates of the client whose connection the nearest
// proxy has seen. Each proxy on the way appends an element of its own, so that
// is the last: those before it are the word of who sent the request to that
// proxy.
func parseXFCC(text string) ([]*x509.Certificate, error) {
	elements, ok := splitXFCC(text)
	if !ok {
		return nil, ErrField
	}
	var certs [2][]*x509.Certificate // Cert, Chain
	var hash string
	seen := make(map[string]bool)
	for _, p := range elements[len(elements)-1] {
		which := slices.Index([]string{"cert", "chain", "hash"}, p.key)
		if which < 0 || p.value == "" {
			continue // By, Subject, URI, DNS: what the certificate says itself
		}
		if seen[p.key] {
			return nil, ErrField
		}
		seen[p.key] = true
		if which == 2 {
			hash = p.value
			continue
		}
		var err error
		if certs[which], err = parsePEM(p.value); err != nil {
			return nil, err
		}
	}
	all := certs[1]
	switch cert := certs[0]; {
	case len(cert) > 1:
		return nil, ErrField
	case len(cert) == 0 && len(all) == 0:
		return nil, ErrNotContained
	case len(all) == 0:
		all = cert
	case len(cert) == 1 && !bytes.Equal(cert[0].Raw, all[0].Raw):
		return nil, ErrField
	}
	if sum := sha256.Sum256(all[0].Raw); hash != "" && !strings.EqualFold(hash, hex.EncodeToString(sum[:])) {
		return nil, ErrField
	}
	return all, nil
}

// pair is one of an element of X-Forwarded-Client-Cert. Keys are compared
// without regard to case, and stand here in small letters.
type pair struct{ key, value string }

// maxElements bounds the elements of X-Forwarded-Client-Cert, and the pairs of
// each.
const maxElements = 32

// splitXFCC splits a field into its elements, separated by commas, and those
// into their pairs, separated by semicolons. A value with any of these or "="
// in it is quoted, with a backslash before quotes.
func splitXFCC(text string) (elements [][]pair, ok bool) {
	var element []pair
	for {
		key, rest, found := strings.Cut(text, "=")
		key = strings.ToLower(strings.Trim(key, " \t"))
		if !found || key == "" || strings.ContainsAny(key, "\",; \t\\") || len(element) == maxElements {
			return nil, false
		}
		value, rest, ok := cutValue(rest)
		if !ok {
			return nil, false
		}
		element = append(element, pair{key, value})
		if rest == "" || rest[0] == ',' {
			if elements = append(elements, element); len(elements) > maxElements {
				return nil, false
			}
			element = nil
		}
		if rest == "" {
			return elements, true
		}
		text = rest[1:]
	}
}

// cutValue returns the value that s begins with, and the rest from the
// separator on.
func cutValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, ",;")
		if end < 0 {
			end = len(s)
		}
		value = strings.TrimRight(s[:end], " \t")
		return value, s[end:], strings.IndexByte(value, '"') < 0
	}
	var b []byte
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
			b = append(b, s[i])
		case '"':
			rest = strings.TrimLeft(s[i+1:], " \t")
			return string(b), rest, rest == "" || rest[0] == ',' || rest[0] == ';'
		default:
			b = append(b, s[i])
		}
	}
	return "", "", false
}

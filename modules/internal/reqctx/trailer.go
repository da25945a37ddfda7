package reqctx

import (
	"io"
	"net/http"
	"strings"
)

// DropTrailers takes fields out of a request's trailer section, in which Caddy's
// reverse proxy passes them on. A server behind may take them for fields of
// the header, on which it was decided here. What is dropped:
//
//   - fields that also stand in the header, in any spelling
//   - fields that RFC 9110 section 6.5.1 keeps out of trailers, since they say
//     who is calling, where a request goes or how it is to be read
//   - fields that drop, which gets names as they were sent, is true for
//
// What the section says is known at the end of the body, also of fields that
// were not announced; it is looked at then.
func DropTrailers(r *http.Request, drop func(name string) bool) {
	if r.Trailer == nil {
		return
	}
	t := &trailerGuard{ReadCloser: r.Body, trailer: r.Trailer, drop: drop, header: make(map[string]bool, len(r.Header))}
	for name := range r.Header {
		t.header[spelled(name)] = true
	}
	t.clean()
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = t
	}
}

// trailerGuard is a body that cleans the trailer section before it passes on its
// end.
type trailerGuard struct {
	io.ReadCloser
	trailer http.Header
	header  map[string]bool // names in the header when the request came, as spelled
	drop    func(string) bool
}

func (t *trailerGuard) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if err != nil {
		t.clean()
	}
	return n, err
}

func (t *trailerGuard) clean() {
	for name := range t.trailer {
		if plain := spelled(name); t.header[plain] || notInTrailers(plain) || t.drop != nil && t.drop(name) {
			delete(t.trailer, name)
		}
	}
}

// spelled is the form that the spellings of a field name have in common, for
// servers that hand fields on as variables.
func spelled(name string) string {
	return strings.Map(func(c rune) rune {
		if c == '_' || c == '.' {
			return '-'
		}
		return c
	}, strings.ToLower(name))
}

// notInTrailers reports whether a field, as spelled, must not be in a trailer
// section.
func notInTrailers(name string) bool {
	switch name {
	case "host", "authority", "te", "trailer", "transfer-encoding", "connection", "upgrade", "expect", "max-forwards", "range",
		"authorization", "proxy-authorization", "cookie", "dpop", "api-key", "x-api-key", "signature", "signature-input", "date",
		"forwarded", "via", "origin", "referer", "early-data", "client-cert", "client-cert-chain", "content-length", "content-type",
		"content-encoding", "content-language", "content-location", "content-range", "cache-control", "pragma", "accept", "idempotency-key",
		"x-real-ip", "true-client-ip", "x-client-ip", "x-original-url", "x-rewrite-url", "x-http-method", "x-method-override", "x-http-method-override":
		return true
	}
	for _, prefix := range [...]string{"if-", "sec-", "x-forwarded-", "x-original-", "x-amz-security-", "x-amzn-", "x-ssl-", "cf-", "remote-", "x-auth-", "x-user", "x-client-cert"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

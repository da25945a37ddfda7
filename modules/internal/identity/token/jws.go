package token

import (
	"bytes"
	"context"
	"encoding/base64"
	"sync"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// work is the memory that taking one token apart needs. It is used again and
// again, so that an uncached token costs few allocations.
type work struct {
	buf     []byte             // the token, then its three parts decoded
	header  strictjson.Scanner // of the header
	payload strictjson.Scanner // of the claims
}

var workPool = sync.Pool{New: func() any { return new(work) }}

// jws is a JWS in compact serialization, RFC 7515 section 7.1, taken apart
// and not verified. All of it stands in the memory of a work.
type jws struct {
	signed    string // what the signature is over
	headerLen int    // of the header in signed
	header    []byte
	payload   []byte
	sig       []byte
	head      head
	padded    bool // its parts are padded
}

// head is what the header says, as far as it is of interest.
type head struct {
	alg string // a supported algorithm
	kid []byte
	typ []byte // nil if there is none
	jwk []byte // the text of the jwk member, nil if there is none

	signer []byte // nil if there is none; it is not registered, and AWS has it
}

// split takes raw apart. It accepts exactly three parts of base64url without
// padding, line ends and bits left over, so that there is one spelling of a
// token and not several (RFC 7515 section 2, RFC 4648 section 3.5). Five parts
// are a JWE and refused with the rest.
//
// With padding, what ends in "=" is taken for a token all of whose parts are
// padded as RFC 4648 section 5 has it. Whoever signs such tokens signs the
// padding, too.
func (w *work) split(raw string, padding bool) (jws, bool) {
	// Decoding yields at most three bytes for four.
	w.buf = append(w.buf[:0], raw...)
	text := w.buf
	if bytes.IndexByte(text, '\n') >= 0 || bytes.IndexByte(text, '\r') >= 0 {
		return jws{}, false // the standard library skips these
	}
	first := bytes.IndexByte(text, '.')
	if first < 0 {
		return jws{}, false
	}
	second := bytes.IndexByte(text[first+1:], '.') + first + 1
	if second == first || bytes.IndexByte(text[second+1:], '.') >= 0 {
		return jws{}, false
	}
	var parts [3][]byte
	enc := base64url
	padded := padding && text[len(text)-1] == '='
	if padded {
		enc = paddedBase64url
	}
	for i, part := range [3][]byte{text[:first], text[first+1 : second], text[second+1:]} {
		var ok bool
		if parts[i], ok = w.decode(enc, part); !ok {
			return jws{}, false
		}
	}
	return jws{signed: raw[:second], headerLen: first, header: parts[0], payload: parts[1], sig: parts[2], padded: padded}, true
}

var (
	base64url       = base64.RawURLEncoding.Strict()
	paddedBase64url = base64.URLEncoding.Strict()
)

// decode appends what part stands for to w.buf. Slices of w.buf made before
// stay good if it grows: nothing writes to the old memory.
func (w *work) decode(enc *base64.Encoding, part []byte) ([]byte, bool) {
	start := len(w.buf)
	buf, err := enc.AppendDecode(w.buf, part)
	if err != nil {
		return nil, false
	}
	w.buf = buf
	return buf[start:len(buf):len(buf)], true
}

// readHeader reads t.header and refuses what changes the meaning of a token
// or says where to find its key: RFC 8725 sections 3.1, 3.2 and 3.10.
func (w *work) readHeader(t *jws, embedded bool) *Error {
	if w.header.Object(t.header) != nil {
		return errMalformed
	}
	for i := range w.header.Len() {
		if err := t.head.set(w.header.Member(i), embedded); err != nil {
			return err
		}
	}
	if t.head.alg == "" {
		return errMalformed
	}
	return nil
}

func (h *head) set(m strictjson.Member, embedded bool) *Error {
	switch string(m.Name) {
	case "alg":
		alg, ok := strictjson.Text(m.Value)
		if !ok {
			return errMalformed
		}
		if h.alg, ok = jwk.Supported(alg); !ok {
			return errAlgorithm.because("alg is %s, which is not supported", shown(alg))
		}
	case "kid":
		return setText(&h.kid, m.Value)
	case "typ":
		return setText(&h.typ, m.Value)
	case "signer":
		h.signer, _ = strictjson.Text(m.Value) // whatever it is to those who do not ask for it
	case "cty":
		var cty []byte
		if err := setText(&cty, m.Value); err != nil {
			return err
		}
		if sameType(cty, "JWT") { // nested, RFC 7519 section 5.2
			return errHeader.because("cty says that the token is nested in another")
		}
	case "jwk":
		if !embedded {
			return errHeader
		}
		h.jwk = m.Value
	case "crit", "b64", "enc":
		return errHeader.because("the header parameter %s is not understood here", m.Name)
	case "jku", "x5u", "zip":
		// Where keys might be found is never asked, and nothing is ever
		// unpacked: what is not used must be ignored (RFC 7515 section 4), and
		// some providers write it into every token. A proof has its key in it.
		if embedded {
			return errHeader.because("the header parameter %s is not accepted in a proof", m.Name)
		}
	}
	return nil
}

func setText(to *[]byte, value []byte) *Error {
	if strictjson.IsNull(value) {
		return nil // as if it were not there
	}
	text, ok := strictjson.Text(value)
	if !ok {
		return errMalformed
	}
	*to = text
	return nil
}

// sameType compares media types as RFC 7515 section 4.1.9 has it: without
// regard to case, and "application/" may be left out.
func sameType(typ []byte, want string) bool {
	const prefix = "application/"
	if len(typ) > len(prefix) && equalFold(typ[:len(prefix)], prefix) {
		typ = typ[len(prefix):]
	}
	return equalFold(typ, want)
}

// equalFold is for ASCII. Unicode knows other letters that fold to s and k.
func equalFold(a []byte, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c-'A' < 26 {
		c |= 0x20
	}
	return c
}

// maxCandidates is how many keys may fit a token, which is then tried with all
// of them. Each costs a signature check.
const maxCandidates = 8

// check looks for the key that signed t among those of source. Where they fail,
// a provider may have made a new key of the same name.
func (t *jws) check(ctx context.Context, source KeySource) (*jwk.Key, error) {
	key, err := t.try(ctx, source)
	if r, ok := source.(Refetcher); ok && err == error(errSignature) && r.Refetch(ctx) {
		return t.try(ctx, source)
	}
	return key, err
}

// try looks for the key among those that there are.
func (t *jws) try(ctx context.Context, source KeySource) (*jwk.Key, error) {
	keys, err := source.Keys(ctx, string(t.head.kid), t.head.alg)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errUnknownKey.because("the issuer has no key with kid %s that is for %s", orMissing(t.head.kid), t.head.alg)
	}
	fit := 0
	for _, k := range keys {
		if k.Fits(t.head.alg) {
			fit++
		}
	}
	switch {
	case fit == 0:
		return nil, errAlgorithm.because("the key with kid %s is not for %s", orMissing(t.head.kid), t.head.alg)
	case fit > maxCandidates:
		return nil, errManyKeys
	}
	for _, k := range keys {
		if k.Fits(t.head.alg) && k.Verify(t.head.alg, t.signed, t.sig) == nil {
			return k, nil
		}
	}
	return nil, errSignature
}

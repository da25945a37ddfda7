package token

import (
	"slices"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// Open verifies one JWS in compact serialization with one key and returns what
// was signed, which may be anything. It is as strict about the JWS as Verify.
func Open(raw string, key *jwk.Key) ([]byte, error) {
	if len(raw) > DefaultMaxTokenSize {
		return nil, errMalformed
	}
	w := workPool.Get().(*work)
	defer workPool.Put(w)
	t, ok := w.split(raw, false)
	if !ok {
		return nil, errMalformed
	}
	if err := w.readHeader(&t, false); err != nil {
		return nil, err
	}
	if err := t.verify(key); err != nil {
		return nil, err
	}
	return slices.Clone(t.payload), nil
}

// verify checks the signature with the one key there is.
func (t *jws) verify(key *jwk.Key) *Error {
	switch key.Verify(t.head.alg, t.signed, t.sig) {
	case nil:
		return nil
	case jwk.ErrAlgorithm:
		return errAlgorithm
	}
	return errSignature
}

// Proof is a DPoP proof, RFC 9449 section 4.2: a token that somebody signs for
// one request, with a key that it carries along. It proves no identity. It
// proves that whoever made it has the private key.
type Proof struct {
	// ID is jti, by which a proof that comes twice is known.
	ID string

	// Method and URI are htm and htu: the request it was made for.
	Method, URI string

	// AccessTokenHash and Nonce are ath and nonce. Empty if there are none.
	AccessTokenHash, Nonce string

	// IssuedAt is iat.
	IssuedAt time.Time

	// Thumbprint is that of the key, RFC 7638, as cnf.jkt has it in the
	// token that is bound to the key.
	Thumbprint string
}

// OpenProof reads a DPoP proof and verifies its signature with the key in it.
// These are the checks 2 to 7 of RFC 9449 section 4.3, and the types of its
// claims; what they must be is for the caller to check.
func OpenProof(raw string) (*Proof, error) {
	if len(raw) > DefaultMaxTokenSize {
		return nil, errMalformed
	}
	w := workPool.Get().(*work)
	defer workPool.Put(w)
	t, ok := w.split(raw, false)
	if !ok {
		return nil, errMalformed
	}
	if err := w.readHeader(&t, true); err != nil {
		return nil, err
	}
	if !sameType(t.head.typ, "dpop+jwt") {
		return nil, errType
	}
	p := new(Proof)
	if w.payload.Object(t.payload) != nil || !p.read(&w.payload) {
		return nil, errMalformed
	}
	if t.head.jwk == nil {
		return nil, errMalformed
	}
	key, err := jwk.Parse(t.head.jwk)
	if err != nil {
		return nil, errUnknownKey
	}
	if err := t.verify(key); err != nil {
		return nil, err
	}
	p.Thumbprint = key.Thumbprint()
	return p, nil
}

// read fills p with the claims, and reports whether those that RFC 9449
// section 4.2 requires are there and all are of the right type.
func (p *Proof) read(claims *strictjson.Scanner) bool {
	for i := range claims.Len() {
		m, ok := claims.Member(i), true
		switch string(m.Name) {
		case "jti":
			p.ID, ok = textOf(m.Value)
		case "htm":
			p.Method, ok = textOf(m.Value)
		case "htu":
			p.URI, ok = textOf(m.Value)
		case "ath":
			p.AccessTokenHash, ok = textOf(m.Value)
		case "nonce":
			p.Nonce, ok = textOf(m.Value)
		case "iat":
			p.IssuedAt, ok = numericDate(m.Value)
		}
		if !ok {
			return false
		}
	}
	return p.ID != "" && p.Method != "" && p.URI != "" && !p.IssuedAt.IsZero()
}

// textOf copies a string that is not empty and free of control characters.
func textOf(value []byte) (string, bool) {
	text, ok := strictjson.Text(value)
	return string(text), ok && len(text) > 0 && printable(text)
}

// Package httpsig verifies and makes HTTP message signatures (RFC 9421) and
// the digests of content that go with them (RFC 9530). It knows the older
// signatures of draft-cavage-http-signatures-12 too, apart from the others.
//
// # What is stricter than the RFC
//
// A signature says who is calling, so nothing about it may be a matter of
// taste. Signature-Input and Signature are read only in the one form in which
// RFC 9651 section 4.1 writes them, but for white space round the commas: what
// has another reading, such as a label or a parameter that stands twice, is
// refused. The same is true of components that are not known here, of a
// component that is listed twice, and of a field that is listed and not there.
// Parameters of a signature that are not known here are part of what is signed
// and change nothing else, unless the policy prohibits them.
//
// The algorithm is that of the key. The parameter alg, where there is one,
// must be the same (RFC 9421 section 3.2, number 6); it chooses nothing. The
// parameters created and keyid are required.
//
// Verify does not remember nonces. Who calls it stores them afterwards, so
// that only who has the key can fill the memory.
package httpsig

import (
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
)

// Why a message was not accepted, for errors.Is. Their texts are fit to be
// shown to the client; the Reason of an Error is for the log.
var (
	// ErrMissing: the message has no signature that the policy applies to.
	ErrMissing = errors.New("no signature")

	// ErrMalformed: there is more than one, or one that cannot be read.
	ErrMalformed = errors.New("the signature cannot be read")

	// ErrRefused: the signature is not accepted.
	ErrRefused = errors.New("the signature is not accepted")

	// ErrProhibited: the signature has a parameter that the policy prohibits.
	ErrProhibited = errors.New("the signature has a prohibited parameter")

	// ErrUnavailable: the directory of the signer's keys cannot be fetched.
	ErrUnavailable = errors.New("the keys of the signer cannot be fetched")

	// ErrDigest: the content is not what was signed.
	ErrDigest = errors.New("the content is not what was signed")
)

// Error is why a message was not accepted.
type Error struct {
	Class  error  // one of those above
	Reason string // for the log; nothing of the message is in it
}

// Error returns what may be told to the client.
func (e *Error) Error() string { return e.Class.Error() }

// Unwrap returns the class.
func (e *Error) Unwrap() error { return e.Class }

func malformed(reason string) *Error { return &Error{Class: ErrMalformed, Reason: reason} }

func refused(reason string) *Error { return &Error{Class: ErrRefused, Reason: reason} }

// Message is a request or a response, as far as a signature can be about it.
type Message struct {
	Method    string
	Proto     string // HTTP/1.1, for what Kong calls the request-line
	Scheme    string // http or https
	Authority string // host and port as the client wrote them: Host or :authority
	Path      string // percent-encoded as it was sent
	Query     string // as it was sent, without the question mark
	HasQuery  bool   // even if it is empty
	Header    http.Header

	// HasContent tells that there may be content, whether or not it is empty.
	HasContent bool

	// Of a response.
	Status  int
	Request *Message // that it answers, for components with the parameter req
}

// authority is the value of @authority: in lower case and without the port
// that the scheme has anyway (RFC 9421 section 2.2.3, RFC 9110 section 4.2.3).
func (m *Message) authority() string {
	host := strings.ToLower(m.Authority)
	switch m.Scheme {
	case "https":
		return strings.TrimSuffix(host, ":443")
	case "http":
		return strings.TrimSuffix(host, ":80")
	}
	return host
}

// algorithm is one of the HTTP Signature Algorithms Registry (RFC 9421 section
// 6.2.2), and what the same is called in JOSE.
type algorithm struct {
	name, jose string
	hash       crypto.Hash
}

var algorithms = []algorithm{
	{"ed25519", "EdDSA", 0},
	{"ecdsa-p256-sha256", "ES256", crypto.SHA256},
	{"ecdsa-p384-sha384", "ES384", crypto.SHA384},
	{"rsa-pss-sha512", "PS512", crypto.SHA512},
	{"rsa-v1_5-sha256", "RS256", crypto.SHA256},
	{"hmac-sha256", "HS256", crypto.SHA256},
}

func findAlgorithm(name string) (*algorithm, error) {
	i := slices.IndexFunc(algorithms, func(a algorithm) bool { return a.name == name })
	if i < 0 {
		return nil, fmt.Errorf("algorithm %.40q is not supported: use %s", name, Algorithms)
	}
	return &algorithms[i], nil
}

// Algorithms are the names of all algorithms, for messages.
const Algorithms = "ed25519, ecdsa-p256-sha256, ecdsa-p384-sha384, rsa-pss-sha512, rsa-v1_5-sha256 or hmac-sha256"

// Symmetric reports whether the algorithm of that name works with a shared
// secret.
func Symmetric(name string) bool { return strings.HasPrefix(name, "hmac-") }

// Key verifies signatures of one key id with one algorithm.
type Key struct {
	ID        string
	Algorithm string
	alg       *algorithm
	key       *jwk.Key
}

// NewKey admits a key. material is a public key or certificate in PEM or DER
// or a JWK, or, for hmac-sha256, the secret of at least 32 bytes. What makes a
// bad key is the same as for tokens: see jwk.Static.
//
// The salt of rsa-pss-sha512 has 64 bytes and no other number (RFC 9421 section
// 3.3.1). Node takes as many as fit unless it is told saltLength: 64.
func NewKey(id, alg string, material []byte) (*Key, error) {
	if err := checkKeyID(id); err != nil {
		return nil, err
	}
	a, err := findAlgorithm(alg)
	if err != nil {
		return nil, err
	}
	k, err := jwk.Static(a.jose, material)
	if err != nil {
		return nil, err
	}
	return &Key{ID: id, Algorithm: alg, alg: a, key: k}, nil
}

// maxKeyID is how long a key id may be.
const maxKeyID = 256

// checkKeyID makes sure that the id can stand in a signature.
func checkKeyID(id string) error {
	if id == "" || len(id) > maxKeyID {
		return fmt.Errorf("a key ID has 1 to %d characters", maxKeyID)
	}
	if !printable(id) {
		return errors.New("a key ID has printable ASCII characters only: others cannot stand in a signature")
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// verify reports whether sig is the key's signature of base.
func (k *Key) verify(base, sig []byte) bool {
	return k.key.Verify(k.alg.jose, string(base), sig) == nil
}

// Thumbprint tells keys apart that have the same id (RFC 7638). It is empty for
// a shared secret.
func (k *Key) Thumbprint() string { return k.key.Thumbprint() }

// Keys finds keys by their id. It returns nil for an id that it does not know.
type Keys interface {
	Key(id string) *Key
}

// Package webhook verifies webhooks as their senders sign them: an HMAC with
// SHA-256 over the content and, with most senders, a time and an id, in header
// fields of the sender's own.
//
// A MAC is never decoded: what would be right is encoded and compared with what
// came, in constant time, so that each MAC has one spelling.
package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

var (
	// ErrMissing says that there is no signature.
	ErrMissing = errors.New("there is no signature")

	// ErrMalformed says that the header fields cannot be read, or that there
	// are two signatures.
	ErrMalformed = errors.New("malformed signature")

	// ErrTime says that the signature is too old or not yet valid.
	ErrTime = errors.New("the time of the signature is too far from now")

	// ErrMismatch says that no signature is one of the content with one of the
	// secrets.
	ErrMismatch = errors.New("no signature is one of this content with one of the secrets")
)

const (
	// MinSecret is the least length of a secret in bytes.
	MinSecret = 16

	// MaxSecrets is how many secrets of one sender are tried.
	MaxSecrets = 8

	maxField      = 4096
	maxSignatures = 16
	maxID         = 256
)

// Scheme is how one sender signs.
type Scheme struct {
	// Name is that of the sender.
	Name string

	// Signature is the canonical name of the field in which signatures stand,
	// and Fields are all fields that the scheme uses.
	Signature string
	Fields    []string

	// Timed says whether the time is signed.
	Timed bool

	read   func(s *Scheme, h http.Header) (*Claim, error)
	encode func(mac []byte) string
	secret func(text string) ([]byte, error)
}

// Claim is what the header fields of a request say.
type Claim struct {
	// Made is when the request was signed, zero where the scheme does not say.
	Made time.Time

	scheme     *Scheme
	before     string   // what is signed before the content
	signatures []string // as they came
}

// Present reports whether a request has a signature of this scheme.
func (s *Scheme) Present(h http.Header) bool { return len(h[s.Signature]) > 0 }

// Read reads the header fields. Nothing that it returns has been verified.
func (s *Scheme) Read(h http.Header) (*Claim, error) {
	if !s.Present(h) {
		return nil, ErrMissing
	}
	c, err := s.read(s, h)
	if err != nil {
		return nil, err
	}
	if len(c.signatures) > maxSignatures {
		return nil, ErrMalformed
	}
	c.scheme = s
	return c, nil
}

// Secret turns a secret, as the sender shows it, into a key.
func (s *Scheme) Secret(text string) ([]byte, error) {
	key, err := s.secret(text)
	if err == nil && len(key) < MinSecret {
		err = errors.New("it has less than " + strconv.Itoa(MinSecret) + " bytes, which can be guessed")
	}
	return key, err
}

// Fresh refuses what was signed longer than window ago, or will have been signed
// later than in window.
func (c *Claim) Fresh(now time.Time, window time.Duration) error {
	if !c.scheme.Timed {
		return nil
	}
	if age := now.Sub(c.Made); age > window || -age > window {
		return ErrTime
	}
	return nil
}

// Verify returns which of the secrets signed the content, and the MAC of the
// content with each of them. Whoever accepts a request once has to remember all
// of these: a sender that changes its secret signs with both, and who records
// the request can leave one of them out.
func (c *Claim) Verify(content []byte, secrets [][]byte) (which int, macs [][]byte, err error) {
	which = -1
	for i, secret := range secrets {
		h := hmac.New(sha256.New, secret)
		h.Write([]byte(c.before)) // never fails
		h.Write(content)
		mac := h.Sum(nil)
		macs = append(macs, mac)
		want := []byte(c.scheme.encode(mac))
		for _, s := range c.signatures {
			if subtle.ConstantTimeCompare([]byte(s), want) == 1 && which < 0 {
				which = i
			}
		}
	}
	if which < 0 {
		return -1, nil, ErrMismatch
	}
	return which, macs, nil
}

// one returns the value of a field that stands once and is not empty.
func one(h http.Header, name string) (string, error) {
	values := h[name]
	if len(values) != 1 || values[0] == "" || len(values[0]) > maxField {
		return "", ErrMalformed
	}
	return values[0], nil
}

// seconds reads a time: decimal digits and nothing else, so that what is signed
// cannot be divided in another way.
func seconds(text string) (time.Time, error) {
	if text == "" || len(text) > 12 || text[0] == '0' || strings.Trim(text, "0123456789") != "" {
		return time.Time{}, ErrMalformed
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, ErrMalformed
	}
	return time.Unix(n, 0), nil
}

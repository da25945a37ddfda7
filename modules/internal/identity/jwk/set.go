package jwk

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// Bounds of a key set. Real ones hold a handful of keys.
const (
	MaxSetSize = 1 << 20 // bytes
	MaxSetKeys = 256
)

// ParseSet reads a public key set, RFC 7517 section 5, and returns the keys
// that are fit for verifying signatures. A single JWK is a set of one, and an
// object whose members are keys or certificates in PEM is a set by key ID, as
// some providers publish theirs.
//
// Each key that is not fit is left out with an error in skipped that says which
// and why, so that one strange key does not cost the others: kinds and curves
// that are not supported, RSA below 2048 bits, use, key_ops or alg for
// something else, shared secrets, and private keys. A key for encryption is left
// out without a word: it is where it belongs. A key that is odd and was admitted
// has a Note. Several keys may have one kid, if they differ (RFC 7517 section
// 4.5); the same key twice is one.
//
// err is not nil if doc is not a key set at all: not strict JSON, a member given
// twice, too large, too many keys. A well-formed set without usable keys is
// not an error here.
func ParseSet(doc []byte) (keys []*Key, skipped []error, err error) {
	return parseSet(doc, func(text []byte) (*Key, error) { return parse(text, true) })
}

func parseSet(doc []byte, parse func(text []byte) (*Key, error)) (keys []*Key, skipped []error, err error) {
	if len(doc) > MaxSetSize {
		return nil, nil, fmt.Errorf("key set is larger than %d bytes", MaxSetSize)
	}
	doc = bytes.TrimPrefix(doc, []byte("\xef\xbb\xbf")) // RFC 8259 section 8.1
	var s strictjson.Scanner
	if err := s.Object(doc); err != nil {
		return nil, nil, fmt.Errorf("key set: %w", err)
	}
	if keys, skipped, ok := parsePEMSet(&s); ok {
		return keys, skipped, nil
	}
	list, err := setElements(&s, doc)
	if err != nil {
		return nil, nil, fmt.Errorf("key set: %w", err)
	}
	for i, text := range list {
		k, err := parse(text)
		switch {
		case err == nil && k.Symmetric():
			err = errSymmetric
		case err == nil && slices.ContainsFunc(keys, k.same):
			continue
		}
		switch {
		case err == nil:
			keys = append(keys, k)
		case !errors.Is(err, errEncryption):
			skipped = append(skipped, fmt.Errorf("key %d: %w", i, err))
		}
	}
	return keys, skipped, nil
}

// same reports whether other is the same key under the same name.
func (k *Key) same(other *Key) bool {
	return k.ID == other.ID && k.Alg == other.Alg && k.Thumbprint() == other.Thumbprint()
}

// parsePEMSet reads an object of which every member is a key in PEM, and its
// name the key ID.
func parsePEMSet(s *strictjson.Scanner) (keys []*Key, skipped []error, ok bool) {
	if s.Len() == 0 || s.Len() > MaxSetKeys {
		return nil, nil, false
	}
	for i := range s.Len() {
		m := s.Member(i)
		text, ok := strictjson.Text(m.Value)
		if text = bytes.TrimSpace(text); !ok || !bytes.HasPrefix(text, []byte("-----BEGIN ")) {
			return nil, nil, false
		}
		k, err := parsePEM(text)
		if err != nil {
			skipped = append(skipped, fmt.Errorf("key %d: %w", i, err))
			continue
		}
		k.ID = string(m.Name)
		keys = append(keys, k)
	}
	return keys, skipped, true
}

// Parse reads one public key, RFC 7517 section 4, to the letter.
func Parse(doc []byte) (*Key, error) {
	k, err := parse(doc, false)
	if err == nil && k.Symmetric() {
		return nil, errSymmetric
	}
	return k, err
}

// setElements returns the keys of a set, or the one that doc itself is.
func setElements(s *strictjson.Scanner, doc []byte) ([][]byte, error) {
	value, ok := s.Find("keys")
	if _, single := s.Find("kty"); !ok && single {
		return [][]byte{doc}, nil
	}
	if !ok {
		return nil, errors.New("no member keys")
	}
	array, ok := strictjson.Array(value)
	if !ok {
		return nil, errors.New("keys is not an array")
	}
	var list [][]byte
	for e, ok := array.Next(); ok; e, ok = array.Next() {
		if len(list) == MaxSetKeys {
			return nil, fmt.Errorf("more than %d keys", MaxSetKeys)
		}
		list = append(list, e)
	}
	return list, nil
}

// FormatSet prints keys as a public key set. Shared secrets are left out.
// ParseSet reads it back.
func FormatSet(keys []*Key) []byte {
	b := []byte(`{"keys":[`)
	n := 0
	for _, k := range keys {
		if k.Symmetric() {
			continue
		}
		if n++; n > 1 {
			b = append(b, ',')
		}
		b = k.append(b)
	}
	return append(b, "]}"...)
}

// append prints the key as a JWK: what its kind requires, then its purpose
// and names.
func (k *Key) append(b []byte) []byte {
	b = append(b, bytes.TrimSuffix(k.required(), []byte("}"))...)
	b = append(b, `,"use":"sig"`...)
	if k.Alg != "" {
		b = append(b, `,"alg":`...)
		b = strictjson.AppendString(b, k.Alg)
	}
	if k.ID != "" {
		b = append(b, `,"kid":`...)
		b = strictjson.AppendString(b, k.ID)
	}
	return append(b, '}')
}

// required prints the members that RFC 7638 section 3.2 takes the thumbprint
// of: those that the kind of key requires, in alphabetical order, without space.
func (k *Key) required() []byte {
	b64 := base64.RawURLEncoding.EncodeToString
	switch pub := k.public.(type) {
	case *rsa.PublicKey:
		return fmt.Appendf(nil, `{"e":"%s","kty":"RSA","n":"%s"}`,
			b64(big.NewInt(int64(pub.E)).Bytes()), b64(pub.N.Bytes()))
	case *ecdsa.PublicKey:
		point, _ := pub.Bytes() // cannot fail: newEC has checked the point
		half := (len(point) - 1) / 2
		return fmt.Appendf(nil, `{"crv":"%s","kty":"EC","x":"%s","y":"%s"}`,
			pub.Curve.Params().Name, b64(point[1:1+half]), b64(point[1+half:]))
	case ed25519.PublicKey:
		return fmt.Appendf(nil, `{"crv":"Ed25519","kty":"OKP","x":"%s"}`, b64(pub))
	}
	return nil
}

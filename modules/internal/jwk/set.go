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

	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// Bounds of a key set. Real ones hold a handful of keys.
const (
	MaxSetSize = 1 << 20 // bytes
	MaxSetKeys = 256
)

// ParseSet reads a public key set, RFC 7517 section 5, and returns the keys
// that are fit for verifying signatures. Each key that is not is left out with
// an error in skipped that says which and why, so that one strange key does
// not cost the others: kinds and curves that are not supported, RSA below 2048
// bits, use, key_ops or alg for something else, shared secrets, and private
// keys. Keys that share a kid are all left out, since nothing tells which
// one is meant.
//
// err is not nil if doc is no key set at all: not strict JSON, a member given
// twice, too large, too many keys. A well-formed set without usable keys is
// not an error here.
func ParseSet(doc []byte) (keys []*Key, skipped []error, err error) {
	if len(doc) > MaxSetSize {
		return nil, nil, fmt.Errorf("key set is larger than %d bytes", MaxSetSize)
	}
	list, err := setElements(doc)
	if err != nil {
		return nil, nil, fmt.Errorf("key set: %w", err)
	}
	at := make([]int, 0, len(list)) // place of each key in the set
	for i, text := range list {
		k, err := Parse(text)
		if err != nil {
			skipped = append(skipped, fmt.Errorf("key %d: %w", i, err))
			continue
		}
		keys, at = append(keys, k), append(at, i)
	}
	keys, twice := dropTwins(keys, at)
	return keys, append(skipped, twice...), nil
}

// Parse reads one public key, RFC 7517 section 4, as ParseSet does for those of
// a set.
func Parse(doc []byte) (*Key, error) {
	k, err := parse(doc)
	if err == nil && k.Symmetric() {
		return nil, errSymmetric
	}
	return k, err
}

func setElements(doc []byte) ([][]byte, error) {
	var s strictjson.Scanner
	if err := s.Object(doc); err != nil {
		return nil, err
	}
	value, ok := s.Find("keys")
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

// dropTwins leaves out all keys whose kid is not theirs alone.
func dropTwins(keys []*Key, at []int) (unique []*Key, dropped []error) {
	count := make(map[string]int, len(keys))
	for _, k := range keys {
		count[k.ID]++
	}
	for i, k := range keys {
		if k.ID != "" && count[k.ID] > 1 {
			dropped = append(dropped, fmt.Errorf("key %d: kid is not unique in the set", at[i]))
			continue
		}
		unique = append(unique, k)
	}
	return unique, dropped
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

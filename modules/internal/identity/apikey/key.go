// Package apikey knows API keys: how they are written, the file that holds
// what a server has to know of them, and whether one that is presented is one
// of them.
//
// A key is the text
//
//	<prefix>_<id>_<secret><checksum>
//
// The prefix tells people and scanners what they have found. The id, 12
// letters and digits, names the key and is not a secret. The secret is 32 letters
// and digits from a cryptographic random source, 190 bits. The checksum, 6
// letters and digits, is the CRC-32 (IEEE) of all that stands before it: a
// mistyped or cut key is refused without a look-up. It protects from mistakes
// and from nothing else.
//
// A server keeps no secret: only the HMAC-SHA-256 (RFC 2104) of the text
// before the checksum, with a pepper as the key that never stands in the file.
// Who reads the file can neither use a key nor search for one, and who can
// write the file cannot make one either.
package apikey

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/caddy-moat/caddy-moat/modules/internal/keyform"
)

const (
	idLen       = keyform.IDLen
	secretLen   = keyform.SecretLen
	checksumLen = keyform.ChecksumLen
	minLen      = keyform.MinLen

	// MaxPrefix is the longest prefix there may be.
	MaxPrefix = keyform.MaxPrefix

	// DefaultPrefix is the prefix of keys where none is asked for.
	DefaultPrefix = "moat"
)

// ErrMalformed rejects a text that is not a key, without a word about
// what is wrong with it.
var ErrMalformed = errors.New("not an API key")

// Key is a key that has been read: it is well-formed and its checksum is
// right, which says nothing about whether it is anybody's.
type Key struct {
	Prefix string
	ID     string

	signed string // all but the checksum
}

// ParseKey reads a key.
func ParseKey(text string) (Key, error) {
	if !keyform.Valid(text) {
		return Key{}, ErrMalformed
	}
	prefix := len(text) - minLen
	return Key{Prefix: text[:prefix], ID: text[prefix+1 : prefix+1+idLen], signed: text[:len(text)-checksumLen]}, nil
}

// CheckPrefix says why a text cannot be a prefix, nil if it can.
func CheckPrefix(prefix string) error { return keyform.CheckPrefix(prefix) }

// CheckID says why a text cannot be the id of a key, nil if it can.
func CheckID(id string) error {
	if len(id) != idLen || !keyform.Alphanumeric(id) {
		return fmt.Errorf("an id has %d letters and digits", idLen)
	}
	return nil
}

// NewID returns an id that nobody has.
func NewID() string { return random(idLen) }

// Mint makes a new secret for the key of that prefix and id. It returns the
// text of the key, which is for the one it is made for alone, and what the
// server keeps.
func Mint(pepper *Pepper, prefix, id string) (text string, mac [32]byte, err error) {
	if err := CheckPrefix(prefix); err != nil {
		return "", mac, err
	}
	if err := CheckID(id); err != nil {
		return "", mac, err
	}
	signed := prefix + "_" + id + "_" + random(secretLen)
	sum := keyform.Checksum(signed)
	return signed + string(sum[:]), pepper.mac(signed), nil
}

// random returns n letters, each equally likely.
func random(n int) string {
	out := make([]byte, 0, n)
	var buf [64]byte
	for {
		_, _ = rand.Read(buf[:]) // never fails, it ends the process instead
		for _, b := range buf {
			// 248 is the largest multiple of 62 in a byte: no remainder is
			// likelier than another.
			if b >= 248 {
				continue
			}
			if out = append(out, keyform.Letters[b%62]); len(out) == n {
				return string(out)
			}
		}
	}
}

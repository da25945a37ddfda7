// Package apikey knows API keys: how they are written, the file that holds
// what a server has to know of them, and whether one that is presented is one
// of them.
//
// A key is the text
//
//	<prefix>_<id>_<secret><checksum>
//
// The prefix tells people and scanners what they have found. The id, 12
// letters and digits, names the key and is no secret. The secret is 32 letters
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
	"hash/crc32"
	"strings"
)

const (
	letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

	idLen       = 12
	secretLen   = 32
	checksumLen = 6

	// minLen is the length of a key with a prefix of no length.
	minLen = 1 + idLen + 1 + secretLen + checksumLen

	// MaxPrefix is the longest prefix there may be.
	MaxPrefix = 32

	// DefaultPrefix is the prefix of keys where none is asked for.
	DefaultPrefix = "moat"
)

// ErrMalformed is the refusal of a text that is no key, without a word about
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
	n := len(text)
	if n <= minLen || n > minLen+MaxPrefix {
		return Key{}, ErrMalformed
	}
	prefix := text[:n-minLen]
	id := text[n-minLen+1 : n-minLen+1+idLen]
	rest := text[n-secretLen-checksumLen:]
	if text[len(prefix)] != '_' || text[n-secretLen-checksumLen-1] != '_' || !alphanumeric(id) || !alphanumeric(rest) {
		return Key{}, ErrMalformed
	}
	if CheckPrefix(prefix) != nil {
		return Key{}, ErrMalformed
	}
	signed := text[:n-checksumLen]
	if sum := checksum(signed); string(sum[:]) != text[n-checksumLen:] {
		return Key{}, ErrMalformed
	}
	return Key{Prefix: prefix, ID: id, signed: signed}, nil
}

// CheckPrefix says why a text cannot be a prefix, nil if it can.
func CheckPrefix(prefix string) error {
	wrong := prefix == "" || len(prefix) > MaxPrefix || prefix[len(prefix)-1] == '_' || strings.Contains(prefix, "__")
	for i := 0; i < len(prefix); i++ {
		c := prefix[i]
		lower, digit := c-'a' <= 'z'-'a', c-'0' <= 9
		wrong = wrong || !lower && (i == 0 || !digit && c != '_')
	}
	if wrong {
		return fmt.Errorf("a prefix begins with a small letter and has at most %d small letters, digits and single underscores between them", MaxPrefix)
	}
	return nil
}

// CheckID says why a text cannot be the id of a key, nil if it can.
func CheckID(id string) error {
	if len(id) != idLen || !alphanumeric(id) {
		return fmt.Errorf("an id has %d letters and digits", idLen)
	}
	return nil
}

func alphanumeric(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c-'0' > 9 && c-'A' > 'Z'-'A' && c-'a' > 'z'-'a' {
			return false
		}
	}
	return true
}

// checksum returns the checksum of a text: its CRC-32 as a number of base 62.
func checksum(text string) (out [checksumLen]byte) {
	// A byte at a time: the text is short, and the function of the standard
	// library would have it copied to the heap.
	crc := ^uint32(0)
	for i := 0; i < len(text); i++ {
		crc = crc32.IEEETable[byte(crc)^text[i]] ^ crc>>8
	}
	crc = ^crc
	for i := checksumLen - 1; i >= 0; i-- {
		out[i] = letters[crc%62]
		crc /= 62
	}
	return out
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
	sum := checksum(signed)
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
			if out = append(out, letters[b%62]); len(out) == n {
				return string(out)
			}
		}
	}
}

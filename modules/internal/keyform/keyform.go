// Package keyform knows how the API keys of api_key_auth are written, so that
// whoever meets one in a text recognises it:
//
//	<prefix>_<id>_<secret><checksum>
//
// The ID has 12 letters and digits, the secret 32, and the checksum 6: the
// CRC-32 (IEEE) of all that stands before it, as a number of base 62. The
// prefix is the administrator's to choose.
package keyform

import (
	"fmt"
	"hash/crc32"
	"strings"
)

// Letters are the digits of the checksum, and what IDs and secrets are made of.
const Letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Lengths of the parts of a key.
const (
	IDLen       = 12
	SecretLen   = 32
	ChecksumLen = 6

	// MinLen is the length of a key with a prefix of no length.
	MinLen = 1 + IDLen + 1 + SecretLen + ChecksumLen

	// MaxPrefix is the longest prefix there may be.
	MaxPrefix = 32
)

// Valid reports whether text is a key: well-formed, with the right checksum.
func Valid(text string) bool {
	n := len(text)
	if n <= MinLen || n > MinLen+MaxPrefix {
		return false
	}
	prefix := n - MinLen
	return text[prefix] == '_' && text[prefix+1+IDLen] == '_' &&
		Alphanumeric(text[prefix+1:prefix+1+IDLen]) && Alphanumeric(text[n-SecretLen-ChecksumLen:]) &&
		CheckPrefix(text[:prefix]) == nil && checks(text)
}

func checks(text string) bool {
	sum := Checksum(text[:len(text)-ChecksumLen])
	return string(sum[:]) == text[len(text)-ChecksumLen:]
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

// Alphanumeric reports whether s has only letters and digits of ASCII.
func Alphanumeric[T string | []byte](s T) bool {
	for i := 0; i < len(s); i++ {
		if !alphanumeric(s[i]) {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool { return c-'0' <= 9 || c-'A' <= 'Z'-'A' || c-'a' <= 'z'-'a' }

// Checksum returns the checksum of a text.
func Checksum(text string) (out [ChecksumLen]byte) {
	// A byte at a time: the text is short, and the function of the standard
	// library would have it copied to the heap.
	crc := ^uint32(0)
	for i := 0; i < len(text); i++ {
		crc = crc32.IEEETable[byte(crc)^text[i]] ^ crc>>8
	}
	crc = ^crc
	for i := ChecksumLen - 1; i >= 0; i-- {
		out[i] = Letters[crc%62]
		crc /= 62
	}
	return out
}

// At returns where the key begins and ends whose ID follows the underscore at
// i of text. Whatever stands before a key is not part of it, even if it could be
// of a prefix.
func At(text []byte, i int) (start, end int, ok bool) {
	end = i + MinLen
	secret := i + 1 + IDLen
	if i == 0 || end > len(text) || text[secret] != '_' || !Alphanumeric(text[i+1:secret]) || !Alphanumeric(text[secret+1:end]) {
		return 0, 0, false
	}
	start = i
	for start > 0 && i-start < MaxPrefix && (text[start-1] == '_' || alphanumeric(text[start-1])) {
		start--
	}
	// The longest prefix is nearly always the right one.
	for ; start < i; start++ {
		if Valid(string(text[start:end])) {
			return start, end, true
		}
	}
	return 0, 0, false
}

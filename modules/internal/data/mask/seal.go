package mask

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/emmansun/gmsm/sm4"
)

// SealPrefix begins every sealed text:
//
//	moat:v1:<key id>:<base64url of nonce, ciphertext and tag>
//
// The cipher is AES-256-GCM with a random nonce of 96 bits, so a key should
// seal no more than 2^32 values (NIST SP 800-38D section 8.3). The associated
// data are the prefix with the key id, the path and the caller, each after its
// length in 8 bytes, big endian.
const SealPrefix = "moat:v1:"

// SealPrefixSM4 is the same with SM4-GCM (GB/T 32907, RFC 8998).
const SealPrefixSM4 = "moat:sm4:v1:"

// The sizes of keys in bytes.
const (
	SealKeySize    = 32 // of AES-256
	SealKeySizeSM4 = 16
)

// ErrSealed is a text that cannot be opened. It does not say why: not sealed
// at all, by another key, for another position or caller, or altered.
var ErrSealed = errors.New("cannot open sealed value")

// Sealer encrypts values for whoever holds its key. It is safe for use by
// several goroutines.
type Sealer struct {
	prefix string
	kid    string
	aead   cipher.AEAD
}

// NewSealer returns a Sealer for the key called kid, which is part of
// what is sealed so that keys can be replaced: 1 to 64 letters, digits, "_",
// "-" and ".".
func NewSealer(kid string, key []byte) (*Sealer, error) {
	return newSealer(SealPrefix, kid, key, SealKeySize, aes.NewCipher)
}

// NewSealerSM4 is NewSealer with SM4.
func NewSealerSM4(kid string, key []byte) (*Sealer, error) {
	return newSealer(SealPrefixSM4, kid, key, SealKeySizeSM4, sm4.NewCipher)
}

func newSealer(prefix, kid string, key []byte, size int, newCipher func([]byte) (cipher.Block, error)) (*Sealer, error) {
	if !validKeyID(kid) {
		return nil, fmt.Errorf("key ID %q: it must be 1 to 64 letters, digits, dots, hyphens and underscores", kid)
	}
	if len(key) != size {
		return nil, fmt.Errorf("key %q has %d bytes, not %d", kid, len(key), size)
	}
	block, err := newCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Sealer{prefix, kid, aead}, nil
}

func validKeyID(kid string) bool {
	for _, c := range []byte(kid) {
		switch {
		case '0' <= c && c <= '9', 'a' <= c|0x20 && c|0x20 <= 'z', c == '_', c == '-', c == '.':
		default:
			return false
		}
	}
	return 0 < len(kid) && len(kid) <= 64
}

// Seal appends plain, sealed for the position path and for caller.
func (s *Sealer) Seal(dst, plain []byte, path, caller string) []byte {
	nonce := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(plain)+s.aead.Overhead())
	_, _ = rand.Read(nonce) // which never fails
	box := s.aead.Seal(nonce, nonce, plain, s.associated(path, caller))
	dst = append(append(append(dst, s.prefix...), s.kid...), ':')
	return base64.RawURLEncoding.AppendEncode(dst, box)
}

func (s *Sealer) associated(path, caller string) []byte {
	var b []byte
	for _, part := range []string{s.prefix + s.kid, path, caller} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(part)))
		b = append(b, part...)
	}
	return b
}

// SealedBy returns the prefix of text, which tells the cipher, and the id of the
// key that sealed it. It reports false if text is not sealed.
func SealedBy(text string) (prefix, kid string, ok bool) {
	for _, prefix := range []string{SealPrefix, SealPrefixSM4} {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			kid, _, ok := strings.Cut(rest, ":")
			return prefix, kid, ok && validKeyID(kid)
		}
	}
	return "", "", false
}

// KeyID returns the id of the key that sealed text, false if text is not
// sealed.
func KeyID(text string) (string, bool) {
	_, kid, ok := SealedBy(text)
	return kid, ok
}

// Open returns what was sealed with Seal, for the same path and caller. The
// error is ErrSealed.
func (s *Sealer) Open(text, path, caller string) ([]byte, error) {
	prefix, kid, ok := SealedBy(text)
	if !ok || prefix != s.prefix || kid != s.kid {
		return nil, ErrSealed
	}
	// Strict, or the last character could be altered unseen.
	box, err := base64.RawURLEncoding.Strict().DecodeString(text[len(prefix)+len(kid)+1:])
	if err != nil || len(box) < s.aead.NonceSize() || strings.ContainsAny(text, "\r\n") {
		return nil, ErrSealed
	}
	n := s.aead.NonceSize()
	plain, err := s.aead.Open(nil, box[:n], box[n:], s.associated(path, caller))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

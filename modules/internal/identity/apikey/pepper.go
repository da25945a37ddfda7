package apikey

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"sync"
)

// MinPepper is the least length of a pepper in bytes: the length of the hash
// (RFC 2104 section 3).
const MinPepper = 32

// Pepper is the key of the hashes in a store.
type Pepper struct {
	pool  sync.Pool
	check string
}

// scratch is what making one hash needs, so that it allocates nothing.
type scratch struct {
	mac  hash.Hash
	text [MaxPrefix + minLen]byte
	sum  [32]byte
}

// NewPepper returns the pepper of that secret. The error never shows it.
func NewPepper(secret []byte) (*Pepper, error) {
	if len(secret) < MinPepper {
		return nil, fmt.Errorf("it has %d bytes; at least %d random bytes are needed, such as from `openssl rand -hex 32`", len(secret), MinPepper)
	}
	key := sha256.Sum256(append([]byte("moat api key pepper\x00"), secret...))
	p := new(Pepper)
	p.pool.New = func() any { return &scratch{mac: hmac.New(sha256.New, key[:])} }
	sum := p.mac("\x00check")
	p.check = hex.EncodeToString(sum[:8])
	return p, nil
}

// Check is a text by which a store knows its pepper: with another one, none of
// its keys would be accepted and nobody would know why.
func (p *Pepper) Check() string { return p.check }

// Of returns the hash of a key, by which it is known where hashes are kept
// otherwise than in a store. ok is false for what is not a key.
func (p *Pepper) Of(text string) (mac [32]byte, ok bool) {
	key, err := ParseKey(text)
	if err != nil {
		return mac, false
	}
	return p.mac(key.signed), true
}

// mac returns the hash of a text, which is at most as long as a key.
func (p *Pepper) mac(text string) [32]byte {
	s := p.pool.Get().(*scratch)
	s.mac.Reset()
	n := copy(s.text[:], text)
	s.mac.Write(s.text[:n])
	s.mac.Sum(s.sum[:0])
	sum := s.sum
	clear(s.text[:n])
	p.pool.Put(s)
	return sum
}

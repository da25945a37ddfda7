package dpop

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"
)

// Nonces are what a server gives its clients to put into their proofs, so that
// a proof cannot be made long before it is used: RFC 9449 section 9. A nonce is
// good for the period in which it is given out and for the next.
//
// They are computed and not remembered: servers with the same key accept each
// other's nonces, and so does a server after a restart.
type Nonces struct {
	key    []byte
	period time.Duration
}

// NewNonces makes nonces from a secret key of at least 32 bytes, with a period
// of at least one second.
func NewNonces(key []byte, period time.Duration) (*Nonces, error) {
	if len(key) < sha256.Size {
		return nil, errors.New("the key of the nonces is shorter than 32 bytes")
	}
	if period < time.Second {
		return nil, errors.New("the period of the nonces is shorter than a second")
	}
	return &Nonces{append([]byte(nil), key...), period}, nil
}

// Current returns the nonce to give out.
func (n *Nonces) Current(now time.Time) string { return n.of(n.number(now)) }

func (n *Nonces) valid(nonce string, now time.Time) bool {
	i := n.number(now)
	current, previous := same(nonce, n.of(i)), same(nonce, n.of(i-1))
	return current || previous
}

func (n *Nonces) number(now time.Time) uint64 {
	return uint64(now.Unix()) / uint64(n.period/time.Second)
}

func (n *Nonces) of(number uint64) string {
	h := hmac.New(sha256.New, n.key)
	h.Write([]byte("DPoP-Nonce"))
	h.Write(binary.BigEndian.AppendUint64(nil, number))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}

package mask

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"math/big"
)

// Noise adds to numbers a bit that follows from a key, the caller and the number
// alone: a caller who asks for a number again, or finds it at another place,
// gets the same one, and has nothing to take the mean of.
type Noise struct {
	key  []byte
	most Decimal
}

// NewNoise returns the noise of at most that much to either side.
func NewNoise(key []byte, most string) (*Noise, error) {
	d, ok := ParseDecimal([]byte(most))
	if !ok || !d.moderate() || d.Negative || len(d.Digits) == 0 {
		return nil, errNoise
	}
	return &Noise{bytes.Clone(key), d}, nil
}

// Append appends d with its noise, which is a multiple of the last decimal place
// that d or the most has, and never zero. It reports false if d is beyond ±10^40, or has
// more than 60 digits.
func (n *Noise) Append(dst []byte, d Decimal, caller string) ([]byte, bool) {
	if !d.moderate() {
		return dst, false
	}
	places := max(d.places(), n.most.places())
	steps := n.most.integer(places) // at least 1
	// Where steps to either side are possible, a draw of 128 bits, as a fraction,
	// is one of them. It does not hang on the most, so that two rules on one
	// number do not make two draws.
	add := new(big.Int).Lsh(steps, 1)
	add.Rsh(add.Mul(add, n.draw(d, caller)), 128)
	if add.Sub(add, steps); add.Sign() >= 0 {
		add.Add(add, big.NewInt(1))
	}
	return decimal(add.Add(add, d.integer(places)), places).Append(dst), true
}

func (n *Noise) draw(d Decimal, caller string) *big.Int {
	mac := hmac.New(sha256.New, n.key)
	b := append([]byte("moat noise 1\x00"), binary.BigEndian.AppendUint64(nil, uint64(len(caller)))...)
	mac.Write(d.Append(append(b, caller...)))
	return new(big.Int).SetBytes(mac.Sum(nil)[:16])
}

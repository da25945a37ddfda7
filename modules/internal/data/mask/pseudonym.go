package mask

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"hash"
	"strconv"
	"sync"

	"github.com/emmansun/gmsm/sm3"
)

// Pseudonym gives each text another name: the same text has the same one, and
// without the key neither can be got from the other, however few texts are
// possible. It is safe for use by several goroutines.
type Pseudonym struct {
	macs sync.Pool
}

// pseudonymSize is how many bytes of the HMAC are shown: with 128 bits, two of
// 10^12 texts have the same pseudonym with a probability below 10^-14.
const pseudonymSize = 16

var pseudonymText = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// NewPseudonym returns the pseudonyms that belong to key, by HMAC-SHA-256.
func NewPseudonym(key []byte) *Pseudonym { return newPseudonym(key, sha256.New) }

// NewPseudonymSM3 returns those by HMAC-SM3 (GB/T 32905, GB/T 15852.2).
func NewPseudonymSM3(key []byte) *Pseudonym { return newPseudonym(key, sm3.New) }

func newPseudonym(key []byte, h func() hash.Hash) *Pseudonym {
	key = bytes.Clone(key)
	return &Pseudonym{macs: sync.Pool{New: func() any { return hmac.New(h, key) }}}
}

// Append appends the pseudonym of text, 26 digits and lower-case letters. The
// same text has another one in each domain.
func (p *Pseudonym) Append(dst []byte, domain string, text []byte) []byte {
	mac := p.macs.Get().(hash.Hash)
	defer p.macs.Put(mac)
	mac.Reset()
	// The domain is ours and holds no zero byte, so where it ends is certain.
	mac.Write([]byte("moat pseudonym 1\x00" + domain + "\x00"))
	mac.Write(text)
	var sum [sha256.Size]byte
	return pseudonymText.AppendEncode(dst, mac.Sum(sum[:0])[:pseudonymSize])
}

// Decimal is a number as JSON writes it, in its parts: 0.Digits × 10^Point,
// without zeros at either end of Digits. Zero has no Digits.
type Decimal struct {
	Negative bool
	Digits   []byte
	Point    int
}

// ParseDecimal reads a JSON number. It reports false if text is not a number, or has
// an exponent beyond ±10^9.
func ParseDecimal(text []byte) (Decimal, bool) {
	var d Decimal
	if len(text) > 0 && text[0] == '-' {
		d.Negative = true
		text = text[1:]
	}
	whole, rest := leadingDigits(text)
	if len(whole) == 0 || len(whole) > 1 && whole[0] == '0' {
		return d, false
	}
	d.Digits = append(d.Digits, whole...)
	d.Point = len(whole)
	if len(rest) > 0 && rest[0] == '.' {
		var frac []byte
		if frac, rest = leadingDigits(rest[1:]); len(frac) == 0 {
			return d, false
		}
		d.Digits = append(d.Digits, frac...)
	}
	if len(rest) > 0 {
		exp, ok := parseExponent(rest)
		if !ok {
			return d, false
		}
		d.Point += exp
	}
	d.trim()
	return d, true
}

func leadingDigits(text []byte) (digits, rest []byte) {
	i := 0
	for i < len(text) && '0' <= text[i] && text[i] <= '9' {
		i++
	}
	return text[:i], text[i:]
}

func parseExponent(text []byte) (int, bool) {
	if text[0]|0x20 != 'e' || len(text) < 2 {
		return 0, false
	}
	digits := text[1:]
	if digits[0] == '+' || digits[0] == '-' {
		digits = digits[1:]
	}
	if all, rest := leadingDigits(digits); len(all) == 0 || len(rest) > 0 {
		return 0, false
	}
	v, err := strconv.Atoi(string(text[1:]))
	return v, err == nil && -1e9 <= v && v <= 1e9
}

func (d *Decimal) trim() {
	lead := 0
	for lead < len(d.Digits) && d.Digits[lead] == '0' {
		lead++
	}
	d.Digits = d.Digits[lead:]
	d.Point -= lead
	for len(d.Digits) > 0 && d.Digits[len(d.Digits)-1] == '0' {
		d.Digits = d.Digits[:len(d.Digits)-1]
	}
	if len(d.Digits) == 0 {
		*d = Decimal{}
	}
}

// Append appends d as JSON writes numbers: equal numbers alike, without an
// exponent where that is not longer than 40 digits.
func (d Decimal) Append(dst []byte) []byte {
	if len(d.Digits) == 0 {
		return append(dst, '0')
	}
	if d.Negative {
		dst = append(dst, '-')
	}
	const most = 40
	switch n := len(d.Digits); {
	case d.Point > most || d.Point < -most:
		dst = append(dst, d.Digits[0])
		if n > 1 {
			dst = append(append(dst, '.'), d.Digits[1:]...)
		}
		return strconv.AppendInt(append(dst, 'e'), int64(d.Point-1), 10)
	case d.Point <= 0:
		dst = append(dst, '0', '.')
		dst = append(dst, bytes.Repeat([]byte{'0'}, -d.Point)...)
		return append(dst, d.Digits...)
	case d.Point >= n:
		dst = append(dst, d.Digits...)
		return append(dst, bytes.Repeat([]byte{'0'}, d.Point-n)...)
	default:
		dst = append(append(dst, d.Digits[:d.Point]...), '.')
		return append(dst, d.Digits[d.Point:]...)
	}
}

// Round returns d with that many digits after the decimal point, or, if places
// is negative, with as many zeros before it. Halves are rounded away from zero.
func (d Decimal) Round(places int) Decimal {
	keep := d.Point + places
	switch {
	case keep >= len(d.Digits):
		return d
	case keep < 0:
		return Decimal{}
	}
	up := d.Digits[keep] >= '5'
	r := Decimal{Negative: d.Negative, Point: d.Point}
	r.Digits = append([]byte{'0'}, d.Digits[:keep]...)
	r.Point++
	for i := len(r.Digits) - 1; up; i-- {
		if r.Digits[i] == '9' {
			r.Digits[i] = '0'
			continue
		}
		r.Digits[i]++
		up = false
	}
	r.trim()
	return r
}

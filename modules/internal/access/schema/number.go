package schema

import (
	"bytes"
	"math/big"
	"strconv"

	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// decimal is a number as it is written, exactly: 0.digits times ten to the power of
// exp. The digits begin and end with another digit than 0; zero has none.
type decimal struct {
	negative bool
	whole    bool // small is the value
	small    int64
	digits   []byte
	exp      int
}

// maxExponent bounds the exponents of numbers in schemas. What requests send has a
// finite value in double precision.
const maxExponent = 400

// parseDecimal reads a number of JSON. The digits stand in room where that is
// large enough.
func parseDecimal(text, room []byte) decimal {
	var d decimal
	if len(text) > 0 && text[0] == '-' {
		d.negative = true
		text = text[1:]
	}
	if n, ok := smallInteger(text); ok {
		d.whole, d.small = true, n
		if d.negative {
			d.small = -n
		}
		d.negative = d.small < 0
		return d
	}
	exponent := 0
	if i := bytes.IndexAny(text, "eE"); i >= 0 {
		exponent, _ = strconv.Atoi(string(text[i+1:])) // of an absurd size only where all digits are 0
		text = text[:i]
	}
	point := bytes.IndexByte(text, '.')
	room = room[:0]
	if point >= 0 {
		room = append(append(room, text[:point]...), text[point+1:]...)
	} else {
		point = len(text)
		room = append(room, text...)
	}
	d.exp = exponent + point
	for len(room) > 0 && room[0] == '0' {
		room = room[1:]
		d.exp--
	}
	for len(room) > 0 && room[len(room)-1] == '0' {
		room = room[:len(room)-1]
	}
	d.digits = room
	if len(room) == 0 {
		return decimal{whole: true}
	}
	// Numbers that are the same compare the same.
	if d.exp <= 18 && len(room) <= d.exp {
		for _, c := range room {
			d.small = d.small*10 + int64(c-'0')
		}
		for range d.exp - len(room) {
			d.small *= 10
		}
		if d.negative {
			d.small = -d.small
		}
		d.whole, d.digits, d.exp = true, nil, 0
	}
	return d
}

// smallInteger reads up to 18 digits.
func smallInteger(text []byte) (n int64, ok bool) {
	if len(text) == 0 || len(text) > 18 {
		return 0, false
	}
	for _, c := range text {
		if c-'0' > 9 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// integer reports whether the number has no fraction: 1.0 and 1e2 are integers.
func (d *decimal) integer() bool { return d.whole || len(d.digits) <= d.exp }

// spread writes the digits of a small number like those of others.
func (d *decimal) spread(room []byte) decimal {
	if !d.whole {
		return *d
	}
	if d.small == 0 {
		return decimal{}
	}
	s := decimal{negative: d.small < 0}
	room = strconv.AppendInt(room[:0], d.small, 10)
	if s.negative {
		room = room[1:]
	}
	s.exp = len(room)
	for room[len(room)-1] == '0' {
		room = room[:len(room)-1]
	}
	s.digits = room
	return s
}

// compare returns -1, 0 or 1.
func (d *decimal) compare(o *decimal) int {
	if d.whole && o.whole {
		switch {
		case d.small < o.small:
			return -1
		case d.small > o.small:
			return 1
		}
		return 0
	}
	var one, two [20]byte
	a, b := d.spread(one[:]), o.spread(two[:])
	switch {
	case len(a.digits) == 0 && len(b.digits) == 0:
		return 0
	case len(a.digits) == 0:
		return sign(!b.negative)
	case len(b.digits) == 0:
		return sign(a.negative)
	case a.negative != b.negative:
		return sign(a.negative)
	}
	var order int
	switch {
	case a.exp < b.exp:
		order = -1
	case a.exp > b.exp:
		order = 1
	default:
		order = bytes.Compare(a.digits, b.digits)
	}
	if a.negative {
		return -order
	}
	return order
}

// sign is -1 for what is less.
func sign(less bool) int {
	if less {
		return -1
	}
	return 1
}

// multipleOf reports whether the number is a multiple of o, which is above 0.
func (d *decimal) multipleOf(o *decimal) bool {
	if d.whole && o.whole {
		return d.small%o.small == 0
	}
	var one, two [20]byte
	a, b := d.spread(one[:]), o.spread(two[:])
	if len(a.digits) == 0 {
		return true
	}
	// Both as integers, of one unit.
	unit := min(a.exp-len(a.digits), b.exp-len(b.digits))
	if small, ok := a.scaled(unit); ok {
		if by, ok := b.scaled(unit); ok {
			return small%by == 0
		}
	}
	return new(big.Int).Rem(a.large(unit), b.large(unit)).Sign() == 0
}

// scaled returns the digits as an integer of units of ten to the power of unit.
func (d *decimal) scaled(unit int) (n int64, ok bool) {
	zeros := d.exp - len(d.digits) - unit
	if len(d.digits)+zeros > 18 {
		return 0, false
	}
	for _, c := range d.digits {
		n = n*10 + int64(c-'0')
	}
	for range zeros {
		n *= 10
	}
	return n, true
}

func (d *decimal) large(unit int) *big.Int {
	text := append([]byte(nil), d.digits...)
	text = append(text, bytes.Repeat([]byte("0"), d.exp-len(d.digits)-unit)...)
	n, _ := new(big.Int).SetString(string(text), 10)
	return n
}

// Comparable reports whether a number of a schema can be compared exactly with what
// is sent.
func Comparable(text string) bool {
	var tape strictjson.Tape
	return tape.Read([]byte(text), strictjson.Limits{Depth: 1}) == nil
}

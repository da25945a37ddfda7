package mask

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// Bounds of the numbers that are computed with, so that 1e999999999 costs
// nothing.
const (
	maxPoint  = 40
	maxDigits = 60
)

// moderate reports whether d is of a size to compute with.
func (d Decimal) moderate() bool {
	return len(d.Digits) <= maxDigits && -maxPoint <= d.Point && d.Point <= maxPoint
}

// places returns how many digits d has after the decimal point.
func (d Decimal) places() int { return max(len(d.Digits)-d.Point, 0) }

// integer returns d × 10^places, for at least as many places as d has.
func (d Decimal) integer(places int) *big.Int {
	v, _ := new(big.Int).SetString("0"+string(d.Digits), 10)
	v.Mul(v, power10(places-(len(d.Digits)-d.Point)))
	if d.Negative {
		v.Neg(v)
	}
	return v
}

func power10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// decimal returns v / 10^places.
func decimal(v *big.Int, places int) Decimal {
	digits := new(big.Int).Abs(v).Append(nil, 10)
	d := Decimal{Negative: v.Sign() < 0, Digits: digits, Point: len(digits) - places}
	d.trim()
	return d
}

// Buckets tells of numbers between which bounds they are.
type Buckets struct {
	width  Decimal
	bounds []Decimal // instead of width
}

// MaxBounds is how many bounds there can be.
const MaxBounds = 64

// NewBuckets makes buckets of a width, if there is one number, or with bounds
// that ascend.
func NewBuckets(numbers []string) (*Buckets, error) {
	var list []Decimal
	for _, text := range numbers {
		d, ok := ParseDecimal([]byte(text))
		if !ok || !d.moderate() {
			return nil, fmt.Errorf("'%s' is not a number of at most %d digits", text, maxPoint)
		}
		list = append(list, d)
	}
	switch {
	case len(list) == 0 || len(list) > MaxBounds:
		return nil, fmt.Errorf("%d numbers: write the width of the buckets, or 2 to %d bounds", len(list), MaxBounds)
	case len(list) == 1:
		if list[0].Negative || len(list[0].Digits) == 0 {
			return nil, fmt.Errorf("'%s': the width of buckets must be above 0", numbers[0])
		}
		return &Buckets{width: list[0]}, nil
	}
	for i := range list[1:] {
		if compare(list[i], list[i+1]) >= 0 {
			return nil, fmt.Errorf("'%s' '%s': bounds must ascend", numbers[i], numbers[i+1])
		}
	}
	return &Buckets{bounds: list}, nil
}

func compare(a, b Decimal) int {
	places := max(a.places(), b.places())
	return a.integer(places).Cmp(b.integer(places))
}

// Append appends the bucket of d: [30,40) where 30 <= d < 40, <18 below all
// bounds, >=65 above them. It reports false if d is beyond ±10^40, or has more
// than 60 digits.
func (b *Buckets) Append(dst []byte, d Decimal) ([]byte, bool) {
	if !d.moderate() {
		return dst, false
	}
	if b.bounds == nil {
		places := max(d.places(), b.width.places())
		width := b.width.integer(places)
		low := d.integer(places)
		low.Mul(low.Div(low, width), width) // Div rounds down, as width is above 0
		return appendRange(dst, decimal(low, places), decimal(new(big.Int).Add(low, width), places)), true
	}
	i, found := slices.BinarySearchFunc(b.bounds, d, compare)
	if found {
		i++
	}
	switch i {
	case 0:
		return b.bounds[0].Append(append(dst, '<')), true
	case len(b.bounds):
		return b.bounds[i-1].Append(append(dst, ">="...)), true
	}
	return appendRange(dst, b.bounds[i-1], b.bounds[i]), true
}

func appendRange(dst []byte, low, high Decimal) []byte {
	dst = low.Append(append(dst, '['))
	return append(high.Append(append(dst, ',')), ')')
}

var errNoise = errors.New("the most that noise adds must be a number above 0")

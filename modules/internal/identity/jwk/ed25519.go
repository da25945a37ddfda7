package jwk

import (
	"math/big"
	"slices"
)

// The field and the curve constant of edwards25519, RFC 8032 section 5.1.
var (
	edP, _ = new(big.Int).SetString("57896044618658097711785492504343953926634992332820282019728792003956564819949", 10)
	edD, _ = new(big.Int).SetString("37095705934669439343138083508754565189542113879843219016388785533085940283555", 10)
)

// edSmall are the y coordinates of the eight points whose order divides 8.
var edSmall = func() []*big.Int {
	y8, _ := new(big.Int).SetString("2707385501144840649318225287225658788936804267575313519463743609750303402022", 10)
	return []*big.Int{
		big.NewInt(0), big.NewInt(1), new(big.Int).Sub(edP, big.NewInt(1)),
		y8, new(big.Int).Sub(edP, y8),
	}
}()

// soundEd25519 reports whether x encodes a point of the curve, canonically,
// that is not of small order. The standard library refuses signatures under a
// key that is not a point but has no call to ask beforehand, and under a key of
// small order anybody can make signatures that it accepts.
func soundEd25519(x []byte) bool {
	b := slices.Clone(x)
	slices.Reverse(b)
	b[0] &= 0x7f // the sign of the other coordinate
	y := new(big.Int).SetBytes(b)
	if y.Cmp(edP) >= 0 {
		return false
	}
	if slices.ContainsFunc(edSmall, func(s *big.Int) bool { return s.Cmp(y) == 0 }) {
		return false
	}
	// x² = (y² - 1) / (d y² + 1) must have a root. A quotient is a square
	// exactly if the product is; the denominator is never 0.
	yy := new(big.Int).Mul(y, y)
	u := new(big.Int).Sub(yy, big.NewInt(1))
	v := new(big.Int).Mul(yy, edD)
	v.Add(v, big.NewInt(1))
	u.Mul(u, v).Mod(u, edP)
	return big.Jacobi(u, edP) == 1
}

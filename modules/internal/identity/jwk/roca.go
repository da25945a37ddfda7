package jwk

import "math/big"

// smallPrimes are the odd primes up to 167. They divide the number M from
// which the library behind CVE-2017-15361 made its RSA primes, for keys of every size.
var smallPrimes = []int64{
	3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83,
	89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
}

// weakModulus reports whether n can be factored with little effort: if a small
// prime divides it, or if it is of the form that CVE-2017-15361 (ROCA) gave it.
// Such a modulus is a power of 65537 modulo each of the small primes, which
// another one is by chance once in about 10^8 keys.
func weakModulus(n *big.Int) bool {
	roca := true
	rest := new(big.Int)
	for _, p := range smallPrimes {
		r := rest.Mod(n, big.NewInt(p)).Int64()
		if r == 0 {
			return true
		}
		roca = roca && isPower(r, p)
	}
	return roca
}

// isPower reports whether r is a power of 65537 modulo p.
func isPower(r, p int64) bool {
	v := int64(1)
	for range p {
		if v == r {
			return true
		}
		v = v * 65537 % p
	}
	return false
}

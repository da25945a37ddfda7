package jwk

import (
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.Hash.New
	_ "crypto/sha512" // for crypto.Hash.New
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// algorithm is one signature algorithm of RFC 7518 section 3.1, RFC 8037
// section 3.1 or RFC 9864 section 2.2, and the golang-jwt signing method that
// verifies it. Which keys fit an algorithm is decided here, when a key is
// admitted, and not by the method.
type algorithm struct {
	name   string
	method jwt.SigningMethod
	secret int // length in bytes of the shortest secret; 0 for public keys
}

// pss returns the method with a salt as long as the hash, which RFC 7518
// section 3.5 requires. The library's own accepts a salt of any length.
func pss(m *jwt.SigningMethodRSAPSS) jwt.SigningMethod {
	return &jwt.SigningMethodRSAPSS{
		SigningMethodRSA: m.SigningMethodRSA,
		Options:          &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash},
	}
}

// algorithms are all that are known. "none" is not among them and never will
// be: RFC 8725 section 3.2.
var algorithms = []algorithm{
	{"RS256", jwt.SigningMethodRS256, 0},
	{"RS384", jwt.SigningMethodRS384, 0},
	{"RS512", jwt.SigningMethodRS512, 0},
	{"PS256", pss(jwt.SigningMethodPS256), 0},
	{"PS384", pss(jwt.SigningMethodPS384), 0},
	{"PS512", pss(jwt.SigningMethodPS512), 0},
	{"ES256", jwt.SigningMethodES256, 0},
	{"ES384", jwt.SigningMethodES384, 0},
	{"ES512", jwt.SigningMethodES512, 0},
	{"EdDSA", jwt.SigningMethodEdDSA, 0},
	{"Ed25519", jwt.SigningMethodEdDSA, 0},
	{"HS256", jwt.SigningMethodHS256, 32},
	{"HS384", jwt.SigningMethodHS384, 48},
	{"HS512", jwt.SigningMethodHS512, 64},
}

// find returns the algorithm called name, or nil. Names are compared exactly:
// RFC 7515 section 4.1.1.
func find(name string) *algorithm {
	i := slices.IndexFunc(algorithms, func(a algorithm) bool { return a.name == name })
	if i < 0 {
		return nil
	}
	return &algorithms[i]
}

// Supported reports whether alg is the name of a signature algorithm that
// some Key can verify. It returns the name as a constant, so that a name from
// a token need not be copied.
func Supported(alg []byte) (string, bool) {
	for i := range algorithms {
		if algorithms[i].name == string(alg) {
			return algorithms[i].name, true
		}
	}
	return "", false
}

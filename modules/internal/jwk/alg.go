package jwk

import (
	"crypto"
	_ "crypto/sha256" // for crypto.Hash.New
	_ "crypto/sha512" // for crypto.Hash.New
	"slices"
)

// family is a kind of key together with a kind of signature.
type family uint8

const (
	famHMAC family = iota + 1
	famPKCS1
	famPSS
	famECDSA
	famEd25519
)

// algorithm is one signature algorithm of RFC 7518 section 3.1, RFC 8037
// section 3.1 or RFC 9864 section 2.2.
type algorithm struct {
	name   string
	family family
	hash   crypto.Hash
	curve  string // of the one curve that the algorithm is for
}

// algorithms are all that are known. "none" is not among them and never will
// be: RFC 8725 section 3.2.
var algorithms = []algorithm{
	{"RS256", famPKCS1, crypto.SHA256, ""},
	{"RS384", famPKCS1, crypto.SHA384, ""},
	{"RS512", famPKCS1, crypto.SHA512, ""},
	{"PS256", famPSS, crypto.SHA256, ""},
	{"PS384", famPSS, crypto.SHA384, ""},
	{"PS512", famPSS, crypto.SHA512, ""},
	{"ES256", famECDSA, crypto.SHA256, "P-256"},
	{"ES384", famECDSA, crypto.SHA384, "P-384"},
	{"ES512", famECDSA, crypto.SHA512, "P-521"},
	{"EdDSA", famEd25519, 0, "Ed25519"},
	{"Ed25519", famEd25519, 0, "Ed25519"},
	{"HS256", famHMAC, crypto.SHA256, ""},
	{"HS384", famHMAC, crypto.SHA384, ""},
	{"HS512", famHMAC, crypto.SHA512, ""},
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

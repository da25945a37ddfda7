package jwk

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// Bounds of RSA keys. The lower is RFC 7518 section 3.3; the upper keeps one
// signature check from taking seconds.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// The reasons why a key is rejected.
var (
	errPrivate   = errors.New("holds a private key; only the public key belongs here")
	errSymmetric = errors.New("is a shared secret, not a public key")
)

// fields are the members of one JWK that matter here.
type fields struct {
	kty, use, alg, kid, crv string
	n, e, x, y, k           []byte
	ops                     []string
	hasUse, hasOps, hasK    bool
	private                 bool

	// lenient admits what providers are known to write and can be read in
	// one way only. Each such thing is an odd one.
	lenient bool
	odd     []string

	// directory admits alg as directories name it.
	directory bool
}

// errEncryption rejects a key that is not one of ours: a provider that
// encrypts has one beside those for signatures.
var errEncryption = errors.New(`use is "enc", not "sig"`)

// accept notes something odd where that is accepted.
func (f *fields) accept(format string, args ...any) bool {
	if f.lenient {
		f.odd = append(f.odd, fmt.Sprintf(format, args...))
	}
	return f.lenient
}

// parse reads one JWK, RFC 7517 section 4, and admits it as a key that
// verifies signatures. Members that are not understood are ignored, as the
// section demands; x5c, x5u and x5t are among them, since a key is trusted
// for where it came from and not for what it claims about itself.
//
// A lenient reading takes a member that is null or an empty name for one that is
// not there, numbers with leading zeros (against RFC 7518 section 2), and the use
// that SPIFFE has for keys of JWT-SVIDs. The key's Note says so.
func parse(doc []byte, lenient bool) (*Key, error) {
	var s strictjson.Scanner
	if err := s.Object(doc); err != nil {
		return nil, err
	}
	f := fields{lenient: lenient}
	return f.parse(&s)
}

// parse admits the key that s has read.
func (f *fields) parse(s *strictjson.Scanner) (*Key, error) {
	for i := range s.Len() {
		m := s.Member(i)
		if err := f.set(string(m.Name), m.Value); err != nil {
			return nil, err
		}
	}
	if err := f.purpose(); err != nil {
		return nil, err
	}
	k, err := f.key()
	if err != nil {
		return nil, err
	}
	if jose := httpAlgorithms[f.alg]; f.directory && jose != "" {
		f.alg = jose
	}
	k.ID, k.Alg, k.Note = f.kid, f.alg, strings.Join(f.odd, "; ")
	if k.Alg != "" && !slices.Contains(k.algs, k.Alg) {
		return nil, fmt.Errorf("alg %q does not fit the key", clip(k.Alg))
	}
	return k, nil
}

func (f *fields) set(name string, value []byte) error {
	if slices.Contains(known, name) && string(value) == "null" && f.accept("%s is null", name) {
		return nil
	}
	var text *string
	var number *[]byte
	switch name {
	case "kty":
		text = &f.kty
	case "use":
		text, f.hasUse = &f.use, true
	case "alg":
		text = &f.alg
	case "kid":
		text = &f.kid
	case "crv":
		text = &f.crv
	case "n":
		number = &f.n
	case "e":
		number = &f.e
	case "x":
		number = &f.x
	case "y":
		number = &f.y
	case "k":
		number, f.hasK = &f.k, true
	case "d", "p", "q", "dp", "dq", "qi", "oth", "priv":
		f.private = true
	case "key_ops":
		f.hasOps = true
		var ok bool
		if f.ops, ok = operations(value); !ok {
			return errors.New("key_ops is not a list of different names")
		}
		if len(f.ops) == 0 && f.accept("key_ops is empty") {
			f.hasOps = false
		}
	}
	switch {
	case text != nil:
		s, ok := strictjson.Text(value)
		if ok && len(s) == 0 && (name == "use" || name == "alg") && f.accept("%s is empty", name) {
			f.hasUse = f.hasUse && name != "use"
			return nil
		}
		if !ok || len(s) == 0 && name != "kid" {
			return fmt.Errorf("%s is not a name", name)
		}
		*text = string(s)
	case number != nil:
		s, ok := strictjson.Text(value)
		if ok {
			*number, ok = decode(s)
		}
		if !ok {
			return fmt.Errorf("%s is not base64url", name)
		}
	}
	return nil
}

// known are the members that matter here, but for those of private keys.
var known = []string{"kty", "use", "alg", "kid", "crv", "n", "e", "x", "y", "k", "key_ops"}

// decode reads base64url as RFC 7515 section 2 has it: no padding, no line
// ends, no bits left over.
func decode(text []byte) ([]byte, bool) {
	if bytes.ContainsAny(text, "\r\n") { // which the standard library skips
		return nil, false
	}
	b, err := base64.RawURLEncoding.Strict().AppendDecode(nil, text)
	return b, err == nil
}

// operations reads key_ops, RFC 7517 section 4.3.
func operations(value []byte) ([]string, bool) {
	list, ok := strictjson.Array(value)
	if !ok {
		return nil, false
	}
	var ops []string
	for e, ok := list.Next(); ok; e, ok = list.Next() {
		op, ok := strictjson.Text(e)
		if !ok || slices.Contains(ops, string(op)) || len(ops) == 16 {
			return nil, false
		}
		ops = append(ops, string(op))
	}
	return ops, true
}

// purpose refuses keys that say they are for something else than verifying
// signatures.
func (f *fields) purpose() error {
	switch {
	case f.hasUse && f.use == "enc":
		return errEncryption
	// SPIFFE JWT-SVID section 4.1: the keys of a trust bundle.
	case f.hasUse && f.use == "jwt-svid" && f.accept("use is jwt-svid"):
	case f.hasUse && f.use != "sig":
		return fmt.Errorf("use is %q, not \"sig\"", clip(f.use))
	}
	if !f.hasOps {
		return nil
	}
	if !slices.Contains(f.ops, "verify") {
		return errors.New("key_ops has no \"verify\"")
	}
	// RFC 7517 section 4.3: unrelated operations do not belong together.
	for _, op := range f.ops {
		if op != "verify" && op != "sign" {
			return fmt.Errorf("key_ops has %q beside \"verify\"", clip(op))
		}
	}
	return nil
}

// key makes the key of f, without its names.
func (f *fields) key() (*Key, error) {
	switch f.kty {
	case "":
		return nil, errors.New("kty is missing")
	case "oct":
		return newSecret(f.k)
	case "RSA", "EC", "OKP":
		if f.private || f.hasK {
			return nil, errPrivate
		}
	}
	switch f.kty {
	case "RSA":
		return f.newRSA()
	case "EC":
		return newEC(f.crv, f.coordinate("x", f.x), f.coordinate("y", f.y))
	case "OKP":
		if f.crv != "Ed25519" {
			return nil, fmt.Errorf("curve %q is not supported", clip(f.crv))
		}
		return newEd25519(f.x)
	}
	return nil, fmt.Errorf("kty %q is not supported", clip(f.kty))
}

// newPublic admits a key that the standard library has parsed.
func newPublic(pub crypto.PublicKey) (*Key, error) {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		return newRSA(pub)
	case *ecdsa.PublicKey:
		point, err := pub.Bytes()
		if err != nil {
			return nil, err
		}
		half := (len(point) - 1) / 2
		return newEC(pub.Curve.Params().Name, point[1:1+half], point[1+half:])
	case ed25519.PublicKey:
		return newEd25519(pub)
	}
	return nil, fmt.Errorf("keys of type %T are not supported", pub)
}

func (f *fields) newRSA() (*Key, error) {
	// RFC 7518 sections 2 and 6.3.1: no more octets than needed.
	n, e := f.number("n", f.n), f.number("e", f.e)
	if len(n) == 0 || len(e) == 0 || n[0] == 0 || e[0] == 0 {
		return nil, errors.New("modulus or exponent is missing or has leading zeros")
	}
	exp := new(big.Int).SetBytes(e)
	if exp.BitLen() > 31 {
		return nil, errors.New("exponent is too large")
	}
	return newRSA(&rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exp.Int64())})
}

// number takes leading zeros off.
func (f *fields) number(name string, value []byte) []byte {
	if short := bytes.TrimLeft(value, "\x00"); len(short) < len(value) && len(short) > 0 && f.accept("%s has leading zeros", name) {
		return short
	}
	return value
}

// coordinate takes off leading zeros that make a coordinate longer than the
// curve has it.
func (f *fields) coordinate(name string, value []byte) []byte {
	size := map[string]int{"P-256": 32, "P-384": 48, "P-521": 66}[f.crv]
	if n := len(value) - size; size > 0 && n > 0 && len(bytes.Trim(value[:n], "\x00")) == 0 && f.accept("%s has leading zeros", name) {
		return value[n:]
	}
	return value
}

func newRSA(pub *rsa.PublicKey) (*Key, error) {
	switch bits := pub.N.BitLen(); {
	case bits < minRSABits:
		return nil, fmt.Errorf("modulus of %d bits is too small: %d are needed", bits, minRSABits)
	case bits > maxRSABits:
		return nil, fmt.Errorf("modulus of %d bits is too large: %d are allowed", bits, maxRSABits)
	case pub.N.Bit(0) == 0:
		return nil, errors.New("modulus is even")
	case weakModulus(pub.N):
		return nil, errors.New("modulus is of a weak form (CVE-2017-15361) or has small factors: make a new key")
	// FIPS 186-5 section 5.1. Smaller exponents are where forgeries have been found.
	case pub.E < 1<<16+1 || pub.E&1 == 0:
		return nil, errors.New("exponent is even or smaller than 65537")
	}
	return &Key{public: pub, algs: []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}}, nil
}

func newEC(crv string, x, y []byte) (*Key, error) {
	var curve elliptic.Curve
	var alg string
	switch crv {
	case "P-256":
		curve, alg = elliptic.P256(), "ES256"
	case "P-384":
		curve, alg = elliptic.P384(), "ES384"
	case "P-521":
		curve, alg = elliptic.P521(), "ES512"
	default:
		return nil, fmt.Errorf("curve %q is not supported", clip(crv))
	}
	// RFC 7518 section 6.2.1.2: the full size of a coordinate.
	size := (curve.Params().BitSize + 7) / 8
	if len(x) != size || len(y) != size {
		return nil, errors.New("coordinates are not of the curve's size")
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil, errors.New("point is not on the curve")
	}
	return &Key{public: pub, algs: []string{alg}}, nil
}

func newEd25519(x []byte) (*Key, error) {
	if len(x) != ed25519.PublicKeySize {
		return nil, errors.New("Ed25519 key is not 32 bytes long")
	}
	if !soundEd25519(x) {
		return nil, errors.New("point is not on the curve or of small order")
	}
	return &Key{public: ed25519.PublicKey(slices.Clone(x)), algs: []string{"EdDSA", "Ed25519"}}, nil
}

// newSecret makes a shared secret fit for the algorithms whose hash is not
// longer than the secret, RFC 7518 section 3.2.
func newSecret(secret []byte) (*Key, error) {
	k := &Key{secret: slices.Clone(secret)}
	for _, a := range algorithms {
		if a.secret > 0 && len(secret) >= a.secret {
			k.algs = append(k.algs, a.name)
		}
	}
	if k.algs == nil {
		return nil, fmt.Errorf("secret of %d bytes is too short: HS256 needs 32, HS384 48, HS512 64", len(secret))
	}
	return k, nil
}

// clip shortens a name from a key set for an error message.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

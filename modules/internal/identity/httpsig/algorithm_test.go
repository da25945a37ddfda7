package httpsig

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
)

// A key is for one algorithm. A public key is public, so it must not serve as
// the secret of hmac-sha256.
func TestAlgorithmConfusion(t *testing.T) {
	for _, p := range pairs {
		if _, err := NewKey("k", "hmac-sha256", p.public); err == nil && p.alg != "hmac-sha256" {
			t.Errorf("the public key for %s is taken as a secret", p.alg)
		}
		if _, err := NewKey("k", p.alg, p.private); err == nil && p.alg != "hmac-sha256" {
			t.Errorf("the private key for %s is taken as a public one", p.alg)
		}
		for _, other := range algorithms {
			kind := func(alg string) string { return strings.Split(alg, "-")[0] }
			_, err := NewKey("k", other.name, p.public)
			if want := kind(other.name) == kind(p.alg) && (kind(p.alg) == "rsa" || other.name == p.alg); (err == nil) != want {
				t.Errorf("key for %s as %s: %v", p.alg, other.name, err)
			}
		}
	}
	// RSA keys go with two algorithms, of which the configured one counts.
	for _, alg := range []string{"rsa-v1_5-sha256", "rsa-pss-sha512"} {
		other := map[string]string{"rsa-v1_5-sha256": "rsa-pss-sha512", "rsa-pss-sha512": "rsa-v1_5-sha256"}[alg]
		s := newScene(t, alg, Options{}, Template{})
		s.keys["k"] = mustKey(t, "k", other, []byte(testKeyRSAPublic))
		s.expect(t, ErrRefused, spoiled)
		s = newScene(t, alg, Options{}, Template{Algorithm: true})
		s.keys["k"] = mustKey(t, "k", other, []byte(testKeyRSAPublic))
		s.expect(t, ErrRefused, "alg is not")
	}
	// What says hmac-sha256 and is made with the text of the public key.
	s := newScene(t, "ed25519", Options{}, Template{})
	in := `sig1=("@method" "@target-uri" "content-digest");created=1618884473;keyid="k"`
	for _, alg := range []string{"", `;alg="hmac-sha256"`} {
		s.signer = &Signer{ID: "k", alg: &algorithms[5], secret: []byte(testKeyEd25519Public)}
		s.seal(t, in+alg)
		s.expect(t, ErrRefused, "")
	}
}

// Whose signature it is, is what keyid says, and no other key.
func TestSignatureOfAnotherKeyIsRefused(t *testing.T) {
	for _, p := range pairs {
		s := newScene(t, p.alg, Options{}, Template{})
		s.keys["mallory"] = s.keys["k"]
		s.m.Header["Signature-Input"][0] = strings.Replace(s.m.Header["Signature-Input"][0], `keyid="k"`, `keyid="mallory"`, 1)
		s.expect(t, ErrRefused, spoiled)
	}
}

func TestSpoiledSignaturesAreRefused(t *testing.T) {
	for _, p := range pairs {
		s := newScene(t, p.alg, Options{}, Template{})
		r, err := s.verify()
		if err != nil {
			t.Fatal(err)
		}
		good := r.Signature
		set := func(sig []byte) { s.m.Header["Signature"] = []string{"sig1=:" + base64Std(sig) + ":"} }
		for i := range good {
			for _, bit := range []byte{1, 0x80} {
				bad := append([]byte(nil), good...)
				bad[i] ^= bit
				set(bad)
				s.expect(t, ErrRefused, spoiled)
			}
		}
		for _, bad := range [][]byte{
			nil, good[:1], good[:len(good)-1], good[1:], append(append([]byte(nil), good...), 0), append([]byte{0}, good...),
			make([]byte, len(good)), []byte(strings.Repeat("\xff", len(good))), append(append([]byte(nil), good...), good...),
		} {
			set(bad)
			s.expect(t, ErrRefused, spoiled)
		}
		set(good)
		if _, err := s.verify(); err != nil {
			t.Fatal(err)
		}
	}
}

// (r, n-s) is as good a signature as (r, s), and anybody can make the one from
// the other. So the bytes tell nothing about use, and the fingerprint does.
func TestECDSASignaturesAreMalleableAndFingerprintsAreNot(t *testing.T) {
	for alg, curve := range map[string]elliptic.Curve{"ecdsa-p256-sha256": elliptic.P256(), "ecdsa-p384-sha384": elliptic.P384()} {
		s := newScene(t, alg, Options{}, Template{})
		one, err := s.verify()
		if err != nil {
			t.Fatal(err)
		}
		n := curve.Params().N
		size := len(one.Signature) / 2
		r, sv := new(big.Int).SetBytes(one.Signature[:size]), new(big.Int).SetBytes(one.Signature[size:])
		set := func(r, sv *big.Int) {
			out := make([]byte, 2*size)
			r.FillBytes(out[:size])
			sv.FillBytes(out[size:])
			s.m.Header["Signature"] = []string{"sig1=:" + base64Std(out) + ":"}
		}
		set(r, new(big.Int).Sub(n, sv))
		two, err := s.verify()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(one.Signature, two.Signature) || one.Fingerprint != two.Fingerprint {
			t.Errorf("%s: the fingerprint follows the bytes of the signature", alg)
		}
		zero := new(big.Int)
		for _, c := range [][2]*big.Int{{zero, sv}, {r, zero}, {n, sv}, {r, n}, {zero, zero}, {n, n}} {
			set(c[0], c[1])
			s.expect(t, ErrRefused, spoiled)
		}
		if sum := new(big.Int).Add(sv, n); sum.BitLen() <= 8*size {
			set(r, sum)
			s.expect(t, ErrRefused, spoiled)
		}
		der, err := asn1.Marshal(struct{ R, S *big.Int }{r, sv})
		if err != nil {
			t.Fatal(err)
		}
		s.m.Header["Signature"] = []string{"sig1=:" + base64Std(der) + ":"}
		s.expect(t, ErrRefused, spoiled)
	}
}

// RFC 9421 section 3.3.1: the salt has 64 bytes, and no other length.
func TestPSSSaltOfAnotherLengthIsRefused(t *testing.T) {
	s := newScene(t, "rsa-pss-sha512", Options{}, Template{})
	all, _ := parseInputs(s.m.Header["Signature-Input"])
	base, _ := appendBase(nil, s.m, all[0].items, all[0].text)
	for _, c := range []struct {
		hash crypto.Hash
		salt int
		good bool
	}{{crypto.SHA512, 64, true}, {crypto.SHA512, 0, false}, {crypto.SHA512, 32, false}, {crypto.SHA512, 63, false}, {crypto.SHA512, 65, false}, {crypto.SHA512, rsa.PSSSaltLengthAuto, false}, {crypto.SHA256, 32, false}, {crypto.SHA384, 48, false}} {
		h := c.hash.New()
		h.Write(base)
		var sig []byte
		var err error
		if c.salt == 0 {
			sig = emptySalt(t, s.signer.private.(*rsa.PrivateKey), h.Sum(nil))
		} else {
			sig, err = rsa.SignPSS(rand.Reader, s.signer.private.(*rsa.PrivateKey), c.hash, h.Sum(nil), &rsa.PSSOptions{SaltLength: c.salt})
		}
		if err != nil {
			t.Fatal(err)
		}
		s.m.Header["Signature"] = []string{"sig1=:" + base64Std(sig) + ":"}
		if _, err := s.verify(); (err == nil) != c.good {
			t.Errorf("salt of %d with %v: %v", c.salt, c.hash, err)
		}
	}
}

// emptySalt makes a signature of RSASSA-PSS without a salt, as RFC 8017 section
// 9.1.1 has it; 0 has another meaning in crypto/rsa.
func emptySalt(t *testing.T, key *rsa.PrivateKey, digest []byte) []byte {
	t.Helper()
	size := key.Size()
	h := sha512.New()
	h.Write(make([]byte, 8))
	h.Write(digest)
	sum := h.Sum(nil)
	db := make([]byte, size-len(sum)-1)
	db[len(db)-1] = 1
	for i, counter := 0, byte(0); i < len(db); counter++ {
		mask := sha512.Sum512(append(append([]byte(nil), sum...), 0, 0, 0, counter))
		for j := 0; j < len(mask) && i < len(db); i, j = i+1, j+1 {
			db[i] ^= mask[j]
		}
	}
	db[0] &= 0x7f
	em := append(append(db, sum...), 0xbc)
	if err := rsa.VerifyPSS(&key.PublicKey, crypto.SHA512, digest, power(key, em), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}); err != nil {
		t.Fatal("the test's own signature is none")
	}
	return power(key, em)
}

func power(key *rsa.PrivateKey, em []byte) []byte {
	return new(big.Int).Exp(new(big.Int).SetBytes(em), key.D, key.N).FillBytes(make([]byte, key.Size()))
}

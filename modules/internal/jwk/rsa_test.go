package jwk

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"testing"
)

// TestRSAAgreesWithTheStandardLibrary signs encodings that are right, and
// encodings that are wrong in one place, and compares with crypto/rsa. Moduli
// of 8n+1 bits are those for which PSS has a byte of its own.
func TestRSAAgreesWithTheStandardLibrary(t *testing.T) {
	for _, bits := range []int{2048, 2049, 2055} {
		priv, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		k, err := newRSA(&priv.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		text := []byte("text")
		for i := range algorithms {
			a := &algorithms[i]
			if a.family != famPKCS1 && a.family != famPSS {
				continue
			}
			sig := signRSA(t, priv, a, text, rsa.PSSSaltLengthEqualsHash)
			if !k.rsa.verify(a, text, sig) {
				t.Errorf("%d bits, %s: the right signature is refused", bits, a.name)
			}
			if k.rsa.verify(a, []byte("Text"), sig) {
				t.Errorf("%d bits, %s: another text is accepted", bits, a.name)
			}
			compareMutations(t, priv, k.rsa, a, text, sig)
			if a.family != famPSS {
				continue
			}
			for _, salt := range []int{1, 20, a.hash.Size() - 1, a.hash.Size() + 1} {
				if k.rsa.verify(a, text, signRSA(t, priv, a, text, salt)) {
					t.Errorf("%d bits, %s: a salt of %d bytes is accepted", bits, a.name, salt)
				}
			}
		}
		n := priv.N
		for _, v := range []*big.Int{new(big.Int), big.NewInt(1), new(big.Int).Sub(n, big.NewInt(1)), n, new(big.Int).Add(n, big.NewInt(1))} {
			for i := range algorithms {
				if a := &algorithms[i]; a.family == famPKCS1 || a.family == famPSS {
					if k.rsa.verify(a, text, v.FillBytes(make([]byte, priv.Size()))) {
						t.Errorf("%d bits, %s: accepted a number that is no signature", bits, a.name)
					}
				}
			}
		}
	}
}

func signRSA(t *testing.T, priv *rsa.PrivateKey, a *algorithm, text []byte, salt int) []byte {
	t.Helper()
	h := a.hash.New()
	h.Write(text)
	var sig []byte
	var err error
	if a.family == famPSS {
		sig, err = rsa.SignPSS(rand.Reader, priv, a.hash, h.Sum(nil), &rsa.PSSOptions{SaltLength: salt})
	} else {
		sig, err = rsa.SignPKCS1v15(rand.Reader, priv, a.hash, h.Sum(nil))
	}
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// compareMutations changes the encoding below the signature, which takes the
// private key, and asks us and the standard library.
func compareMutations(t *testing.T, priv *rsa.PrivateKey, k *rsaKey, a *algorithm, text, sig []byte) {
	t.Helper()
	size := priv.Size()
	em := new(big.Int).Exp(new(big.Int).SetBytes(sig), big.NewInt(int64(priv.E)), priv.N).FillBytes(make([]byte, size))
	h := a.hash.New()
	h.Write(text)
	sum := h.Sum(nil)
	changes := map[string]func([]byte){
		"first byte":  func(b []byte) { b[0] ^= 1 },
		"second byte": func(b []byte) { b[1] ^= 1 },
		"last byte":   func(b []byte) { b[size-1] ^= 1 },
		"all zero":    func(b []byte) { clear(b) },
		"no padding": func(b []byte) { // Bleichenbacher 2006: the hash moved to the left
			copy(b[11:], em[size-19-len(sum)-1:])
			clear(b[11+20+len(sum):])
		},
		"padding zero": func(b []byte) { b[size/2] = 0 },
	}
	for i := range 4 {
		at, bit := mathrand.IntN(size), byte(1)<<mathrand.IntN(8)
		changes[fmt.Sprintf("random %d: byte %d, bit %d", i, at, bit)] = func(b []byte) { b[at] ^= bit }
	}
	for name, change := range changes {
		b := bytes.Clone(em)
		change(b)
		v := new(big.Int).SetBytes(b)
		if v.Cmp(priv.N) >= 0 {
			continue
		}
		forged := v.Exp(v, priv.D, priv.N).FillBytes(make([]byte, size))
		want := verifyStandard(&priv.PublicKey, a, sum, forged)
		if got := k.verify(a, text, forged); got != want {
			t.Errorf("%d bits, %s, %s: got %v, the standard library says %v", priv.N.BitLen(), a.name, name, got, want)
		}
	}
}

func TestRSADigestInfoIsThatOfTheStandardLibrary(t *testing.T) {
	// A signature of the standard library under each hash is decoded above;
	// this holds that no hash shares a prefix with another.
	seen := make(map[string]crypto.Hash)
	for h, info := range digestInfo {
		if other, dup := seen[info]; dup || int(info[len(info)-1]) != h.Size() {
			t.Errorf("%v: prefix of %v", h, other)
		}
		seen[info] = h
	}
}

// BenchmarkRSA compares with the standard library.
func BenchmarkRSA(b *testing.B) {
	priv := keys().rsa
	k, err := newRSA(&priv.PublicKey)
	if err != nil {
		b.Fatal(err)
	}
	text := bytes.Repeat([]byte("x"), 600)
	for _, alg := range []string{"RS256", "PS256"} {
		a := find(alg)
		h := a.hash.New()
		h.Write(text)
		sum := h.Sum(nil)
		var sig []byte
		if a.family == famPSS {
			sig, err = rsa.SignPSS(rand.Reader, priv, a.hash, sum, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			sig, err = rsa.SignPKCS1v15(rand.Reader, priv, a.hash, sum)
		}
		if err != nil {
			b.Fatal(err)
		}
		b.Run(alg+"/standard", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var buf [64]byte
				if !verifyStandard(&priv.PublicKey, a, digest(a.hash, &buf, text), sig) {
					b.Fatal("refused")
				}
			}
		})
		b.Run(alg+"/ours", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !k.rsa.verify(a, text, sig) {
					b.Fatal("refused")
				}
			}
		})
	}
}

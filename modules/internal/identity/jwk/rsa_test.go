package jwk

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"strings"
	"testing"
)

// hashes of the algorithms of RSA.
var hashes = map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}

// TestRSATakesTheOneEncoding signs encodings that are right, and encodings
// that are wrong in one place. Moduli of 8n+1 bits are those for which PSS has
// a byte of its own.
func TestRSATakesTheOneEncoding(t *testing.T) {
	for _, bits := range []int{2048, 2049, 2055} {
		priv, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		k, err := newRSA(&priv.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		for _, alg := range k.Algorithms() {
			sig := signRSA(t, priv, alg, "text", rsa.PSSSaltLengthEqualsHash)
			if err := k.Verify(alg, "text", sig); err != nil {
				t.Errorf("%d bits, %s: the right signature is rejected: %v", bits, alg, err)
			}
			rejected := func(what, text string, sig []byte) {
				t.Helper()
				if err := k.Verify(alg, text, sig); err != ErrSignature {
					t.Errorf("%d bits, %s, %s: got %v, want %v", bits, alg, what, err, ErrSignature)
				}
			}
			rejected("another text", "Text", sig)
			rejected("a byte less", "text", sig[1:])
			rejected("a byte more", "text", append([]byte{0}, sig...))
			for what, forged := range mutations(priv, sig) {
				rejected(what, "text", forged)
			}
			n := priv.N
			for _, v := range []*big.Int{new(big.Int), big.NewInt(1), new(big.Int).Sub(n, big.NewInt(1)), n, new(big.Int).Add(n, big.NewInt(1))} {
				rejected("a number that is not a signature", "text", v.FillBytes(make([]byte, priv.Size())))
			}
			if !strings.HasPrefix(alg, "PS") {
				continue
			}
			size := hashes[alg[2:]].Size()
			for _, salt := range []int{1, 20, size - 1, size + 1} {
				rejected(fmt.Sprintf("a salt of %d bytes", salt), "text", signRSA(t, priv, alg, "text", salt))
			}
		}
	}
}

func signRSA(t testing.TB, priv *rsa.PrivateKey, alg, text string, salt int) []byte {
	t.Helper()
	hash := hashes[alg[2:]]
	h := hash.New()
	h.Write([]byte(text))
	var sig []byte
	var err error
	if strings.HasPrefix(alg, "PS") {
		sig, err = rsa.SignPSS(rand.Reader, priv, hash, h.Sum(nil), &rsa.PSSOptions{SaltLength: salt})
	} else {
		sig, err = rsa.SignPKCS1v15(rand.Reader, priv, hash, h.Sum(nil))
	}
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// mutations change the encoding below the signature, which takes the private
// key, and sign what comes of it.
func mutations(priv *rsa.PrivateKey, sig []byte) map[string][]byte {
	size := priv.Size()
	em := new(big.Int).Exp(new(big.Int).SetBytes(sig), big.NewInt(int64(priv.E)), priv.N).FillBytes(make([]byte, size))
	changes := map[string]func([]byte){
		"first byte":  func(b []byte) { b[0] ^= 1 },
		"second byte": func(b []byte) { b[1] ^= 1 },
		"last byte":   func(b []byte) { b[size-1] ^= 1 },
		"all zero":    func(b []byte) { clear(b) },
		"no padding": func(b []byte) { // Bleichenbacher 2006: the hash moved to the left
			copy(b[11:], em[size-19-64-1:])
			clear(b[11+20+64:])
		},
		"padding zero": func(b []byte) { b[size/2] = 0 },
	}
	for i := range 4 {
		at, bit := mathrand.IntN(size), byte(1)<<mathrand.IntN(8)
		changes[fmt.Sprintf("random %d: byte %d, bit %d", i, at, bit)] = func(b []byte) { b[at] ^= bit }
	}
	forged := make(map[string][]byte)
	for name, change := range changes {
		b := bytes.Clone(em)
		change(b)
		v := new(big.Int).SetBytes(b)
		if v.Cmp(priv.N) < 0 && !bytes.Equal(b, em) {
			forged[name] = v.Exp(v, priv.D, priv.N).FillBytes(make([]byte, size))
		}
	}
	return forged
}

package jwk

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"
)

func TestPrintedSetIsReadBack(t *testing.T) {
	pub, priv, _ := ed25519.GenerateKey(rand.Reader)
	for range 200 {
		pub, priv, _ = ed25519.GenerateKey(rand.Reader)
		if !soundEd25519(pub) {
			t.Fatal(pub)
		}
	}
	der, _ := x509.MarshalPKIXPublicKey(pub)
	k, err := Static("EdDSA", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Verify("EdDSA", []byte("x"), ed25519.Sign(priv, []byte("x"))); err != nil {
		t.Fatal(err)
	}
	e, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	der, _ = x509.MarshalPKIXPublicKey(&e.PublicKey)
	k2, err := Static("ES512", der)
	if err != nil {
		t.Fatal(err)
	}
	set := FormatSet([]*Key{k, k2})
	keys, sk, err := ParseSet(set)
	if len(keys) != 2 || err != nil {
		t.Fatal(sk, err)
	}
	t.Log(string(set), keys[0].Thumbprint())
}

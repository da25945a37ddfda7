package jwk

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"sync"
	"testing"
	"time"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// keys are private keys of each kind, made once.
var keys = sync.OnceValue(func() (k struct {
	rsa, rsa1024     *rsa.PrivateKey
	p256, p384, p521 *ecdsa.PrivateKey
	p224             *ecdsa.PrivateKey
	ed               ed25519.PrivateKey
},
) {
	var err [7]error
	k.rsa, err[0] = rsa.GenerateKey(rand.Reader, 2048)
	k.p256, err[1] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.p384, err[2] = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	k.p521, err[3] = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	k.p224, err[4] = ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	_, k.ed, err[5] = ed25519.GenerateKey(rand.Reader)
	k.rsa1024, err[6] = rsa.GenerateKey(rand.Reader, 1024)
	for _, e := range err {
		if e != nil {
			panic(e)
		}
	}
	return k
})

func pemOf(t testing.TB, kind string, der []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkix2pem(t testing.TB, pub any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(pub)
	return pemOf(t, "PUBLIC KEY", der, err)
}

func certificate(t testing.TB, pub, priv any) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "issuer"},
		NotAfter:     time.Unix(1, 0),
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "issuer"}}, pub, priv)
	return pemOf(t, "CERTIFICATE", der, err)
}

func derOf(t testing.TB, text []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(text)
	return block.Bytes
}

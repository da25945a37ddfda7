package httpsig

import (
	"encoding/base64"
	"testing"
	"time"
)

// The example keys of RFC 9421 appendix B.1. They are published, so they must
// never be used for anything else.
const (
	// B.1.1
	testKeyRSAPublic = `-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAhAKYdtoeoy8zcAcR874L8cnZxKzAGwd7v36APp7Pv6Q2jdsPBRrw
WEBnez6d0UDKDwGbc6nxfEXAy5mbhgajzrw3MOEt8uA5txSKobBpKDeBLOsdJKFq
MGmXCQvEG7YemcxDTRPxAleIAgYYRjTSd/QBwVW9OwNFhekro3RtlinV0a75jfZg
kne/YiktSvLG34lw2zqXBDTC5NHROUqGTlML4PlNZS5Ri2U4aCNx2rUPRcKIlE0P
uKxI4T+HIaFpv8+rdV6eUgOrB2xeI1dSFFn/nnv5OoZJEIB+VmuKn3DCUcCZSFlQ
PSXSfBDiUGhwOw76WuSSsf1D4b/vLoJ10wIDAQAB
-----END RSA PUBLIC KEY-----`
	testKeyRSAPrivate = `-----BEGIN RSA PRIVATE KEY-----
MIIEqAIBAAKCAQEAhAKYdtoeoy8zcAcR874L8cnZxKzAGwd7v36APp7Pv6Q2jdsP
BRrwWEBnez6d0UDKDwGbc6nxfEXAy5mbhgajzrw3MOEt8uA5txSKobBpKDeBLOsd
JKFqMGmXCQvEG7YemcxDTRPxAleIAgYYRjTSd/QBwVW9OwNFhekro3RtlinV0a75
jfZgkne/YiktSvLG34lw2zqXBDTC5NHROUqGTlML4PlNZS5Ri2U4aCNx2rUPRcKI
lE0PuKxI4T+HIaFpv8+rdV6eUgOrB2xeI1dSFFn/nnv5OoZJEIB+VmuKn3DCUcCZ
SFlQPSXSfBDiUGhwOw76WuSSsf1D4b/vLoJ10wIDAQABAoIBAG/JZuSWdoVHbi56
vjgCgkjg3lkO1KrO3nrdm6nrgA9P9qaPjxuKoWaKO1cBQlE1pSWp/cKncYgD5WxE
CpAnRUXG2pG4zdkzCYzAh1i+c34L6oZoHsirK6oNcEnHveydfzJL5934egm6p8DW
+m1RQ70yUt4uRc0YSor+q1LGJvGQHReF0WmJBZHrhz5e63Pq7lE0gIwuBqL8SMaA
yRXtK+JGxZpImTq+NHvEWWCu09SCq0r838ceQI55SvzmTkwqtC+8AT2zFviMZkKR
Qo6SPsrqItxZWRty2izawTF0Bf5S2VAx7O+6t3wBsQ1sLptoSgX3QblELY5asI0J
YFz7LJECgYkAsqeUJmqXE3LP8tYoIjMIAKiTm9o6psPlc8CrLI9CH0UbuaA2JCOM
cCNq8SyYbTqgnWlB9ZfcAm/cFpA8tYci9m5vYK8HNxQr+8FS3Qo8N9RJ8d0U5Csw
DzMYfRghAfUGwmlWj5hp1pQzAuhwbOXFtxKHVsMPhz1IBtF9Y8jvgqgYHLbmyiu1
mwJ5AL0pYF0G7x81prlARURwHo0Yf52kEw1dxpx+JXER7hQRWQki5/NsUEtv+8RT
qn2m6qte5DXLyn83b1qRscSdnCCwKtKWUug5q2ZbwVOCJCtmRwmnP131lWRYfj67
B/xJ1ZA6X3GEf4sNReNAtaucPEelgR2nsN0gKQKBiGoqHWbK1qYvBxX2X3kbPDkv
9C+celgZd2PW7aGYLCHq7nPbmfDV0yHcWjOhXZ8jRMjmANVR/eLQ2EfsRLdW69bn
f3ZD7JS1fwGnO3exGmHO3HZG+6AvberKYVYNHahNFEw5TsAcQWDLRpkGybBcxqZo
81YCqlqidwfeO5YtlO7etx1xLyqa2NsCeG9A86UjG+aeNnXEIDk1PDK+EuiThIUa
/2IxKzJKWl1BKr2d4xAfR0ZnEYuRrbeDQYgTImOlfW6/GuYIxKYgEKCFHFqJATAG
IxHrq1PDOiSwXd2GmVVYyEmhZnbcp8CxaEMQoevxAta0ssMK3w6UsDtvUvYvF22m
qQKBiD5GwESzsFPy3Ga0MvZpn3D6EJQLgsnrtUPZx+z2Ep2x0xc5orneB5fGyF1P
WtP+fG5Q6Dpdz3LRfm+KwBCWFKQjg7uTxcjerhBWEYPmEMKYwTJF5PBG9/ddvHLQ
EQeNC8fHGg4UXU8mhHnSBt3EA10qQJfRDs15M38eG2cYwB1PZpDHScDnDA0=
-----END RSA PRIVATE KEY-----`

	// B.1.2. crypto/x509 does not read the private key, which says id-RSASSA-PSS.
	testKeyRSAPSSPublic = `-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2
+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+
oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHq
gDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W
Utzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4
aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI
2wIDAQAB
-----END PUBLIC KEY-----`

	// B.1.3
	testKeyP256Public = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf
w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
-----END PUBLIC KEY-----`
	testKeyP256Private = `-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIFKbhfNZfpDsW43+0+JjUr9K+bTeuxopu653+hBaXGA7oAoGCCqGSM49
AwEHoUQDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lfw0EkjqF7xB4FivAxzic30tMM
4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
-----END EC PRIVATE KEY-----`

	// B.1.4
	testKeyEd25519Public = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=
-----END PUBLIC KEY-----`
	testKeyEd25519Private = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF
-----END PRIVATE KEY-----`

	// B.1.5, in base64.
	testSharedSecret = `uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==`
)

// Not of the RFC, which has none.
const (
	testKeyP384Private = `-----BEGIN PRIVATE KEY-----
MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDDi40nOIFr1moYt+Xh/
71e0UFFu8AcBF7BLhXRsRwhOcBxEIgghnVmaNWA8PWCfb22hZANiAARI4y78uwsZ
3iiRGFDbiDvbsZzJ2na8Om14XCBTdvZekDCiX6yURLctz+J3fN0vpRo7ddTlf+oM
+5dvZdMXm7sBohvAlsr6lWAg5+dT8+D3NTlilxDnzITYadTZqnRik9E=
-----END PRIVATE KEY-----`
	testKeyP384Public = `-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAESOMu/LsLGd4okRhQ24g727Gcydp2vDpt
eFwgU3b2XpAwol+slES3Lc/id3zdL6UaO3XU5X/qDPuXb2XTF5u7AaIbwJbK+pVg
IOfnU/Pg9zU5YpcQ58yE2GnU2ap0YpPR
-----END PUBLIC KEY-----`
)

func sharedSecret() []byte {
	b, err := base64.StdEncoding.DecodeString(testSharedSecret)
	if err != nil {
		panic(err)
	}
	return b
}

type keyMap map[string]*Key

func (m keyMap) Key(id string) *Key { return m[id] }

func mustKey(tb testing.TB, id, alg string, material []byte) *Key {
	tb.Helper()
	k, err := NewKey(id, alg, material)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func mustSigner(tb testing.TB, id, alg string, material []byte) *Signer {
	tb.Helper()
	s, err := NewSigner(id, alg, material)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// rfcKeys are the keys of appendix B.1 by their names there.
func rfcKeys(tb testing.TB) keyMap {
	return keyMap{
		"test-key-rsa":       mustKey(tb, "test-key-rsa", "rsa-v1_5-sha256", []byte(testKeyRSAPublic)),
		"test-key-rsa-pss":   mustKey(tb, "test-key-rsa-pss", "rsa-pss-sha512", []byte(testKeyRSAPSSPublic)),
		"test-key-ecc-p256":  mustKey(tb, "test-key-ecc-p256", "ecdsa-p256-sha256", []byte(testKeyP256Public)),
		"test-key-ed25519":   mustKey(tb, "test-key-ed25519", "ed25519", []byte(testKeyEd25519Public)),
		"test-shared-secret": mustKey(tb, "test-shared-secret", "hmac-sha256", sharedSecret()),
	}
}

// pairs is a key pair for each algorithm.
var pairs = []struct {
	alg             string
	public, private []byte
}{
	{"ed25519", []byte(testKeyEd25519Public), []byte(testKeyEd25519Private)},
	{"ecdsa-p256-sha256", []byte(testKeyP256Public), []byte(testKeyP256Private)},
	{"ecdsa-p384-sha384", []byte(testKeyP384Public), []byte(testKeyP384Private)},
	{"rsa-pss-sha512", []byte(testKeyRSAPublic), []byte(testKeyRSAPrivate)},
	{"rsa-v1_5-sha256", []byte(testKeyRSAPublic), []byte(testKeyRSAPrivate)},
	{"hmac-sha256", sharedSecret(), sharedSecret()},
}

// testNow is when the examples of the RFC were signed.
var testNow = time.Unix(1618884473, 0)

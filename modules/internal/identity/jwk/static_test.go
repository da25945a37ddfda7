package jwk

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

func TestKeyOfEachFormIsAdmittedForItsAlgorithmAlone(t *testing.T) {
	k := keys()
	rsaJWK := `{"kty":"RSA","e":"AQAB","n":"` + b64(k.rsa.N.Bytes()) + `"}`
	secret := bytes.Repeat([]byte{0, 0xff, '\n', 'x'}, 16)
	for _, c := range []struct {
		name     string
		alg      string
		material []byte
	}{
		{"PKIX", "RS256", pkix2pem(t, &k.rsa.PublicKey)},
		{"PKIX with space round it", "PS512", slices.Concat([]byte("\r\n "), pkix2pem(t, &k.rsa.PublicKey), []byte("\n\n"))},
		{"PKCS #1", "RS384", pemOf(t, "RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey), nil)},
		{"certificate", "RS256", certificate(t, &k.rsa.PublicKey, k.rsa)},
		{"certificate of EC", "ES256", certificate(t, &k.p256.PublicKey, k.p256)},
		{"DER", "ES256", derOf(t, pkix2pem(t, &k.p256.PublicKey))},
		{"certificate in DER", "ES384", derOf(t, certificate(t, &k.p384.PublicKey, k.p384))},
		{"JWK", "RS256", []byte(rsaJWK)},
		{"JWK with its alg", "PS256", []byte(strings.Replace(rsaJWK, "{", `{"alg":"PS256","use":"sig","key_ops":["verify"],`, 1))},
		{"EC", "ES384", pkix2pem(t, &k.p384.PublicKey)},
		{"EC", "ES512", pkix2pem(t, &k.p521.PublicKey)},
		{"Ed25519", "EdDSA", pkix2pem(t, k.ed.Public())},
		{"Ed25519 by its other name", "Ed25519", pkix2pem(t, k.ed.Public())},
		{"secret", "HS512", secret},
		{"secret of exactly the size", "HS256", secret[:32]},
		{"secret that starts with a brace", "HS256", []byte(`{"this is":"no key", "but long enough"}`)},
		{"secret in a JWK", "HS384", []byte(`{"kty":"oct","k":"` + b64(secret[:48]) + `"}`)},
	} {
		key, err := Static(c.alg, c.material)
		if err != nil {
			t.Errorf("%s for %s: %v", c.name, c.alg, err)
			continue
		}
		if got := key.Algorithms(); len(got) != 1 || got[0] != c.alg || key.Alg != c.alg {
			t.Errorf("%s for %s: algorithms are %v", c.name, c.alg, got)
		}
		for _, a := range algorithms {
			if key.Fits(a.name) != (a.name == c.alg) {
				t.Errorf("%s for %s: Fits(%s) = %v", c.name, c.alg, a.name, key.Fits(a.name))
			}
		}
		if key.Fits("none") || key.Fits("") || key.Verify("none", "", nil) == nil {
			t.Errorf("%s for %s: none is accepted", c.name, c.alg)
		}
		if key.Symmetric() != (c.alg[0] == 'H') || key.Symmetric() != (key.Public() == nil) {
			t.Errorf("%s for %s: symmetric is %v", c.name, c.alg, key.Symmetric())
		}
	}
}

func TestKeyThatIsNotFitIsRefused(t *testing.T) {
	k := keys()
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return pemOf(t, "PRIVATE KEY", der, err)
	}
	ecDER, ecErr := x509.MarshalECPrivateKey(k.p256)
	ecPEM := pemOf(t, "EC PRIVATE KEY", ecDER, ecErr)
	rsaPEM := pkix2pem(t, &k.rsa.PublicKey)
	n := b64(k.rsa.N.Bytes())
	long := strings.Repeat("0123456789abcdef", 8)
	for _, c := range []struct {
		name     string
		alg      string
		material string
		says     string
	}{
		{"no algorithm", "", string(rsaPEM), "missing"},
		{"algorithm none", "none", string(rsaPEM), "not supported"},
		{"algorithm in lower case", "rs256", string(rsaPEM), "not supported"},
		{"algorithm of encryption", "RSA-OAEP", string(rsaPEM), "not supported"},
		{"empty", "RS256", "", "empty"},
		{"space", "RS256", " \n\t", "empty"},
		{"empty secret", "HS256", "", "empty"},
		{"blank secret", "HS256", strings.Repeat(" ", 40), "empty"},
		{"garbage", "RS256", "not a key", "neither PEM nor a JWK"},
		{"path of a file", "RS256", "/etc/keys/key.pem", "neither PEM nor a JWK"},
		{"damaged PEM", "RS256", "-----BEGIN PUBLIC KEY-----\nAAAA\n", "damaged"},
		{"PEM of nothing", "RS256", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "cannot be read"},
		{"certificate of nothing", "RS256", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"},
		{"two keys", "RS256", string(rsaPEM) + string(rsaPEM), "more than one"},
		{"text behind", "RS256", string(rsaPEM) + "x", "more than one"},
		{"request", "RS256", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "not a public key"},

		{"private key PKCS #8", "RS256", string(pkcs8(k.rsa)), "private"},
		{"private key PKCS #8 of EC", "ES256", string(pkcs8(k.p256)), "private"},
		{"private key PKCS #8 of Ed25519", "EdDSA", string(pkcs8(k.ed)), "private"},
		{"private key PKCS #1", "RS256", string(pemOf(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k.rsa), nil)), "private"},
		{"private key SEC 1", "ES256", string(ecPEM), "private"},
		{"private key in DER", "RS256", string(derOf(t, pkcs8(k.rsa))), "private"},
		{"private JWK", "EdDSA", `{"kty":"OKP","crv":"Ed25519","d":"AA","x":"` + b64(k.ed[32:]) + `"}`, "private"},

		{"RSA key for ES256", "ES256", string(rsaPEM), "the key is for"},
		{"RSA key for EdDSA", "EdDSA", string(rsaPEM), "the key is for"},
		{"P-256 for ES384", "ES384", string(pkix2pem(t, &k.p256.PublicKey)), "the key is for"},
		{"P-384 for RS256", "RS256", string(pkix2pem(t, &k.p384.PublicKey)), "the key is for"},
		{"P-224", "ES256", string(pkix2pem(t, &k.p224.PublicKey)), "not supported"},
		{"RSA of 1024 bits", "RS256", string(pkix2pem(t, &k.rsa1024.PublicKey)), "too small"},
		{"JWK of another alg", "RS256", `{"kty":"RSA","alg":"RS512","e":"AQAB","n":"` + n + `"}`, "RS512"},
		{"JWK for encryption", "RS256", `{"kty":"RSA","use":"enc","e":"AQAB","n":"` + n + `"}`, "use"},
		{"JWK with kty twice", "RS256", `{"kty":"RSA","kty":"RSA","e":"AQAB","n":"` + n + `"}`, "duplicate"},
		{"key set", "RS256", `{"keys":[{"kty":"RSA","e":"AQAB","n":"` + n + `"}]}`, "kty"},

		{"public key as secret", "HS256", string(rsaPEM), "never serve as shared secret"},
		{"public key as secret, with text before", "HS256", "# key\n" + string(rsaPEM), "never serve as shared secret"},
		{"certificate as secret", "HS256", string(certificate(t, &k.rsa.PublicKey, k.rsa)), "never serve as shared secret"},
		{"DER as secret", "HS512", string(derOf(t, rsaPEM)), "never serve as shared secret"},
		{"PKCS #1 in DER as secret", "HS256", string(x509.MarshalPKCS1PublicKey(&k.rsa.PublicKey)), "never serve as shared secret"},
		{"base64 of DER as secret", "HS256", base64.StdEncoding.EncodeToString(derOf(t, rsaPEM)), "never serve as shared secret"},
		{"body of PEM as secret", "HS256", strings.Join(strings.Split(strings.TrimSpace(string(rsaPEM)), "\n")[1:8], "\n") + "\n", "never serve as shared secret"},
		{"SSH key as secret", "HS256", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0eXlelyIo1JWz0MWkVYKDsdQH+0ioWVN4CZkfpAJ4W alice", "never serve as shared secret"},
		{"SSH key of EC as secret", "HS512", "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBA== alice", "never serve as shared secret"},
		{"private key as secret", "HS256", string(ecPEM), "never serve as shared secret"},
		{"private key in DER as secret", "HS256", string(ecDER), "never serve as shared secret"},
		{"public JWK as secret", "HS256", `{"kty":"RSA","e":"AQAB","n":"` + n + `"}`, "never serve as shared secret"},
		{"damaged JWK as secret", "HS256", `{"kty":"RSA","e":"AQAB","n":"` + n + `"`, "not a JSON object"},
		{"secret JWK for RS256", "RS256", `{"kty":"oct","k":"` + b64([]byte(long)) + `"}`, "shared secret, not a public key"},
		{"secret of 31 bytes", "HS256", long[:31], "31 bytes is too short: 32"},
		{"secret of 47 bytes", "HS384", long[:47], "47 bytes is too short: 48"},
		{"secret of 63 bytes", "HS512", long[:63], "63 bytes is too short: 64"},
		{"secret JWK too short", "HS512", `{"kty":"oct","k":"` + b64([]byte(long[:63])) + `"}`, "63 bytes is too short: 64"},
		{"secret JWK empty", "HS256", `{"kty":"oct","k":""}`, "base64url|too short"},
		{"secret JWK for another", "HS256", `{"kty":"oct","alg":"HS512","k":"` + b64([]byte(long)) + `"}`, "HS512"},
	} {
		key, err := Static(c.alg, []byte(c.material))
		if err == nil {
			t.Errorf("%s: admitted for %v", c.name, key.Algorithms())
			continue
		}
		if !containsAny(err.Error(), c.says) {
			t.Errorf("%s: %q does not say %q", c.name, err, c.says)
		}
		if strings.Contains(err.Error(), long[:16]) || strings.Contains(err.Error(), n[:16]) {
			t.Errorf("%s: the error shows the key: %q", c.name, err)
		}
	}
}

func containsAny(s, alternatives string) bool {
	return slices.ContainsFunc(strings.Split(alternatives, "|"), func(a string) bool { return strings.Contains(s, a) })
}

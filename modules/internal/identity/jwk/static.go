package jwk

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// Static admits a key that an administrator has given, for one algorithm and
// no other. For the algorithms of RSA, ECDSA and Ed25519 material is a public
// key or a certificate in PEM or DER, an RSA public key of PKCS #1 in PEM, or
// a JWK. A certificate stands for its public key; its dates and issuer are not
// looked at, since naming the file is the trust.
//
// For HS256, HS384 and HS512 material is the secret itself, byte for byte, or
// a JWK of type oct. It must be at least as long as the hash (RFC 7518 section
// 3.2), and must not be a public key: that an attacker signs with a public
// key used as secret is the oldest trick against tokens (RFC 8725 section
// 2.1). Private keys are refused.
func Static(alg string, material []byte) (*Key, error) {
	a := find(alg)
	if a == nil {
		if alg == "" {
			return nil, errors.New("the key's algorithm is missing")
		}
		return nil, fmt.Errorf("algorithm %q is not supported: use RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, HS256, HS384 or HS512", clip(alg))
	}
	k, err := static(a, material)
	if err != nil {
		return nil, fmt.Errorf("key for %s: %w", alg, err)
	}
	if !slices.Contains(k.algs, alg) {
		if k.Symmetric() {
			return nil, fmt.Errorf("key for %s: secret of %d bytes is too short: %d are needed", alg, len(k.secret), a.secret)
		}
		return nil, fmt.Errorf("key for %s: the key is for %v", alg, k.algs)
	}
	if k.Alg != "" && k.Alg != alg {
		return nil, fmt.Errorf("key for %s: the key itself says it is for %s", alg, k.Alg)
	}
	k.Alg = alg
	return k, nil
}

func static(a *algorithm, material []byte) (*Key, error) {
	text := bytes.TrimSpace(material)
	if len(text) == 0 {
		return nil, errors.New("it is empty")
	}
	if looksLikeJWK(text) {
		k, err := parse(text, false)
		if err == nil && k.Symmetric() != (a.secret > 0) {
			err = errMixed(a)
		}
		return k, err
	}
	if a.secret > 0 {
		if looksLikeKey(text) || isDER(material) {
			return nil, errMixed(a)
		}
		if len(material) < a.secret {
			return nil, fmt.Errorf("secret of %d bytes is too short: %d are needed", len(material), a.secret)
		}
		return newSecret(material)
	}
	if bytes.HasPrefix(text, []byte("-----BEGIN ")) {
		return parsePEM(text)
	}
	k, err := parseDER(material)
	if errors.Is(err, errNotDER) {
		err = errors.New("it is neither PEM nor a JWK")
	}
	return k, err
}

func errMixed(a *algorithm) error {
	if a.secret > 0 {
		return errors.New("it is a key of another kind, not a secret: a public key must never serve as shared secret")
	}
	return errors.New("it is a shared secret, not a public key")
}

// looksLikeJWK reports whether text is an object with a kty. A secret may
// start with a brace.
func looksLikeJWK(text []byte) bool {
	return text[0] == '{' && bytes.Contains(text, []byte(`"kty"`))
}

func parsePEM(text []byte) (*Key, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, errors.New("the PEM text is damaged")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("there is more than one PEM block, or text after it: give one key")
	}
	switch block.Type {
	case "PUBLIC KEY":
		pub, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, errors.New("the public key cannot be read")
		}
		return newPublic(pub)
	case "RSA PUBLIC KEY":
		pub, err := x509.ParsePKCS1PublicKey(block.Bytes)
		if err != nil {
			return nil, errors.New("the public key cannot be read")
		}
		return newRSA(pub)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("the certificate cannot be read")
		}
		return newPublic(cert.PublicKey)
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY":
		return nil, errPrivate
	}
	return nil, fmt.Errorf("PEM block %q is not a public key", clip(block.Type))
}

var errNotDER = errors.New("neither a public key nor a certificate")

// parseDER reads a public key or a certificate in DER. It returns errNotDER if
// der is neither.
func parseDER(der []byte) (*Key, error) {
	if pub, err := x509.ParsePKIXPublicKey(der); err == nil {
		return newPublic(pub)
	}
	if cert, err := x509.ParseCertificate(der); err == nil {
		return newPublic(cert.PublicKey)
	}
	if isPrivateDER(der) {
		return nil, errPrivate
	}
	return nil, errNotDER
}

func isPrivateDER(der []byte) bool {
	_, err8 := x509.ParsePKCS8PrivateKey(der)
	_, err1 := x509.ParsePKCS1PrivateKey(der)
	_, errEC := x509.ParseECPrivateKey(der)
	return err8 == nil || err1 == nil || errEC == nil
}

// looksLikeKey reports whether a secret is the text of a key in some form that
// is handed round: PEM, the line of an SSH key (CVE-2022-29217), or base64 of
// DER without the lines of PEM.
func looksLikeKey(text []byte) bool {
	if bytes.Contains(text, []byte("-----BEGIN ")) {
		return true
	}
	for _, kind := range []string{"ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-sha2-"} {
		if bytes.HasPrefix(text, []byte(kind)) && bytes.ContainsRune(text, ' ') {
			return true
		}
	}
	der, err := base64.StdEncoding.AppendDecode(nil, text)
	return err == nil && isDER(der)
}

// isDER reports whether material is a public or private key in DER.
func isDER(material []byte) bool {
	if _, err := x509.ParsePKCS1PublicKey(material); err == nil {
		return true
	}
	_, err := parseDER(material)
	return !errors.Is(err, errNotDER)
}

package httpsig

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// Signer makes signatures with one key.
type Signer struct {
	ID        string
	Algorithm string
	alg       *algorithm
	private   crypto.Signer
	secret    []byte
}

// NewSigner admits a key to sign with: a private key in PEM (PKCS #8, PKCS #1
// or SEC 1), or, for hmac-sha256, the secret of at least 32 bytes.
func NewSigner(id, alg string, material []byte) (*Signer, error) {
	if err := checkKeyID(id); err != nil {
		return nil, err
	}
	a, err := findAlgorithm(alg)
	if err != nil {
		return nil, err
	}
	s := &Signer{ID: id, Algorithm: alg, alg: a}
	if Symmetric(alg) {
		// The same that makes a bad secret to verify with.
		k, err := NewKey(id, alg, material)
		if err != nil {
			return nil, err
		}
		s.secret = bytes.Clone(material)
		// A JWK stands for the secret in it, which would have to be taken out.
		if made, err := s.sign(nil); err != nil || !k.verify(nil, made) {
			return nil, errors.New("give the secret itself to sign with, not a JWK")
		}
		return s, nil
	}
	if s.private, err = parsePrivate(material); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(s.private.Public())
	if err != nil {
		return nil, errors.New("the private key is of a kind that is not supported")
	}
	// And the same that makes a bad public key: size, curve, algorithm.
	if _, err := NewKey(id, alg, der); err != nil {
		return nil, err
	}
	return s, nil
}

func parsePrivate(material []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(material)
	if block == nil {
		return nil, errors.New("the private key is not in PEM")
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, errors.New("the PEM block is not a readable private key: make one with `openssl genpkey -algorithm ed25519`")
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, errors.New("the private key cannot be read")
	}
	return signer, nil
}

// sign signs the base.
func (s *Signer) sign(base []byte) ([]byte, error) {
	var digest []byte
	if s.alg.hash != 0 {
		h := s.alg.hash.New()
		h.Write(base)
		digest = h.Sum(nil)
	}
	switch key := s.private.(type) {
	case nil:
		mac := hmac.New(sha256.New, s.secret)
		mac.Write(base)
		return mac.Sum(nil), nil
	case ed25519.PrivateKey:
		return ed25519.Sign(key, base), nil
	case *rsa.PrivateKey:
		if s.alg.jose == "RS256" {
			return rsa.SignPKCS1v15(nil, key, s.alg.hash, digest)
		}
		return rsa.SignPSS(rand.Reader, key, s.alg.hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case *ecdsa.PrivateKey:
		r, sv, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			return nil, err
		}
		size := (key.Curve.Params().N.BitLen() + 7) / 8
		out := make([]byte, 2*size)
		r.FillBytes(out[:size])
		sv.FillBytes(out[size:])
		return out, nil
	}
	return nil, errors.New("the private key is of a kind that is not supported")
}

// Template says what a signature covers and says.
type Template struct {
	Label      string   // default: sig1
	Components []string // as in Options
	Created    time.Time
	Expires    time.Time // zero: it does not say
	Nonce, Tag string    // empty: none
	Algorithm  bool      // whether the parameter alg is written
}

// CheckTemplate says what of the label and the components of a template cannot
// stand in a signature.
func CheckTemplate(t Template) error {
	if c := (cursor{s: t.Label}); t.Label != "" && (c.key() != t.Label || c.bad) {
		return fmt.Errorf("label %.40q is not a key of RFC 9651 section 3.1.2", t.Label)
	}
	_, err := parseComponents(t.Components)
	return err
}

// parseComponents reads the components of a signature, none of them twice.
func parseComponents(list []string) ([]item, error) {
	if len(list) > maxComponents {
		return nil, fmt.Errorf("a signature covers at most %d components", maxComponents)
	}
	items := make([]item, 0, len(list))
	for _, text := range list {
		it, err := parseComponent(text)
		if err != nil {
			return nil, err
		}
		if covers(items, &it) {
			return nil, fmt.Errorf("component %s already specified", text)
		}
		items = append(items, it)
	}
	return items, nil
}

// Has reports whether the message has the component that is written so.
func (m *Message) Has(component string) bool {
	it, err := parseComponent(component)
	if err != nil {
		return false
	}
	_, fault := appendBase(nil, m, []item{it}, "")
	return fault == nil
}

// Sign signs m and returns the values of Signature-Input and Signature.
func (s *Signer) Sign(m *Message, t Template) (signatureInput, sig string, err error) {
	label := t.Label
	if label == "" {
		label = "sig1"
	}
	if err := CheckTemplate(t); err != nil {
		return "", "", err
	}
	items, err := parseComponents(t.Components)
	if err != nil {
		return "", "", err
	}
	v := parameters{keyID: s.ID, created: t.Created.Unix(), hasCreated: true}
	if v.hasExpires = !t.Expires.IsZero(); v.hasExpires {
		v.expires = t.Expires.Unix()
	}
	if err := v.check(); err != nil {
		return "", "", errors.New(err.Reason)
	}
	params := []param{{"created", v.created}}
	if v.hasExpires {
		params = append(params, param{"expires", v.expires})
	}
	for _, p := range []param{{"nonce", t.Nonce}, {"tag", t.Tag}, {"keyid", s.ID}} {
		text, _ := p.value.(string)
		if !printable(text) {
			return "", "", fmt.Errorf("%s: printable characters of ASCII only", p.name)
		}
		if text != "" {
			params = append(params, p)
		}
	}
	if t.Algorithm {
		params = append(params, param{"alg", s.Algorithm})
	}
	text := string(appendInput(nil, items, params))
	base, fault := appendBase(nil, m, items, text)
	if fault != nil {
		return "", "", fmt.Errorf("making the signature base: %s", fault.Reason)
	}
	made, err := s.sign(base)
	if err != nil {
		return "", "", err
	}
	return label + "=" + text, label + "=:" + base64.StdEncoding.EncodeToString(made) + ":", nil
}

package harness

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Sender signs requests as RFC 9421 has it, by code that has nothing in common
// with the code under test.
type Sender struct {
	ID      string
	Key     ed25519.PrivateKey
	Public  string // PEM
	Private string // PEM
}

// NewSender makes a sender with an Ed25519 key and that key ID.
func NewSender(t testing.TB, id string) *Sender {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	s := &Sender{ID: id, Key: key}
	der, err := x509.MarshalPKIXPublicKey(pub)
	s.Public = text("PUBLIC KEY", der, err)
	der, err = x509.MarshalPKCS8PrivateKey(key)
	s.Private = text("PRIVATE KEY", der, err)
	return s
}

// Delivery is a request to sign. Empty members have usual values.
type Delivery struct {
	Method, URI, Body, Params string
	Created                   time.Time
	Covered                   [][2]string // components besides, with their values
}

var nonces atomic.Int64

// Sign returns the header lines of a signature, of no two alike.
func (s *Sender) Sign(d Delivery) []string {
	if d.Method == "" {
		d.Method = "GET"
	}
	if d.Created.IsZero() {
		d.Created = time.Now()
	}
	if d.Params == "" {
		d.Params = fmt.Sprintf(`;nonce="n%d"`, nonces.Add(1))
	}
	parts := append([][2]string{{`"@method"`, d.Method}, {`"@target-uri"`, d.URI}}, d.Covered...)
	var lines []string
	if d.Body != "" {
		sum := sha256.Sum256([]byte(d.Body))
		digest := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
		parts = append(parts, [2]string{`"content-digest"`, digest})
		lines = append(lines, "Content-Digest: "+digest)
	}
	var base, names strings.Builder
	for i, p := range parts {
		base.WriteString(p[0] + ": " + p[1] + "\n")
		if i > 0 {
			names.WriteByte(' ')
		}
		names.WriteString(p[0])
	}
	params := fmt.Sprintf(`(%s);created=%d;keyid="%s"%s`, names.String(), d.Created.Unix(), s.ID, d.Params)
	base.WriteString(`"@signature-params": ` + params)
	sig := base64.StdEncoding.EncodeToString(ed25519.Sign(s.Key, []byte(base.String())))
	return append(lines, "Signature-Input: sig1="+params, "Signature: sig1=:"+sig+":")
}

package witness

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Types of signature of C2SP signed-note.
const (
	algEd25519Cosignature = 0x04
	algMLDSA44Cosignature = 0x06
)

// lengths of an Ed25519 cosignature: a time and a signature.
const timeSize = 8

// NewVerifier reads the verifier key of a witness: its name, the key's hash
// and the key, joined by plus signs (C2SP signed-note), of the type of Ed25519
// cosignatures.
func NewVerifier(vkey string) (note.Verifier, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	hash, encoded, ok := strings.Cut(rest, "+")
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	id, err2 := strconv.ParseUint(hash, 16, 32)
	if !ok || name == "" || len(hash) != 8 || err != nil || err2 != nil || len(key) == 0 {
		return nil, fmt.Errorf("%q is not a verifier key: name+hash+key", vkey)
	}
	switch key[0] {
	case algEd25519Cosignature:
	case algMLDSA44Cosignature:
		return nil, fmt.Errorf("the key of %s is of ML-DSA-44, which this build cannot verify: use its Ed25519 key", name)
	default:
		return nil, fmt.Errorf("the key of %s is not one of a witness (type %d, not 4)", name, key[0])
	}
	if len(key) != 1+ed25519.PublicKeySize {
		return nil, fmt.Errorf("the key of %s has a wrong length", name)
	}
	v := &verifier{name: name, key: ed25519.PublicKey(key[1:])}
	if v.hash = keyID(name, key); v.hash != uint32(id) {
		return nil, fmt.Errorf("the hash in the key of %s does not fit the key", name)
	}
	return v, nil
}

// keyID is the key ID of C2SP signed-note.
func keyID(name string, key []byte) uint32 {
	h := sha256.Sum256(append([]byte(name+"\n"), key...))
	return binary.BigEndian.Uint32(h[:4])
}

type verifier struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (v *verifier) Name() string    { return v.name }
func (v *verifier) KeyHash() uint32 { return v.hash }

// Verify reports whether sig is a cosignature of msg, the text of a note.
func (v *verifier) Verify(msg, sig []byte) bool {
	if len(sig) != timeSize+ed25519.SignatureSize {
		return false
	}
	at := binary.BigEndian.Uint64(sig)
	if at > math.MaxInt64 {
		return false
	}
	return ed25519.Verify(v.key, cosigned(at, msg), sig[timeSize:])
}

// cosigned is what an Ed25519 cosigner signs.
func cosigned(at uint64, msg []byte) []byte {
	return append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", at), msg...)
}

// Time returns when a cosignature was made, as its witness says.
func Time(s note.Signature) (time.Time, bool) {
	sig, err := base64.StdEncoding.DecodeString(s.Base64) // behind a key ID
	if err != nil || len(sig) != 4+timeSize+ed25519.SignatureSize {
		return time.Time{}, false
	}
	at := binary.BigEndian.Uint64(sig[4:])
	if at > math.MaxInt64 {
		return time.Time{}, false
	}
	return time.Unix(int64(at), 0), true
}

// Cosigned returns the names of the witnesses that have cosigned a checkpoint,
// and when.
func Cosigned(msg []byte, witnesses []Witness) (map[string]time.Time, error) {
	known := make([]note.Verifier, len(witnesses))
	for i := range witnesses {
		known[i] = witnesses[i].Verifier
	}
	n, err := note.Open(msg, note.VerifierList(known...))
	var none *note.UnverifiedNoteError
	if errors.As(err, &none) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := make(map[string]time.Time)
	for _, s := range n.Sigs {
		if at, ok := Time(s); ok {
			out[s.Name] = at
		}
	}
	return out, nil
}

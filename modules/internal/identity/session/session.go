package session

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/chacha20poly1305"
)

// Session is what is known of a browser's user. It is not changed once others
// have it.
type Session struct {
	Subject string    `json:"sub"`
	SID     string    `json:"sid,omitempty"` // the provider's name for the session
	Created time.Time `json:"created"`
	Until   time.Time `json:"until"` // however active the user is

	Private Private `json:"-"`
}

// Private is what only the browser's cookie opens.
type Private struct {
	Claims  json.RawMessage `json:"claims"`
	Scopes  []string        `json:"scopes,omitempty"`
	Access  string          `json:"access_token,omitempty"`
	Refresh string          `json:"refresh_token,omitempty"`
	Expires time.Time       `json:"expires,omitzero"` // of the access token
}

// stored is a session as the storage has it.
type stored struct {
	Session
	Sealed []byte `json:"sealed"`
}

const secretSize = 32

// Ticket is what a cookie holds.
type Ticket struct {
	secret [secretSize]byte
	name   string    // of the session
	Seen   time.Time // in whole seconds
}

// newTicket makes the ticket of a new session.
func newTicket(issuer string, s *Session, now time.Time) *Ticket {
	t := &Ticket{Seen: now}
	rand.Read(t.secret[:]) // never fails
	id := sha256.Sum256(append([]byte("caddy-moat session\x00"), t.secret[:]...))
	sid := "0"
	if s.SID != "" {
		sid = mark(issuer, "sid", s.SID)
	}
	t.name = mark(issuer, "sub", s.Subject) + "." + sid + "." + hex.EncodeToString(id[:16]) + "." + strconv.FormatInt(s.Until.Unix(), 16)
	return t
}

// mark stands for a name of the provider in the name of a session, so that all
// sessions of a user are found without opening any.
func mark(issuer, kind, name string) string {
	sum := sha256.Sum256([]byte(issuer + "\x00" + kind + "\x00" + name))
	return hex.EncodeToString(sum[:12])
}

// Name is the session's name in the storage. It opens nothing.
func (t *Ticket) Name() string { return t.name }

// nameUntil returns when the session of a name ends.
func nameUntil(name string) (time.Time, bool) {
	parts := strings.Split(name, ".")
	if len(parts) != 4 {
		return time.Time{}, false
	}
	n, err := strconv.ParseInt(parts[3], 16, 64)
	return time.Unix(n, 0), err == nil
}

// Text is the ticket before it is sealed.
func (t *Ticket) text(seen time.Time) []byte {
	b := make([]byte, 0, secretSize+8+len(t.name))
	b = append(b, t.secret[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(seen.Unix())) //nolint:gosec // after 1970
	return append(b, t.name...)
}

var errTicket = errors.New("not a ticket")

func parseTicket(b []byte) (*Ticket, error) {
	if len(b) < secretSize+8+1 {
		return nil, errTicket
	}
	t := &Ticket{name: string(b[secretSize+8:])}
	copy(t.secret[:], b)
	t.Seen = time.Unix(int64(binary.BigEndian.Uint64(b[secretSize:])), 0) //nolint:gosec // of ours
	if _, ok := nameUntil(t.name); !ok || strings.ContainsAny(t.name, `/\`) {
		return nil, errTicket
	}
	return t, nil
}

func (t *Ticket) aead() (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, t.secret[:], nil, "caddy-moat session tokens", chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	return chacha20poly1305.NewX(key)
}

// encode seals a session for the storage.
func (t *Ticket) encode(s *Session) ([]byte, error) {
	private, err := json.Marshal(s.Private) //nolint:gosec // sealed below
	if err != nil {
		return nil, err
	}
	aead, err := t.aead()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce)
	return json.Marshal(stored{*s, aead.Seal(nonce, nonce, private, []byte(t.name))})
}

// decode opens a session from the storage.
func (t *Ticket) decode(text []byte) (*Session, error) {
	var st stored
	if err := json.Unmarshal(text, &st); err != nil {
		return nil, fmt.Errorf("the stored session is malformed: %w", err)
	}
	aead, err := t.aead()
	if err != nil {
		return nil, err
	}
	if len(st.Sealed) < aead.NonceSize() {
		return nil, ErrSealed
	}
	private, err := aead.Open(nil, st.Sealed[:aead.NonceSize()], st.Sealed[aead.NonceSize():], []byte(t.name))
	if err != nil {
		return nil, ErrSealed
	}
	s := &st.Session
	if err := json.Unmarshal(private, &s.Private); err != nil {
		return nil, fmt.Errorf("the stored session is malformed: %w", err)
	}
	// What is not sealed can be changed by whoever can write the storage. The
	// name is sealed in the cookie, and says until when.
	until, _ := nameUntil(t.name)
	s.Until = until
	return s, nil
}

package oauth

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// Storage is where codes and families of refresh tokens are kept. Load returns an
// error that is fs.ErrNotExist for a key that is not there. Caddy's storage is one.
type Storage interface {
	Lock(ctx context.Context, name string) error
	Unlock(ctx context.Context, name string) error
	Load(ctx context.Context, key string) ([]byte, error)
	Store(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
	List(ctx context.Context, prefix string, recursive bool) ([]string, error)
}

// State is what a server remembers of logins: codes and families of refresh
// tokens, in a storage that several servers may share and that survives them.
type State struct {
	storage Storage
	prefix  string
	seal    cipher.AEAD
	tokens  []byte // key of refresh tokens

	// turns are for requests of this process, by record: storages are slow to hand
	// a lock over, a second for each in files.
	turns [64]chan struct{}
}

// NewState returns the state of an issuer in a storage. The secret, of at least 32
// bytes, is the same on all servers that share the storage.
func NewState(storage Storage, issuer string, secret []byte) (*State, error) {
	if len(secret) < 32 {
		return nil, errors.New("the secret is shorter than 32 bytes")
	}
	derive := func(label string) ([]byte, error) {
		return hkdf.Key(sha256.New, secret, nil, "moat token server "+label+"\x00"+issuer, 32)
	}
	sealKey, err := derive("requests")
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(sealKey)
	if err != nil {
		return nil, err
	}
	s := &State{storage: storage}
	if s.seal, err = cipher.NewGCM(block); err != nil {
		return nil, err
	}
	if s.tokens, err = derive("refresh tokens"); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(issuer))
	for i := range s.turns {
		s.turns[i] = make(chan struct{}, 1)
	}
	s.prefix = "moat/token_server/" + hex.EncodeToString(sum[:8])
	return s, nil
}

// Seal encrypts a value for one purpose, as text for URLs and forms.
func (s *State) Seal(purpose string, v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, s.seal.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return base64url.EncodeToString(s.seal.Seal(nonce, nonce, text, []byte(purpose))), nil
}

var errSealed = errors.New("not sealed by this server for this purpose")

// Open decrypts what Seal has encrypted for the same purpose.
func (s *State) Open(purpose, text string, v any) error {
	b, err := base64url.DecodeString(text)
	if n := s.seal.NonceSize(); err == nil && len(b) > n {
		if plain, err := s.seal.Open(nil, b[:n], b[n:], []byte(purpose)); err == nil && json.Unmarshal(plain, v) == nil {
			return nil
		}
	}
	return errSealed
}

// refreshText is the refresh token of a family and a generation. It is computed,
// so that a token that is asked for twice is the same, and no secret is stored.
func (s *State) refreshText(family string, generation int) string {
	head := fmt.Sprintf("moatrt_%s_%d", family, generation)
	mac := hmac.New(sha256.New, s.tokens)
	mac.Write([]byte(head))
	return head + "_" + base64url.EncodeToString(mac.Sum(nil))
}

// parseRefresh reads a refresh token of this server.
func (s *State) parseRefresh(text string) (family string, generation int, ok bool) {
	rest, found := strings.CutPrefix(text, "moatrt_")
	family, rest, cut := strings.Cut(rest, "_")
	number, _, _ := strings.Cut(rest, "_")
	if _, err := fmt.Sscanf(number, "%d", &generation); !found || !cut || err != nil || len(text) > 200 {
		return "", 0, false
	}
	return family, generation, hmac.Equal([]byte(text), []byte(s.refreshText(family, generation)))
}

// lock takes the lock of a record, here and in the storage.
func (s *State) lock(ctx context.Context, key string) (unlock func(), err error) {
	sum := sha256.Sum256([]byte(key))
	turn := s.turns[int(sum[0])%len(s.turns)]
	select {
	case turn <- struct{}{}:
	case <-ctx.Done():
		return nil, unavailable(ctx.Err())
	}
	if err := s.storage.Lock(ctx, key); err != nil {
		<-turn
		return nil, unavailable(fmt.Errorf("locking the storage: %w", err))
	}
	return func() {
		_ = s.storage.Unlock(context.WithoutCancel(ctx), key)
		<-turn
	}, nil
}

var errGone = errors.New("there is none")

// change loads a record under its lock, has f change it and stores it, unless f
// returns an error. errGone is for a record that is not there.
func change[T any](ctx context.Context, s *State, key string, f func(*T) error) error {
	key = s.prefix + "/" + key
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	text, err := s.storage.Load(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return errGone
	}
	record := new(T)
	if err == nil {
		err = json.Unmarshal(text, record)
	}
	if err != nil {
		return unavailable(fmt.Errorf("reading the storage: %w", err))
	}
	if err := f(record); err != nil {
		return err
	}
	if text, err = json.Marshal(record); err == nil {
		err = s.storage.Store(ctx, key, text)
	}
	if err != nil {
		return unavailable(fmt.Errorf("writing the storage: %w", err))
	}
	return nil
}

// put stores a new record.
func (s *State) put(ctx context.Context, key string, record any) error {
	text, err := json.Marshal(record)
	if err == nil {
		err = s.storage.Store(ctx, s.prefix+"/"+key, text)
	}
	if err != nil {
		return unavailable(fmt.Errorf("writing the storage: %w", err))
	}
	return nil
}

// once notes a value that may be used once, and reports whether it was fresh.
func (s *State) once(ctx context.Context, key string) (fresh bool, err error) {
	key = s.prefix + "/" + key
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return false, err
	}
	defer unlock()
	_, err = s.storage.Load(ctx, key)
	if err == nil {
		return false, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		if err = s.storage.Store(ctx, key, []byte("used")); err == nil {
			return true, nil
		}
	}
	return false, unavailable(fmt.Errorf("the storage: %w", err))
}

// Sweep deletes what has expired.
func (s *State) Sweep(ctx context.Context, now time.Time) error {
	for _, kind := range []string{"codes", "families"} {
		keys, err := s.storage.List(ctx, s.prefix+"/"+kind, false)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, key := range keys {
			text, err := s.storage.Load(ctx, key)
			var e expiring
			if err != nil || json.Unmarshal(text, &e) != nil || now.Before(e.Expires) {
				continue
			}
			if err := s.storage.Delete(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// expiring is what all records have.
type expiring struct {
	Expires time.Time `json:"expires"`
}

// random returns a text that nobody can guess.
func random() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

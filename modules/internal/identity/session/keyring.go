// Package session keeps browsers logged in.
//
// A browser has a cookie and nothing else. It is sealed with keys that all servers
// on one storage share, and holds a secret of the session and when the browser was
// seen last. What a session is stands in the storage: who the user is, for
// everybody who may read the storage, and the claims and tokens, sealed with a
// key that is made from the secret in the cookie. So the storage alone opens
// no session, and neither does the cookie: a session that is deleted has ended.
package session

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"golang.org/x/crypto/chacha20poly1305"
)

const (
	// rotateEvery is how long a key seals, and keepKeys how long it opens what
	// it has sealed: longer than any session.
	rotateEvery = 30 * 24 * time.Hour
	keepKeys    = rotateEvery + MaxLifetime + 24*time.Hour

	// rereadEvery is how often keys are looked for in the storage because of a
	// cookie that names one which is not known here.
	rereadEvery = 2 * time.Second

	keyringKey = "moat/login/keys.json"
)

// MaxLifetime is the longest life of a session.
const MaxLifetime = 30 * 24 * time.Hour

// ErrSealed says that a text was not sealed here, or for something else.
var ErrSealed = errors.New("it was not sealed by this server for this purpose")

// Keyring seals texts for browsers with XChaCha20-Poly1305. Its nonces are random
// and long enough for that.
type Keyring struct {
	storage certmagic.Storage
	now     func() time.Time
	keys    atomic.Pointer[[]*ringKey] // the newest first

	mu     sync.Mutex
	reread time.Time
}

type ringKey struct {
	ID      string    `json:"id"`
	Key     []byte    `json:"key"`
	Created time.Time `json:"created"`

	aead cipher.AEAD
}

// OpenKeyring reads the keys from the storage, and makes the first one.
func OpenKeyring(ctx context.Context, storage certmagic.Storage, now func() time.Time) (*Keyring, error) {
	k := &Keyring{storage: storage, now: now}
	if err := k.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("keys of cookies: %w", err)
	}
	return k, nil
}

// Refresh reads the keys from the storage, and makes a new one where it is time.
func (k *Keyring) Refresh(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	keys, err := k.load(ctx)
	if err == nil && k.due(keys) {
		keys, err = k.rotate(ctx)
	}
	if err != nil {
		return err
	}
	k.keys.Store(&keys)
	return nil
}

func (k *Keyring) due(keys []*ringKey) bool {
	return len(keys) == 0 || k.now().Sub(keys[0].Created) >= rotateEvery
}

// rotate adds a key, unless another server has just done so.
func (k *Keyring) rotate(ctx context.Context) ([]*ringKey, error) {
	if err := k.storage.Lock(ctx, keyringKey); err != nil {
		return nil, fmt.Errorf("locking the storage: %w", err)
	}
	defer func() { _ = k.storage.Unlock(context.WithoutCancel(ctx), keyringKey) }()
	keys, err := k.load(ctx)
	if err != nil || !k.due(keys) {
		return keys, err
	}
	fresh := &ringKey{ID: rand.Text()[:8], Key: make([]byte, chacha20poly1305.KeySize), Created: k.now()}
	rand.Read(fresh.Key) // never fails
	keys = slices.DeleteFunc(append([]*ringKey{fresh}, keys...), func(o *ringKey) bool { return k.now().Sub(o.Created) > keepKeys })
	text, err := json.Marshal(keys)
	if err != nil {
		return nil, err
	}
	if err := k.storage.Store(ctx, keyringKey, text); err != nil {
		return nil, fmt.Errorf("writing the storage: %w", err)
	}
	return keys, fresh.open()
}

func (k *Keyring) load(ctx context.Context) ([]*ringKey, error) {
	text, err := k.storage.Load(ctx, keyringKey)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the storage: %w", err)
	}
	var keys []*ringKey
	if err := json.Unmarshal(text, &keys); err != nil {
		return nil, fmt.Errorf("what is stored at %s is not a list of keys", keyringKey)
	}
	for _, key := range keys {
		if key == nil || len(key.ID) != 8 {
			return nil, fmt.Errorf("what is stored at %s is not a list of keys", keyringKey)
		}
		if err := key.open(); err != nil {
			return nil, fmt.Errorf("what is stored at %s: %w", keyringKey, err)
		}
	}
	return keys, nil
}

func (r *ringKey) open() (err error) {
	r.aead, err = chacha20poly1305.NewX(r.Key)
	return err
}

// Seal seals a text for a purpose, as text that a cookie can hold.
func (k *Keyring) Seal(purpose string, text []byte) string {
	key := (*k.keys.Load())[0]
	nonce := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(text)+chacha20poly1305.Overhead)
	rand.Read(nonce)
	return key.ID + base64.RawURLEncoding.EncodeToString(key.aead.Seal(nonce, nonce, text, []byte(purpose)))
}

// strict knows one spelling of every text.
var strict = base64.RawURLEncoding.Strict()

// Open opens what Seal has sealed for the same purpose.
func (k *Keyring) Open(ctx context.Context, purpose, sealed string) ([]byte, error) {
	if len(sealed) < 8 || len(sealed) > 8<<10 {
		return nil, ErrSealed
	}
	box, err := strict.DecodeString(sealed[8:])
	if err != nil || len(box) < chacha20poly1305.NonceSizeX+chacha20poly1305.Overhead {
		return nil, ErrSealed
	}
	key := k.find(ctx, sealed[:8])
	if key == nil {
		return nil, ErrSealed
	}
	nonce, box := box[:chacha20poly1305.NonceSizeX], box[chacha20poly1305.NonceSizeX:]
	text, err := key.aead.Open(box[:0], nonce, box, []byte(purpose))
	if err != nil {
		return nil, ErrSealed
	}
	return text, nil
}

// find returns a key by its ID. One that is not known may be new, of another
// server on the storage.
func (k *Keyring) find(ctx context.Context, id string) *ringKey {
	if key := k.known(id); key != nil {
		return key
	}
	k.mu.Lock()
	due := k.now().Sub(k.reread) >= rereadEvery
	if due {
		k.reread = k.now()
	}
	k.mu.Unlock()
	if !due || k.Refresh(ctx) != nil {
		return nil
	}
	return k.known(id)
}

func (k *Keyring) known(id string) *ringKey {
	for _, key := range *k.keys.Load() {
		if key.ID == id {
			return key
		}
	}
	return nil
}

package redact

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/mask"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// keyLen is the length of the keys made here, in bytes, but for those of SM4.
const keyLen = mask.SealKeySize

// internalKey is what is written in place of a key to have one made.
const internalKey = "internal"

// keyring finds the keys that rules need, when the first one needs them.
type keyring struct {
	storage  func() (certmagic.Storage, error)
	ctx      context.Context
	hash     string // as written in the configuration
	encrypt  []EncryptKey
	sm4      []EncryptKey
	tokenize []EncryptKey

	hashBytes []byte
	sealers   map[*sealKeys][]*mask.Sealer
	tokens    []tokenKey
	any       bool // every key that may be asked for is there
}

// sealKeys is the keys of a cipher of encrypt.
type sealKeys struct {
	option string
	prefix string // of what is sealed
	size   int
	make   func(kid string, key []byte) (*mask.Sealer, error)
	list   func(*keyring) []EncryptKey
}

var (
	aesKeys = sealKeys{"encrypt_key", mask.SealPrefix, mask.SealKeySize, mask.NewSealer, func(k *keyring) []EncryptKey { return k.encrypt }}
	sm4Keys = sealKeys{"sm4_key", mask.SealPrefixSM4, mask.SealKeySizeSM4, mask.NewSealerSM4, func(k *keyring) []EncryptKey { return k.sm4 }}
)

// cipherOf returns the keys of a cipher by its name, nil if there is none.
func cipherOf(name string) *sealKeys {
	switch name {
	case "aes":
		return &aesKeys
	case "sm4":
		return &sm4Keys
	}
	return nil
}

// tokenKey is a key of tokenize.
type tokenKey struct {
	id  string
	key []byte
}

func newKeyring(ctx caddy.Context, h *Handler) *keyring {
	k := h.keyring(ctx)
	k.storage = func() (certmagic.Storage, error) { return ctx.Storage(), nil }
	return k
}

// keyring is that of the handler, without a storage.
func (h *Handler) keyring(ctx context.Context) *keyring {
	return &keyring{ctx: ctx, hash: h.HashKey, encrypt: h.EncryptKeys, sm4: h.SM4Keys, tokenize: h.TokenizeKeys}
}

// anyKeys is for checking rules without knowing their keys.
func anyKeys() *keyring {
	key := make([]byte, keyLen)
	k := &keyring{hashBytes: key, any: true, tokens: []tokenKey{{"", key}}, sealers: map[*sealKeys][]*mask.Sealer{}}
	for _, c := range []*sealKeys{&aesKeys, &sm4Keys} {
		s, _ := c.make("1", key[:c.size])
		k.sealers[c] = []*mask.Sealer{s}
	}
	return k
}

// hashKey returns the key of hash, fake, shift_dates and noise.
func (k *keyring) hashKey() ([]byte, error) {
	if k.hashBytes != nil {
		return k.hashBytes, nil
	}
	key, err := k.key("hash_key", k.hash, keyLen, func(text string) ([]byte, error) {
		if len(text) < 16 {
			return nil, errors.New("is shorter than 16 bytes")
		}
		return []byte(text), nil
	})
	k.hashBytes = key
	return key, err
}

// openers returns what decrypts with a cipher, the one that encrypts first.
func (k *keyring) openers(c *sealKeys) ([]*mask.Sealer, error) {
	if all := k.sealers[c]; all != nil {
		return all, nil
	}
	var all []*mask.Sealer
	err := k.each(c.option, c.list(k), c.size, func(id string, key []byte) error {
		s, err := c.make(id, key)
		all = append(all, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	if k.sealers == nil {
		k.sealers = map[*sealKeys][]*mask.Sealer{}
	}
	k.sealers[c] = all
	return all, nil
}

// tokenKey returns the key of tokenize with that ID, the first one if it is
// empty.
func (k *keyring) tokenKey(id string) ([]byte, error) {
	if k.tokens == nil {
		var all []tokenKey
		err := k.each("tokenize_key", k.tokenize, mask.TokenKeySize, func(id string, key []byte) error {
			all = append(all, tokenKey{id, key})
			return nil
		})
		if err != nil {
			return nil, err
		}
		k.tokens = all
	}
	var ids []string
	for _, t := range k.tokens {
		if id == "" || t.id == id || k.any {
			return t.key, nil
		}
		ids = append(ids, t.id)
	}
	return nil, fmt.Errorf("redact: tokenize_key: there is no key with the ID %s: there is %s", id, strings.Join(ids, ", "))
}

// each calls f for each key of an option, or for the internal one if there is
// none.
func (k *keyring) each(option string, list []EncryptKey, size int, f func(id string, key []byte) error) error {
	if len(list) == 0 {
		list = []EncryptKey{{Key: internalKey}}
	}
	for i := range list {
		key, err := k.key(option, list[i].Key, size, binaryKey(size))
		if err != nil {
			return err
		}
		if err := f(list[i].id(), key); err != nil {
			return fmt.Errorf("redact: %s: %w", option, err)
		}
	}
	return nil
}

// binaryKey reads so many bytes in base64 or hexadecimal.
func binaryKey(size int) func(string) ([]byte, error) {
	return func(text string) ([]byte, error) {
		text = strings.TrimSpace(text) // files end with a line feed
		for _, decode := range []func(string) ([]byte, error){
			hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
			base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
		} {
			if key, err := decode(text); err == nil && len(key) == size {
				return key, nil
			}
		}
		return nil, fmt.Errorf("is not %d bytes in base64 or hexadecimal", size)
	}
}

func (k *keyring) key(name, text string, size int, parse func(string) ([]byte, error)) ([]byte, error) {
	if text == "" || text == internalKey {
		return k.internal(name, size)
	}
	value, err := option.Resolve("redact", name, text)
	if err != nil {
		return nil, err
	}
	key, err := parse(value)
	if err != nil {
		return nil, fmt.Errorf("redact: %s: what %s stands for %w", name, source(text), err)
	}
	return key, nil
}

// source names where a key comes from, without showing a key that was
// written into the configuration itself.
func source(text string) string {
	if len(text) > 2 && text[0] == '{' && text[len(text)-1] == '}' {
		return text
	}
	return "the text written there"
}

// internal returns a key that is made on first use and kept in Caddy's
// storage, where every instance that shares the storage finds it.
func (k *keyring) internal(option string, size int) ([]byte, error) {
	storage, err := k.storage()
	if err != nil {
		return nil, fmt.Errorf("redact: %s: %w", option, err)
	}
	name := "moat/redact/" + option
	if err := storage.Lock(k.ctx, name); err != nil {
		return nil, fmt.Errorf("redact: %s: locking the storage: %w", option, err)
	}
	defer func() { _ = storage.Unlock(context.WithoutCancel(k.ctx), name) }()
	key, err := storage.Load(k.ctx, name)
	switch {
	case err == nil && len(key) == size:
		return key, nil
	case err == nil:
		return nil, fmt.Errorf("redact: %s: the key in the storage (%s) is damaged", option, name)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("redact: %s: loading the key: %w", option, err)
	}
	key = make([]byte, size)
	_, _ = rand.Read(key) // never fails
	if err := storage.Store(k.ctx, name, key); err != nil {
		return nil, fmt.Errorf("redact: %s: keeping the key: %w", option, err)
	}
	return key, nil
}

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

// keyLen is the length of the keys made here, in bytes.
const keyLen = mask.SealKeySize

// internalKey is what is written in place of a key to have one made.
const internalKey = "internal"

// keyring finds the keys that rules need, when the first one needs them.
type keyring struct {
	storage func() (certmagic.Storage, error)
	ctx     context.Context
	hash    string // as written in the configuration
	encrypt []EncryptKey

	hashBytes []byte
	sealers   []*mask.Sealer
}

func newKeyring(ctx caddy.Context, h *Handler) *keyring {
	storage := func() (certmagic.Storage, error) { return ctx.Storage(), nil }
	return &keyring{storage: storage, ctx: ctx, hash: h.HashKey, encrypt: h.EncryptKeys}
}

// anyKeys is for checking rules without knowing their keys.
func anyKeys() *keyring {
	key := make([]byte, keyLen)
	s, _ := mask.NewSealer("1", key)
	return &keyring{hashBytes: key, sealers: []*mask.Sealer{s}}
}

// hashKey returns the key of hash and shift_dates.
func (k *keyring) hashKey() ([]byte, error) {
	if k.hashBytes != nil {
		return k.hashBytes, nil
	}
	key, err := k.key("hash_key", k.hash, func(text string) ([]byte, error) {
		if len(text) < 16 {
			return nil, errors.New("is shorter than 16 bytes")
		}
		return []byte(text), nil
	})
	k.hashBytes = key
	return key, err
}

// sealer returns what encrypts.
func (k *keyring) sealer() (*mask.Sealer, error) {
	all, err := k.openers()
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// openers returns what decrypts, the one that encrypts first.
func (k *keyring) openers() ([]*mask.Sealer, error) {
	if k.sealers != nil {
		return k.sealers, nil
	}
	list := k.encrypt
	if len(list) == 0 {
		list = []EncryptKey{{Key: internalKey}}
	}
	var all []*mask.Sealer
	for i := range list {
		key, err := k.key("encrypt_key", list[i].Key, binaryKey)
		if err != nil {
			return nil, err
		}
		s, err := mask.NewSealer(list[i].id(), key)
		if err != nil {
			return nil, fmt.Errorf("redact: encrypt_key: %w", err)
		}
		all = append(all, s)
	}
	k.sealers = all
	return all, nil
}

// binaryKey reads 32 bytes in base64 or hexadecimal.
func binaryKey(text string) ([]byte, error) {
	text = strings.TrimSpace(text) // files end with a line feed
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if key, err := decode(text); err == nil && len(key) == keyLen {
			return key, nil
		}
	}
	return nil, errors.New("is not 32 bytes in base64 or hexadecimal")
}

func (k *keyring) key(name, text string, parse func(string) ([]byte, error)) ([]byte, error) {
	if text == "" || text == internalKey {
		return k.internal(name)
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
func (k *keyring) internal(option string) ([]byte, error) {
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
	case err == nil && len(key) == keyLen:
		return key, nil
	case err == nil:
		return nil, fmt.Errorf("redact: %s: the key in the storage (%s) is damaged", option, name)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("redact: %s: loading the key: %w", option, err)
	}
	key = make([]byte, keyLen)
	_, _ = rand.Read(key) // never fails
	if err := storage.Store(k.ctx, name, key); err != nil {
		return nil, fmt.Errorf("redact: %s: keeping the key: %w", option, err)
	}
	return key, nil
}

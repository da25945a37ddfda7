package ownissuer

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/caddyserver/certmagic"
)

// secretLen is the length of a secret in bytes.
const secretLen = 32

// Secret returns the secret that is kept in a storage under a key, made on first
// use. Servers that share the storage share it. One that is garbled is an error
// and stays as it is.
func Secret(ctx context.Context, storage certmagic.Storage, key string) (secret []byte, err error) {
	if err := storage.Lock(ctx, key); err != nil {
		return nil, fmt.Errorf("locking the storage: %w", err)
	}
	defer func() {
		if unlockErr := storage.Unlock(context.WithoutCancel(ctx), key); err == nil {
			err = unlockErr
		}
	}()
	text, err := storage.Load(ctx, key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		secret = make([]byte, secretLen)
		_, _ = rand.Read(secret) // never fails
		if err := storage.Store(ctx, key, hex.AppendEncode(nil, secret)); err != nil {
			return nil, fmt.Errorf("writing the storage: %w", err)
		}
		return secret, nil
	case err != nil:
		return nil, fmt.Errorf("reading the storage: %w", err)
	}
	if secret, err = hex.DecodeString(string(text)); err != nil || len(secret) != secretLen {
		return nil, fmt.Errorf("what is stored at %s is not a secret", key)
	}
	return secret, nil
}

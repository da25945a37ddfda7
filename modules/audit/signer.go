package audit

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"golang.org/x/mod/sumdb/note"

	"github.com/caddy-moat/caddy-moat/modules/internal/trail"
)

// nameHeader is the PEM header that holds the name of a key.
const nameHeader = "Name"

// loadSigner returns the signer of the trail at path and its encoded verifier
// key. The key is read from file, or, where that is empty, from Caddy's
// storage, where it is made on first use.
func loadSigner(ctx context.Context, storage certmagic.Storage, path, file string) (note.Signer, string, error) {
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, "", fmt.Errorf("sign: %w", err)
		}
		name, key, err := parseKey(data)
		if err != nil {
			return nil, "", fmt.Errorf("sign %s: %w", file, err)
		}
		if name == "" {
			if name, err = defaultName(path); err != nil {
				return nil, "", err
			}
		}
		return trail.NewSigner(name, key)
	}
	name, key, err := storedKey(ctx, storage, path, true)
	if err != nil {
		return nil, "", fmt.Errorf("signing key in Caddy's storage: %w", err)
	}
	return trail.NewSigner(name, key)
}

// storedKey reads the key of a trail from storage, or makes it.
func storedKey(ctx context.Context, storage certmagic.Storage, path string, create bool) (name string, key ed25519.PrivateKey, err error) {
	id, err := caddy.InstanceID()
	if err != nil {
		return "", nil, err
	}
	// The storage may be shared by a cluster, in which every member has a
	// trail of its own at the same path. A key used for two trails would
	// sign two histories under one name.
	sum := sha256.Sum256([]byte(path))
	at := fmt.Sprintf("moat/audit/%s/%s-%s.pem", id, storageSafe(filepath.Base(path)), hex.EncodeToString(sum[:4]))
	if err := storage.Lock(ctx, at); err != nil {
		return "", nil, err
	}
	defer func() {
		if uerr := storage.Unlock(ctx, at); err == nil {
			err = uerr
		}
	}()
	data, err := storage.Load(ctx, at)
	if err == nil {
		if name, key, err = parseKey(data); err == nil && name == "" {
			err = errors.New("the key has no name")
		}
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", at, err)
		}
		return name, key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) || !create {
		return "", nil, err
	}
	if name, err = defaultName(path); err != nil {
		return "", nil, err
	}
	data, key, err = makeKey(name)
	if err != nil {
		return "", nil, err
	}
	return name, key, storage.Store(ctx, at, data)
}

// defaultName names a trail after its directory and the installation of
// Caddy, so that two trails never have one name.
func defaultName(path string) (string, error) {
	id, err := caddy.InstanceID()
	if err != nil {
		return "", err
	}
	return storageSafe(filepath.Base(path)) + "/" + id.String(), nil
}

// makeKey makes a key with a name.
func makeKey(name string) (data []byte, key ed25519.PrivateKey, err error) {
	_, key, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	block := &pem.Block{Type: "PRIVATE KEY", Bytes: der}
	if name != "" {
		block.Headers = map[string]string{nameHeader: name}
	}
	return pem.EncodeToMemory(block), key, nil
}

// parseKey reads an Ed25519 key in PKCS #8, as `openssl genpkey -algorithm
// ed25519` and `caddy moat audit key --make` write it. Errors say nothing of
// the content.
func parseKey(data []byte) (name string, key ed25519.PrivateKey, err error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" || len(strings.TrimSpace(string(rest))) > 0 {
		return "", nil, errors.New("not a PEM file with one PRIVATE KEY (PKCS #8, Ed25519)")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return "", nil, errors.New("not an Ed25519 private key in PKCS #8")
	}
	return block.Headers[nameHeader], key, nil
}

// storageSafe keeps of a name what storages and key names can hold.
func storageSafe(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, name)
}

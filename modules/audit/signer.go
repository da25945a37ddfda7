package audit

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddyserver/certmagic"
	"golang.org/x/mod/sumdb/note"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
)

// nameHeader is the PEM header that holds the name of a key.
const nameHeader = "Name"

// loadSigner returns the signer of the trail at path and its encoded verifier
// key. The key is read from file, or, where that is empty, from Caddy's
// storage, where it is made on first use if create is set.
//
// Which key of the storage is the trail's is told by the names of the keys
// noted in the trail itself: the storage may be shared by a cluster, in which
// every member has a trail of its own at the same path, and a key used for two
// trails would sign two histories under one name.
func loadSigner(ctx context.Context, storage certmagic.Storage, path, file string, create bool) (note.Signer, string, error) {
	if file != "" {
		return signerFromFile(path, file)
	}
	for _, name := range slices.Backward(notedNames(path)) {
		key, err := storedKey(ctx, storage, name, false)
		if errors.Is(err, fs.ErrNotExist) {
			continue // of an option `sign <key file>` that once was
		}
		if err != nil {
			return nil, "", fmt.Errorf("signing key in Caddy's storage: %w", err)
		}
		return trail.NewSigner(name, key)
	}
	if !create {
		return nil, "", errors.New("no signing key yet: the first start of the server makes it")
	}
	name := newName(path)
	key, err := storedKey(ctx, storage, name, true)
	if err != nil {
		return nil, "", fmt.Errorf("signing key in Caddy's storage: %w", err)
	}
	return trail.NewSigner(name, key)
}

func signerFromFile(path, file string) (note.Signer, string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, "", fmt.Errorf("sign: %w", err)
	}
	name, key, err := parseKey(data)
	if err != nil {
		return nil, "", fmt.Errorf("sign %s: %w", file, err)
	}
	if name == "" {
		sum := sha256.Sum256(key.Public().(ed25519.PublicKey))
		name = storageSafe(filepath.Base(path)) + "/" + hex.EncodeToString(sum[:6])
	}
	return trail.NewSigner(name, key)
}

// notedNames returns the names of the verifier keys noted in a trail, oldest
// first, as far as they are ours to look for.
func notedNames(path string) []string {
	f, err := os.Open(filepath.Join(path, "keys"))
	if err != nil {
		return nil
	}
	defer f.Close()
	var names []string
	for lines := bufio.NewScanner(io.LimitReader(f, 64<<10)); lines.Scan(); {
		if name, _, ok := strings.Cut(lines.Text(), "+"); ok && name != "" {
			names = append(names, name)
		}
	}
	return names
}

// newName names a trail after its directory and a random number, so that no
// two trails have one name.
func newName(path string) string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails, as documented
	return storageSafe(filepath.Base(path)) + "/" + hex.EncodeToString(b[:])
}

// storedKey reads the key of a name from storage, or makes it.
func storedKey(ctx context.Context, storage certmagic.Storage, name string, create bool) (key ed25519.PrivateKey, err error) {
	at := "moat/audit/" + storageSafe(name) + ".pem"
	if err := storage.Lock(ctx, at); err != nil {
		return nil, err
	}
	defer func() {
		if uerr := storage.Unlock(ctx, at); err == nil {
			err = uerr
		}
	}()
	data, err := storage.Load(ctx, at)
	if err == nil {
		var stored string
		if stored, key, err = parseKey(data); err == nil && stored != name {
			err = errors.New("the key is of another name")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) || !create {
		return nil, err
	}
	if data, key, err = makeKey(name); err != nil {
		return nil, err
	}
	return key, storage.Store(ctx, at, data)
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

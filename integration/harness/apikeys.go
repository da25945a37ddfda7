package harness

import (
	"strings"
	"testing"
)

// KeyPepper is the environment variable with the pepper of a KeyStore.
const KeyPepper = "API_KEY_PEPPER=an example of a pepper, of 32 bytes or more"

// KeyStore is a store of API keys, made by `caddy moat key` in the directory of
// a server that has not run yet.
type KeyStore struct {
	*Server
	File string
}

// NewKeyStore prepares a store in a directory of its own, with a first key.
func NewKeyStore(t testing.TB, args ...string) (*KeyStore, string) {
	t.Helper()
	k := &KeyStore{Server: Prepare(t, "", KeyPepper)}
	k.File = k.Path("api.keys")
	return k, k.Mint(args...)
}

// Command runs `caddy moat key` and returns what it prints.
func (k *KeyStore) Command(args ...string) string {
	k.T.Helper()
	return strings.TrimSpace(k.Output(append([]string{"moat", "key", "--store", k.File}, args...)...))
}

// Mint makes a key of acme, unless args say otherwise.
func (k *KeyStore) Mint(args ...string) string {
	k.T.Helper()
	return k.Command(append([]string{"new", "--owner", "acme", "--expires", "1d"}, args...)...)
}

// ID returns the public part of a key.
func (k *KeyStore) ID(key string) string { return strings.Split(key, "_")[1] }

// Flip changes the last character of a key: a typing mistake.
func Flip(key string) string {
	last := "0"
	if strings.HasSuffix(key, last) {
		last = "1"
	}
	return key[:len(key)-1] + last
}

// NewClient registers a client of the token server in the configuration of a
// server, and returns its secret.
func (s *Server) NewClient(id string, args ...string) string {
	s.T.Helper()
	return strings.TrimSpace(s.Output(append([]string{"moat", "client", "new", "--config", s.Config, "--id", id}, args...)...))
}

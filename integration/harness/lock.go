package harness

import (
	"os"
	"path/filepath"
	"testing"
)

// Heavy is the first call of a test that loads the machine with many clients,
// or measures: at most one of them runs at a time. `go test ./...` runs several
// packages at once, and two of these on two cores would leave too little to
// each other and to the rest. The others need no lock: they wait for what they
// expect. The wait counts towards -timeout, so a test whose work is long, but
// light, is not heavy. It must not be called below a test that has called it.
func Heavy(t testing.TB) {
	t.Helper()
	lock, err := lockFile("heavy.lock", true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Close() })
}

// lockFile opens a file in the cache directory of the tests and locks it,
// against other processes and other calls in this one. Without wait, it fails
// if somebody has the lock. The system drops it with the file or the process.
func lockFile(name string, wait bool) (*os.File, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(cache, "caddy-moat", "tests", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f, wait); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

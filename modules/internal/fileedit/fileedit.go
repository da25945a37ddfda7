// Package fileedit changes files that commands write and servers watch: each
// edit replaces the file as a whole or not at all, and no two edits overlap.
package fileedit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/filelock"
	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
)

// patience is how long an edit waits for another one to end. Each takes
// milliseconds.
const patience = 10 * time.Second

// Edit changes the file at path, which must not be larger than max bytes: change
// gets what is there, nil where there is no file, and returns what shall be.
// The file is replaced as a whole or not at all, and no two edits overlap,
// whatever processes they are of; a lock file beside it, <path>.lock, sees to
// that and stays. A new file can be read by its owner alone, another one keeps
// its owner and permissions.
func Edit(path string, max int64, change func(text []byte) ([]byte, error)) error {
	// What a link points at is replaced, not the link.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	unlock, err := lock(path + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	var old []byte
	info, err := os.Stat(path)
	switch {
	case err == nil:
		if old, err = filewatch.Read(path, max); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if old == nil {
			old = []byte{}
		}
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	text, err := change(old)
	if err != nil {
		return err
	}
	return Replace(path, text, info)
}

func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(patience)
	for {
		err = filelock.TryLock(f)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, filelock.ErrLocked) || time.Now().After(deadline) {
			_ = f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Replace puts text in place of the file at path, with the permissions and
// the owner that the file has: the server must still be able to read it. like
// is nil for a new file, which only its owner can read.
func Replace(path string, text []byte, like os.FileInfo) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if like != nil {
		if err := keepOwner(f, like); err != nil {
			return fmt.Errorf("keeping the owner of %s: %w", path, err)
		}
		if err := f.Chmod(like.Mode().Perm()); err != nil {
			return err
		}
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return filelock.SyncDir(filepath.Dir(path))
}

package keyset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/jwk"
)

// File is a key set in a file, which is watched. It implements
// token.KeySource.
type File struct {
	path       string
	opts       Options
	current    atomic.Pointer[snapshot]
	generation atomic.Uint64
	watcher    *filewatch.Watcher

	mu      sync.Mutex
	last    []byte // content that was read last, good or bad
	lastErr error
}

// OpenFile reads the key set in a file and begins to watch it. A file that
// is missing, empty, garbled or without a usable key is an error now. Later
// it is reported, and the keys that were read last stay in use.
func OpenFile(path string, opts Options) (*File, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Report == nil {
		opts.Report = func(string, error) {}
	}
	f := &File{path: path, opts: opts}
	if err := f.read(); err != nil {
		return nil, err
	}
	f.watcher = filewatch.Start(path, f.reread)
	return f, nil
}

// Close ends the watch.
func (f *File) Close() { f.watcher.Stop() }

// Generation changes whenever the keys do.
func (f *File) Generation() uint64 { return f.generation.Load() }

// Keys returns the keys that may have made a signature with alg and, where
// kid is not empty, have that name. None is not an error.
func (f *File) Keys(_ context.Context, kid, alg string) ([]*jwk.Key, error) {
	keys, _ := f.current.Load().find(kid, alg)
	return keys, nil
}

// read takes in the file's content if it is another than before.
func (f *File) read() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	doc, err := readLimited(f.path)
	if err == nil && f.last != nil && bytes.Equal(doc, f.last) {
		return nil
	}
	f.last = doc
	f.lastErr = err
	if err != nil {
		return err
	}
	if f.last == nil {
		f.last = []byte{}
	}
	f.lastErr = f.takeIn(doc)
	return f.lastErr
}

func (f *File) takeIn(doc []byte) error {
	if len(bytes.TrimSpace(doc)) == 0 {
		return errors.New("the file is empty")
	}
	keys, skipped, err := jwk.ParseSet(doc)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		return errors.Join(append([]error{errors.New("the file has no usable key")}, skipped...)...)
	}
	for _, why := range skipped {
		f.opts.Report("key left out", why)
	}
	snap := &snapshot{keys: keys, print: fingerprint(keys), fetched: f.opts.Now()}
	old := f.current.Swap(snap)
	if old == nil || old.print != snap.print {
		f.generation.Add(1)
		f.opts.changed(old, snap)
	}
	return nil
}

func (f *File) reread() {
	f.mu.Lock()
	before := f.lastErr
	f.mu.Unlock()
	err := f.read()
	switch {
	case err == nil && before != nil:
		f.opts.Report("key file is readable again", nil)
	case err != nil && (before == nil || before.Error() != err.Error()):
		f.opts.Report("key file cannot be used; the keys that were read last stay in use", err)
	}
}

// Status returns the state of the set.
func (f *File) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	snap := f.current.Load()
	st := Status{Source: f.path, Keys: names(snap.keys), Fetched: snap.fetched, Generation: f.generation.Load()}
	if f.lastErr != nil {
		st.Error = f.lastErr.Error()
	}
	return st
}

func readLimited(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	doc, err := io.ReadAll(io.LimitReader(file, maxBody+1))
	if err != nil {
		return nil, err
	}
	if len(doc) > maxBody {
		return nil, fmt.Errorf("the file is larger than %d bytes", maxBody)
	}
	return doc, nil
}

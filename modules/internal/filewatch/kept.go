package filewatch

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// Kept is what a file says, read anew whenever the file changes. A file that
// cannot be used leaves in force what was read last.
type Kept[T any] struct {
	path    string
	max     int64
	parse   func([]byte) (*T, error)
	changed func(before, after *T, err error)
	value   atomic.Pointer[T]
	bad     atomic.Bool
	watcher *Watcher

	// Of the watcher's goroutine alone, once it runs.
	last    []byte
	lastErr error
}

// Keep reads the file at path, which must be there and no larger than max
// bytes, and begins to watch it. changed is called, never twice at once, with
// what was and what is in force, or with why the file cannot be used.
func Keep[T any](path string, max int64, parse func([]byte) (*T, error), changed func(before, after *T, err error)) (*Kept[T], error) {
	k := &Kept[T]{path: path, max: max, parse: parse, changed: changed}
	if _, err := k.read(); err != nil {
		return nil, err
	}
	k.watcher = Start(path, k.reread)
	return k, nil
}

// Value returns what is in force.
func (k *Kept[T]) Value() *T { return k.value.Load() }

// Bad reports whether the file cannot be used, so that what was read last is
// in force.
func (k *Kept[T]) Bad() bool { return k.bad.Load() }

// Close ends the watch.
func (k *Kept[T]) Close() { k.watcher.Stop() }

// Verify reports what is wrong with the file now, whatever is in force. A
// configuration that is loaded now must not begin with what was read before
// the file went bad.
func (k *Kept[T]) Verify() error {
	text, err := k.text()
	if err == nil {
		_, err = k.parse(text)
	}
	return err
}

func (k *Kept[T]) read() (changed bool, err error) {
	text, err := k.text()
	if err != nil {
		k.last = nil
		return false, err
	}
	if k.last != nil && bytes.Equal(text, k.last) {
		return false, k.lastErr
	}
	k.last = text
	value, err := k.parse(text)
	if err != nil {
		return false, err
	}
	k.value.Store(value)
	return true, nil
}

func (k *Kept[T]) reread() {
	before, had := k.lastErr, k.value.Load()
	changed, err := k.read()
	k.lastErr = err
	k.bad.Store(err != nil)
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		k.changed(had, had, err)
	case err == nil && (changed || before != nil):
		k.changed(had, k.value.Load(), nil)
	}
}

func (k *Kept[T]) text() ([]byte, error) {
	file, err := os.Open(k.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, k.max+1))
	if err == nil && int64(len(text)) > k.max {
		err = fmt.Errorf("larger than %d bytes", k.max)
	}
	if err != nil {
		return nil, err
	}
	return text, nil
}

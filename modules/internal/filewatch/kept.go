package filewatch

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"
)

const (
	// quiet is how long a file must read the same before it counts. Most
	// programs write a file in pieces, and the beginning of a policy is a
	// policy without the denies at its end.
	quiet = 250 * time.Millisecond

	// patience is how long a file must read the same that somebody has open
	// for writing.
	patience = 10 * time.Second
)

// Event is what became of the entries of a watched file.
type Event struct {
	// Err is why the file cannot be used, nil where it is in force.
	Err error
	// Added, Removed and Changed name entries.
	Added, Removed, Changed []string
	// How says of changed entries what happened to them, where there is a
	// word for it.
	How map[string]string
	// Detail says what changed where entries are not to be named.
	Detail string
}

// Kept is the content of a file, read anew whenever the file changes. A file
// that cannot be used leaves in force what was read last.
type Kept[T any] struct {
	path    string
	max     int64
	parse   func([]byte) (*T, error)
	changed func(before, after *T, err error)
	value   atomic.Pointer[T]
	fault   atomic.Pointer[error]
	watcher *Watcher

	// Of the watcher's goroutine alone, once it runs.
	last    []byte // read last, good or bad
	pending []byte // read since, and not yet long enough the same
	since   time.Time
}

// Keep reads the file at path, which must be there and no larger than max
// bytes, and begins to watch it. parse must not change anything but what it
// returns. changed is called, never twice at once, with what was and what is in
// force, or with why the file cannot be used: once for each reason.
func Keep[T any](path string, max int64, parse func([]byte) (*T, error), changed func(before, after *T, err error)) (*Kept[T], error) {
	k := &Kept[T]{path: path, max: max, parse: parse, changed: changed}
	text, _, err := k.text()
	if err != nil {
		return nil, err
	}
	value, err := parse(text)
	if err != nil {
		return nil, err
	}
	k.last = text
	k.value.Store(value)
	k.watcher = Start(path, k.reread)
	return k, nil
}

// Value returns what is in force.
func (k *Kept[T]) Value() *T { return k.value.Load() }

// Fault returns why the file cannot be used, so that what was read last is in
// force, or nil.
func (k *Kept[T]) Fault() error {
	if err := k.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// Close ends the watch.
func (k *Kept[T]) Close() { k.watcher.Stop() }

// Verify reports what is wrong with the file now, whatever is in force. A
// configuration that is loaded now must not begin with what was read before
// the file went bad.
func (k *Kept[T]) Verify() error {
	text, _, err := k.text()
	if err == nil {
		_, err = k.parse(text)
	}
	return err
}

// reread takes in the file, unless it is still being written: then it reports
// false and wants to be called again.
func (k *Kept[T]) reread() (settled bool) {
	text, writing, err := k.text()
	if err != nil {
		k.last, k.pending = nil, nil
		k.refuse(err)
		return true
	}
	if k.last != nil && bytes.Equal(text, k.last) {
		k.pending = nil
		return true
	}
	if k.pending == nil || !bytes.Equal(text, k.pending) {
		k.pending, k.since = text, time.Now()
		return false
	}
	if age := time.Since(k.since); age < quiet || writing && age < patience {
		return false
	}
	k.last, k.pending = text, nil
	value, err := k.parse(text)
	if err != nil {
		k.refuse(err)
		return true
	}
	before := k.value.Swap(value)
	k.fault.Store(nil)
	k.changed(before, value, nil)
	return true
}

// refuse leaves in force what is, and says why if that is not known.
func (k *Kept[T]) refuse(err error) {
	known := k.Fault()
	k.fault.Store(&err)
	if known == nil || known.Error() != err.Error() {
		k.changed(k.Value(), k.Value(), err)
	}
}

// text reads the file, and reports whether somebody has it open for writing,
// where the system can tell.
func (k *Kept[T]) text() (text []byte, writing bool, err error) {
	file, err := os.Open(k.path)
	if err != nil {
		return nil, false, err
	}
	defer file.Close()
	writing = beingWritten(file)
	text, err = limited(file, k.max)
	return text, writing, err
}

// Read returns the content of a file that must not be larger than max bytes.
func Read(path string, max int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return limited(file, max)
}

func limited(r io.Reader, max int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > max {
		return nil, fmt.Errorf("larger than %d bytes", max)
	}
	return text, nil
}

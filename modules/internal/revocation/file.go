package revocation

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
)

// File is a list in a file, which is watched.
type File struct {
	path    string
	report  func(message string, err error)
	changed func(Change)
	list    atomic.Pointer[List]
	watcher *filewatch.Watcher

	// Of the watcher's goroutine alone, once it runs.
	last    []byte
	lastErr error
}

// OpenFile reads the list in a file and begins to watch it. A file that is
// missing or garbled is an error now; later it is reported and the list that
// was read last stays in force. An empty file is an empty list. changed is told
// what is different when the list changes later; it may be nil.
func OpenFile(path string, report func(message string, err error), changed func(Change)) (*File, error) {
	f := &File{path: path, report: report, changed: changed}
	if err := f.read(); err != nil {
		return nil, err
	}
	f.watcher = filewatch.Start(path, f.reread)
	return f, nil
}

// Close ends the watch.
func (f *File) Close() { f.watcher.Stop() }

// List returns the list that is in force.
func (f *File) List() *List { return f.list.Load() }

func (f *File) read() error {
	text, err := readLimited(f.path)
	if err != nil {
		f.last = nil
		return err
	}
	if f.last != nil && bytes.Equal(text, f.last) {
		return f.lastErr
	}
	f.last = text
	l, err := Parse(text)
	if err != nil {
		return err
	}
	old := f.list.Swap(l)
	if c := difference(old, l); old != nil && f.changed != nil && c != (Change{}) {
		f.changed(c)
	}
	return nil
}

func (f *File) reread() {
	before := f.lastErr
	err := f.read()
	f.lastErr = err
	switch {
	case err == nil && before != nil:
		f.report("revocation file is in force again", nil)
	case err != nil && (before == nil || before.Error() != err.Error()):
		f.report("revocation file cannot be used; the list that was read last stays in force", err)
	}
}

func readLimited(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err != nil {
		return nil, err
	}
	if len(text) > MaxSize {
		return nil, fmt.Errorf("larger than %d bytes", MaxSize)
	}
	if text == nil {
		text = []byte{}
	}
	return text, nil
}

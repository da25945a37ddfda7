package clientcert

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"sync/atomic"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
)

// Store is a map in a file, which is watched.
type Store struct {
	path    string
	report  func(Event)
	table   atomic.Pointer[Table]
	bad     atomic.Bool
	watcher *filewatch.Watcher

	// Of the watcher's goroutine alone, once it runs.
	last    []byte
	lastErr error
}

// Event is something that became of the file.
type Event struct {
	// Err is why the file cannot be used, nil where it is in force.
	Err error
	// Added, Removed and Changed are what the map names, such as
	// "dns orders.example.com".
	Added, Removed, Changed []string
}

// Open reads the map in a file and begins to watch it. A file that is missing
// or wrong is an error now; later it is reported, and what was read last
// stays in force.
func Open(path string, report func(Event)) (*Store, error) {
	s := &Store{path: path, report: report}
	if _, err := s.read(); err != nil {
		return nil, err
	}
	s.watcher = filewatch.Start(path, s.reread)
	return s, nil
}

// Close ends the watch.
func (s *Store) Close() { s.watcher.Stop() }

// Table returns the map that is in force.
func (s *Store) Table() *Table { return s.table.Load() }

// Bad reports whether the file cannot be used, so that what was read last is
// in force.
func (s *Store) Bad() bool { return s.bad.Load() }

// Verify reports what is wrong with the file now, whatever is in force.
func (s *Store) Verify() error {
	text, err := readLimited(s.path)
	if err == nil {
		_, err = ParseTable(text)
	}
	return err
}

func (s *Store) read() (changed bool, err error) {
	text, err := readLimited(s.path)
	if err != nil {
		s.last = nil
		return false, err
	}
	if s.last != nil && bytes.Equal(text, s.last) {
		return false, s.lastErr
	}
	s.last = text
	table, err := ParseTable(text)
	if err != nil {
		return false, err
	}
	s.table.Store(table)
	return true, nil
}

func (s *Store) reread() {
	before, had := s.lastErr, s.table.Load()
	changed, err := s.read()
	s.lastErr = err
	s.bad.Store(err != nil)
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		s.report(Event{Err: err})
	case err == nil && (changed || before != nil):
		s.report(diff(had, s.table.Load()))
	}
}

func diff(before, after *Table) (e Event) {
	for k, entry := range after.entries {
		if old, ok := before.entries[k]; !ok {
			e.Added = append(e.Added, k.String())
		} else if !reflect.DeepEqual(old, entry) {
			e.Changed = append(e.Changed, k.String())
		}
	}
	for k := range before.entries {
		if _, ok := after.entries[k]; !ok {
			e.Removed = append(e.Removed, k.String())
		}
	}
	slices.Sort(e.Added)
	slices.Sort(e.Removed)
	slices.Sort(e.Changed)
	return e
}

// String names what an entry is about.
func (k key) String() string {
	if k.issuer != "" {
		return k.sort + " " + k.value + " of " + k.issuer
	}
	return k.sort + " " + k.value
}

// readLimited reads a file that is not larger than a map may be.
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
	return text, nil
}

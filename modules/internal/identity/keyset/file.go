package keyset

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
)

// File is a key set in a file, which is watched. It implements
// token.KeySource.
type File struct {
	*filewatch.Kept[fileSet]
	path       string
	generation atomic.Uint64
}

// fileSet is the content of the file.
type fileSet struct {
	snapshot
	skipped []error
}

// OpenFile reads the key set in a file and begins to watch it. A file that
// is missing, empty, garbled or without a usable key is an error now. Later
// it is an event, and the keys that were read last stay in use. Events name
// keys by ID, or by thumbprint where they have none; opts.Report is told of
// keys that are left out or odd.
func OpenFile(path string, opts Options, report func(filewatch.Event)) (*File, error) {
	now := opts.Now
	if now == nil {
		now = time.Now
	}
	f := &File{path: path}
	f.generation.Store(1)
	parse := func(doc []byte) (*fileSet, error) { return parseFile(doc, now()) }
	kept, err := filewatch.Keep(path, maxBody, parse, func(before, after *fileSet, err error) {
		if err != nil {
			report(filewatch.Event{Err: err})
			return
		}
		if before.print != after.print {
			f.generation.Add(1)
		}
		opts.reportOddities(after.keys, after.skipped)
		report(filewatch.Event{Added: before.without(&after.snapshot), Removed: after.without(&before.snapshot)})
	})
	if err != nil {
		return nil, err
	}
	f.Kept = kept
	opts.reportOddities(kept.Value().keys, kept.Value().skipped)
	return f, nil
}

func parseFile(doc []byte, now time.Time) (*fileSet, error) {
	if len(bytes.TrimSpace(doc)) == 0 {
		return nil, errors.New("the file is empty")
	}
	keys, skipped, err := jwk.ParseSet(doc)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errors.Join(append([]error{errors.New("the file has no usable key")}, skipped...)...)
	}
	return &fileSet{snapshot{keys: keys, print: fingerprint(keys), fetched: now}, skipped}, nil
}

// Generation changes whenever the keys do.
func (f *File) Generation() uint64 { return f.generation.Load() }

// Len returns the number of keys.
func (f *File) Len() int { return len(f.Value().keys) }

// IDs returns the IDs of the keys, or their thumbprints.
func (f *File) IDs() []string { return names(f.Value().keys) }

// Keys returns the keys that may have made a signature with alg and, where
// kid is not empty, have that name. None is not an error.
func (f *File) Keys(_ context.Context, kid, alg string) ([]*jwk.Key, error) {
	keys, _ := f.Value().find(kid, alg)
	return keys, nil
}

// Status returns the state of the set.
func (f *File) Status() Status {
	set := f.Value()
	st := Status{Source: f.path, Keys: names(set.keys), Fetched: set.fetched, Generation: f.generation.Load()}
	if err := f.Fault(); err != nil {
		st.Error = err.Error()
	}
	return st
}

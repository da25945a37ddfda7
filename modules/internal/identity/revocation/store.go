package revocation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// StorageKey is where a Store keeps its list.
const StorageKey = "moat/revocations.jsonl"

// MaxStored is the largest number of entries of a Store. It is smaller than
// that of a file, since each change writes all of them.
const MaxStored = 100_000

// rereadEvery is how often a Store looks for what other servers on the same
// storage have written.
const rereadEvery = 10 * time.Second

// ErrFull says that a Store has no room for more entries.
var ErrFull = fmt.Errorf("more than %d entries: remove some, or give entries an expiry", MaxStored)

// Storage is where the list is kept. Load returns an error that is
// fs.ErrNotExist for a key that was never stored. Caddy's storage is one.
type Storage interface {
	Lock(ctx context.Context, name string) error
	Unlock(ctx context.Context, name string) error
	Load(ctx context.Context, key string) ([]byte, error)
	Store(ctx context.Context, key string, value []byte) error
}

// Store is a list that is changed while the server runs and survives its end.
type Store struct {
	storage Storage
	now     func() time.Time
	report  func(message string, err error)
	changed func(Change)
	max     int // MaxStored
	list    atomic.Pointer[List]

	mu      sync.Mutex // held while the storage is read or written
	lastErr error
}

// OpenStore reads the list from the storage. now may be nil. changed is told
// what other servers have changed; it must not call the store and may be nil.
func OpenStore(ctx context.Context, storage Storage, now func() time.Time, report func(message string, err error), changed func(Change)) (*Store, error) {
	if now == nil {
		now = time.Now
	}
	s := &Store{storage: storage, now: now, report: report, changed: changed, max: MaxStored}
	l, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	s.list.Store(l)
	return s, nil
}

// List returns the list that is in force.
func (s *Store) List() *List { return s.list.Load() }

// Run takes in what other servers write to the same storage, until ctx ends.
func (s *Store) Run(ctx context.Context) {
	t := time.NewTicker(rereadEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.Refresh(ctx)
		}
	}
}

// Refresh reads the list from the storage again. If that fails, the list that
// was read last stays in force.
func (s *Store) Refresh(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.load(ctx)
	if err == nil {
		old := s.list.Swap(l)
		if c := difference(old, l); s.changed != nil && c != (Change{}) {
			s.changed(c)
		}
	}
	if err != nil && s.lastErr == nil && ctx.Err() == nil {
		s.report("stored revocations cannot be read; the list that was read last stays in force", err)
	}
	s.lastErr = err
}

// Add puts entries on the list. They are in force when it returns, and stored.
func (s *Store) Add(ctx context.Context, entries ...Entry) error {
	return s.change(ctx, func(all map[Entry]struct{}) {
		for _, e := range entries {
			all[e] = struct{}{}
		}
	})
}

// Remove takes entries off the list, whatever their expiry, and returns how
// many there were.
func (s *Store) Remove(ctx context.Context, entries ...Entry) (n int, err error) {
	err = s.change(ctx, func(all map[Entry]struct{}) {
		n = 0
		maps.DeleteFunc(all, func(e Entry, _ struct{}) bool {
			e.Expires = time.Time{}
			gone := slices.ContainsFunc(entries, func(r Entry) bool {
				r.Expires = time.Time{}
				return r == e
			})
			if gone {
				n++
			}
			return gone
		})
	})
	return n, err
}

// change applies f to the stored list, without the entries that have expired.
func (s *Store) change(ctx context.Context, f func(map[Entry]struct{})) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.storage.Lock(ctx, StorageKey); err != nil {
		return fmt.Errorf("locking the storage: %w", err)
	}
	defer func() { _ = s.storage.Unlock(context.WithoutCancel(ctx), StorageKey) }()
	l, err := s.load(ctx)
	if err != nil {
		return err
	}
	now := s.now()
	all := l.entries
	maps.DeleteFunc(all, func(e Entry, _ struct{}) bool {
		return !e.Expires.IsZero() && !now.Before(e.Expires)
	})
	f(all)
	if len(all) > s.max {
		return ErrFull
	}
	l = NewList(slices.Collect(maps.Keys(all))...)
	if err := s.storage.Store(ctx, StorageKey, l.Append(nil)); err != nil {
		return fmt.Errorf("writing the storage: %w", err)
	}
	s.list.Store(l)
	return nil
}

func (s *Store) load(ctx context.Context) (*List, error) {
	text, err := s.storage.Load(ctx, StorageKey)
	if errors.Is(err, fs.ErrNotExist) {
		return NewList(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the storage: %w", err)
	}
	l, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("what is stored at %s: %w", StorageKey, err)
	}
	return l, nil
}

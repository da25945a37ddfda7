package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"golang.org/x/sync/singleflight"
)

const (
	// lookEvery is how often it is looked in the storage whether a session has
	// been ended, or refreshed, by another server.
	lookEvery = 5 * time.Second

	// sweepEvery is how often sessions are deleted that are over.
	sweepEvery = time.Hour

	// storageTimeout is how long a request waits for the storage.
	storageTimeout = 5 * time.Second

	// refreshTimeout is how long refreshing a session may take, the wait for
	// another server included.
	refreshTimeout = 30 * time.Second

	// retryAfter is when to try again to refresh a session of which the
	// provider could not be asked.
	retryAfter = 30 * time.Second

	// half of the sessions that are kept in memory.
	half = 5000
)

var (
	// ErrEnded says that the session is over.
	ErrEnded = errors.New("the session has ended")

	// ErrStorage says that the storage cannot be asked, which says nothing about
	// the session.
	ErrStorage = errors.New("the storage of sessions is unavailable")
)

// Options are those of a Store.
type Options struct {
	// Issuer and Client name the provider and this client of it.
	Issuer, Client string

	Idle, Lifetime time.Duration

	Now func() time.Time

	// Report is told what the administrator should know.
	Report func(message string, err error)
}

// Store has the sessions of one client of a provider.
type Store struct {
	opts    Options
	ring    *Keyring
	storage certmagic.Storage
	prefix  string
	flight  singleflight.Group

	mu       sync.Mutex
	now, old map[string]*Live // by name; old are those before now was emptied

	openMu     sync.Mutex
	open, past map[string]opened // by cookie, as above
}

// opened is a cookie that was opened here: to do it again for each request would
// take most of the time of a check.
type opened struct {
	host   string
	ticket *Ticket
}

// Live is a session that is in use here.
type Live struct {
	store  *Store
	ticket *Ticket

	session atomic.Pointer[Session]
	made    atomic.Pointer[made] // see Data
	over    atomic.Bool
	looked  atomic.Int64 // when the storage was asked last, in Unix nanoseconds
	written atomic.Int64 // when the record was written that is known here

	mu         sync.Mutex
	refreshing chan struct{} // nil while nobody does
	retry      time.Time     // not before

	unwritten *Session // that the storage has not taken; for who refreshes
}

// made is what was made of a session.
type made struct {
	of   *Session
	data any
}

// New returns the sessions in a storage.
func New(ring *Keyring, storage certmagic.Storage, o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Report == nil {
		o.Report = func(string, error) {}
	}
	return &Store{opts: o, ring: ring, storage: storage, prefix: Prefix(o.Issuer, o.Client), now: make(map[string]*Live)}
}

// Folder is where the sessions of all clients are in the storage.
const Folder = "moat/login/sessions"

// Prefix is where the sessions of a client of a provider are in the storage.
func Prefix(issuer, client string) string {
	return path.Join(Folder, mark(issuer, "client", client))
}

// Run deletes what is over and keeps the keys of cookies fresh, until ctx ends.
func (s *Store) Run(ctx context.Context) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := s.ring.Refresh(ctx); err != nil && ctx.Err() == nil {
				s.opts.Report("the keys of cookies cannot be read; those that were read last stay in force", err)
			}
			s.Sweep(ctx)
		}
	}
}

// Sweep deletes the sessions that are over.
func (s *Store) Sweep(ctx context.Context) {
	names, err := names(ctx, s.storage, s.prefix)
	if err != nil {
		return
	}
	for _, name := range names {
		if until, ok := nameUntil(name); ok && s.opts.Now().After(until) {
			_ = s.storage.Delete(ctx, path.Join(s.prefix, name))
		}
	}
}

// purpose keeps the cookies of one client on one host apart from all others.
func (s *Store) purpose(host string) string {
	return "session\x00" + s.opts.Issuer + "\x00" + s.opts.Client + "\x00" + host
}

// Create stores a new session and returns it with its cookie.
func (s *Store) Create(ctx context.Context, host string, session *Session) (*Live, string, error) {
	now := s.opts.Now()
	session.Created = now
	session.Until = now.Add(s.opts.Lifetime).Truncate(time.Second)
	l := &Live{store: s, ticket: newTicket(s.opts.Issuer, session, now)}
	if err := l.write(ctx, session); err != nil {
		return nil, "", err
	}
	s.put(l)
	return l, s.Cookie(host, l), nil
}

// Cookie returns the cookie of a session whose browser is seen now.
func (s *Store) Cookie(host string, l *Live) string {
	return s.ring.Seal(s.purpose(host), l.ticket.text(s.opts.Now()))
}

// Find returns the session of a cookie, and whether the cookie is to be renewed.
// An error is ErrSealed, ErrEnded or ErrStorage.
func (s *Store) Find(ctx context.Context, host, cookie string) (l *Live, renew bool, err error) {
	ticket, err := s.ticket(ctx, host, cookie)
	if err != nil {
		return nil, false, err
	}
	now := s.opts.Now()
	until, _ := nameUntil(ticket.name)
	seen := now.Sub(ticket.Seen)
	if !now.Before(until) || seen > s.opts.Idle || seen < -time.Minute {
		return nil, false, ErrEnded
	}
	if l, err = s.live(ctx, ticket); err != nil {
		return nil, false, err
	}
	if err := l.look(ctx, now); err != nil {
		return nil, false, err
	}
	return l, seen > s.opts.Idle/10, nil
}

// ticket opens a cookie, once.
func (s *Store) ticket(ctx context.Context, host, cookie string) (*Ticket, error) {
	s.openMu.Lock()
	o, ok := s.open[cookie]
	if !ok {
		o, ok = s.past[cookie]
	}
	s.openMu.Unlock()
	if ok && o.host == host {
		return o.ticket, nil
	}
	text, err := s.ring.Open(ctx, s.purpose(host), cookie)
	if err != nil {
		return nil, err
	}
	t, err := parseTicket(text)
	if err != nil {
		return nil, ErrSealed
	}
	s.openMu.Lock()
	defer s.openMu.Unlock()
	if s.open == nil || len(s.open) >= half {
		s.past, s.open = s.open, make(map[string]opened)
	}
	s.open[strings.Clone(cookie)] = opened{strings.Clone(host), t}
	return t, nil
}

// live returns the session of a ticket, from the memory or the storage.
func (s *Store) live(ctx context.Context, t *Ticket) (*Live, error) {
	if l := s.get(t.name); l != nil {
		if l.ticket.secret != t.secret {
			return nil, ErrSealed
		}
		return l, nil
	}
	v, err, _ := s.flight.Do(t.name, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storageTimeout)
		defer cancel()
		l := &Live{store: s, ticket: t}
		if err := l.read(ctx); err != nil {
			return nil, err
		}
		s.put(l)
		return l, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*Live), nil
}

func (s *Store) get(name string) *Live {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.now[name]; l != nil {
		return l
	}
	l := s.old[name]
	if l != nil {
		s.keep(l)
	}
	return l
}

func (s *Store) put(l *Live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(l)
}

// keep is put for who holds mu.
func (s *Store) keep(l *Live) {
	if len(s.now) >= half {
		s.old, s.now = s.now, make(map[string]*Live)
	}
	s.now[l.ticket.name] = l
}

// key is where the session is in the storage.
func (l *Live) key() string { return path.Join(l.store.prefix, l.ticket.name) }

// Session returns what is known of the user.
func (l *Live) Session() *Session { return l.session.Load() }

// Name is the session's name in the storage.
func (l *Live) Name() string { return l.ticket.name }

// Data returns what was made of the session by make, which is asked again when
// the session has been refreshed.
func (l *Live) Data(make func(*Session) any) any {
	s := l.session.Load()
	if m := l.made.Load(); m != nil && m.of == s {
		return m.data
	}
	m := made{of: s, data: make(s)}
	l.made.Store(&m)
	return m.data
}

// read reads the session from the storage.
func (l *Live) read(ctx context.Context) error {
	text, err := l.store.storage.Load(ctx, l.key())
	if errors.Is(err, fs.ErrNotExist) {
		l.over.Store(true)
		return ErrEnded
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	session, err := l.ticket.decode(text)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	info, err := l.store.storage.Stat(ctx, l.key())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	l.written.Store(info.Modified.UnixNano())
	l.looked.Store(l.store.opts.Now().UnixNano())
	l.session.Store(session)
	return nil
}

// write writes the session to the storage.
func (l *Live) write(ctx context.Context, session *Session) error {
	text, err := l.ticket.encode(session)
	if err != nil {
		return err
	}
	if err := l.store.storage.Store(ctx, l.key(), text); err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	if info, err := l.store.storage.Stat(ctx, l.key()); err == nil {
		l.written.Store(info.Modified.UnixNano())
	}
	l.looked.Store(l.store.opts.Now().UnixNano())
	l.session.Store(session)
	return nil
}

// look asks the storage now and then whether the session is still there.
func (l *Live) look(ctx context.Context, now time.Time) error {
	if l.over.Load() {
		return ErrEnded
	}
	last := l.looked.Load()
	if since := now.UnixNano() - last; since >= 0 && since < int64(lookEvery) || !l.looked.CompareAndSwap(last, now.UnixNano()) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storageTimeout)
	defer cancel()
	info, err := l.store.storage.Stat(ctx, l.key())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.over.Store(true)
		return ErrEnded
	case err == nil && info.Modified.UnixNano() != l.written.Load():
		err = l.read(ctx)
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrStorage, err)
	}
	if err != nil && !errors.Is(err, ErrEnded) {
		l.looked.CompareAndSwap(now.UnixNano(), last) // ask again
	}
	return err
}

// Revoked reports whether the session has been ended. It is for streams, which ask
// now and then.
func Revoked(proof any, now time.Time) bool {
	l, ok := proof.(*Live)
	if !ok {
		return true
	}
	return errors.Is(l.look(context.Background(), now), ErrEnded)
}

// End ends the session, on all servers.
func (l *Live) End(ctx context.Context) error { return l.store.end(ctx, l.ticket.name) }

func (s *Store) end(ctx context.Context, name string) error {
	if l := s.get(name); l != nil {
		l.over.Store(true)
	}
	return Delete(ctx, s.storage, path.Join(s.prefix, name))
}

// Delete deletes a session from a storage, and not while it is being refreshed,
// which would write it again.
func Delete(ctx context.Context, storage certmagic.Storage, key string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout+storageTimeout)
	defer cancel()
	if err := storage.Lock(ctx, key); err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	defer func() { _ = storage.Unlock(context.WithoutCancel(ctx), key) }()
	if err := storage.Delete(ctx, key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	return nil
}

// EndAll ends the sessions of a user, or the one that the provider names by sid:
// where both are given, those that are both.
func (s *Store) EndAll(ctx context.Context, sub, sid string) (n int, err error) {
	names, err := names(ctx, s.storage, s.prefix)
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		parts := strings.Split(name, ".")
		if len(parts) != 4 || sub != "" && parts[0] != mark(s.opts.Issuer, "sub", sub) || sid != "" && parts[1] != mark(s.opts.Issuer, "sid", sid) {
			continue
		}
		if err := s.end(ctx, name); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// names lists the sessions in a folder of a storage.
func names(ctx context.Context, storage certmagic.Storage, prefix string) ([]string, error) {
	keys, err := storage.List(ctx, prefix, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStorage, err)
	}
	for i, key := range keys {
		keys[i] = path.Base(key)
	}
	return keys, nil
}

// Entry is a session as it is listed.
type Entry struct {
	Name    string    `json:"name"`
	Subject string    `json:"sub"`
	SID     string    `json:"sid,omitempty"`
	Created time.Time `json:"created"`
	Until   time.Time `json:"until"`
}

// List returns the sessions of a client that are in a storage and not over.
func List(ctx context.Context, storage certmagic.Storage, prefix string, now time.Time) ([]Entry, error) {
	names, err := names(ctx, storage, prefix)
	if err != nil {
		return nil, err
	}
	var all []Entry
	for _, name := range names {
		until, ok := nameUntil(name)
		if !ok || now.After(until) {
			continue
		}
		text, err := storage.Load(ctx, path.Join(prefix, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var st stored
		if err == nil {
			err = json.Unmarshal(text, &st)
		}
		if err != nil {
			return nil, fmt.Errorf("session %s: %w", name, err)
		}
		all = append(all, Entry{name, st.Subject, st.SID, st.Created, until})
	}
	return all, nil
}

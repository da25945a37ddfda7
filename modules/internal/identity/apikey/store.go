package apikey

import (
	"crypto/subtle"
	"errors"
	"iter"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// Errors of Check besides ErrMalformed. All but ErrUnknown are said only to
// who has presented a secret that is right.
var (
	ErrUnknown  = errors.New("the API key is not accepted") // unknown id or wrong secret
	ErrRevoked  = errors.New("the API key has been revoked")
	ErrDisabled = errors.New("the API key is disabled")
	ErrExpired  = errors.New("the API key has expired")
	ErrPending  = errors.New("the API key is not valid yet")
)

// Credential is a key that has been accepted. It is shared by all requests.
type Credential struct {
	Principal *principal.Principal

	addresses []netip.Prefix
	methods   []string
	secrets   [MaxSecrets]slot
	notBefore int64 // unix seconds
	dead      error // revoked or disabled

	used *atomic.Int64
}

// slot is one secret. Where there is none, until is 0.
type slot struct {
	mac   [32]byte
	until int64 // unix seconds
}

// Restricted reports whether Allows needs the client's address.
func (c *Credential) Restricted() bool { return len(c.addresses) > 0 }

// AllowsMethod reports whether the key may be used with that method.
func (c *Credential) AllowsMethod(method string) bool {
	return len(c.methods) == 0 || slices.Contains(c.methods, method)
}

// AllowsAddress reports whether the key may be used from that address. An
// address that is not valid is in no range.
func (c *Credential) AllowsAddress(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return len(c.addresses) == 0 || slices.ContainsFunc(c.addresses, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Touch notes that the key has been used at that time.
func (c *Credential) Touch(now time.Time) {
	// Written once a second at most, so that processors do not fight for it.
	if t := now.Unix(); c.used.Load() < t {
		c.used.Store(t)
	}
}

// table is a store made ready. It is immutable.
type table struct {
	prefix string
	keys   map[string]*Credential
	lines  map[string]string // by id, to tell what has changed
	nobody *Credential       // what an unknown id is compared with
}

// Store is a store in a file, which is watched.
type Store struct {
	*filewatch.Kept[table]
	path   string
	pepper *Pepper

	mu   sync.Mutex // guards used
	used map[string]*atomic.Int64
}

// Open reads the store in a file and begins to watch it. A file that is
// missing, empty or garbled, or that was made with another pepper, is an error
// now; later it is an event, and what was read last stays in force. Events name
// keys by their ids.
func Open(path string, pepper *Pepper, report func(filewatch.Event)) (*Store, error) {
	s := &Store{path: path, pepper: pepper, used: make(map[string]*atomic.Int64)}
	kept, err := filewatch.Keep(path, MaxSize, s.parse, func(before, after *table, err error) {
		s.forgetUnused(after)
		e := diff(before.lines, after.lines)
		e.Err = err
		report(e)
	})
	if err != nil {
		return nil, err
	}
	s.Kept = kept
	return s, nil
}

// Len returns the number of keys, whatever their state.
func (s *Store) Len() int { return len(s.Value().keys) }

// Principals returns whose the keys are.
func (s *Store) Principals() iter.Seq[*principal.Principal] {
	return func(yield func(*principal.Principal) bool) {
		for _, c := range s.Value().keys {
			if !yield(c.Principal) {
				return
			}
		}
	}
}

// Prefix returns the prefix of the keys.
func (s *Store) Prefix() string { return s.Value().prefix }

// Check finds the key that text is. It takes the same steps whether the id is
// unknown or the secret is wrong.
func (s *Store) Check(text string, now time.Time) (*Credential, error) {
	return s.Value().check(s.pepper, text, now)
}

func (t *table) check(pepper *Pepper, text string, now time.Time) (*Credential, error) {
	key, err := ParseKey(text)
	if err != nil || key.Prefix != t.prefix {
		return nil, ErrMalformed
	}
	c := t.keys[key.ID]
	if c == nil {
		c = t.nobody
	}
	mac := pepper.mac(key.signed)
	first := subtle.ConstantTimeCompare(mac[:], c.secrets[0].mac[:])
	second := subtle.ConstantTimeCompare(mac[:], c.secrets[1].mac[:])
	var until int64
	switch {
	case first|second == 0 || c == t.nobody:
		return nil, ErrUnknown
	case first == 1:
		until = c.secrets[0].until
	default:
		until = c.secrets[1].until
	}
	at := now.Unix()
	switch {
	case until == 0: // a place without a secret, whose hash nobody can have
		return nil, ErrUnknown
	case c.dead != nil:
		return c, c.dead
	case at >= until:
		return c, ErrExpired
	case at < c.notBefore:
		return c, ErrPending
	}
	return c, nil
}

// parse makes a table of a file, which must be of this pepper.
func (s *Store) parse(text []byte) (*table, error) {
	f, err := parseFor(s.pepper, text)
	if err != nil {
		return nil, err
	}
	t := &table{
		prefix: f.Prefix, nobody: new(Credential),
		keys: make(map[string]*Credential, len(f.Entries)), lines: make(map[string]string, len(f.Entries)),
	}
	for i := range f.Entries {
		e := &f.Entries[i]
		t.keys[e.ID] = e.compile(s.counter(e.ID))
		t.lines[e.ID] = string(e.append(nil))
	}
	return t, nil
}

// counter is where the last use of a key is noted, whichever table has it.
func (s *Store) counter(id string) *atomic.Int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used[id] == nil {
		s.used[id] = new(atomic.Int64)
	}
	return s.used[id]
}

// forgetUnused keeps nothing of keys that are gone.
func (s *Store) forgetUnused(t *table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.used, func(id string, _ *atomic.Int64) bool { return t.keys[id] == nil })
}

func parseFor(pepper *Pepper, text []byte) (*File, error) {
	f, err := ParseFile(text)
	if err == nil && f.PepperCheck != pepper.Check() {
		return nil, ErrPepper
	}
	return f, err
}

// ErrPepper rejects a store that was made with another pepper.
var ErrPepper = errors.New("its keys were made with another pepper")

func diff(before, after map[string]string) (e filewatch.Event) {
	for id, line := range after {
		if old, ok := before[id]; !ok {
			e.Added = append(e.Added, id)
		} else if old != line {
			e.Changed = append(e.Changed, id)
			if how := became(old, line); how != "" {
				if e.How == nil {
					e.How = make(map[string]string)
				}
				e.How[id] = how
			}
		}
	}
	for id := range before {
		if _, ok := after[id]; !ok {
			e.Removed = append(e.Removed, id)
		}
	}
	slices.Sort(e.Added)
	slices.Sort(e.Removed)
	slices.Sort(e.Changed)
	return e
}

// became says in words what a change of one line of the store did to its key.
func became(before, after string) string {
	var s strictjson.Scanner
	old, err1 := parseEntry(&s, []byte(before))
	now, err2 := parseEntry(&s, []byte(after))
	if err1 != nil || err2 != nil {
		return ""
	}
	var what []string
	for _, c := range []struct {
		happened bool
		word     string
	}{
		{old.Revoked.IsZero() && !now.Revoked.IsZero(), "revoked"},
		{!old.Revoked.IsZero() && now.Revoked.IsZero(), "no longer revoked"},
		{!old.Disabled && now.Disabled, "disabled"},
		{old.Disabled && !now.Disabled, "enabled"},
		{rotated(old.Secrets, now.Secrets), "rotated"},
		{!old.Expires.Equal(now.Expires), "expiry changed"},
	} {
		if c.happened {
			what = append(what, c.word)
		}
	}
	return strings.Join(what, ", ")
}

// rotated tells whether there is a secret that was not there before.
func rotated(before, after []Secret) bool {
	return slices.ContainsFunc(after, func(n Secret) bool {
		return !slices.ContainsFunc(before, func(o Secret) bool { return o.MAC == n.MAC })
	})
}

func (e *Entry) compile(used *atomic.Int64) *Credential {
	c := &Credential{addresses: e.Addresses, methods: e.Methods, used: used, notBefore: math.MinInt64}
	if !e.NotBefore.IsZero() {
		c.notBefore = e.NotBefore.Unix()
	}
	switch {
	case !e.Revoked.IsZero():
		c.dead = ErrRevoked
	case e.Disabled:
		c.dead = ErrDisabled
	}
	for i, sec := range e.Secrets {
		until := int64(math.MaxInt64)
		if !e.Expires.IsZero() {
			until = e.Expires.Unix()
		}
		if !sec.Expires.IsZero() {
			until = min(until, sec.Expires.Unix())
		}
		c.secrets[i] = slot{sec.MAC, max(until, 1)}
	}
	c.Principal = &principal.Principal{
		ID: e.Owner, Kind: principal.KindAPIKey, KeyID: e.ID, Roles: e.Roles, Scopes: e.Scopes, Plan: e.Plan,
		Claims: principal.NewClaims(e.claims()),
	}
	return c
}

// claims returns what the key says of its owner in the form of claims, for
// what reads those.
func (e *Entry) claims() []byte {
	b := append([]byte(nil), `{"sub":`...)
	b = strictjson.AppendString(b, e.Owner)
	b = append(b, `,"key_id":`...)
	b = strictjson.AppendString(b, e.ID)
	if e.Plan != "" {
		b = append(b, `,"plan":`...)
		b = strictjson.AppendString(b, e.Plan)
	}
	b = strictjson.AppendList(b, "roles", e.Roles)
	b = strictjson.AppendList(b, "scopes", e.Scopes)
	return append(b, '}')
}

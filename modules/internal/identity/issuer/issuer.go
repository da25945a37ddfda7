// Package issuer is a server's own issuer of tokens: an Ed25519 key that is
// made on first use and kept in a storage that several servers may share.
//
// Keys rotate on a schedule. A new key is stored some time before it signs
// for the first time, so that whoever reads the public set now and then
// knows it by then, and an old key verifies for some time after it has signed
// for the last time, so that no token outlives it. All that the schedule
// needs is when each key begins to sign, which is what the storage holds;
// servers that share the storage agree on the rest.
package issuer

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
)

const (
	// DefaultName is the iss of the tokens.
	DefaultName = "urn:caddy-moat:internal"

	// DefaultRotate is how long a key signs.
	DefaultRotate = 30 * 24 * time.Hour

	// Keep is how long a key verifies after it has signed for the last
	// time, and so the longest life of a token.
	Keep = 30 * 24 * time.Hour

	// MinRotate bounds the number of keys that verify at the same time.
	MinRotate = 24 * time.Hour

	ahead       = time.Hour // a key is stored so long before it signs
	rereadEvery = time.Minute
	demandEvery = time.Second
	maxState    = 1 << 20
)

// Storage is where the keys are kept. Load returns an error that is
// fs.ErrNotExist for a key that was never stored. Caddy's storage is one.
type Storage interface {
	Lock(ctx context.Context, name string) error
	Unlock(ctx context.Context, name string) error
	Load(ctx context.Context, key string) ([]byte, error)
	Store(ctx context.Context, key string, value []byte) error
}

// Options are what an Issuer can be told. The zero value will do.
type Options struct {
	Name   string           // default: DefaultName
	Rotate time.Duration    // default: DefaultRotate
	Now    func() time.Time // default: time.Now

	// Existing makes no key: a storage without one is ErrNoKey.
	Existing bool

	// Report is told what the administrator should know.
	Report func(message string, err error)

	// Changed is told the IDs of the keys that came and left whenever they
	// change, the first time included. It must not call the issuer.
	Changed func(came, left []string)
}

// ErrNoKey says that nobody has made a key of the issuer in the storage yet.
var ErrNoKey = errors.New("there is no key")

// Issuer signs tokens and verifies its own. It implements token.KeySource.
type Issuer struct {
	opts    Options
	storage Storage
	current atomic.Pointer[snapshot]

	// turn is held by who reads or writes the storage: one at a time.
	turn     chan struct{}
	mu       sync.Mutex
	demanded time.Time
	lastErr  error
}

// stored is a key as the storage has it.
type stored struct {
	// Seed is the private key, RFC 8032 section 5.1.5.
	Seed []byte `json:"seed"`
	// From is when the key begins to sign.
	From time.Time `json:"from"`
}

type state struct {
	Issuer string   `json:"issuer"`
	Keys   []stored `json:"keys"` // by From
}

// signer is a key made ready.
type signer struct {
	from    time.Time
	private ed25519.PrivateKey
	public  *jwk.Key
}

type snapshot struct {
	signers    []signer
	keys       []*jwk.Key
	set        []byte // the public set
	print      string
	generation uint64
}

// Open returns the issuer whose keys are in the storage. It makes the first
// key if there is none.
func Open(ctx context.Context, storage Storage, opts Options) (*Issuer, error) {
	if opts.Name == "" {
		opts.Name = DefaultName
	}
	if opts.Rotate == 0 {
		opts.Rotate = DefaultRotate
	}
	if opts.Rotate < MinRotate {
		return nil, fmt.Errorf("rotating keys more often than every %v is not supported", MinRotate)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Report == nil {
		opts.Report = func(string, error) {}
	}
	i := &Issuer{opts: opts, storage: storage, turn: make(chan struct{}, 1)}
	if err := i.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("keys of issuer %s: %w", opts.Name, err)
	}
	return i, nil
}

// Name returns the iss of the tokens.
func (i *Issuer) Name() string { return i.opts.Name }

// StorageKey is where an issuer of that name keeps its keys.
func StorageKey(name string) string {
	sum := sha256.Sum256([]byte(name))
	slug := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	return "moat/issuer/" + slug[:min(len(slug), 40)] + "-" + hex.EncodeToString(sum[:4]) + ".json"
}

// Run keeps the keys up to date until ctx ends: it makes new ones when it is
// time, and takes in those that another server has made.
func (i *Issuer) Run(ctx context.Context) {
	t := time.NewTicker(rereadEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			_ = i.Refresh(ctx) // reported
		}
	}
}

// Refresh reads the keys from the storage and makes a new one if it is time.
func (i *Issuer) Refresh(ctx context.Context) error {
	select {
	case i.turn <- struct{}{}:
		defer func() { <-i.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	err := i.refresh(ctx)
	i.mu.Lock()
	before := i.lastErr
	i.lastErr = err
	i.mu.Unlock()
	switch {
	case err != nil && before == nil:
		i.opts.Report("reading the keys of the internal issuer failed", err)
	case err == nil && before != nil:
		i.opts.Report("the keys of the internal issuer can be read again", nil)
	}
	return err
}

func (i *Issuer) refresh(ctx context.Context) error {
	st, err := i.load(ctx)
	if err != nil {
		return err
	}
	if i.opts.Existing && len(st.Keys) == 0 {
		return ErrNoKey
	}
	if !i.due(st) || i.opts.Existing {
		return i.takeIn(st)
	}
	name := StorageKey(i.opts.Name)
	if err := i.storage.Lock(ctx, name); err != nil {
		return fmt.Errorf("locking the storage: %w", err)
	}
	defer func() { _ = i.storage.Unlock(context.WithoutCancel(ctx), name) }()
	// Another server may have been faster.
	if st, err = i.load(ctx); err != nil {
		return err
	}
	if i.due(st) {
		if err := i.rotate(ctx, st); err != nil {
			return err
		}
	}
	return i.takeIn(st)
}

// load reads the state. A storage without one is an empty state. One that
// cannot be read is an error and never overwritten.
func (i *Issuer) load(ctx context.Context) (*state, error) {
	st := &state{Issuer: i.opts.Name}
	doc, err := i.storage.Load(ctx, StorageKey(i.opts.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return st, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the storage: %w", err)
	}
	if len(doc) > maxState || json.Unmarshal(doc, st) != nil || len(st.Keys) == 0 || st.Issuer != i.opts.Name {
		return nil, fmt.Errorf("what is stored at %s is not a list of keys", StorageKey(i.opts.Name))
	}
	for n, k := range st.Keys {
		if len(k.Seed) != ed25519.SeedSize || k.From.IsZero() || n > 0 && k.From.Before(st.Keys[n-1].From) {
			return nil, fmt.Errorf("what is stored at %s is not a list of keys", StorageKey(i.opts.Name))
		}
	}
	return st, nil
}

// due reports whether it is time to make a new key.
func (i *Issuer) due(st *state) bool {
	if len(st.Keys) == 0 {
		return true
	}
	newest := st.Keys[len(st.Keys)-1]
	return !i.opts.Now().Before(newest.From.Add(i.opts.Rotate - ahead))
}

// rotate makes a new key and forgets those that no token can need any
// longer. Callers hold the storage's lock.
func (i *Issuer) rotate(ctx context.Context, st *state) error {
	now := i.opts.Now().UTC().Truncate(time.Second)
	k := stored{Seed: make([]byte, ed25519.SeedSize), From: now}
	if _, err := rand.Read(k.Seed); err != nil {
		return err
	}
	if n := len(st.Keys); n > 0 {
		k.From = now.Add(ahead)
		if planned := st.Keys[n-1].From.Add(i.opts.Rotate); planned.After(k.From) {
			k.From = planned
		}
	}
	st.Keys = append(st.Keys, k)
	for len(st.Keys) > 1 && now.After(st.Keys[1].From.Add(Keep)) {
		st.Keys = st.Keys[1:]
	}
	doc, err := json.Marshal(st)
	if err != nil {
		return err
	}
	if err := i.storage.Store(ctx, StorageKey(i.opts.Name), doc); err != nil {
		return fmt.Errorf("writing the storage: %w", err)
	}
	return nil
}

// takeIn makes the keys ready for use.
func (i *Issuer) takeIn(st *state) error {
	snap := &snapshot{}
	now := i.opts.Now()
	for n, k := range st.Keys {
		if n+1 < len(st.Keys) && now.After(st.Keys[n+1].From.Add(Keep)) {
			continue // too old to verify, not yet forgotten
		}
		s, err := makeSigner(k)
		if err != nil {
			return err
		}
		snap.signers = append(snap.signers, s)
		snap.keys = append(snap.keys, s.public)
		snap.print += s.public.ID + " "
	}
	snap.set = jwk.FormatSet(snap.keys)
	old := i.current.Load()
	switch {
	case old == nil:
		snap.generation = 1
	case old.print == snap.print:
		return nil
	default:
		snap.generation = old.generation + 1
	}
	i.current.Store(snap)
	if i.opts.Changed != nil {
		i.opts.Changed(old.without(snap), snap.without(old))
	}
	return nil
}

// without returns the names of the keys of other that s does not have.
func (s *snapshot) without(other *snapshot) (ids []string) {
	if other == nil {
		return nil
	}
	for _, k := range other.keys {
		if s == nil || !slices.ContainsFunc(s.keys, func(o *jwk.Key) bool { return o.ID == k.ID }) {
			ids = append(ids, k.ID)
		}
	}
	return ids
}

func makeSigner(k stored) (signer, error) {
	private := ed25519.NewKeyFromSeed(k.Seed)
	x := base64.RawURLEncoding.EncodeToString(private.Public().(ed25519.PublicKey))
	public, err := jwk.Static("EdDSA", []byte(`{"kty":"OKP","crv":"Ed25519","x":"`+x+`"}`))
	if err != nil {
		return signer{}, err
	}
	public.ID = public.Thumbprint() // RFC 7638: the same on every server
	return signer{from: k.From, private: private, public: public}, nil
}

// Generation changes whenever the keys do.
func (i *Issuer) Generation() uint64 { return i.current.Load().generation }

// Keys returns the key of that name. A name that is not known may be that of a
// key which another process has just made in the same storage: it is looked
// up there, once in a while.
func (i *Issuer) Keys(ctx context.Context, kid, alg string) ([]*jwk.Key, error) {
	if keys, known := i.find(kid, alg); known {
		return keys, nil
	}
	i.mu.Lock()
	now := i.opts.Now()
	demand := now.Sub(i.demanded) >= demandEvery
	if demand {
		i.demanded = now
	}
	err := i.lastErr
	i.mu.Unlock()
	if demand {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		err = i.Refresh(ctx)
	}
	if keys, known := i.find(kid, alg); known {
		return keys, nil
	}
	if err != nil {
		return nil, errors.Join(token.ErrUnavailable, err)
	}
	return nil, nil
}

// find returns the keys that fit. A token without kid is not one of ours.
func (i *Issuer) find(kid, alg string) (keys []*jwk.Key, known bool) {
	if kid == "" {
		return nil, true
	}
	for _, k := range i.current.Load().keys {
		if k.ID != kid {
			continue
		}
		if k.Fits(alg) {
			keys = append(keys, k)
		}
		return keys, true
	}
	return nil, false
}

// PublicSet returns the public keys as a key set, RFC 7517 section 5.
func (i *Issuer) PublicSet() []byte { return i.current.Load().set }

// KeyIDs returns the names of the keys, oldest first.
func (i *Issuer) KeyIDs() []string {
	keys := i.current.Load().keys
	ids := make([]string, 0, len(keys))
	for _, k := range keys {
		ids = append(ids, k.ID)
	}
	return ids
}

var _ token.KeySource = (*Issuer)(nil)

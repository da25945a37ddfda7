// Package keyset keeps the public keys of an issuer at hand: fetched in the
// background before they expire, so that no request waits for a provider that
// is slow and none fails because it is down for a while.
//
// The life of a set, whose numbers are the constants below:
//
//   - It is fetched when it is opened, without anybody waiting, and again
//     before it expires, at a random moment. How long it lives is what the
//     provider's Cache-Control says, within bounds.
//   - There is never more than one fetch at a time.
//   - A key that is asked for and unknown, or known and wrong, is worth one
//     fetch in a while, however many ask.
//   - While the provider is down the keys stay in use for some time after
//     they have expired. Then there are none, and ErrUnavailable says so.
//   - A set that was never fetched is ErrUnavailable until it is.
package keyset

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
)

const (
	minLife     = 60 * time.Second // however short the provider says
	maxLife     = 24 * time.Hour   // however long the provider says
	defaultLife = 10 * time.Minute // where the provider does not say

	// maxStale is how long expired keys stay in use while they cannot be
	// fetched.
	maxStale = time.Hour

	// demandEvery is how often a key that is unknown, or that does not verify a
	// signature, may cause a fetch.
	demandEvery = 30 * time.Second

	// patience is how long a request waits for a fetch that is under way.
	patience = 5 * time.Second

	minRetry = time.Second
	maxRetry = 60 * time.Second
)

// Options are what a Set needs from the world. The zero value will do.
type Options struct {
	// Transport performs requests. Default: a transport of its own with
	// timeouts for each step.
	Transport http.RoundTripper

	// Now is the clock. Default: time.Now
	Now func() time.Time

	// Report is told, from the set's own goroutines, what the administrator
	// should know: a fetch that failed after one that did not, keys that
	// were left out or are odd, and so on. err is nil for good news. It may be nil.
	Report func(message string, err error)

	// Expand replaces the placeholders in the values of the source's Header,
	// anew for each request: a token in a file may have been renewed.
	// Default: there are none.
	Expand func(text string) (string, error)

	// Read makes keys of what the source gave, if that is not a key set of RFC 7517,
	// and Accept is what it is asked for. Default: jwk.ParseSet
	Read   func(doc []byte, header http.Header) (keys []*jwk.Key, skipped []error, err error)
	Accept string

	// Direct says that no redirect is followed.
	Direct bool

	// Changed is told the IDs, or thumbprints where they have none, of the
	// keys that came and left whenever the set changes, the first time
	// included. It must not call the set. It may be nil.
	Changed func(came, left []string)
}

// reportOddities says which keys were left out, and which are odd and were not.
func (o Options) reportOddities(keys []*jwk.Key, skipped []error) {
	if o.Report == nil {
		return
	}
	for _, why := range skipped {
		o.Report("key left out", why)
	}
	for _, note := range notes(keys) {
		o.Report("key accepted, though it is not as RFC 7517 and RFC 7518 have it", errors.New(note))
	}
}

// notes returns what is odd about keys that were admitted.
func notes(keys []*jwk.Key) (list []string) {
	for _, k := range keys {
		if k.Note != "" {
			list = append(list, fmt.Sprintf("key %q: %s", nameOf(k), k.Note))
		}
	}
	return list
}

// changed tells who wants to know what is different in now. Either may be nil.
func (o Options) changed(old, now *snapshot) {
	if o.Changed != nil {
		o.Changed(old.without(now), now.without(old))
	}
}

// Set is the key set of one issuer. It implements token.KeySource.
type Set struct {
	source  Source
	opts    Options
	fetcher *fetcher

	current    atomic.Pointer[snapshot]
	generation atomic.Uint64

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	wake   chan struct{} // the loop should look at next again

	mu       sync.Mutex
	inFlight chan struct{} // closed when the fetch under way has ended; nil if none is
	demanded time.Time     // last fetch that an unknown key caused
	next     time.Time     // next fetch in the background
	failures int           // since the last success
	lastErr  error
	attempts uint64

	complaint string // what was reported about the keys last
}

// snapshot is what one successful fetch gave. It is immutable.
type snapshot struct {
	keys       []*jwk.Key
	print      string // identifies the keys
	fetched    time.Time
	expires    time.Time
	staleUntil time.Time
}

func (s *snapshot) find(kid, alg string) (keys []*jwk.Key, known bool) {
	for _, k := range s.keys {
		if kid != "" && k.ID != kid {
			continue
		}
		known = true
		if alg == "" || k.Fits(alg) {
			keys = append(keys, k)
		}
	}
	return keys, known || kid == ""
}

// without returns the names of the keys of other that s does not have.
func (s *snapshot) without(other *snapshot) (names []string) {
	if other == nil {
		return nil
	}
	for _, k := range other.keys {
		if s == nil || !slices.ContainsFunc(s.keys, func(o *jwk.Key) bool { return printOf(o) == printOf(k) }) {
			names = append(names, nameOf(k))
		}
	}
	return names
}

// Open starts to keep the key set of a remote source. It does not wait for
// the first fetch: starting while the provider is down must work. The caller
// closes the set.
func Open(source Source, opts Options) *Set {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Report == nil {
		opts.Report = func(string, error) {}
	}
	s := &Set{source: source, opts: opts, wake: make(chan struct{}, 1)}
	s.fetcher = newFetcher(source, opts)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mu.Lock()
	s.begin()
	s.mu.Unlock()
	s.work.Add(1)
	go s.loop()
	return s
}

// Close ends the background work and waits for it.
func (s *Set) Close() {
	s.cancel()
	s.work.Wait()
	s.fetcher.close()
}

// Generation changes whenever the keys do, so that what was verified with
// earlier keys is not relied upon any longer.
func (s *Set) Generation() uint64 { return s.generation.Load() }

// Keys returns the keys that may have made a signature with alg, which is empty
// for any, and, where kid is not empty, have that name. None is not an error. ErrUnavailable means
// that nobody can tell, because the provider cannot be reached.
func (s *Set) Keys(ctx context.Context, kid, alg string) ([]*jwk.Key, error) {
	snap := s.usable()
	if snap != nil {
		if keys, known := snap.find(kid, alg); known {
			return keys, nil
		}
	}
	if wait := s.demand(snap != nil); wait != nil {
		if err := await(ctx, wait); err != nil {
			return nil, err
		}
	}
	if snap = s.usable(); snap == nil {
		return nil, token.ErrUnavailable
	}
	keys, known := snap.find(kid, alg)
	if known {
		return keys, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lastErr != nil {
		// The key may be one that the provider has and we cannot fetch:
		// not the caller's fault.
		return nil, token.ErrUnavailable
	}
	return nil, nil
}

// Refetch has the keys fetched again, since one that is known did not verify a
// signature: a provider may have made a new key of that name. It is worth as
// much as an unknown key, and reports whether the keys are others now.
func (s *Set) Refetch(ctx context.Context) bool {
	before := s.Generation()
	wait := s.demand(true)
	return wait != nil && await(ctx, wait) == nil && s.Generation() != before
}

// demand returns the end of the fetch under way or, if one may begin because a
// request asks for it, of that. It is nil where there is none to wait for.
func (s *Set) demand(may bool) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	var wait <-chan struct{} = s.inFlight
	if now := s.opts.Now(); wait == nil && may && now.Sub(s.demanded) >= demandEvery {
		s.demanded = now
		wait = s.begin()
	}
	return wait
}

// usable returns the keys, nil if there are none or they are too old.
func (s *Set) usable() *snapshot {
	snap := s.current.Load()
	if snap == nil || !s.opts.Now().Before(snap.staleUntil) {
		return nil
	}
	return snap
}

func await(ctx context.Context, done <-chan struct{}) error {
	select { // a fetch that has just ended beats a context that has
	case <-done:
		return nil
	default:
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.Join(token.ErrUnavailable, ctx.Err())
	case <-t.C:
		return token.ErrUnavailable
	}
}

// begin starts a fetch, or joins the one under way, and returns a channel
// that is closed at its end. Callers hold mu.
func (s *Set) begin() <-chan struct{} {
	if s.inFlight != nil {
		return s.inFlight
	}
	done := make(chan struct{})
	if s.ctx.Err() != nil {
		close(done)
		return done
	}
	s.inFlight = done
	s.attempts++
	s.work.Add(1)
	go func() {
		defer s.work.Done()
		result, err := s.fetcher.fetch(s.ctx)
		s.mu.Lock()
		s.finish(result, err)
		s.inFlight = nil
		s.mu.Unlock()
		close(done)
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}()
	return done
}

// finish takes in the result of a fetch. Callers hold mu.
func (s *Set) finish(result *fetched, err error) {
	now := s.opts.Now()
	if err != nil {
		if s.ctx.Err() != nil {
			return
		}
		s.failures++
		s.lastErr = err
		s.next = now.Add(retryAfter(s.failures))
		if s.failures == 1 {
			s.opts.Report("fetching key set failed; trying again", err)
		}
		s.dropIfStale(now)
		return
	}
	if s.failures > 0 {
		s.opts.Report("key set is available again", nil)
	}
	s.failures, s.lastErr = 0, nil
	s.complain(result)
	snap := &snapshot{
		keys: result.keys, print: fingerprint(result.keys),
		fetched: now, expires: now.Add(result.life), staleUntil: now.Add(result.life + maxStale),
	}
	// Somewhere in the last quarter, so that many servers do not come at once.
	s.next = now.Add(result.life*3/4 + rand.N(result.life/5))
	old := s.current.Swap(snap)
	if old == nil || old.print != snap.print {
		s.generation.Add(1)
		s.opts.changed(old, snap)
	}
}

// complain reports what is wrong with a set that could be read, once for as
// long as it stays so. Callers hold mu.
func (s *Set) complain(result *fetched) {
	what := fmt.Sprint(len(result.keys) == 0, result.skipped, notes(result.keys))
	if what == s.complaint {
		return
	}
	s.complaint = what
	s.opts.reportOddities(result.keys, result.skipped)
	if len(result.keys) == 0 {
		s.opts.Report("key set without usable keys", errNoKeys)
	}
}

var errNoKeys = errors.New("every token of this issuer is rejected until it has some")

// dropIfStale forgets keys that are too old to be used, and with them what
// they have verified. Callers hold mu.
func (s *Set) dropIfStale(now time.Time) {
	snap := s.current.Load()
	if snap == nil || now.Before(snap.staleUntil) {
		return
	}
	s.current.Store(nil)
	s.generation.Add(1)
	s.opts.changed(snap, nil)
	s.opts.Report("key set is too old to be used; requests are rejected until it can be fetched", s.lastErr)
}

// retryAfter is how long to wait after so many failures in a row.
func retryAfter(failures int) time.Duration {
	d := maxRetry
	if failures < 7 {
		d = min(minRetry<<(failures-1), maxRetry)
	}
	return d*3/4 + rand.N(d/2)
}

// loop fetches when it is time, and forgets the keys when they are too old,
// be a fetch under way or not.
func (s *Set) loop() {
	defer s.work.Done()
	for s.ctx.Err() == nil {
		t := time.NewTimer(s.step())
		select {
		case <-t.C:
		case <-s.wake: // a fetch has ended
		case <-s.ctx.Done():
		}
		t.Stop()
	}
}

// step does what is due and returns how long there is nothing to do.
func (s *Set) step() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opts.Now()
	s.dropIfStale(now)
	if !now.Before(s.next) {
		s.begin()
	}
	until := maxLife
	if s.inFlight == nil {
		until = s.next.Sub(now)
	}
	if snap := s.current.Load(); snap != nil {
		until = min(until, snap.staleUntil.Sub(now))
	}
	return until
}

// fingerprint identifies a set of keys: their names, their algorithms and
// what they are, in any order.
func fingerprint(keys []*jwk.Key) string {
	prints := make([]string, len(keys))
	for i, k := range keys {
		prints[i] = printOf(k)
	}
	slices.Sort(prints)
	return strings.Join(prints, "\n")
}

func printOf(k *jwk.Key) string { return k.Thumbprint() + " " + k.Alg + " " + k.ID }

// Status is what an administrator may want to know about a set.
type Status struct {
	Source     string    `json:"source"`
	Keys       []string  `json:"keys"` // key IDs, or thumbprints of keys without
	Fetched    time.Time `json:"fetched,omitzero"`
	Expires    time.Time `json:"expires,omitzero"`
	Generation uint64    `json:"generation"`
	Attempts   uint64    `json:"attempts"`
	Failures   int       `json:"failures"` // in a row
	Error      string    `json:"error,omitempty"`
}

// Status returns the state of the set.
func (s *Set) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Source: s.source.String(), Generation: s.generation.Load(), Attempts: s.attempts, Failures: s.failures}
	if snap := s.usable(); snap != nil {
		st.Keys = names(snap.keys)
		st.Fetched, st.Expires = snap.fetched, snap.expires
	}
	if s.lastErr != nil {
		st.Error = s.lastErr.Error()
	}
	return st
}

func names(keys []*jwk.Key) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = nameOf(k)
	}
	return out
}

func nameOf(k *jwk.Key) string {
	if k.ID == "" {
		return k.Thumbprint()
	}
	return k.ID
}

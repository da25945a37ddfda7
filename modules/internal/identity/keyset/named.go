package keyset

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
)

const (
	// maxNamed bounds the keys that are kept, and the names that are known to
	// have none.
	maxNamed = 64

	// namedBurst is how many names that are not known may cause a fetch at
	// once; one more may every demandEvery.
	namedBurst = 4

	// absentFor is how long a name that has no key is not asked for again.
	absentFor = time.Minute
)

// Named is the keys of a provider that serves each under an address of its own,
// which ends with the key ID, in PEM, and has no list of them. It implements
// token.KeySource.
//
// A name that is not known is fetched while a request waits, for there is
// nothing to fetch beforehand; anybody can make up names, so that is rationed,
// and ErrUnavailable where the ration is used up. A key serves as long as the
// provider's Cache-Control says, within the bounds of a Set, and is fetched
// again when it is asked for after that.
type Named struct {
	source  Source // URL is what stands before the names
	alg     string
	opts    Options
	fetcher *fetcher

	generation atomic.Uint64

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu       sync.Mutex
	entries  map[string]*named
	ration   int
	rationed time.Time // when the ration was looked at last
	attempts uint64
	failures int // in a row
	lastErr  error
}

// named is what is known of one name.
type named struct {
	key     *jwk.Key // nil: there is none
	expires time.Time
	stale   time.Time     // until when a key serves that cannot be fetched again
	asked   time.Time     // when it was fetched last, well or not
	fetched chan struct{} // closed at the end of the fetch under way; nil if none is
}

// OpenNamed returns the keys at addresses that begin with the source's URL, each
// for alg and nothing else. Nothing is fetched before it is asked for. The
// caller closes it.
func OpenNamed(source Source, alg string, opts Options) *Named {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Report == nil {
		opts.Report = func(string, error) {}
	}
	n := &Named{source: source, alg: alg, opts: opts, entries: map[string]*named{}, ration: namedBurst, rationed: opts.Now()}
	n.fetcher = newFetcher(source, opts)
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// Close ends fetches that are under way and waits for them.
func (n *Named) Close() {
	n.cancel()
	n.work.Wait()
	n.fetcher.close()
}

// Generation changes whenever a key becomes another one, or is gone.
func (n *Named) Generation() uint64 { return n.generation.Load() }

// namable reports whether a key ID may stand at the end of an address: letters,
// digits and hyphens, as in a UUID, so that there is no other place than the one
// below the source's URL that it could lead to.
func namable(kid string) bool {
	for i := range len(kid) {
		c := kid[i]
		if c|0x20 < 'a' || c|0x20 > 'z' {
			if (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return kid != "" && len(kid) <= 64
}

// Keys returns the key of that name. Without a name there is none.
func (n *Named) Keys(ctx context.Context, kid, alg string) ([]*jwk.Key, error) {
	if !namable(kid) || alg != n.alg {
		return nil, nil
	}
	n.mu.Lock()
	e := n.entries[kid]
	now := n.opts.Now()
	if e != nil && now.Before(e.expires) {
		defer n.mu.Unlock()
		return e.list(), nil
	}
	wait := n.demand(kid, e, now)
	n.mu.Unlock()
	if wait != nil {
		if err := await(ctx, wait); err != nil {
			return nil, err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if e = n.entries[kid]; e == nil {
		return nil, token.ErrUnavailable
	}
	if !n.opts.Now().Before(e.stale) {
		n.replace(e, nil) // and what it has verified is forgotten
		return nil, token.ErrUnavailable
	}
	return e.list(), nil
}

func (e *named) list() []*jwk.Key {
	if e.key == nil {
		return nil
	}
	return []*jwk.Key{e.key}
}

// demand returns the end of the fetch of that name, if one is under way or may
// begin. Callers hold mu.
func (n *Named) demand(kid string, e *named, now time.Time) <-chan struct{} {
	if e != nil && e.fetched != nil {
		return e.fetched
	}
	if n.ctx.Err() != nil {
		return nil
	}
	if e != nil && e.key != nil {
		// Names that somebody makes up must not keep a key from being fetched
		// again that serves.
		if now.Sub(e.asked) < demandEvery {
			return nil
		}
		return n.begin(kid, e, now)
	}
	if earned := int(now.Sub(n.rationed) / demandEvery); earned > 0 {
		n.ration = min(n.ration+earned, namedBurst)
		n.rationed = n.rationed.Add(time.Duration(earned) * demandEvery)
	}
	if n.ration == 0 {
		return nil
	}
	if e == nil {
		if !n.makeRoom(now) {
			return nil
		}
		e = new(named)
		n.entries[kid] = e
	}
	n.ration--
	return n.begin(kid, e, now)
}

// begin begins to fetch a key. Callers hold mu.
func (n *Named) begin(kid string, e *named, now time.Time) <-chan struct{} {
	n.attempts++
	done := make(chan struct{})
	e.fetched, e.asked = done, now
	n.work.Add(1)
	go func() {
		defer n.work.Done()
		defer close(done)
		n.fetch(kid, e)
	}()
	return done
}

// makeRoom sees to it that one more name can be kept. Callers hold mu.
func (n *Named) makeRoom(now time.Time) bool {
	if len(n.entries) < maxNamed {
		return true
	}
	// What serves no more goes first, then names without a key.
	for _, dead := range []func(*named) bool{
		func(e *named) bool { return !now.Before(e.stale) },
		func(e *named) bool { return e.key == nil },
	} {
		maps.DeleteFunc(n.entries, func(_ string, e *named) bool { return e.fetched == nil && dead(e) })
		if len(n.entries) < maxNamed {
			return true
		}
	}
	return false
}

func (n *Named) fetch(kid string, e *named) {
	ctx, cancel := context.WithTimeout(n.ctx, fetchTimeout)
	defer cancel()
	body, header, err := n.fetcher.get(ctx, n.source.URL+kid)
	var key *jwk.Key
	if err == nil {
		if key, err = jwk.Static(n.alg, body); err == nil {
			key.ID = kid
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	e.fetched = nil
	now := n.opts.Now()
	var status *statusError
	switch {
	case err == nil:
		n.replace(e, key)
		e.expires = now.Add(life(header))
		e.stale = e.expires.Add(maxStale)
	case errors.As(err, &status) && (status.code == http.StatusNotFound || status.code == http.StatusForbidden || status.code == http.StatusGone):
		// Object stores answer 403 for what is not there.
		n.replace(e, nil)
		e.expires = now.Add(absentFor)
		e.stale = e.expires
	default:
		n.fail(err)
		return
	}
	if n.failures > 0 {
		n.opts.Report("keys can be fetched again", nil)
	}
	n.failures, n.lastErr = 0, nil
}

// replace has another key under the name of e. Callers hold mu.
func (n *Named) replace(e *named, key *jwk.Key) {
	old := e.key
	if old == key || old != nil && key != nil && printOf(old) == printOf(key) {
		e.key = key
		return
	}
	e.key = key
	if old != nil {
		n.generation.Add(1)
	}
	if n.opts.Changed == nil {
		return
	}
	var came, left []string
	if key != nil {
		came = []string{nameOf(key)}
	}
	if old != nil {
		left = []string{nameOf(old)}
	}
	n.opts.Changed(came, left)
}

// fail takes in that a key could not be fetched. Callers hold mu.
func (n *Named) fail(err error) {
	if n.ctx.Err() != nil {
		return
	}
	n.failures++
	n.lastErr = err
	if n.failures == 1 {
		n.opts.Report("fetching a key failed", err)
	}
}

// Status returns the state of the keys.
func (n *Named) Status() Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	st := Status{Source: n.source.String(), Keys: []string{}, Generation: n.generation.Load(), Attempts: n.attempts, Failures: n.failures}
	for kid, e := range n.entries {
		if e.key != nil && n.opts.Now().Before(e.stale) {
			st.Keys = append(st.Keys, kid)
			if st.Expires.IsZero() || e.expires.Before(st.Expires) {
				st.Expires = e.expires
			}
		}
	}
	slices.Sort(st.Keys)
	if n.lastErr != nil {
		st.Error = n.lastErr.Error()
	}
	return st
}

// Interface guard
var _ token.KeySource = (*Named)(nil)

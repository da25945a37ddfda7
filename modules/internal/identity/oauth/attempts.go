package oauth

import (
	"strings"
	"sync"
	"time"
)

const (
	attemptWindow = 5 * time.Minute
	userAttempts  = 10
	addrAttempts  = 50
	maxAttempts   = 100_000 // keys that are counted
)

// Attempts limits how often somebody may try to log in. Every attempt counts until a
// login succeeds. When there are too many keys to count, attempts by new ones are
// refused.
type Attempts struct {
	mu   sync.Mutex
	seen map[string]*tried
}

type tried struct {
	n     int
	since time.Time
}

// counts reports whether there is something that counts now.
func (t *tried) counts(now time.Time) bool {
	return t != nil && now.Before(t.since.Add(attemptWindow))
}

// NewAttempts returns what has counted nothing.
func NewAttempts() *Attempts { return &Attempts{seen: make(map[string]*tried)} }

// Take counts an attempt under each key, or says how long to wait.
func (a *Attempts) Take(keys []string, now time.Time) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.seen)+len(keys) > maxAttempts {
		for key, t := range a.seen {
			if !t.counts(now) {
				delete(a.seen, key)
			}
		}
		if len(a.seen)+len(keys) > maxAttempts {
			return attemptWindow
		}
	}
	for _, key := range keys {
		limit := userAttempts
		if strings.HasPrefix(key, "address") {
			limit = addrAttempts
		}
		if t := a.seen[key]; t.counts(now) && t.n >= limit {
			wait = max(wait, t.since.Add(attemptWindow).Sub(now))
		}
	}
	if wait > 0 {
		// Nothing is noted: who is refused could fill the memory with names.
		return wait
	}
	for _, key := range keys {
		t := a.seen[key]
		if !t.counts(now) {
			t = &tried{since: now}
			a.seen[key] = t
		}
		t.n++
	}
	return 0
}

// Forgive takes back the attempt that has succeeded, and for the user those before.
// The address keeps those before: who knows one password must not buy guesses at
// others by it.
func (a *Attempts) Forgive(keys []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, key := range keys {
		if strings.HasPrefix(key, "user") {
			delete(a.seen, key)
		} else if t := a.seen[key]; t != nil {
			t.n--
		}
	}
}

package dpop

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/token"
)

// Replays remembers the proofs that have been used, for as long as they could
// be used again. It keeps a keyed hash of each and nothing else, so that what
// it takes of memory does not depend on what clients send.
//
// It must outlive a reload of the configuration. It does not outlive the
// process: proofs made before it was made are refused, since it cannot know
// whether they have been used.
type Replays struct {
	since time.Time     // when it was made
	keep  time.Duration // how long at least each proof is remembered
	limit int           // how many may be in each of the two sets
	key   [sha256.Size]byte

	mu sync.Mutex
	// Proofs go into current. When that has been in use for keep, it becomes
	// previous, and what was previous is forgotten.
	current, previous map[mark]struct{}
	turned            time.Time
}

// mark is the hash of a proof. 128 bits of a keyed hash do not collide by
// chance, and nobody knows the key to make them do so.
type mark [16]byte

// NewReplays makes a store for about limit proofs within the time in which
// they could be used again, with the ages that the Checker has. It takes some
// 50 bytes for each.
func NewReplays(limit int, maxAge, leeway time.Duration, now time.Time) *Replays {
	r := &Replays{
		// NumericDates are often whole seconds.
		since:   now.Truncate(time.Second),
		keep:    maxAge + 2*leeway,
		limit:   max(limit, 1),
		current: make(map[mark]struct{}),
		turned:  now,
	}
	rand.Read(r.key[:])
	return r
}

// use notes the proof, or returns an error if it has been used before or could
// have been.
func (r *Replays) use(p *token.Proof, now time.Time) error {
	if p.IssuedAt.Before(r.since) {
		return &Error{"the proof is older than the memory of used ones"}
	}
	h := hmac.New(sha256.New, r.key[:])
	// The thumbprint is always of the same length.
	h.Write([]byte(p.Thumbprint))
	h.Write([]byte(p.ID))
	var m mark
	copy(m[:], h.Sum(nil))

	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn(now)
	_, now1 := r.current[m]
	_, before := r.previous[m]
	if now1 || before {
		return &Error{"the proof has been used before"}
	}
	if len(r.current) >= r.limit {
		return ErrFull
	}
	r.current[m] = struct{}{}
	return nil
}

// turn makes room once the proofs in current cannot be told from old ones.
// Callers hold mu.
func (r *Replays) turn(now time.Time) {
	switch age := now.Sub(r.turned); {
	case age < r.keep:
		return
	case age < 2*r.keep:
		r.previous = r.current
	default:
		r.previous = nil
	}
	r.current = make(map[mark]struct{})
	r.turned = now
}

// Len returns how many proofs are remembered, for metrics.
func (r *Replays) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.current) + len(r.previous)
}

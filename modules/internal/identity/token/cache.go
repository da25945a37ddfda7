package token

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// cache remembers verified tokens. It never decides that a token is good: an
// entry counts only for the very bytes that were verified, while every date in
// the token still allows it, and while its issuer has lost no key since.
//
// Entries are found by a hash that is keyed anew in each process, and then
// compared in full. Tokens that come twice are preferred to those that come
// once (CLOCK), so a flood of ever-new tokens does not push the regular ones out.
type cache struct {
	seed   maphash.Seed
	shards []shard

	// The bound is on all shards together. One on each would evict from
	// the half that chance made larger while there is room in the others:
	// with as many tokens as entries, half of the look-ups would miss.
	limit int64
	size  atomic.Int64
}

type shard struct {
	mu    sync.Mutex
	index map[uint64]int // place in slots by hash
	slots []slot
	hand  int // of the clock

	hits, misses, evicted uint64
	_                     [56]byte // keep the locks of two shards apart
}

type slot struct {
	hash        uint64
	raw         string
	token       *Token
	from, until int64 // unix nanoseconds, until exclusive
	issuer      *issuer
	generation  uint64
	used        bool // since the hand last passed
}

func newCache(entries int) *cache {
	n := 1
	for n < 16 && entries >= 64*n {
		n *= 2
	}
	c := &cache{seed: maphash.MakeSeed(), shards: make([]shard, n), limit: int64(entries)}
	for i := range c.shards {
		c.shards[i].index = make(map[uint64]int)
	}
	return c
}

func (c *cache) hash(raw string) uint64 { return maphash.String(c.seed, raw) }

func (c *cache) shard(hash uint64) *shard {
	return &c.shards[hash>>32&uint64(len(c.shards)-1)]
}

// get returns the token that raw is, if it is known and still good.
func (c *cache) get(raw string, now int64) *Token {
	hash := c.hash(raw)
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[hash]
	if !ok {
		s.misses++
		return nil
	}
	e := &s.slots[i]
	if now < e.from || now >= e.until || !equal(e.raw, raw) || e.issuer.Keys.Generation() != e.generation {
		s.misses++
		return nil
	}
	s.hits++
	if !e.used {
		e.used = true
	}
	return e.token
}

// put remembers a token that has just been verified with keys of that
// generation. It keeps raw.
func (c *cache) put(raw string, t *Token, now int64, iss *issuer, generation uint64) {
	hash := c.hash(raw)
	e := slot{hash: hash, raw: raw, token: t, issuer: iss, generation: generation}
	e.from, e.until = t.window(iss)
	if now >= e.until {
		return // in its leeway: good, but not for long
	}
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := s.index[hash]; ok {
		s.slots[i] = e
		return
	}
	if c.size.Add(1) <= c.limit {
		s.index[hash] = len(s.slots)
		s.slots = append(s.slots, e)
		return
	}
	c.size.Add(-1)
	if len(s.slots) == 0 {
		return // all the room is in other shards
	}
	i := s.victim(now)
	delete(s.index, s.slots[i].hash)
	s.index[hash], s.slots[i] = i, e
	s.evicted++
}

// victim turns the clock until its hand finds an entry that has expired or has
// not been used since it last passed. Callers hold mu.
func (s *shard) victim(now int64) int {
	for {
		i := s.hand
		s.hand = (s.hand + 1) % len(s.slots)
		if e := &s.slots[i]; !e.used || now >= e.until {
			return i
		}
		s.slots[i].used = false
	}
}

// window returns the times between which the token is good without asking
// again. Leeway is left out at its end: in it, the token is verified each time.
func (t *Token) window(iss *issuer) (from, until int64) {
	from, until = math.MinInt64, math.MaxInt64
	for _, start := range []time.Time{t.NotBefore, t.IssuedAt} {
		if !start.IsZero() {
			from = max(from, nanos(start.Add(-iss.leeway)))
		}
	}
	if !t.Expires.IsZero() {
		until = nanos(t.Expires)
	}
	if iss.MaxAge > 0 {
		until = min(until, nanos(t.IssuedAt.Add(iss.MaxAge)))
	}
	return from, until
}

// nanos is t.UnixNano, held within what it can say: until the year 2262.
func nanos(t time.Time) int64 {
	switch sec := t.Unix(); {
	case sec >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	case sec <= math.MinInt64/int64(time.Second):
		return math.MinInt64
	}
	return t.UnixNano()
}

// equal compares without stopping at the first difference: where it stops
// would tell somebody who can measure it how much of a token is right. It takes
// many bytes at a time, which subtle.ConstantTimeCompare does not.
func equal(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	var diff uint64
	for len(a) >= 32 && len(b) >= 32 {
		diff |= word(a) ^ word(b) | word(a[8:]) ^ word(b[8:]) |
			word(a[16:]) ^ word(b[16:]) | word(a[24:]) ^ word(b[24:])
		a, b = a[32:], b[32:]
	}
	for i := range len(a) {
		diff |= uint64(a[i] ^ b[i])
	}
	return diff == 0
}

// word is one load, as the compiler sees it.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// Stats are counts since the Verifier was made.
type Stats struct {
	Hits    uint64 // tokens found in the cache
	Misses  uint64 // tokens that had to be verified
	Evicted uint64 // tokens that had to make room
	Entries int    // tokens in the cache now
}

func (c *cache) stats() (st Stats) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		st.Hits += s.hits
		st.Misses += s.misses
		st.Evicted += s.evicted
		st.Entries += len(s.slots)
		s.mu.Unlock()
	}
	return st
}

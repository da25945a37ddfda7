package guard

import (
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// The shape of a table. A key belongs to one bucket of one shard.
const (
	shards = 64
	ways   = 8

	slots = 8 // of a window

	firstElements = 4 // of a set

	// perKey is how many distinct values there is room for on average: a key may
	// have up to MaxDistinct of them, but not all keys at once.
	perKey = 16

	// maxSteps bounds how many buckets are looked at to make room for a value.
	maxSteps = 32

	// proofs is how many requests are kept for a key as evidence.
	proofs = 4
)

// table has what was counted, by key. A key is a hash of who is counted, with a secret
// seed: nobody can choose an address that falls on that of another.
//
// There is room for so many keys and no more. Where a bucket is full, the key with
// the smallest count makes room, and the larger its count is the less likely: a
// flood of new keys, each of which is seen once, displaces one another and not the
// key that is about to be too many.
type table struct {
	seed   maphash.Seed
	window uint32 // in ticks
	set    bool   // values are told apart
	shard  [shards]shard
	serial atomic.Uint32
	forgot atomic.Int64 // keys and values for which there was no room
}

type shard struct {
	mu       sync.Mutex
	buckets  []*[ways]entry
	elements int // in all sets
	room     int // for elements
	hand     int // the bucket to take elements from next
}

// entry is one key. The zero entry is free.
type entry struct {
	key   uint64
	last  uint32 // when it was seen
	since uint32 // when the window began in which its peak is looked for
	peak  uint32
	quiet uint32 // no alarm is raised before
	muted bool
	slot  uint32 // the newest of slots
	slots [slots]uint32
	set   []element
	proof *[proofs][16]byte
	next  uint8  // proof to overwrite
	route uint16 // of the baseline
}

// element is a distinct value and when it was seen last.
type element struct{ value, at uint32 }

func newTable(maxKeys int, window uint32, set bool) *table {
	t := &table{seed: maphash.MakeSeed(), window: max(window, 1), set: set}
	buckets := max(1, (maxKeys+shards*ways-1)/(shards*ways))
	for i := range t.shard {
		t.shard[i].buckets = make([]*[ways]entry, buckets)
		t.shard[i].room = max(buckets*ways*perKey, 4*MaxDistinct)
	}
	return t
}

// tick is the unit of time of a table: a millisecond. It wraps every 49 days, which
// differences between two ticks do not notice: windows are shorter.
func tick(m Moment) uint32 { return uint32(m.Since.Milliseconds()) } //nolint:gosec // wraps, as documented

// key returns the hash of who is counted, and where.
func (t *table) key(by By, q *Request, route string) (uint64, bool) {
	var h maphash.Hash
	h.SetSeed(t.seed)
	switch {
	case by.Kind == Key:
		if !ownKey(q.Principal) {
			return 0, false
		}
		_, _ = h.WriteString(q.Principal.Kind)
		_ = h.WriteByte(0)
		_, _ = h.WriteString(q.Principal.KeyID)
	case by.Kind == Caller && q.Principal != nil:
		writeCaller(&h, q.Principal)
	case by.Kind == 0:
	case !q.Address.IsValid():
		return 0, false
	default:
		bits := by.Bits4
		if q.Address.Is6() {
			bits = by.Bits6
		}
		if by.Kind == Caller {
			if bits = 32; q.Address.Is6() {
				bits = 64
			}
		}
		p, _ := q.Address.Prefix(bits)
		a := p.Addr().As16()
		_, _ = h.Write(a[:])
	}
	_ = h.WriteByte(0xff)
	if q.Foreign && by.Kind != 0 {
		_ = h.WriteByte(1)
	}
	_, _ = h.WriteString(route)
	return h.Sum64() | 1, true // 0 is a free entry
}

func writeCaller(h *maphash.Hash, p *principal.Principal) {
	_, _ = h.WriteString(p.Issuer)
	_ = h.WriteByte(0xfe)
	if p.Issuer == "" {
		_, _ = h.WriteString(p.Kind)
	}
	_ = h.WriteByte(0xfe)
	_, _ = h.WriteString(p.ID)
}

func (t *table) hashCaller(p *principal.Principal) uint32 {
	if p == nil {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(t.seed)
	writeCaller(&h, p)
	return fold(h.Sum64())
}

func (t *table) hashText(parts ...string) uint32 {
	var h maphash.Hash
	h.SetSeed(t.seed)
	for _, p := range parts {
		_, _ = h.WriteString(p)
		_ = h.WriteByte(0xff)
	}
	return fold(h.Sum64())
}

// unique returns a value that no other has.
func (t *table) unique() uint32 { return t.serial.Add(1) * 2654435761 }

func fold(h uint64) uint32 { return uint32(h ^ h>>32) } //nolint:gosec // a hash

// locate returns the shard of a key and its bucket.
func (t *table) locate(key uint64) (*shard, int) {
	s := &t.shard[key>>1%shards]
	return s, int((key >> 7) % uint64(len(s.buckets))) //nolint:gosec // below the length of a slice
}

// find returns the entry of a key, nil if there is none and no room for it. Callers
// hold the mutex of the shard.
func (t *table) find(s *shard, bucket int, key uint64, now uint32) *entry {
	b := s.buckets[bucket]
	if b == nil {
		b = new([ways]entry)
		s.buckets[bucket] = b
	}
	var victim *entry
	least := ^uint32(0)
	for i := range b {
		e := &b[i]
		if e.key == key {
			return e
		}
		weight := uint32(0)
		if e.key != 0 {
			weight = t.count(e, now) + 1
		}
		if weight < least {
			victim, least = e, weight
		}
	}
	if least > 1 {
		t.forgot.Add(1)
		if rand.Uint32N(least) != 0 { //nolint:gosec // chance, not a secret
			return nil
		}
	}
	t.clear(s, victim)
	victim.key, victim.last, victim.since, victim.slot = key, now, now, t.slotOf(now)
	return victim
}

// clear frees an entry.
func (t *table) clear(s *shard, e *entry) {
	s.elements -= cap(e.set)
	*e = entry{}
}

func (t *table) slotOf(now uint32) uint32 { return now / max(1, t.window/slots) }

// count returns how many there are in the window that ends now.
func (t *table) count(e *entry, now uint32) (n uint32) {
	if now-e.last > t.window {
		return 0
	}
	if t.set {
		for _, el := range e.set {
			if now-el.at <= t.window {
				n++
			}
		}
		return n
	}
	newest := t.slotOf(now)
	for i := range uint32(slots) {
		if age := newest - (e.slot - i); age < slots {
			n += e.slots[(e.slot-i)%slots]
		}
	}
	return n
}

// add counts n more.
func (t *table) add(e *entry, n, now uint32) {
	newest := t.slotOf(now)
	if gone := newest - e.slot; gone > 0 {
		for i := range min(gone, slots) {
			e.slots[(newest-i)%slots] = 0
		}
		e.slot = newest
	}
	if at := &e.slots[newest%slots]; *at+n >= *at {
		*at += n
	}
	e.last = now
}

// put adds a value to the set of a key, up to most of them, and returns how many there
// are in the window. It is not fresh where it was one of them.
func (t *table) put(s *shard, e *entry, value, now uint32, most int) (n uint32, fresh bool) {
	e.last = now
	kept, found := e.set[:0], false
	for _, el := range e.set {
		if el.value == value {
			el.at, found = now, true
		} else if now-el.at > t.window {
			continue
		}
		kept = append(kept, el)
	}
	e.set = kept
	switch {
	case found:
		return uint32(len(kept)), false //nolint:gosec // at most MaxDistinct
	case len(kept) >= most:
		return uint32(len(kept)), true //nolint:gosec // at most MaxDistinct
	case len(kept) == cap(kept):
		size := min(max(firstElements, 2*cap(kept)), most)
		if !t.makeRoom(s, e, size-cap(kept), now) {
			t.forgot.Add(1)
			return uint32(len(kept)), false //nolint:gosec // at most MaxDistinct
		}
		s.elements += size - cap(kept)
		e.set = append(make([]element, 0, size), kept...)
	}
	e.set = append(e.set, element{value, now})
	return uint32(len(e.set)), true //nolint:gosec // at most MaxDistinct
}

// makeRoom takes elements from keys that have no more of them than e.
func (t *table) makeRoom(s *shard, e *entry, grow int, now uint32) bool {
	mine := max(1, t.count(e, now))
	for range maxSteps {
		if s.elements+grow <= s.room {
			return true
		}
		if b := s.buckets[s.hand]; b != nil {
			for i := range b {
				if o := &b[i]; o != e && cap(o.set) > 0 && t.count(o, now) <= mine {
					t.clear(s, o)
					t.forgot.Add(1)
				}
			}
		}
		s.hand = (s.hand + 1) % len(s.buckets)
	}
	return s.elements+grow <= s.room
}

// reset has a key begin anew.
func (t *table) reset(s *shard, e *entry) {
	s.elements -= cap(e.set)
	e.set, e.slots, e.proof, e.muted = nil, [slots]uint32{}, nil, false
}

// sweep frees what was not seen for a window, and calls ended for it before.
func (t *table) sweep(now uint32, ended func(*entry)) {
	for i := range t.shard {
		s := &t.shard[i]
		s.mu.Lock()
		for j, b := range s.buckets {
			if b == nil {
				continue
			}
			used := false
			for k := range b {
				e := &b[k]
				if e.key != 0 && now-e.last > t.window && (!e.muted || int32(e.quiet-now) <= 0) { //nolint:gosec // wraps
					ended(e)
					t.clear(s, e)
				}
				used = used || e.key != 0
			}
			if !used {
				s.buckets[j] = nil
			}
		}
		s.mu.Unlock()
	}
}

// size returns how many keys there are, and how many distinct values there is room for
// in their sets.
func (t *table) size() (keys, elements int) {
	for i := range t.shard {
		s := &t.shard[i]
		s.mu.Lock()
		for _, b := range s.buckets {
			if b == nil {
				continue
			}
			for k := range b {
				if b[k].key != 0 {
					keys++
				}
			}
		}
		elements += s.elements
		s.mu.Unlock()
	}
	return keys, elements
}

// prove keeps a request as evidence, in the place of the oldest.
func (e *entry) prove(id [16]byte) {
	if e.proof == nil {
		e.proof = new([proofs][16]byte)
	}
	e.proof[e.next%proofs] = id
	e.next++
}

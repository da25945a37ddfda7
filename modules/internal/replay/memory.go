package replay

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Memory is a Store in the memory of the process. What it takes does not depend
// on what clients send: it keeps a keyed hash of each entry, 24 bytes with its
// time and links, and 4 to 8 bytes of a table for each that there is room for.
//
// It must outlive a reload of the configuration. It does not outlive the
// process: what was made before is refused with ErrOlder.
type Memory struct {
	since time.Time // when it was made, in whole seconds
	key   [sha256.Size]byte
	parts []part

	replayed, older, full atomic.Uint64
}

// mark is the hash of an entry. The key is secret and new in each process, and
// no mark ever leaves it, so nobody can look for two entries with one mark, nor
// for entries that fall into one bucket, other than by sending them: with 128
// bits, entries collide by chance never, and what collides is refused.
//
// A hash for tables, such as maphash, has 64 bits and no claim to resist who
// sees what is refused. SHA-256 with a secret prefix is no good MAC where the
// whole of the output is shown and can be extended. Here it is shown to nobody
// and cut in half, and takes half the time of HMAC.
type mark [16]byte

// partSize is how many entries a part has at least where there are several.
const partSize = 4096

// maxParts is into how many parts, each with a lock, a big memory is divided.
const maxParts = 16

// MaxEntries is how many entries a Memory may be made for.
const MaxEntries = 100_000_000

// NewMemory makes a store for about limit entries at once. It is divided into
// up to 16 parts by their marks and full when one of these is: with 500 000
// entries, at 98 of a hundred or later.
func NewMemory(limit int, now time.Time) *Memory {
	limit = min(max(limit, 1), MaxEntries)
	n := 1
	for n < maxParts && limit/(2*n) >= partSize {
		n *= 2
	}
	// Times that entries say they were made at are often whole seconds.
	m := &Memory{since: now.Truncate(time.Second), parts: make([]part, n)}
	rand.Read(m.key[:]) // never fails
	for i := range m.parts {
		m.parts[i].init((limit + n - 1) / n)
	}
	return m
}

// Use notes an entry. It never blocks for long: each call gives back the room
// of a few entries that are past, and nothing is ever moved.
func (m *Memory) Use(_ context.Context, e Entry, now time.Time) error {
	if !e.Made.IsZero() && e.Made.Before(m.since) {
		m.older.Add(1)
		return ErrOlder
	}
	k := m.mark(e)
	p := &m.parts[uint(k[15])%uint(len(m.parts))]
	err := p.use(k, m.seconds(now), m.secondsUp(e.Until))
	switch err {
	case ErrOlder:
		m.older.Add(1)
	case ErrReplayed:
		m.replayed.Add(1)
	case ErrFull:
		m.full.Add(1)
	}
	return err
}

func (m *Memory) mark(e Entry) (k mark) {
	var room [256]byte // more is put on the heap
	b := append(room[:0], m.key[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(e.Scope)))
	b = append(b, e.Scope...)
	b = append(b, e.Value...)
	sum := sha256.Sum256(b)
	copy(k[:], sum[:])
	return k
}

// seconds are those since the store was made, without what lies outside of what
// can be: 136 years.
func (m *Memory) seconds(t time.Time) uint32 {
	return uint32(min(max(t.Unix()-m.since.Unix(), 0), math.MaxUint32))
}

// secondsUp is the first whole second that is not before t.
func (m *Memory) secondsUp(t time.Time) uint32 {
	return m.seconds(t.Add(time.Second - time.Nanosecond))
}

// Stats are for metrics.
type Stats struct {
	Entries               int // remembered now
	Replayed, Older, Full uint64
}

// Stats returns how the store is. It gives back the room of all entries that
// are past, in small steps.
func (m *Memory) Stats(now time.Time) Stats {
	s := Stats{Replayed: m.replayed.Load(), Older: m.older.Load(), Full: m.full.Load()}
	for i := range m.parts {
		s.Entries += m.parts[i].sweep(m.seconds(now))
	}
	return s
}

// part is a part of the store: entries in the order in which they came, and a
// table of chains in which they are found.
//
// The order in which they came is that in which they are forgotten: an entry
// may have to wait for one that came before it, though not longer than that
// one lives, and nothing needs to be sorted.
type part struct {
	mu    sync.Mutex
	limit int
	heads []uint32 // of chains by mark: place + 1 of the latest entry, 0 if none
	mask  uint32

	// Entries stand in chunks, which are there while they hold any. A place
	// is a number of chunk and within it; places are used in a circle.
	chunks      []*chunk
	first, next uint32 // places
	count       int
	forgot      uint32 // the latest until of what was forgotten
	spare       *chunk // the last that became empty

	_ [64]byte // a cache line between locks
}

const chunkSize = 256

type chunk [chunkSize]entry

type entry struct {
	mark  mark
	until uint32 // second from which on it is past
	older uint32 // place + 1 of the one before it in the chain
}

func (p *part) init(limit int) {
	p.limit = limit
	buckets := uint32(1)
	for int(buckets) < limit {
		buckets *= 2
	}
	// Memory that was never written to is not there, on most systems.
	p.heads = make([]uint32, buckets)
	p.mask = buckets - 1
	p.chunks = make([]*chunk, limit/chunkSize+2)
}

func (p *part) at(place uint32) *entry { return &p.chunks[place/chunkSize][place%chunkSize] }

func (p *part) head(k *mark) *uint32 {
	return &p.heads[binary.LittleEndian.Uint32(k[:])&p.mask]
}

// reclaim is for how many entries a call that adds one may give back the room.
// More than one, so that past entries become fewer.
const reclaim = 4

func (p *part) use(k mark, now, until uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(now, reclaim)
	head := p.head(&k)
	for place := *head; place != 0; {
		e := p.at(place - 1)
		if e.mark == k && now < e.until {
			return ErrReplayed
		}
		place = e.older
	}
	switch {
	case until <= max(now, p.forgot):
		// It is past already; or the clock was set back, and among what has
		// been forgotten there may be this.
		return ErrOlder
	case p.count >= p.limit:
		return ErrFull
	}
	c := &p.chunks[p.next/chunkSize]
	if *c == nil {
		if *c, p.spare = p.spare, nil; *c == nil {
			*c = new(chunk)
		}
	}
	*p.at(p.next) = entry{mark: k, until: until, older: *head}
	*head = p.next + 1
	p.next = p.after(p.next)
	p.count++
	return nil
}

func (p *part) after(place uint32) uint32 {
	if place++; place == uint32(len(p.chunks)*chunkSize) {
		return 0
	}
	return place
}

// forget gives back the room of up to n entries that are past. Callers hold mu.
func (p *part) forget(now uint32, n int) (done bool) {
	for ; n > 0 && p.count > 0; n-- {
		e := p.at(p.first)
		if now < e.until {
			return true
		}
		// Whatever came later stands before it in the chain, and what
		// came before is gone: it is the last.
		link := p.head(&e.mark)
		for *link != p.first+1 {
			link = &p.at(*link - 1).older
		}
		*link = 0
		p.forgot = max(p.forgot, e.until)
		place := p.first
		p.first = p.after(place)
		p.count--
		if p.first%chunkSize == 0 {
			p.spare, p.chunks[place/chunkSize] = p.chunks[place/chunkSize], nil
		}
	}
	return p.count == 0
}

// sweep forgets all that is past and returns how many are left.
func (p *part) sweep(now uint32) int {
	for {
		p.mu.Lock()
		done, count := p.forget(now, chunkSize), p.count
		p.mu.Unlock()
		if done {
			return count
		}
	}
}

var _ Store = (*Memory)(nil)

package replay

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// Memory is a Store in the memory of the process. What it takes does not depend
// on what clients send: it keeps a keyed hash of each entry, 24 bytes with its
// time and links, and 4 to 8 bytes of a table for each that there is room for.
//
// It must outlive a reload of the configuration. It does not outlive the
// process: what was made before is refused with ErrOlder. That goes by the time
// that the value says, to the second. A client whose clock is ahead by less than
// the leeway can have used one before a restart that says it was made after it.
// To refuse these too, all others would have to wait for as long as the
// leeway after each start; a nonce of the server has neither drawback.
type Memory struct {
	since time.Time // when it was made, in whole seconds
	key   [sha256.Size]byte
	parts []part
	spans atomic.Pointer[spans] // nil until Widen

	replayed, older, full atomic.Uint64
}

// mark is the hash of an entry. The key is secret and new in each process, and
// no mark ever leaves it, so nobody can look for two entries with one mark, nor
// for entries that fall into one bucket, other than by sending them: with 128
// bits, entries collide by chance never, and what collides is refused.
//
// A hash for tables, such as maphash, has 64 bits and no claim to resist who
// sees what is refused. SHA-256 with a secret prefix is not a good MAC where the
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
		m.parts[i].resize((limit + n - 1) / n)
	}
	return m
}

// Resize makes room for about limit entries at once, for more or fewer than
// before. Nothing is forgotten: with more entries than that, the memory is full
// until they are past.
func (m *Memory) Resize(limit int) {
	limit = min(max(limit, 1), MaxEntries)
	n := len(m.parts)
	for i := range m.parts {
		p := &m.parts[i]
		p.mu.Lock()
		p.resize((limit + n - 1) / n)
		p.mu.Unlock()
	}
}

// Use notes an entry. It never blocks for long: each call gives back the room
// of a few entries that are past, and nothing is ever moved.
func (m *Memory) Use(_ context.Context, e Entry, now time.Time) error {
	if !e.Made.IsZero() {
		until, ok := m.until(e.Made, now)
		if !ok || e.Made.Before(m.since) {
			m.older.Add(1)
			return ErrOlder
		}
		if until.After(e.Until) {
			e.Until = until
		}
	}
	k := m.mark(e)
	p := &m.parts[uint(k[15])%uint(len(m.parts))]
	again := uint32(0)
	if e.Again > 0 {
		again = m.seconds(now.Add(e.Again))
	}
	err := p.use(k, m.seconds(now), m.secondsUp(e.Until), again)
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

// part is a part of the store: entries in lanes, and a table of chains in which
// they are found.
//
// A lane is for entries that live about equally long. The order in which they
// came is that in which they are forgotten: an entry may have to wait for one
// that came before it, though for less than twice as long as it lives itself,
// and nothing needs to be sorted or moved.
type part struct {
	mu     sync.Mutex
	limit  int
	count  int
	forgot uint32   // the latest until of what was forgotten
	heads  []uint32 // of chains by mark: place + 1 of the latest entry, 0 if none
	mask   uint32

	lanes [lanes]lane
	used  uint64 // a bit for each lane that has entries

	// Entries stand in chunks, which are there while they hold any. A place
	// is the number of a chunk and that of an entry in it.
	chunks []*chunk
	free   []uint32 // numbers of chunks that are not there
	spare  *chunk   // the last that became empty

	_ [64]byte // a cache line between locks
}

// lanes are those for entries that live less than 1, 2, 4, … seconds.
const lanes = 33

type lane struct {
	first, next uint32 // places
	count       int
}

const chunkSize = 128

type chunk struct {
	entries [chunkSize]entry
	next    uint32 // number of the next in the lane
}

type entry struct {
	mark  mark
	until uint32 // second from which on it is past
	older uint32 // place + 1 of the one before it in the chain
}

// resize sets how many entries there may be. The table grows if it has to, and
// does not shrink. Callers hold mu.
func (p *part) resize(limit int) {
	p.limit = limit
	buckets := uint32(1)
	for int(buckets) < limit {
		buckets *= 2
	}
	if int(buckets) <= len(p.heads) {
		return
	}
	old := p.heads
	// Memory that was never written to is not there, on most systems.
	p.heads = make([]uint32, buckets)
	p.mask = buckets - 1
	for _, place := range old {
		for place != 0 {
			e := p.at(place - 1)
			head := p.head(&e.mark)
			next := e.older
			e.older, *head = *head, place
			place = next
		}
	}
}

func (p *part) at(place uint32) *entry { return &p.chunks[place/chunkSize].entries[place%chunkSize] }

func (p *part) head(k *mark) *uint32 {
	return &p.heads[binary.LittleEndian.Uint32(k[:])&p.mask]
}

// reclaim is for how many entries a call that adds one may give back the room.
// More than one, so that past entries become fewer.
const reclaim = 4

func (p *part) use(k mark, now, until, again uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(now, reclaim)
	twin := k.twin()
	need := 1
	if again > now {
		need = 2
	}
	switch {
	case p.find(&k, now):
		if need == 2 && p.find(&twin, now) {
			return nil
		}
		return ErrReplayed
	case until <= max(now, p.forgot):
		// It is past already; or the clock was set back, and among what has
		// been forgotten there may be this.
		return ErrOlder
	case p.count+need > p.limit:
		return ErrFull
	}
	p.note(&k, now, until)
	if need == 2 {
		p.note(&twin, now, min(again, until))
	}
	return nil
}

// twin is the mark of an entry that says of another, in the same part, that it may
// still be used again.
func (k mark) twin() mark {
	k[0] ^= 0x80
	return k
}

// find reports whether there is an entry that is not past. Callers hold mu.
func (p *part) find(k *mark, now uint32) bool {
	for place := *p.head(k); place != 0; {
		e := p.at(place - 1)
		if e.mark == *k && now < e.until {
			return true
		}
		place = e.older
	}
	return false
}

// note adds an entry. Callers hold mu and have made sure that there is room.
func (p *part) note(k *mark, now, until uint32) {
	head := p.head(k)
	place := p.add(bits.Len32(until - now))
	*p.at(place) = entry{mark: *k, until: until, older: *head}
	*head = place + 1
}

// add returns the place for one more entry of a lane. Callers hold mu.
func (p *part) add(n int) uint32 {
	l := &p.lanes[n]
	switch {
	case l.count == 0:
		l.first = p.chunk() * chunkSize
		l.next = l.first
	case l.next%chunkSize == 0: // one past the last chunk
		c := p.chunk()
		p.chunks[l.next/chunkSize-1].next = c
		l.next = c * chunkSize
	}
	place := l.next
	l.next++
	l.count++
	p.count++
	p.used |= 1 << n
	return place
}

// chunk returns the number of a new one.
func (p *part) chunk() (n uint32) {
	if last := len(p.free) - 1; last >= 0 {
		n, p.free = p.free[last], p.free[:last]
	} else {
		n = uint32(len(p.chunks))
		p.chunks = append(p.chunks, nil)
	}
	if p.chunks[n], p.spare = p.spare, nil; p.chunks[n] == nil {
		p.chunks[n] = new(chunk)
	}
	return n
}

// forget gives back the room of up to n entries that are past, and reports
// whether no more are to be had. Callers hold mu.
func (p *part) forget(now uint32, n int) (done bool) {
	for used := p.used; used != 0; {
		i := bits.TrailingZeros64(used)
		l := &p.lanes[i]
		e := p.at(l.first)
		if now < e.until {
			used &^= 1 << i
			continue
		}
		if n--; n < 0 {
			return false
		}
		link := p.head(&e.mark)
		for *link != l.first+1 {
			link = &p.at(*link - 1).older
		}
		*link = e.older
		p.forgot = max(p.forgot, e.until)
		p.leave(i)
		used &= p.used | ^(1 << i)
	}
	return true
}

// leave takes the first entry out of a lane. Callers hold mu.
func (p *part) leave(n int) {
	l := &p.lanes[n]
	number := l.first / chunkSize
	l.first++
	l.count--
	p.count--
	if l.count == 0 {
		p.used &^= 1 << n
	} else if l.first%chunkSize != 0 {
		return
	}
	c := p.chunks[number]
	l.first = c.next * chunkSize
	p.spare, p.chunks[number] = c, nil
	p.free = append(p.free, number)
}

// sweepStep is how many entries are forgotten before others get their turn.
const sweepStep = 256

// sweep forgets all that is past and returns how many are left.
func (p *part) sweep(now uint32) int {
	for {
		p.mu.Lock()
		done, count := p.forget(now, sweepStep), p.count
		p.mu.Unlock()
		if done {
			return count
		}
	}
}

var _ Store = (*Memory)(nil)

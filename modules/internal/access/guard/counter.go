package guard

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// Counter counts for one rule. Its methods may be called from several goroutines.
type Counter struct {
	rule Rule
	t    *table
	base baseline
	most int // elements of a set
}

// NewCounter returns a counter of a rule that was checked, with room for so many keys.
//
// A key has at most about 170 bytes with its evidence, and there is room for 16
// distinct values of 8 bytes for each: 65536 keys, all of which are used at once,
// have about 20 MB. What is not seen for a window is freed.
func NewCounter(rule Rule, maxKeys int) *Counter {
	c := &Counter{
		rule: rule,
		t:    newTable(maxKeys, uint32(rule.In.Milliseconds()), rule.usesSet()), //nolint:gosec // at most MaxWindow
		most: MaxDistinct,
	}
	if rule.Over > 0 && rule.Over < MaxDistinct {
		c.most = int(rule.Over) + 1
	}
	return c
}

// Rule returns the rule.
func (c *Counter) Rule() *Rule { return &c.rule }

// Alarm says that somebody is over the limit of a rule.
type Alarm struct {
	Rule     string
	Subject  Subject // the zero Subject for the whole site
	Count    int64
	Limit    int64
	In       time.Duration
	Normal   int64 // the 99th percentile of others, where Learnt
	Learnt   bool
	Text     string   // all of that in words
	Evidence []string // IDs of the records of requests, the newest last
}

// poison marks a window in which there was an alarm: nobody learns from that.
const poison = ^uint32(0)

// Observe counts a request, and reports whether somebody is over the limit with it. A
// rule for bytes counts when the response has ended, all others when it begins.
// Further alarms about the same are raised once a window.
func (c *Counter) Observe(m Moment, q *Request, ended bool) (Alarm, bool) {
	r, t := &c.rule, c.t
	if ended != r.Bytes || !r.Bytes && !r.meant(q) || r.excepts(q.Principal) {
		return Alarm{}, false
	}
	value, route, ok := r.value(t, q)
	if !ok {
		return Alarm{}, false
	}
	key, ok := t.key(r.By, q, route)
	if !ok {
		return Alarm{}, false
	}
	now := tick(m)
	s, bucket := t.locate(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := t.find(s, bucket, key, now)
	if e == nil {
		return Alarm{}, false
	}
	if r.Learn {
		c.learn(e, route, now)
	}
	var n uint32
	fresh := true
	if t.set {
		n, fresh = t.put(s, e, value, now, c.most)
	} else {
		amount := uint32(1)
		if r.Bytes {
			amount = uint32(min((q.Bytes+512)>>10, 1<<31)) //nolint:gosec // bounded
		}
		t.add(e, amount, now)
		n = t.count(e, now)
	}
	if e.peak != poison {
		e.peak = max(e.peak, n)
	}
	a := Alarm{Rule: r.Name, In: r.In, Count: int64(n)}
	if r.Bytes {
		a.Count <<= 10
	}
	a.Limit, a.Normal, a.Learnt = c.limit(e)
	if q.ID != nil && (q.Status >= 400 || a.Count*2 >= a.Limit) {
		e.prove(q.ID.RecordID())
	}
	if !fresh || a.Count <= a.Limit || e.muted && int32(e.quiet-now) > 0 { //nolint:gosec // wraps
		return Alarm{}, false
	}
	e.muted, e.quiet, e.peak = true, now+t.window, poison
	a.Subject, _ = r.By.Subject(q)
	a.Evidence = e.evidence()
	a.Text = c.explain(&a, route)
	if r.Reset {
		t.reset(s, e)
	}
	return a, true
}

// explain puts an alarm into words: "37 distinct {id} of /orders/{id} in 10m, more than
// 20: the 99th percentile is 6".
func (c *Counter) explain(a *Alarm, route string) string {
	text := fmt.Sprintf("%s, more than %d", c.rule.explain(a.Count, route), a.Limit)
	if a.Learnt {
		text += ": the 99th percentile is " + strconv.FormatInt(a.Normal, 10)
	}
	return text
}

// evidence returns the IDs of the requests that were kept.
func (e *entry) evidence() []string {
	if e.proof == nil {
		return nil
	}
	var ids []string
	for i := range uint8(proofs) {
		if id := e.proof[(e.next+i)%proofs]; id != ([16]byte{}) {
			ids = append(ids, FormatID(id))
		}
	}
	return ids
}

// FormatID prints the ID of a record, as RFC 9562 section 4 has it.
func FormatID(id [16]byte) string {
	b := make([]byte, 0, 36)
	for i, part := range [...][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return string(b)
}

// ParseID reads what FormatID prints. It returns zeros for anything else.
func ParseID(text string) (id [16]byte) {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return id
	}
	var compact [32]byte
	n := 0
	for i := range len(text) {
		if text[i] == '-' && (i == 8 || i == 13 || i == 18 || i == 23) {
			continue
		}
		compact[n] = text[i]
		n++
	}
	var read [16]byte
	if _, err := hex.Decode(read[:], compact[:]); err != nil {
		return id
	}
	return read
}

// Sweep frees what was not seen for a window, and learns from it. It is to be called
// about once a minute.
func (c *Counter) Sweep(m Moment) {
	now := tick(m)
	c.t.sweep(now, func(e *entry) {
		if c.rule.Learn {
			c.base.sample(e.route, e.peak)
		}
	})
}

// Size returns how many keys are counted at present, and how many keys and values were
// forgotten since there was no room.
func (c *Counter) Size() (keys int, forgotten int64) {
	keys, _ = c.t.size()
	return keys, c.t.forgot.Load()
}

// learn takes the peak of a window that has ended for a sample.
func (c *Counter) learn(e *entry, route string, now uint32) {
	if e.route == 0 {
		e.route = c.base.route(route)
	}
	if now-e.since >= c.t.window {
		c.base.sample(e.route, e.peak)
		e.since, e.peak = now, 0
	}
}

// limit returns how many are allowed to a key.
func (c *Counter) limit(e *entry) (limit, normal int64, learnt bool) {
	r := &c.rule
	if !r.Learn {
		return r.Over, 0, false
	}
	limit = r.Over
	if limit == 0 {
		limit = learnFloor
	}
	n, ok := c.base.normal(e.route)
	if !ok {
		return limit, 0, false
	}
	normal = int64(n)
	l := max(learnFloor, learnFactor*normal)
	if r.Over == 0 || l < r.Over {
		limit = l
	}
	return min(limit, MaxDistinct-1), normal, true
}

// What is learnt of.
const (
	maxRoutes  = 256
	minSamples = 100   // before a quantile says anything
	maxSamples = 20000 // then all count half
)

// baseline is how many are normal, route by route: of each key the largest count of each
// window is a sample.
type baseline struct {
	mu     sync.RWMutex
	number map[string]uint16
	names  []string
	routes []*histogram
}

// histogram has samples up to MaxDistinct, exact up to 15 and then to a sixteenth.
type histogram struct {
	buckets [128]uint32
	total   uint32
	p99     uint32
}

// route returns the number of a route, above zero. Routes beyond maxRoutes share one.
func (b *baseline) route(name string) uint16 {
	b.mu.RLock()
	n, ok := b.number[name]
	b.mu.RUnlock()
	if ok {
		return n
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.add(name)
}

// add is route for callers that hold mu.
func (b *baseline) add(name string) uint16 {
	if n, ok := b.number[name]; ok {
		return n
	}
	if b.number == nil {
		b.number = make(map[string]uint16)
	}
	if len(b.routes) >= maxRoutes {
		return maxRoutes
	}
	b.routes, b.names = append(b.routes, new(histogram)), append(b.names, name)
	n := uint16(len(b.routes)) //nolint:gosec // at most maxRoutes
	b.number[name] = n
	return n
}

// sample adds one to what is learnt of a route.
func (b *baseline) sample(route uint16, peak uint32) {
	if route == 0 || peak == 0 || peak == poison {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.routes[route-1].add(peak)
}

// normal returns the 99th percentile of a route, and false while too little is known.
func (b *baseline) normal(route uint16) (uint32, bool) {
	if route == 0 {
		return 0, false
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	h := b.routes[route-1]
	return h.p99, h.total >= minSamples
}

func (h *histogram) add(n uint32) {
	h.buckets[bucketOf(n)]++
	h.total++
	if h.total >= maxSamples {
		h.total = 0
		for i := range h.buckets {
			h.buckets[i] /= 2
			h.total += h.buckets[i]
		}
	}
	h.quantile()
}

// quantile finds the 99th percentile anew.
func (h *histogram) quantile() {
	above := h.total / 100 // so many may be larger
	for i := len(h.buckets) - 1; i >= 0; i-- {
		if h.buckets[i] > above {
			h.p99 = upperOf(i)
			return
		}
		above -= h.buckets[i]
	}
}

// bucketOf returns the bucket of a count: exact below 16, then 16 of them for each power
// of two.
func bucketOf(n uint32) int {
	n = min(n, MaxDistinct)
	shift := 0
	for n>>shift >= 32 {
		shift++
	}
	return shift*16 + int(n>>shift)
}

// upperOf returns the largest count of a bucket.
func upperOf(bucket int) uint32 {
	if bucket < 32 {
		return uint32(bucket) //nolint:gosec // small
	}
	shift := bucket/16 - 1
	return uint32(bucket-shift*16+1)<<shift - 1 //nolint:gosec // small
}

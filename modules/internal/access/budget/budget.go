// Package budget counts tokens against limits per minute, hour, day and month.
//
// What a request costs is known only when its response has ended, so a request
// reserves what it is expected to cost and settles afterwards. One request of a
// key may always start while something is left of every limit; further ones
// start beside it only as far as what is used and reserved leaves room for
// them. Requests in parallel so overshoot a limit by at most one response, as
// far as none costs more than it has reserved.
package budget

import (
	"fmt"
	"sync"
	"time"
)

// Period is the length of a window. Windows begin at the beginning of a minute,
// hour, day or month in UTC.
type Period uint8

// The periods.
const (
	Minute Period = iota
	Hour
	Day
	Month
	periods
)

var periodNames = [periods]string{"minute", "hour", "day", "month"}

// String returns the name of the period.
func (p Period) String() string { return periodNames[p] }

// ParsePeriod reads the name of a period.
func ParsePeriod(name string) (Period, error) {
	for p, n := range periodNames {
		if n == name {
			return Period(p), nil
		}
	}
	return 0, fmt.Errorf("'%s' is not a period: write minute, hour, day or month", name)
}

// window returns the beginning and the end of the window that t lies in.
func (p Period) window(t time.Time) (from, to time.Time) {
	t = t.UTC()
	switch p {
	case Minute:
		from = t.Truncate(time.Minute)
		return from, from.Add(time.Minute)
	case Hour:
		from = t.Truncate(time.Hour)
		return from, from.Add(time.Hour)
	case Day:
		from = time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
		return from, from.AddDate(0, 0, 1)
	}
	from = time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	return from, from.AddDate(0, 1, 0)
}

// Limit is how many tokens may be used in a window.
type Limit struct {
	Tokens int64
	Per    Period
}

// String returns the limit as an administrator writes it.
func (l Limit) String() string { return fmt.Sprintf("%d per %s", l.Tokens, l.Per) }

// Exceeded says why a request may not start.
type Exceeded struct {
	Limit  Limit
	Used   int64         // in the window, before the request
	Wait   time.Duration // until the window ends
	InUse  bool          // something is left, and requests under way have reserved it
	Window time.Duration
}

// Ledger holds what every key has used. It may be used by several goroutines.
type Ledger struct {
	max int

	mu      sync.Mutex
	entries map[string]*entry
	changed bool
}

// entry is what one key has used.
type entry struct {
	windows  [periods]window
	reserved int64
	running  int
	largest  int64 // what a request has cost at most, in this window of a day
	lied     bool  // one has cost more than it said, in this window of a day
	day      int64
}

type window struct {
	from int64 // Unix time
	used int64
}

// New returns a ledger of at most max keys. If there are more, the one that has
// used least among a few gives way.
func New(maxKeys int) *Ledger {
	return &Ledger{max: maxKeys, entries: make(map[string]*entry)}
}

// Estimate is what a request tells about its cost.
type Estimate struct {
	Prompt   int64 // tokens of the request itself
	Response int64 // tokens that its response has at most, zero if unknown
	Default  int64 // what a request of which nothing is known is expected to cost
}

// cost returns what to reserve, given what a request of the key has cost at
// most, and what it is whatever the request says. Of a key that has cost more than
// it said, what it says is believed only where it is more.
func (e Estimate) cost(largest int64, lied bool) (reserve, unsaid int64) {
	unsaid = e.Prompt + e.Default
	if largest > 0 {
		unsaid = largest
	}
	switch said := e.Prompt + e.Response; {
	case e.Response <= 0:
		return unsaid, unsaid
	case lied:
		return max(said, unsaid), unsaid
	default:
		return said, unsaid
	}
}

// Reservation is what a request under way has reserved.
type Reservation struct {
	ledger *Ledger
	entry  *entry
	Tokens int64

	// Unproven is what to charge where nobody can tell what the request has cost:
	// Tokens, and no less because of what the request says.
	Unproven int64

	said bool
	once sync.Once
}

// Reserve starts a request of a key, or says why it may not start. Without
// limits, it always may, and is counted.
func (l *Ledger) Reserve(key string, limits []Limit, estimate Estimate, now time.Time) (*Reservation, *Exceeded) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[key]
	if e == nil {
		e = new(entry)
	}
	e.roll(now)
	cost, unsaid := estimate.cost(e.largest, e.lied)
	var worst *Exceeded
	for _, limit := range limits {
		used := e.windows[limit.Per].used
		spent := used >= limit.Tokens
		if !spent && (e.running == 0 || fits(used, e.reserved, cost, limit.Tokens)) {
			continue
		}
		from, to := limit.Per.window(now)
		x := &Exceeded{Limit: limit, Used: used, Wait: to.Sub(now), InUse: !spent, Window: to.Sub(from)}
		if worst == nil || worst.InUse && !x.InUse || worst.InUse == x.InUse && x.Wait > worst.Wait {
			worst = x
		}
	}
	if worst != nil {
		return nil, worst
	}
	if l.entries[key] == nil {
		l.makeRoom()
		l.entries[key] = e
	}
	e.reserved += cost
	e.running++
	return &Reservation{ledger: l, entry: e, Tokens: cost, Unproven: max(cost, unsaid), said: estimate.Response > 0}, nil
}

// fits reports whether used+reserved+cost is at most limit. None is negative.
func fits(used, reserved, cost, limit int64) bool {
	return reserved <= limit-used && cost <= limit-used-reserved
}

// Settle ends a request that has cost so many tokens. Only the first call counts.
func (r *Reservation) Settle(tokens int64, now time.Time) {
	r.once.Do(func() {
		l := r.ledger
		l.mu.Lock()
		defer l.mu.Unlock()
		e := r.entry
		e.roll(now)
		e.reserved -= r.Tokens
		e.running--
		if tokens <= 0 {
			return
		}
		for p := range e.windows {
			e.windows[p].used = add(e.windows[p].used, tokens)
		}
		e.largest = max(e.largest, tokens)
		e.lied = e.lied || r.said && tokens > r.Tokens
		l.changed = true
	})
}

// add adds without overflow.
func add(a, b int64) int64 {
	if s := a + b; s >= a {
		return s
	}
	return 1<<63 - 1
}

// Used returns what a key has used in the current window.
func (l *Ledger) Used(key string, p Period, now time.Time) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[key]
	if e == nil {
		return 0
	}
	e.roll(now)
	return e.windows[p].used
}

// Len returns how many keys there are.
func (l *Ledger) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries)
}

// roll begins the windows anew that have ended. A clock that is set back ends
// none: what was used stays used.
func (e *entry) roll(now time.Time) {
	for p := range e.windows {
		from, _ := Period(p).window(now)
		if w := &e.windows[p]; from.Unix() > w.from {
			*w = window{from: from.Unix()}
		}
	}
	if day := e.windows[Day].from; e.day != day {
		e.day, e.largest, e.lied = day, 0, false
	}
}

// sample is how many keys are looked at when one has to give way.
const sample = 32

// makeRoom forgets a key if there are too many: one without a request under way
// that has used least this month among some that are picked at random, so that
// who would like to be forgotten has to have used nearly nothing.
func (l *Ledger) makeRoom() {
	if len(l.entries) < l.max {
		return
	}
	victim, least, seen := "", int64(-1), 0
	for key, e := range l.entries { // in random order
		if e.running > 0 {
			continue
		}
		if used := e.windows[Month].used; least < 0 || used < least {
			victim, least = key, used
		}
		if seen++; seen == sample {
			break
		}
	}
	if least >= 0 {
		delete(l.entries, victim)
	}
}

// Package breaker keeps requests from an upstream that fails, and lets one of them
// find out when it works again.
//
// A breaker is closed at first. It opens when, of the requests that ended within
// the window, there are enough, and too large a share has failed or was slow:
// shares and not failures in a row, so that one success in six closes nothing.
// Open, it rejects requests for a while, which grows with each time. Then it is
// half open: one request is the probe, and others are rejected meanwhile. A
// probe that succeeds closes it, one that fails opens it again, and so does one
// that has not ended in time. What ends late, after the state has changed, counts
// for nothing.
package breaker

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Settings say when a breaker opens, and for how long.
type Settings struct {
	Window  time.Duration // in which requests count
	Volume  int           // of requests in the window, below which it never opens
	Errors  float64       // share of failures that opens it, up to 1
	Slow    time.Duration // what takes longer is slow; 0: nothing is
	Slows   float64       // share of slow requests that opens it, up to 1
	Open    time.Duration // how long it is open the first time
	MaxOpen time.Duration // and at most
	Probe   time.Duration // how long a probe may take
}

// State of a breaker.
type State uint8

// The states.
const (
	Closed State = iota
	HalfOpen
	Opened
)

// String returns closed, half_open or open.
func (s State) String() string { return [...]string{"closed", "half_open", "open"}[s] }

// Change is a change of state.
type Change struct {
	From, To State
	Why      string
	For      time.Duration // how long it is open
}

// Outcome is what became of a request.
type Outcome uint8

// The outcomes.
const (
	Success   Outcome = iota
	Failure           // the upstream has failed
	Undecided         // nobody can tell, as where the client has left
)

// buckets is in how many parts the window slides.
const buckets = 10

type bucket struct {
	period               int64 // since the epoch, in tenths of the window
	total, failed, slows int
}

// Breaker is that of one upstream. Its methods may be called from many goroutines.
type Breaker struct {
	mu       sync.Mutex
	settings Settings
	state    State
	epoch    uint64 // of states: what began in another counts for nothing
	counts   [buckets]bucket
	until    time.Time // open, or probing
	opened   int       // times in a row
	probing  bool
	random   func() float64
}

// New returns a breaker that is closed.
func New(s Settings) *Breaker { return &Breaker{settings: s, random: rand.Float64} }

// Configure changes the settings for what comes.
func (b *Breaker) Configure(s Settings) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.Window != b.settings.Window {
		b.counts = [buckets]bucket{}
	}
	b.settings = s
}

// State returns the state.
func (b *Breaker) State() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

// Call is a request that was let pass.
type Call struct {
	b     *Breaker
	epoch uint64
	probe bool
	began time.Time
}

// Begin reports whether a request may pass, and if not, when to try again. Its
// Call must be ended.
func (b *Breaker) Begin(now time.Time) (call Call, wait time.Duration, change *Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == HalfOpen && b.probing && !now.Before(b.until) {
		change = b.open(now, "the probe has not ended in time")
	}
	switch b.state {
	case Closed:
		return Call{b, b.epoch, false, now}, 0, change
	case Opened:
		if now.Before(b.until) {
			return Call{}, b.until.Sub(now), change
		}
		change = b.become(HalfOpen, "the time is over")
	}
	if b.probing {
		return Call{}, b.until.Sub(now), change
	}
	b.probing, b.until = true, now.Add(b.settings.Probe)
	return Call{b, b.epoch, true, now}, 0, change
}

// End says what became of a request after so long, until its response began.
func (c Call) End(now time.Time, outcome Outcome, took time.Duration) *Change {
	b := c.b
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case c.epoch != b.epoch:
		return nil
	case c.probe:
		return b.probed(now, outcome, took)
	case b.state != Closed || outcome == Undecided:
		return nil
	}
	slow := b.settings.Slow > 0 && took > b.settings.Slow
	at := b.bucket(now)
	at.total++
	if outcome == Failure {
		at.failed++
	}
	if slow {
		at.slows++
	}
	if outcome == Failure || slow {
		return b.judge(now)
	}
	return nil
}

// probed says what became of the probe. One that nobody can tell of is none: the next
// request is another.
func (b *Breaker) probed(now time.Time, outcome Outcome, took time.Duration) *Change {
	b.probing = false
	switch {
	case outcome == Undecided:
		return nil
	case outcome == Failure:
		return b.open(now, "the probe has failed")
	case took > b.settings.Probe || b.settings.Slow > 0 && took > b.settings.Slow:
		return b.open(now, "the probe was slow")
	}
	b.opened, b.counts = 0, [buckets]bucket{}
	return b.become(Closed, "the probe has succeeded")
}

func (b *Breaker) bucket(now time.Time) *bucket {
	period := b.period(now)
	at := &b.counts[period%buckets]
	if at.period != period {
		*at = bucket{period: period}
	}
	return at
}

func (b *Breaker) period(now time.Time) int64 {
	return now.UnixNano() / max(int64(b.settings.Window)/buckets, 1)
}

// judge opens the breaker if too much in the window is bad.
func (b *Breaker) judge(now time.Time) *Change {
	var all bucket
	period := b.period(now)
	for _, at := range b.counts {
		if at.period > period-buckets && at.period <= period {
			all.total += at.total
			all.failed += at.failed
			all.slows += at.slows
		}
	}
	total := float64(all.total)
	switch {
	case all.total < b.settings.Volume:
		return nil
	case float64(all.failed) >= b.settings.Errors*total && all.failed > 0:
		return b.open(now, "failures")
	case all.slows > 0 && b.settings.Slow > 0 && float64(all.slows) >= b.settings.Slows*total && all.failed > 0:
		return b.open(now, "slow responses and failures")
	}
	return nil
}

// open opens the breaker for a time that doubles with each time in a row, and of
// which a fifth is chance, so that many servers do not try at one moment.
func (b *Breaker) open(now time.Time, why string) *Change {
	length := b.settings.Open << min(b.opened, 16)
	if length > b.settings.MaxOpen || length <= 0 {
		length = b.settings.MaxOpen
	}
	length = length*9/10 + time.Duration(b.random()*float64(length)/5)
	b.opened++
	b.until, b.probing, b.counts = now.Add(length), false, [buckets]bucket{}
	change := b.become(Opened, why)
	change.For = length
	return change
}

func (b *Breaker) become(s State, why string) *Change {
	c := &Change{From: b.state, To: s, Why: why}
	b.state = s
	b.epoch++
	return c
}

package audit

import (
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
)

const (
	// intentAfter is the age at which a request that is still being served
	// gets an intent record, so that whatever happens to the process only
	// its end can remain unknown.
	intentAfter = 2 * time.Second

	// sweepEvery is how often the requests in flight are looked at.
	sweepEvery = 250 * time.Millisecond
)

// flight is the entry of a request among those of its trail that are still
// being served.
type flight struct {
	prev, next *flight // nil while it is in no list
	of         *entry
	intent     bool // an intent record has been written
}

// flights are the requests of one trail that are being served. mu guards the
// lists and, of each request in them, whether it has an intent record and its
// id: see entry.
type flights struct {
	mu    sync.Mutex
	young flight // without an intent record, in the order in which they began
	old   flight // with one
}

// push appends f to the list that begins with head.
func (head *flight) push(f *flight) {
	if head.next == nil {
		head.next, head.prev = head, head
	}
	f.prev, f.next = head.prev, head
	f.prev.next, head.prev = f, f
}

// unlink takes f out of its list and reports whether it was in one.
func (f *flight) unlink() bool {
	if f.next == nil {
		return false
	}
	f.prev.next, f.next.prev = f.next, f.prev
	f.prev, f.next = nil, nil
	return true
}

// first returns the first request of the list, nil if there is none.
func (head *flight) first() *flight {
	if head.next == head {
		return nil
	}
	return head.next
}

// begin adds a request.
func (l *flights) begin(e *entry) {
	l.mu.Lock()
	e.flight.of = e
	if e.flight.intent {
		l.old.push(&e.flight)
	} else {
		l.young.push(&e.flight)
	}
	l.mu.Unlock()
}

// end takes a request out, whose outcome is about to be recorded. It reports
// false if that has been done for it, because the process ends.
func (l *flights) end(e *entry) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return e.flight.unlink()
}

// intended moves a request to those that have an intent record, which write
// writes unless there is one.
func (l *flights) intended(e *entry, write func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.flight.intent || !e.flight.unlink() {
		return
	}
	e.flight.intent = true
	write()
	l.old.push(&e.flight)
}

// sweep writes an intent record for each request that has none and is older
// than age. The lists stay locked meanwhile, so that no intent can come after
// its outcome: Append does not wait for the disk.
func (s *store) sweep(t *trail.Trail, age time.Duration) {
	l := &s.flights
	l.mu.Lock()
	defer l.mu.Unlock()
	for f := l.young.first(); f != nil && time.Since(f.of.start) >= age; f = l.young.first() {
		f.unlink()
		f.intent = true
		_ = f.of.handler.note(t, f.of, kindIntent)
		l.old.push(f)
	}
}

// watch sweeps until stop is closed.
func (s *store) watch(t *trail.Trail, stop <-chan struct{}) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			age := intentAfter
			if caddy.Exiting() {
				age = 0 // whoever stops us may not wait much longer
			}
			s.sweep(t, age)
		}
	}
}

// abandon writes the outcome of every request that is still being served, as
// far as it is known: the process ends without waiting for them.
func (s *store) abandon(t *trail.Trail) {
	l := &s.flights
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, head := range []*flight{&l.old, &l.young} {
		for f := head.first(); f != nil; f = head.first() {
			f.unlink()
			f.of.cutShort()
			_ = f.of.handler.note(t, f.of, kindOutcome)
		}
	}
}

package replay

import "time"

// spans are for how long after they were made values are accepted.
type spans struct {
	longest time.Duration // by anyone who shares the memory

	// What was made before widened may have been noted, and forgotten, by
	// somebody who accepted it for no longer than shortest.
	widened  time.Time
	shortest time.Duration
}

// Widen says that from now on values which say when they were made may be
// accepted up to span after that, leeway for clocks included. Whoever begins
// to use the memory calls it first, and after a reload again.
//
// Those who share a memory need not agree about the span: two sites may have
// different ones, and a reload may make one longer. Each value is remembered
// for the longest span there ever was. Else what was used at a site with a
// short one, and forgotten, would be good again at a site with a longer one.
// What was made before a span became the longest is accepted for as long as
// it was before that, and is ErrOlder then.
func (m *Memory) Widen(span time.Duration, now time.Time) {
	for {
		old := m.spans.Load()
		wide := &spans{longest: span, shortest: span}
		if old != nil {
			if span <= old.longest {
				return
			}
			// A client whose clock is ahead may have made a value later
			// than now, though not by more than the leeway in the span.
			wide.widened, wide.shortest = now.Add(old.longest), old.shortest
		}
		if m.spans.CompareAndSwap(old, wide) {
			return
		}
	}
}

// until is when a value that was made then will not be accepted any more by
// anyone. It is not ok if it may have been forgotten already.
func (m *Memory) until(made, now time.Time) (t time.Time, ok bool) {
	s := m.spans.Load()
	if s == nil {
		return t, true
	}
	ok = !made.Before(s.widened) || now.Before(made.Add(s.shortest))
	return made.Add(s.longest), ok
}

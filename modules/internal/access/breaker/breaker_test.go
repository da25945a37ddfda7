package breaker

import (
	"testing"
	"time"
)

var settings = Settings{
	Window: 10 * time.Second, Volume: 10, Errors: 0.5, Slow: time.Second, Slows: 0.5,
	Open: 4 * time.Second, MaxOpen: 10 * time.Second, Probe: 5 * time.Second,
}

// clock is a breaker with its time.
type clock struct {
	*Breaker
	now time.Time
}

func start() *clock {
	b := New(settings)
	b.random = func() float64 { return 0.5 }
	return &clock{b, time.Unix(1_800_000_000, 0)}
}

// send sends a request and reports whether it was let pass.
func (c *clock) send(o Outcome, took time.Duration) bool {
	call, wait, _ := c.Begin(c.now)
	if wait > 0 {
		return false
	}
	call.End(c.now, o, took)
	return true
}

func (c *clock) want(t *testing.T, s State) {
	t.Helper()
	if got := c.State(); got != s {
		t.Fatalf("it is %s, want %s", got, s)
	}
}

func (c *clock) opened(t *testing.T) *clock {
	t.Helper()
	for range settings.Volume {
		c.send(Failure, 0)
	}
	c.want(t, Opened)
	return c
}

func TestOneSuccessInSixKeepsNothingClosed(t *testing.T) {
	c := start()
	for i := range 12 {
		o := Failure
		if i%6 == 5 {
			o = Success
		}
		c.send(o, 0)
	}
	c.want(t, Opened)
}

func TestFewFailuresOpenNothing(t *testing.T) {
	c := start()
	for range settings.Volume - 1 {
		c.send(Failure, 0)
	}
	c.want(t, Closed)
	c.now = c.now.Add(settings.Window + time.Second) // and they are forgotten
	c.send(Failure, 0)
	c.want(t, Closed)
	for range 100 {
		c.send(Success, 0)
	}
	for range 50 {
		c.send(Failure, 0)
	}
	c.want(t, Closed)
}

func TestClientsThatLeaveOpenNothing(t *testing.T) {
	c := start()
	for range 100 {
		c.send(Undecided, time.Hour)
	}
	c.want(t, Closed)
}

func TestLatencyAloneOpensNothing(t *testing.T) {
	c := start()
	for range 100 {
		c.send(Success, time.Minute)
	}
	c.want(t, Closed)
	c.send(Failure, time.Minute)
	c.want(t, Opened)
}

func TestOneProbe(t *testing.T) {
	c := start().opened(t)
	if c.send(Success, 0) {
		t.Error("a request passed while it is open")
	}
	c.now = c.now.Add(5 * time.Second)
	probe, wait, change := c.Begin(c.now)
	if wait > 0 || change == nil || change.To != HalfOpen {
		t.Fatalf("no probe: %v %+v", wait, change)
	}
	for range 10 {
		if c.send(Success, 0) {
			t.Error("a second request passed beside the probe")
		}
	}
	c.now = c.now.Add(time.Second)
	if change := probe.End(c.now, Success, time.Second); change == nil || change.To != Closed {
		t.Errorf("got %+v", change)
	}
	for range settings.Volume - 1 {
		c.send(Failure, 0)
	}
	c.want(t, Closed) // what was before is forgotten
}

func TestAProbeThatHangsIsAFailure(t *testing.T) {
	c := start().opened(t)
	c.now = c.now.Add(5 * time.Second)
	probe, _, _ := c.Begin(c.now)
	c.now = c.now.Add(settings.Probe)
	_, wait, change := c.Begin(c.now)
	if wait <= 0 || change == nil || change.From != HalfOpen || change.To != Opened {
		t.Fatalf("got %v %+v", wait, change)
	}
	if change := probe.End(c.now.Add(time.Hour), Success, time.Second); change != nil {
		t.Errorf("a late probe counts: %+v", change)
	}
	c.now = c.now.Add(wait)
	if !c.send(Success, 0) {
		t.Error("no second probe")
	}
	c.want(t, Closed)
}

func TestAProbeOfWhichNobodyCanTellIsNone(t *testing.T) {
	c := start().opened(t)
	c.now = c.now.Add(5 * time.Second)
	c.send(Undecided, 0)
	c.want(t, HalfOpen)
	if !c.send(Success, 0) {
		t.Error("no second probe")
	}
	c.want(t, Closed)
}

func TestItIsOpenForLongerEachTime(t *testing.T) {
	c := start().opened(t)
	for _, want := range []time.Duration{4 * time.Second, 8 * time.Second, 10 * time.Second, 10 * time.Second} {
		_, wait, _ := c.Begin(c.now)
		if wait != want {
			t.Errorf("open for %v, want %v", wait, want)
		}
		c.now = c.now.Add(wait)
		c.send(Failure, 0)
	}
}

func TestWhatEndsLateCountsForNothing(t *testing.T) {
	c := start()
	late, _, _ := c.Begin(c.now)
	c.opened(t)
	c.now = c.now.Add(5 * time.Second)
	c.send(Success, 0)
	c.want(t, Closed)
	for range settings.Volume - 1 {
		c.send(Failure, 0)
	}
	if change := late.End(c.now, Failure, 0); change != nil {
		t.Errorf("got %+v", change)
	}
}

func BenchmarkBreaker(b *testing.B) {
	c := New(settings)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		call, _, _ := c.Begin(now)
		call.End(now, Success, 0)
	}
}

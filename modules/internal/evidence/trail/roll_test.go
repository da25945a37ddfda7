package trail

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// testClock is a clock that stands still unless told otherwise.
type testClock struct {
	mu sync.Mutex
	t  time.Time
	up time.Duration
}

func newClock() *testClock { return &testClock{t: time.Unix(1_800_000_000, 0)} }

func (c *testClock) uptime() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.up
}

// set sets the clock, which is not the same as time that passes.
func (c *testClock) set(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func (c *testClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *testClock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
	c.up += d
}

func segments(tb testing.TB, dir string) int {
	l, err := list(dir)
	if err != nil {
		tb.Fatal(err)
	}
	return len(l.records)
}

func TestSegmentsRollByAge(t *testing.T) {
	dir := t.TempDir()
	clock := newClock()
	o := testOptions(t)
	o.Now, o.RollEvery, o.Keep = clock.now, time.Hour, -1
	tr := mustOpen(t, dir, o)
	for i := range 6 {
		fill(t, tr, i, i+1, 100)
		clock.move(25 * time.Minute)
	}
	if n := segments(t, dir); n != 2 {
		t.Errorf("%d segments after two hours and a half, want 2 (begun at 0 and 75 minutes)", n)
	}
	// Going back does not confuse it, and does not keep it from rolling.
	clock.set(-48 * time.Hour)
	fill(t, tr, 6, 10, 100)
	mustClose(t, tr)
	tr = mustOpen(t, dir, o)
	fill(t, tr, 10, 12, 100)
	clock.move(72 * time.Hour)
	fill(t, tr, 12, 13, 100)
	mustClose(t, tr)
	wantGood(t, dir, 13)
	if n := segments(t, dir); n < 3 {
		t.Errorf("%d segments, want more after the clock went back and forth", n)
	}
	var last int64
	l, _ := list(dir)
	for _, first := range l.seals {
		s, err := readSeal(dir, first, "example.com/trail", nil)
		if err != nil || s.opened < last || s.closed < s.opened {
			t.Errorf("seal of %d: %+v, %v: times go back", first, s, err)
		}
		last = s.closed
	}
}

func TestOldSegmentsGoAndTheChainStillVerifies(t *testing.T) {
	dir := t.TempDir()
	clock := newClock()
	o := testOptions(t)
	o.Logf = nil // it would say something every hour
	o.Checkpoint = time.Millisecond
	o.Now, o.uptime, o.RollEvery, o.Keep = clock.now, clock.uptime, time.Hour, 100*time.Hour
	tr := mustOpen(t, dir, o)
	n := 0
	day := func(days int) {
		for range days * 24 {
			fill(t, tr, n, n+3, 100)
			n += 3
			clock.move(time.Hour)
		}
	}
	day(3)
	if first := lines0(t, dir); first != 0 {
		t.Fatalf("records before %d are gone after three days", first)
	}
	early := tr.Checkpoint()
	day(4)
	mustClose(t, tr)
	settle(t, dir, o)
	r := wantGood(t, dir, int64(n))
	if r.Pruned == 0 || r.Pruned+r.Records != int64(n) || r.Records < 300 || r.Records > 310 {
		t.Errorf("pruned %d of %d records, %d left: want those of about 100 hours", r.Pruned, n, r.Records)
	}
	// A checkpoint from before the removal is not a fault, and one from after is
	// still compared.
	if r := mustVerify(t, dir, VerifyOptions{Remembered: [][]byte{early, tr.Checkpoint()}}); !r.OK() {
		t.Errorf("%v", r.Problems)
	}
	tr = mustOpen(t, dir, o)
	day(5)
	mustClose(t, tr)
	settle(t, dir, o)
	if again := wantGood(t, dir, int64(n)); again.Pruned <= r.Pruned {
		t.Errorf("nothing more was removed after a restart: %d", again.Pruned)
	}
	for seed := range 5 { // what is left is as well protected as before
		other := filepath.Join(t.TempDir(), "copy")
		copyTrail(t, dir, other)
		v := openVictim(t, other)
		seg := newRand(uint64(seed)).IntN(len(v.files) - 1)
		l := v.lines(t, seg)
		l[0] = "{}\n"
		v.write(t, seg, l)
		if r := mustVerify(t, other, VerifyOptions{}); r.OK() || r.Problems[0].First != int64(v.first[seg]) {
			t.Errorf("an edit after the removal: %v", r.Problems)
		}
	}
}

// settle starts and ends a trail until nothing more is to be removed.
func settle(tb testing.TB, dir string, o Options) {
	tb.Helper()
	for before := int64(-1); before != lines0(tb, dir); {
		before = lines0(tb, dir)
		mustClose(tb, mustOpen(tb, dir, o))
	}
}

// lines0 is the index of the first record that is there.
func lines0(tb testing.TB, dir string) int64 {
	l, err := list(dir)
	if err != nil || len(l.records) == 0 {
		tb.Fatal(err)
	}
	return l.records[0]
}

func TestCrashWhileOldSegmentsGoIsRepaired(t *testing.T) {
	dir := t.TempDir()
	clock := newClock()
	o := testOptions(t)
	o.Now, o.uptime, o.RollSize, o.Keep = clock.now, clock.uptime, 1010, 100*time.Hour
	tr := mustOpen(t, dir, o)
	for i := range 60 {
		fill(t, tr, i, i+1, 100)
	}
	mustClose(t, tr)
	before := filepath.Join(t.TempDir(), "before")
	copyTrail(t, dir, before)
	clock.move(200 * time.Hour)
	mustClose(t, mustOpen(t, dir, o)) // removes
	r := wantGood(t, dir, 60)
	if r.Pruned != 50 {
		t.Fatalf("pruned %d", r.Pruned)
	}
	// The note is written, nothing is removed yet.
	if err := os.WriteFile(filepath.Join(before, prunedName), read(t, dir, prunedName), 0o600); err != nil {
		t.Fatal(err)
	}
	wantGood(t, before, 60)
	mustClose(t, mustOpen(t, before, o))
	if r := wantGood(t, before, 60); lines0(t, before) != 50 || len(r.Warnings) > 0 {
		t.Errorf("records from %d are there, warnings %q", lines0(t, before), r.Warnings)
	}
}

func TestClockSetForwardWhileRunningRemovesNothing(t *testing.T) {
	dir := t.TempDir()
	clock := newClock()
	o := testOptions(t)
	o.RollSize, o.Keep, o.Now, o.uptime, o.Checkpoint = 1010, time.Hour, clock.now, clock.uptime, time.Millisecond
	tr := mustOpen(t, dir, o)
	n := 0
	add := func() {
		for range 30 {
			fill(t, tr, n, n+1, 100)
			n++
		}
	}
	add()
	clock.set(365 * 24 * time.Hour)
	add()
	if first := lines0(t, dir); first != 0 {
		t.Errorf("records before %d were removed on the word of a clock that was set", first)
	}
	// Nobody objected for a day.
	clock.move(25 * time.Hour)
	add()
	eventually(t, "old records are removed", func() bool { return lines0(t, dir) >= 40 })
	mustClose(t, tr)
	wantGood(t, dir, int64(n))
}

func TestReconfigureAppliesToAnOpenTrail(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t)
	tr := mustOpen(t, dir, o)
	fill(t, tr, 0, 20, 100)
	if n := segments(t, dir); n != 1 {
		t.Fatalf("%d segments", n)
	}
	o2 := otherKey(t)
	o2.Sync, o2.RollSize, o2.Origin, o2.Logf = Always, 1010, "example.org/other", t.Logf
	if err := tr.Reconfigure(o2); err != nil {
		t.Fatal(err)
	}
	for i := 20; i < 50; i++ {
		fill(t, tr, i, i+1, 100)
	}
	if n := segments(t, dir); n < 3 {
		t.Errorf("%d segments after roll was set to ten records", n)
	}
	if tr.Origin() != "example.com/trail" {
		t.Errorf("the origin is now %q", tr.Origin())
	}
	for _, bad := range []Options{{}, {Signer: o.Signer, Queue: 1}, {Signer: o.Signer, Origin: "a b"}, {Signer: o.Signer, VerifierKey: o2.VerifierKey}, {Signer: o.Signer, Sync: 7}, {Signer: o.Signer, Interval: -1}} {
		if err := tr.Reconfigure(bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	mustClose(t, tr)
	// Seals of the first key and of the second verify with both.
	known, err := ParseKeys(read(t, dir, keysName))
	if err != nil {
		t.Fatal(err)
	}
	if r := mustVerify(t, dir, VerifyOptions{Known: known}); !r.OK() {
		t.Errorf("%v", r.Problems)
	}
	if n := strings.Count(string(read(t, dir, keysName)), "\n"); n != 2 {
		t.Errorf("%d keys are noted", n)
	}
}

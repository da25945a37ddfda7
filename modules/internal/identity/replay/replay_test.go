package replay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var start = time.Unix(1_795_341_600, 0)

func use(m *Memory, scope, value string, until, now time.Time) error {
	return m.Use(context.Background(), Entry{Scope: scope, Value: value, Made: now, Until: until}, now)
}

func TestEntryIsGoodOnce(t *testing.T) {
	m := NewMemory(100, start)
	until := start.Add(time.Minute)
	if err := use(m, "a", "1", until, start); err != nil {
		t.Fatal(err)
	}
	for sec := range 60 {
		if err := use(m, "a", "1", until, start.Add(time.Duration(sec)*time.Second)); !errors.Is(err, ErrReplayed) {
			t.Fatalf("after %d s: %v", sec, err)
		}
	}
	// The border between scope and value counts.
	for _, other := range [][2]string{{"a", "2"}, {"b", "1"}, {"", "a1"}, {"a1", ""}, {"", ""}} {
		if err := use(m, other[0], other[1], until, start); err != nil {
			t.Errorf("%q: %v", other, err)
		}
	}
	if got := m.Stats(start); got.Entries != 6 || got.Replayed != 60 {
		t.Errorf("%+v", got)
	}
	if got := m.Stats(until); got.Entries != 0 {
		t.Errorf("at the end: %+v", got)
	}
}

// TestEntryIsGoodAgainForAMoment: if it says so, and its first use did.
func TestEntryIsGoodAgainForAMoment(t *testing.T) {
	m := NewMemory(2, start)
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	for i, c := range []struct {
		value string
		again time.Duration
		at    float64
		want  error
	}{
		{"a", 2 * time.Second, 0.9, nil},
		{"a", 2 * time.Second, 0.9, nil},
		{"a", 2 * time.Second, 1.9, nil},
		{"a", 0, 1.9, ErrReplayed},
		{"b", 0, 1.9, ErrFull}, // one that is good again takes the room of two
		{"a", 2 * time.Second, 2.0, ErrReplayed},
		{"a", 2 * time.Second, 2.1, ErrReplayed},
		{"b", 0, 2.1, nil},
		{"b", 2 * time.Second, 2.1, ErrReplayed},
		{"c", 2 * time.Second, 2.1, ErrFull},
		{"a", 2 * time.Second, 59, ErrReplayed},
	} {
		e := Entry{Scope: "s", Value: c.value, Until: at(60), Again: c.again}
		if err := m.Use(context.Background(), e, at(c.at)); !errors.Is(err, c.want) {
			t.Errorf("step %d: %v, want %v", i, err, c.want)
		}
	}
}

// TestResizeForgetsNothing: more room and less, while there are entries.
func TestResizeForgetsNothing(t *testing.T) {
	for _, sizes := range [][2]int{{10, 5000}, {5000, 10}, {5000, 200_000}, {1, 2}} {
		m := NewMemory(sizes[0], start)
		var used []string
		for i := 0; ; i++ {
			v := strconv.Itoa(i)
			if err := use(m, "s", v, start.Add(time.Hour), start); errors.Is(err, ErrFull) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			used = append(used, v)
		}
		m.Resize(sizes[1])
		for _, v := range used {
			if err := use(m, "s", v, start.Add(time.Hour), start); !errors.Is(err, ErrReplayed) {
				t.Fatalf("%v: %s: %v", sizes, v, err)
			}
		}
		err := use(m, "s", "new", start.Add(time.Hour), start)
		if grown := sizes[1] > sizes[0]; grown && err != nil || !grown && !errors.Is(err, ErrFull) {
			t.Errorf("%v: one more: %v", sizes, err)
		}
		later := start.Add(2 * time.Hour)
		if n := m.Stats(later).Entries; n != 0 {
			t.Errorf("%v: %d are left when all are past", sizes, n)
		}
		if err := use(m, "s", "later", later.Add(time.Hour), later); err != nil {
			t.Errorf("%v: later: %v", sizes, err)
		}
	}
}

func TestEntryIsNotForgottenWithinItsLastSecond(t *testing.T) {
	m := NewMemory(100, start.Add(300*time.Millisecond))
	until := start.Add(1700 * time.Millisecond)
	if err := use(m, "a", "1", until, start.Add(400*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if err := use(m, "a", "1", until, until.Add(-time.Nanosecond)); !errors.Is(err, ErrReplayed) {
		t.Errorf("got %v", err)
	}
}

func TestEntryFromBeforeTheStoreIsRefused(t *testing.T) {
	m := NewMemory(100, start.Add(500*time.Millisecond))
	made := func(at time.Time) error {
		return m.Use(context.Background(), Entry{Value: at.String(), Made: at, Until: start.Add(time.Hour)}, start.Add(time.Second))
	}
	if err := made(start.Add(-time.Nanosecond)); !errors.Is(err, ErrOlder) {
		t.Errorf("got %v", err)
	}
	if err := made(start); err != nil {
		t.Errorf("of the same second: %v", err)
	}
	if err := made(time.Time{}); err != nil {
		t.Errorf("without a time: %v", err)
	}
	if got := m.Stats(start); got.Older != 1 {
		t.Errorf("%+v", got)
	}
}

func TestFullStoreRefusesAndForgetsNothing(t *testing.T) {
	m := NewMemory(3, start)
	until := start.Add(time.Minute)
	for i := range 3 {
		if err := use(m, "", strconv.Itoa(i), until, start); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		if err := use(m, "", strconv.Itoa(10+i), until, start.Add(59*time.Second)); !errors.Is(err, ErrFull) {
			t.Fatalf("got %v", err)
		}
	}
	for i := range 3 {
		if err := use(m, "", strconv.Itoa(i), until, start.Add(59*time.Second)); !errors.Is(err, ErrReplayed) {
			t.Errorf("a replay at a full store: %v", err)
		}
	}
	if err := use(m, "", "10", until.Add(time.Minute), until); err != nil {
		t.Errorf("once there is room: %v", err)
	}
	if got := m.Stats(until); got.Full != 10 || got.Entries != 1 {
		t.Errorf("%+v", got)
	}
}

// TestClockThatIsSetBackForgetsNothing: a time that is earlier than the one
// before makes nothing past and nothing live again.
func TestClockThatIsSetBackForgetsNothing(t *testing.T) {
	m := NewMemory(100, start)
	at := start.Add(time.Hour)
	if err := m.Use(context.Background(), Entry{Value: "1", Until: at.Add(time.Minute)}, at); err != nil {
		t.Fatal(err)
	}
	for _, now := range []time.Time{start, start.Add(-time.Hour), at.Add(-time.Second)} {
		if err := m.Use(context.Background(), Entry{Value: "1", Until: at.Add(time.Minute)}, now); !errors.Is(err, ErrReplayed) {
			t.Errorf("at %v: %v", now, err)
		}
	}
}

func TestManyUseOneEntry(t *testing.T) {
	m := NewMemory(100_000, start)
	var accepted atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 2000 {
				if use(m, "", strconv.Itoa(i), start.Add(time.Minute), start) == nil {
					accepted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got := accepted.Load(); got != 2000 {
		t.Errorf("2000 entries were accepted %d times", got)
	}
}

// TestWhatWasForgottenIsNotAcceptedByAClockThatIsSetBack: nor is everything
// else refused then for longer than entries live.
func TestWhatWasForgottenIsNotAcceptedByAClockThatIsSetBack(t *testing.T) {
	m := NewMemory(100, start)
	first := Entry{Value: "1", Until: start.Add(time.Minute)}
	if err := m.Use(context.Background(), first, start); err != nil {
		t.Fatal(err)
	}
	m.Stats(start.Add(time.Hour)) // forgets it
	if err := m.Use(context.Background(), first, start.Add(time.Second)); !errors.Is(err, ErrOlder) {
		t.Errorf("got %v", err)
	}
	if err := m.Use(context.Background(), Entry{Value: "2", Until: start.Add(61 * time.Second)}, start.Add(time.Second)); err != nil {
		t.Error(err)
	}
}

// naive is the store as one would write it without a thought for memory.
type naive struct {
	until map[string]time.Time
	order []string
	limit int
}

func (n *naive) use(value string, until, now time.Time) error {
	for len(n.order) > 0 && !now.Before(n.until[n.order[0]]) {
		delete(n.until, n.order[0])
		n.order = n.order[1:]
	}
	if _, ok := n.until[value]; ok {
		return ErrReplayed
	}
	if len(n.until) >= n.limit {
		return ErrFull
	}
	n.until[value] = until
	n.order = append(n.order, value)
	return nil
}

// TestAnswersAreThoseOfANaiveMap is about entries that all live equally long.
// While the store is emptied in steps it may be full for some calls yet, which
// is why time goes on slowly here.
func TestAnswersAreThoseOfANaiveMap(t *testing.T) {
	for _, c := range []struct{ limit, values, keep int }{{1, 3, 2}, {3, 10, 5}, {255, 400, 20}, {256, 1000, 60}, {257, 600, 90}, {1000, 5000, 300}, {5000, 8000, 3000}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			m, n := NewMemory(c.limit, start), &naive{until: make(map[string]time.Time), limit: c.limit}
			rnd := rand.New(rand.NewPCG(1, uint64(c.limit)))
			now := start
			for i := range 100_000 {
				if rnd.IntN(3) == 0 {
					now = now.Add(time.Second)
				}
				value, until := strconv.Itoa(rnd.IntN(c.values)), now.Add(time.Duration(c.keep)*time.Second)
				// Room for what became past in the meantime.
				m.Stats(now)
				if got, want := use(m, "", value, until, now), n.use(value, until, now); got != want {
					t.Fatalf("step %d, value %s: %v, want %v", i, value, got, want)
				}
			}
		})
	}
}

// FuzzNothingIsAcceptedTwice has the law of the store, whatever times come: an
// entry that was accepted is not accepted again while it lives, one that was
// not is refused only where there may be no room, and the room is bounded.
func FuzzNothingIsAcceptedTwice(f *testing.F) {
	f.Add(uint16(3), []byte{1, 10, 1, 1, 10, 0, 2, 1, 1, 3, 200, 1, 4, 5, 9, 1, 1, 255})
	f.Add(uint16(300), []byte("abcabcabcabcabcxyzxyz"))
	f.Fuzz(func(t *testing.T, limit uint16, steps []byte) {
		m := NewMemory(int(limit%600), start)
		live := make(map[string]time.Time)
		accepted := 0
		now, latest := start, start
		for ; len(steps) >= 3; steps = steps[3:] {
			value, until := string(steps[:1]), now.Add(time.Duration(steps[1])*time.Second/2)
			now = now.Add(time.Duration(int8(steps[2])) * time.Second / 4) // and backwards
			if now.After(latest) {
				latest = now
			}
			err := m.Use(context.Background(), Entry{Value: value, Until: until}, now)
			switch end, used := live[value]; {
			// With a clock that was set back, a value that comes again as
			// part of something younger is not what was forgotten.
			case used && now.Before(end) && err == nil && (latest.Before(end) || !until.After(end)):
				t.Fatalf("%q is accepted at %v, and was until %v", value, now, end)
			case err == ErrReplayed && !used:
				t.Fatalf("%q was never used", value)
			case err == ErrOlder && until.After(latest):
				t.Fatalf("%q, good until %v, is older than what was forgotten at %v", value, until, latest)
			case err == ErrFull && accepted < int(limit%600):
				t.Fatalf("full with %d", accepted)
			case err == nil:
				accepted++
				live[value] = until
			}
			if got := m.Stats(now).Entries; got > max(int(limit%600), 1) {
				t.Fatalf("%d entries, limit %d", got, limit%600)
			}
		}
		if got := m.Stats(now.Add(24 * time.Hour)).Entries; got != 0 {
			t.Fatalf("%d entries are left", got)
		}
	})
}

// TestEntryTakesNoMoreThan64Bytes measures a store that is nearly full, one
// that holds an eighth of what it could, and the first after it has lived
// through several times its content.
func TestEntryTakesNoMoreThan64Bytes(t *testing.T) {
	const limit = 500_000
	for _, c := range []struct {
		name       string
		live, used int
	}{{"nearly full", 480_000, 480_000}, {"an eighth", limit / 8, limit / 8}, {"after many", 480_000, 3 * limit}} {
		t.Run(c.name, func(t *testing.T) {
			before := heap()
			m := NewMemory(limit, start)
			for i := range c.used {
				// c.live entries a minute, each for a minute.
				now := start.Add(time.Duration(i) * time.Minute / time.Duration(c.live))
				if err := use(m, "signature key", strconv.Itoa(i), now.Add(59*time.Second), now); err != nil {
					t.Fatalf("%d: %v", i, err)
				}
			}
			grown := heap() - before
			end := start.Add(time.Duration(c.used-1) * time.Minute / time.Duration(c.live))
			live := m.Stats(end).Entries
			if live < c.live*9/10 {
				t.Fatalf("%d live entries", live)
			}
			per := float64(grown) / float64(live)
			t.Logf("%.1f bytes for each of %d live entries", per, live)
			if per > 64 {
				t.Errorf("%.1f bytes for each live entry", per)
			}
			runtime.KeepAlive(m)
		})
	}
}

func heap() int64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

func TestPastEntriesGiveBackTheirMemory(t *testing.T) {
	m := NewMemory(100_000, start)
	for i := range 50_000 {
		if err := use(m, "", strconv.Itoa(i), start.Add(time.Minute), start); err != nil {
			t.Fatal(err)
		}
	}
	// By use alone, four for each, and by whoever asks how it is.
	later := start.Add(time.Hour)
	for i := range 20_000 {
		if err := use(m, "", strconv.Itoa(i), later.Add(time.Minute), later); err != nil {
			t.Fatal(err)
		}
	}
	for i := range m.parts {
		if n := m.parts[i].count; n > 20_000/len(m.parts)*6/5 {
			t.Errorf("part %d has %d entries", i, n)
		}
	}
	m.Stats(later.Add(time.Hour))
	for i := range m.parts {
		if len(m.parts[i].chunks) != len(m.parts[i].free) {
			t.Errorf("part %d lost %d chunks", i, len(m.parts[i].chunks)-len(m.parts[i].free))
		}
		held := 0
		for _, c := range m.parts[i].chunks {
			if c != nil {
				held++
			}
		}
		if held > 0 {
			t.Errorf("part %d is empty and holds %d chunks", i, held)
		}
	}
}

// TestLongLivedEntriesDoNotHoldUpShortLivedOnes: idempotency keys are
// remembered for a day, among signatures that live for minutes.
func TestLongLivedEntriesDoNotHoldUpShortLivedOnes(t *testing.T) {
	m := NewMemory(1000, start)
	for i := range 100_000 {
		now := start.Add(time.Duration(i) * time.Second)
		if i%1000 == 0 {
			if err := use(m, "key", strconv.Itoa(i), now.Add(100*time.Hour), now); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
		}
		if err := use(m, "signature", strconv.Itoa(i), now.Add(time.Duration(50+i%300)*time.Second), now); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if err := use(m, "key", "0", start.Add(100*time.Hour), start.Add(99*time.Hour)); !errors.Is(err, ErrReplayed) {
		t.Errorf("got %v", err)
	}
}

// TestPastEntryIsNoReplayWhileItWaitsToBeForgotten: an idempotency key is good
// again at the end of its day, whatever stands before it.
func TestPastEntryIsNoReplayWhileItWaitsToBeForgotten(t *testing.T) {
	m := NewMemory(100, start)
	for i := range 20 {
		if err := use(m, "", strconv.Itoa(i), start.Add(40*time.Second), start); err != nil {
			t.Fatal(err)
		}
	}
	past := start.Add(40 * time.Second)
	if err := use(m, "", "19", past.Add(time.Minute), past); err != nil {
		t.Fatalf("got %v", err)
	}
	if n := m.parts[0].count; n < 10 {
		t.Fatalf("%d entries: the one that is past was forgotten already", n)
	}
	if err := use(m, "", "19", past.Add(time.Minute), past); !errors.Is(err, ErrReplayed) {
		t.Errorf("got %v", err)
	}
}

func TestUseDoesNotAllocateForEachEntry(t *testing.T) {
	m := NewMemory(100_000, start)
	i := 0
	if n := testing.AllocsPerRun(10_000, func() {
		_ = use(m, "a scope as long as a thumbprint, 43 letters", strconv.Itoa(i), start.Add(time.Minute), start)
		i++
	}); n > 1 { // the text
		t.Errorf("%v allocations", n)
	}
}

// checkMany uses n entries, of which one in eight is used again, with time
// going on such that about live are alive. It is what the benchmark does.
func checkMany(m *Memory, values []string, from, n, live int) error {
	for i := from; i < from+n; i++ {
		now := start.Add(time.Duration(i) * time.Minute / time.Duration(live))
		value := values[i%len(values)]
		if err := use(m, values[(i/len(values))%len(values)], value, now.Add(time.Minute), now); err != nil {
			return fmt.Errorf("%d: %w", i, err)
		}
		if i%8 == 0 {
			if err := use(m, values[(i/len(values))%len(values)], value, now.Add(time.Minute), now); err != ErrReplayed {
				return fmt.Errorf("%d again: %v", i, err)
			}
		}
	}
	return nil
}

func someValues() []string {
	values := make([]string, 1<<14)
	for i := range values {
		values[i] = fmt.Sprintf("2f6c1c1e-7d2c-4a55-9b6e-%012d", i)
	}
	return values
}

func TestManyAreTakenWhileOthersBecomePast(t *testing.T) {
	if err := checkMany(NewMemory(50_000, start), someValues(), 0, 200_000, 40_000); err != nil {
		t.Error(err)
	}
}

// BenchmarkUse measures a store in which 400 000 entries live:
//
//	go test -run '^$' -bench Use -cpu 1,2 ./modules/internal/replay
func BenchmarkUse(b *testing.B) {
	const live = 400_000
	values := someValues()
	b.Run("one", func(b *testing.B) {
		m := NewMemory(500_000, start)
		m.Widen(time.Minute, start)
		if err := checkMany(m, values, 0, live, live); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		b.ResetTimer()
		if err := checkMany(m, values, live, b.N, live); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(b.N)*9/8/b.Elapsed().Seconds()/1e6, "Mchecks/s")
	})
	b.Run("parallel", func(b *testing.B) {
		m := NewMemory(1_000_000, start)
		var next atomic.Int64
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				i := int(next.Add(1))
				now := start.Add(time.Duration(i) * time.Minute / live)
				if err := use(m, values[(i/len(values))%len(values)], values[i%len(values)], now.Add(time.Minute), now); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

package budget

import (
	"fmt"
	"math"
	"strconv"
	"sync"
	"testing"
	"time"
)

var (
	noon   = time.Date(2026, 11, 30, 12, 0, 30, 0, time.UTC)
	guess  = Estimate{Default: 100}
	tenDay = []Limit{{1000, Day}}
)

func TestParallelRequestsOvershootByOneResponse(t *testing.T) {
	for _, cost := range []int64{1, 7, 100, 1500} {
		t.Run(strconv.FormatInt(cost, 10), func(t *testing.T) {
			l := New(10)
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					for range 20 {
						// A request that says what its response has at most.
						if r, _ := l.Reserve("k", tenDay, Estimate{Response: cost}, noon); r != nil {
							r.Settle(cost, noon)
						}
					}
				})
			}
			wg.Wait()
			used := l.Used("k", Day, noon)
			if used >= 1000+cost {
				t.Errorf("%d tokens were used of 1000 with responses of %d", used, cost)
			}
			if used < min(1000, 1000*cost) {
				t.Errorf("only %d of 1000 were used", used)
			}
		})
	}
}

func TestRequestsOfUnknownCostStartOneByOneAtFirst(t *testing.T) {
	l := New(10)
	first, x := l.Reserve("k", tenDay, Estimate{Default: 4096}, noon)
	if first == nil {
		t.Fatal(x)
	}
	if _, x = l.Reserve("k", tenDay, Estimate{Default: 4096}, noon); x == nil || !x.InUse {
		t.Fatalf("a second one started beside it: %+v", x)
	}
	if r, _ := l.Reserve("other", tenDay, guess, noon); r == nil {
		t.Error("another key has to wait for it")
	}
	first.Settle(100, noon)
	first.Settle(100, noon) // a second time is not a second cost
	for i := range 9 {
		if r, x := l.Reserve("k", tenDay, Estimate{Default: 4096}, noon); r == nil {
			t.Fatalf("request %d of what is known to cost 100: %+v", i, x)
		}
	}
	if r, x := l.Reserve("k", tenDay, Estimate{}, noon); r != nil || !x.InUse {
		t.Errorf("all is reserved, and another one started: %+v", x)
	}
}

func TestSpentLimitNamesTheLongestWait(t *testing.T) {
	l := New(10)
	limits := []Limit{{10, Minute}, {1000, Day}, {10, Month}, {10, Hour}}
	r, _ := l.Reserve("k", limits, guess, noon)
	r.Settle(10, noon)
	_, x := l.Reserve("k", limits, guess, noon)
	if x == nil || x.Limit.Per != Month || x.InUse || x.Wait != 11*time.Hour+59*time.Minute+30*time.Second || x.Used != 10 {
		t.Fatalf("%+v", x)
	}
	if x.Limit.String() != "10 per month" {
		t.Error(x.Limit)
	}
	// The minute after, and the day after; it is the last of the month.
	if _, x = l.Reserve("k", limits[:1], guess, noon.Add(29*time.Second)); x == nil {
		t.Error("the minute has not ended")
	}
	if r, _ = l.Reserve("k", limits[:1], guess, noon.Add(30*time.Second)); r == nil {
		t.Fatal("the minute has ended")
	}
	r.Settle(0, noon.Add(30*time.Second))
	if r, _ = l.Reserve("k", limits, guess, noon.AddDate(0, 0, 1)); r == nil {
		t.Error("the month has ended")
	}
}

func TestClockSetBackGivesNothingBack(t *testing.T) {
	l := New(10)
	r, _ := l.Reserve("k", tenDay, guess, noon)
	r.Settle(1000, noon)
	for _, back := range []time.Duration{time.Hour, 24 * time.Hour, 800 * time.Hour} {
		if r, _ := l.Reserve("k", tenDay, guess, noon.Add(-back)); r != nil {
			t.Errorf("%s earlier there is a new budget", back)
		}
	}
}

func TestResponseAcrossTheEndOfAWindowCountsInTheNext(t *testing.T) {
	l := New(10)
	r, _ := l.Reserve("k", tenDay, guess, noon)
	tomorrow := noon.AddDate(0, 0, 1)
	r.Settle(1000, tomorrow)
	if _, x := l.Reserve("k", tenDay, guess, tomorrow); x == nil {
		t.Error("what ended today is not counted today")
	}
}

func TestHugeNumbersDoNotOverflow(t *testing.T) {
	l := New(10)
	limits := []Limit{{math.MaxInt64, Day}}
	for range 3 {
		r, x := l.Reserve("k", []Limit{}, Estimate{Response: math.MaxInt64 / 2}, noon)
		if r == nil {
			t.Fatal(x)
		}
		r.Settle(math.MaxInt64/2+1, noon)
	}
	if used := l.Used("k", Day, noon); used != math.MaxInt64 {
		t.Errorf("used %d", used)
	}
	if r, _ := l.Reserve("k", limits, guess, noon); r != nil {
		t.Error("the count began anew")
	}
}

func TestKeysAreBounded(t *testing.T) {
	l := New(100)
	spend := func(key string, tokens int64) {
		if r, _ := l.Reserve(key, nil, guess, noon); r != nil {
			r.Settle(tokens, noon)
		}
	}
	spend("large", 1_000_000)
	running, _ := l.Reserve("running", nil, guess, noon)
	for i := range 10_000 {
		spend(fmt.Sprint("small ", i), 1)
	}
	if n := l.Len(); n > 100 {
		t.Errorf("%d keys, of at most 100", n)
	}
	if l.Used("large", Day, noon) != 1_000_000 {
		t.Error("who has used most was forgotten")
	}
	running.Settle(5, noon)
	if l.Used("running", Day, noon) != 5 {
		t.Error("who has a request under way was forgotten")
	}
}

func TestStateSurvives(t *testing.T) {
	l := New(10)
	if b, err := l.Changes(noon); b != nil || err != nil {
		t.Errorf("nothing has changed: %s %v", b, err)
	}
	r, _ := l.Reserve("k \"1\"", tenDay, guess, noon)
	r.Settle(1000, noon)
	body, err := l.Changes(noon)
	if err != nil || body == nil {
		t.Fatal(err)
	}
	if again, _ := l.Changes(noon); again != nil {
		t.Error("stored twice")
	}
	l.Unsaved()
	if again, _ := l.Changes(noon); string(again) != string(body) {
		t.Errorf("%s, not %s", again, body)
	}
	other := New(10)
	if err := other.Load(body); err != nil {
		t.Fatal(err)
	}
	if _, x := other.Reserve("k \"1\"", tenDay, guess, noon); x == nil || x.Used != 1000 {
		t.Errorf("%s was forgotten: %+v", body, x)
	}
	if r, _ := other.Reserve("k \"1\"", tenDay, guess, noon.AddDate(0, 0, 1)); r == nil {
		t.Error("the next day has begun")
	}
	for _, bad := range []string{``, `{}`, `[]`, `{"version":2}`, `{"version":1,"keys":{"k":{"week":{"1":2}}}}`, `{"version":1,"keys":{"k":{"day":{"1":-2}}}}`, `{"version":1,"keys":{"k":{"day":{"1":2,"3":4}}}}`} {
		if err := New(10).Load([]byte(bad)); err == nil {
			t.Errorf("%s was loaded", bad)
		}
	}
}

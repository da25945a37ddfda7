package trail

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// scan collects what a Scan finds.
func scan(tb testing.TB, dir string, o ScanOptions) ([]int64, Cursor) {
	tb.Helper()
	var got []int64
	at, err := Scan(context.Background(), dir, o, func(r Record) error {
		if want := testRecord(int(r.Index), 100); string(r.Line) != string(want) {
			tb.Fatalf("record %d is %s, want %s", r.Index, r.Line, want)
		}
		got = append(got, r.Index)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return got, at
}

func count(from, to int64) []int64 {
	var out []int64
	for ; from < to; from++ {
		out = append(out, from)
	}
	return out
}

func TestScanGoesOnFromEveryCursor(t *testing.T) {
	dir := makeVictim(t)
	var cursors []Cursor
	_, err := Scan(context.Background(), dir, ScanOptions{}, func(r Record) error {
		cursors = append(cursors, r.Next)
		return nil
	})
	if err != nil || len(cursors) != victimRecords {
		t.Fatal(len(cursors), err)
	}
	for i, c := range cursors {
		again, err := ParseCursor(c.String())
		if err != nil || again != c {
			t.Fatalf("cursor %v comes back as %v, %v", c, again, err)
		}
		short, err := ParseCursor(fmt.Sprint(i + 1))
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range []Cursor{c, short} {
			got, at := scan(t, dir, ScanOptions{From: from})
			if !slices.Equal(got, count(int64(i+1), victimRecords)) || at.Index != victimRecords {
				t.Errorf("from %v: %v, at %v", from, got, at)
			}
		}
	}
	for _, bad := range []string{"", "x", "-1", "1 2", "1 2 3", "1 1 1 1", "01", "5 5 -1"} {
		if c, err := ParseCursor(bad); err == nil {
			t.Errorf("%q is read as %v", bad, c)
		}
	}
}

func TestScanStopsWhereTheFunctionSays(t *testing.T) {
	dir := makeVictim(t)
	for stop := range int64(victimRecords) {
		for _, cause := range []error{ErrStop, errors.New("cause")} {
			at, err := Scan(context.Background(), dir, ScanOptions{}, func(r Record) error {
				if r.Index == stop {
					return cause
				}
				return nil
			})
			if at.Index != stop || cause == ErrStop && err != nil || cause != ErrStop && err != cause {
				t.Errorf("stopped at %d with %v: at %v, %v", stop, cause, at, err)
			}
			if got, _ := scan(t, dir, ScanOptions{From: at}); len(got) == 0 || got[0] != stop {
				t.Errorf("going on after %d: %v", stop, got)
			}
		}
	}
}

func TestScanFindsTexts(t *testing.T) {
	dir := makeVictim(t)
	for _, tt := range []struct {
		texts []string
		want  func(line string) bool
	}{
		{[]string{`"n":1`}, func(l string) bool { return strings.Contains(l, `"n":1`) }},
		{[]string{`7,"pad"`}, func(l string) bool { return strings.Contains(l, `7,"pad"`) }},
		{[]string{`{"n":`}, func(string) bool { return true }},
		{[]string{`"}`}, func(string) bool { return true }},
		{[]string{`"n":2`, `3,`}, func(l string) bool { return strings.Contains(l, `"n":2`) && strings.Contains(l, `3,`) }},
		{[]string{"no such thing"}, func(string) bool { return false }},
		{[]string{""}, func(string) bool { return true }},
		{[]string{"x\"}\n{"}, func(string) bool { return false }},
	} {
		var o ScanOptions
		for _, s := range tt.texts {
			o.Contains = append(o.Contains, []byte(s))
		}
		var want []int64
		for i := range int64(victimRecords) {
			if tt.want(string(testRecord(int(i), 100))) {
				want = append(want, i)
			}
		}
		got, at := scan(t, dir, o)
		if !slices.Equal(got, want) || at.Index != victimRecords {
			t.Errorf("%q: %v, want %v, at %v", tt.texts, got, want, at)
		}
		o.From, o.Limit = Cursor{Index: 33, segment: -1}, func() int64 { return 47 }
		want = slices.DeleteFunc(want, func(i int64) bool { return i < 33 || i >= 47 })
		if got, at := scan(t, dir, o); !slices.Equal(got, want) || at.Index != 47 {
			t.Errorf("%q from 33 to 46: %v, want %v, at %v", tt.texts, got, want, at)
		}
	}
}

func TestScanFollowsATrailThatGrowsAndRolls(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t)
	o.RollSize = 1010
	tr := mustOpen(t, dir, o)
	const n = 200
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var next atomic.Int64
	done := make(chan error, 1)
	go func() {
		_, err := Scan(ctx, dir, ScanOptions{Follow: true, Poll: time.Millisecond, Limit: func() int64 { n, _ := tr.Size(); return n }}, func(r Record) error {
			if size, _ := tr.Size(); r.Index >= size {
				return fmt.Errorf("record %d is read before it is durable", r.Index)
			}
			if r.Index != next.Load() || string(r.Line) != string(testRecord(int(r.Index), 100)) {
				return fmt.Errorf("record %d after %d: %s", r.Index, next.Load(), r.Line)
			}
			if next.Add(1) == n {
				return ErrStop
			}
			return nil
		})
		done <- err
	}()
	for i := range n {
		fill(t, tr, i, i+1, 100)
	}
	if err := <-done; err != nil || next.Load() != n {
		t.Errorf("%d records followed: %v", next.Load(), err)
	}
	mustClose(t, tr)

	ctx, cancel = context.WithCancel(context.Background())
	cancel()
	if _, err := Scan(ctx, dir, ScanOptions{Follow: true}, func(Record) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Scan after its context ended: %v", err)
	}
}

func TestScanTellsGaps(t *testing.T) {
	dir := makeVictim(t)
	v := openVictim(t, dir)
	remove(t, v.files[0])
	remove(t, v.files[3])
	var gaps []string
	o := ScanOptions{Gap: func(from, to int64) error { gaps = append(gaps, fmt.Sprint(from, "-", to)); return nil }}
	got, at := scan(t, dir, o)
	if want := slices.Concat(count(10, 30), count(40, 60)); !slices.Equal(got, want) || at.Index != 60 {
		t.Errorf("%v, want %v", got, want)
	}
	if fmt.Sprint(gaps) != "[0-10 30-40]" {
		t.Errorf("gaps %v", gaps)
	}
	gaps = nil
	if got, _ := scan(t, dir, ScanOptions{From: Cursor{Index: 35}, Gap: o.Gap}); got[0] != 40 || fmt.Sprint(gaps) != "[35-40]" {
		t.Errorf("from within a gap: %v, gaps %v", got, gaps)
	}
	stop := errors.New("gap")
	o.Gap = func(int64, int64) error { return stop }
	if _, err := Scan(context.Background(), dir, o, func(Record) error { return nil }); err != stop {
		t.Errorf("%v", err)
	}
}

func TestScanPassesOverSegmentsThatWereClosedBefore(t *testing.T) {
	dir := t.TempDir()
	clock := newClock()
	o := testOptions(t)
	o.Now, o.uptime, o.Keep, o.RollSize = clock.now, clock.uptime, -1, 1010
	tr := mustOpen(t, dir, o)
	for i := range 50 {
		fill(t, tr, i, i+1, 100)
		clock.move(time.Minute)
	}
	mustClose(t, tr)
	// Record 35 is of minute 35 and in the segment that was closed when
	// record 40 came.
	got, _ := scan(t, dir, ScanOptions{ClosedBefore: newClock().now().Add(35 * time.Minute)})
	if !slices.Equal(got, count(30, 50)) {
		t.Errorf("%v", got)
	}
}

func TestScanRefusesALineThatIsTooLong(t *testing.T) {
	dir := makeVictim(t)
	v := openVictim(t, dir)
	v.write(t, 5, []string{strings.Repeat("x", 3*MaxRecord)})
	if _, err := Scan(context.Background(), dir, ScanOptions{}, func(Record) error { return nil }); !errors.Is(err, errLineTooLong) {
		t.Errorf("Scan: %v", err)
	}
	if r := mustVerify(t, dir, VerifyOptions{}); r.OK() {
		t.Error("Verify finds nothing")
	}
}

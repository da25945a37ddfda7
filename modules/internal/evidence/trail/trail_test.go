package trail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestRecordsComeBackAndVerify(t *testing.T) {
	for _, mode := range []Sync{Always, Batch, Off} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a", "trail")
			o := testOptions(t)
			o.Sync, o.RollSize = mode, 4000
			tr := mustOpen(t, dir, o)
			const n = 200
			for i := range n {
				if err := tr.AppendSync(context.Background(), testRecord(i, 100)); err != nil {
					t.Fatal(err)
				}
			}
			if size, root := tr.Size(); size != n || root != naiveRoot(testLeaves(n)) {
				t.Errorf("Size() = %d, %v, want %d and the naive root", size, root, n)
			}
			mustClose(t, tr)
			r := wantGood(t, dir, n)
			if r.Root != naiveRoot(testLeaves(n)) || r.Checkpoint.Size != n || r.Unsigned != 0 {
				t.Errorf("after Close: root %v, checkpoint %v", r.Root, r.Checkpoint)
			}
			if r.Segments < 4 {
				t.Errorf("%d segments, want several", r.Segments)
			}
			for i, l := range lines(t, dir) {
				if l != string(testRecord(i, 100)) {
					t.Fatalf("record %d is %s", i, l)
				}
			}
		})
	}
}

func TestReopenedTrailGoesOn(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t)
	o.RollSize = 3000
	n := 0
	for _, more := range []int{0, 1, 30, 0, 7, 100, 1} {
		tr := mustOpen(t, dir, o)
		fill(t, tr, n, n+more, 100)
		n += more
		if size, _ := tr.Size(); size != int64(n) {
			t.Fatalf("Size() = %d, want %d", size, n)
		}
		mustClose(t, tr)
		wantGood(t, dir, int64(n))
	}
	if got := len(lines(t, dir)); got != n {
		t.Errorf("Scan finds %d records, want %d", got, n)
	}
}

func TestWhatIsNotARecordIsRefused(t *testing.T) {
	tr := mustOpen(t, t.TempDir(), testOptions(t))
	defer tr.Close()
	for _, rec := range []string{"", "{", "}", "[]", "null", "{\n}", "{}\n", " {}", "{" + strings.Repeat(" ", MaxRecord) + "}"} {
		if err := tr.Append([]byte(rec)); !errors.Is(err, ErrRecord) {
			t.Errorf("Append(%.20q) = %v, want ErrRecord", rec, err)
		}
		if err := tr.AppendSync(context.Background(), []byte(rec)); !errors.Is(err, ErrRecord) {
			t.Errorf("AppendSync(%.20q) = %v, want ErrRecord", rec, err)
		}
	}
	if err := tr.Append([]byte("{" + strings.Repeat(" ", MaxRecord-2) + "}")); err != nil {
		t.Errorf("the longest record is refused: %v", err)
	}
}

func TestAppendCopiesItsArgument(t *testing.T) {
	dir := t.TempDir()
	tr := mustOpen(t, dir, testOptions(t))
	rec := []byte(`{"a":1}`)
	if err := tr.Append(rec); err != nil {
		t.Fatal(err)
	}
	copy(rec, `{"b":2}`)
	mustClose(t, tr)
	if got := lines(t, dir); len(got) != 1 || got[0] != `{"a":1}` {
		t.Errorf("lines are %q", got)
	}
}

func TestClosedTrailRefuses(t *testing.T) {
	tr := mustOpen(t, t.TempDir(), testOptions(t))
	mustClose(t, tr)
	mustClose(t, tr) // twice is as good as once
	if err := tr.Append([]byte("{}")); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Append after Close: %v", err)
	}
	if err := tr.AppendSync(context.Background(), []byte("{}")); !errors.Is(err, ErrUnavailable) {
		t.Errorf("AppendSync after Close: %v", err)
	}
	if tr.Err() == nil {
		t.Error("Err() after Close is nil")
	}
}

func TestSecondTrailOnADirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t)
	tr := mustOpen(t, dir, o)
	_, err := Open(dir, o)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("second Open: %v, want ErrLocked naming process %d", err, os.Getpid())
	}
	mustClose(t, tr)
	mustClose(t, mustOpen(t, dir, o))
}

func TestConcurrentCallersShareSyncs(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t)
	o.Sync, o.RollSize = Always, 20_000
	tr := mustOpen(t, dir, o)
	const callers, each = 32, 30
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				if err := tr.AppendSync(context.Background(), testRecord(c*each+i, 120)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if s := tr.Stats(); s.Durable != callers*each || s.Syncs >= callers*each/2 {
		t.Errorf("%d durable records took %d syncs", s.Durable, s.Syncs)
	}
	mustClose(t, tr)
	wantGood(t, dir, callers*each)
	seen := make(map[string]bool)
	for _, l := range lines(t, dir) {
		seen[l] = true
	}
	if len(seen) != callers*each {
		t.Errorf("%d different records, want %d", len(seen), callers*each)
	}
}

func TestAppendSyncReturnsWhenItsContextEnds(t *testing.T) {
	o := testOptions(t)
	hang := make(chan struct{})
	o.sync = func(f *os.File) error { <-hang; return datasync(f) }
	tr := mustOpen(t, t.TempDir(), o)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	err := tr.AppendSync(ctx, []byte("{}"))
	var u *UnavailableError
	if !errors.As(err, &u) || !errors.Is(err, context.DeadlineExceeded) || !u.Queued {
		t.Errorf("AppendSync on a disk that hangs: %v", err)
	}
	close(hang)
	mustClose(t, tr)
}

func TestQueueIsBounded(t *testing.T) {
	o := testOptions(t)
	o.Queue = 2 * MaxRecord
	hang := make(chan struct{})
	o.sync = func(f *os.File) error { <-hang; return datasync(f) }
	dir := t.TempDir()
	tr := mustOpen(t, dir, o)
	rec := testRecord(0, 1000)
	var accepted int64
	var err error
	for err == nil {
		if err = tr.Append(rec); err == nil {
			accepted++
		}
		if accepted > 10_000 {
			t.Fatal("the queue has no bound")
		}
	}
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("full queue: %v", err)
	}
	if s := tr.Stats(); s.Refused != 1 || s.Queued > o.Queue {
		t.Errorf("stats: %+v", s)
	}
	close(hang)
	mustClose(t, tr)
	wantGood(t, dir, accepted)
}

func TestCheckpointNeverCoversWhatIsNotDurable(t *testing.T) {
	for _, mode := range []Sync{Always, Batch, Off} {
		o := testOptions(t)
		o.Sync, o.Checkpoint = mode, 2*time.Millisecond
		var synced sync.Map // sizes of the file at syncs
		o.sync = func(f *os.File) error {
			info, err := f.Stat()
			if err != nil {
				return err
			}
			synced.Store(info.Size(), true)
			return datasync(f)
		}
		_, _, known := testSigner(t)
		var signed []Checkpoint
		o.Observer.Signed = func(msg []byte) {
			cp, err := ParseCheckpoint(msg, known)
			if err != nil {
				t.Error(err)
			}
			signed = append(signed, cp)
		}
		dir := t.TempDir()
		tr := mustOpen(t, dir, o)
		fill(t, tr, 0, 500, 100) // all of one length
		mustClose(t, tr)
		size := int64(len(testRecord(0, 100)) + 1)
		if len(signed) < 2 || signed[len(signed)-1].Size != 500 {
			t.Errorf("mode %d: checkpoints %v", mode, signed)
		}
		for _, cp := range signed {
			if _, ok := synced.Load(cp.Size * size); !ok && cp.Size > 0 {
				t.Errorf("mode %d: a checkpoint covers %d records, which no sync did", mode, cp.Size)
			}
		}
		if !bytes.Equal(tr.Checkpoint(), read(t, dir, checkpointName)) {
			t.Error("Checkpoint() is not the file")
		}
	}
}

func TestTrailVerifiesAtEveryMoment(t *testing.T) {
	dir := t.TempDir()
	clock := newClock()
	o := testOptions(t)
	o.Sync, o.RollSize, o.Checkpoint, o.Logf = Always, 5000, time.Millisecond, nil
	o.Now, o.uptime, o.Keep = clock.now, clock.uptime, time.Hour
	tr := mustOpen(t, dir, o)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := tr.AppendSync(context.Background(), testRecord(g*1_000_000+i, 100)); err != nil {
					t.Error(err)
					return
				}
				clock.move(time.Minute)
			}
		})
	}
	var pruned int64
	for n, start := 0, time.Now(); (n < 50 || pruned == 0) && time.Since(start) < time.Minute; n++ {
		r := mustVerify(t, dir, VerifyOptions{})
		pruned = r.Pruned
		if !r.OK() {
			t.Errorf("%d records: %v", r.Size, r.Problems)
			break
		}
	}
	close(stop)
	wg.Wait()
	mustClose(t, tr)
	if pruned == 0 {
		t.Error("nothing was removed meanwhile")
	}
}

func TestRecordsOfEverySizeComeBack(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t)
	o.RollSize = 6 << 20
	tr := mustOpen(t, dir, o)
	rnd := newRand(1)
	var want []string
	for i := range 60 {
		around := []int{20, 500, readSize, 2 * readSize, batchSize, MaxRecord - 3}[rnd.IntN(6)]
		rec := testRecord(i, around+rnd.IntN(7)-3)
		if i%9 == 8 {
			rec = testRecord(i, MaxRecord)
		}
		if err := tr.AppendSync(context.Background(), rec); err != nil {
			t.Fatalf("record of %d bytes: %v", len(rec), err)
		}
		want = append(want, string(rec))
	}
	mustClose(t, tr)
	wantGood(t, dir, 60)
	mustClose(t, mustOpen(t, dir, o))
	if got := lines(t, dir); !slices.Equal(got, want) {
		t.Error("the records are not what was appended")
	}
	_, err := Scan(context.Background(), dir, ScanOptions{Contains: [][]byte{[]byte(`{"n":59,`)}}, func(r Record) error {
		if r.Index != 59 || string(r.Line) != want[59] {
			t.Errorf("found record %d", r.Index)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestNothingRunsOnAfterClose(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir := t.TempDir()
	o := testOptions(t)
	tr := mustOpen(t, dir, o)
	fill(t, tr, 0, 10, 100)
	if _, err := Open(dir, o); err == nil {
		t.Error("opened twice")
	}
	mustClose(t, tr)
	remove(t, filepath.Join(dir, checkpointName))
	if _, err := Open(dir, o); err == nil {
		t.Error("opened without checkpoint")
	}
}

func TestOpenChecksWhoSigned(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t)
	mustClose(t, mustOpen(t, dir, o))
	remove(t, filepath.Join(dir, keysName))
	other := otherKey(t)
	if _, err := Open(dir, other); !errors.Is(err, ErrTampered) {
		t.Errorf("a trail of another key, whose own is gone: %v", err)
	}
	mustClose(t, mustOpen(t, dir, o))
	// With the old key still noted, a new one may go on.
	tr := mustOpen(t, dir, other)
	fill(t, tr, 0, 5, 100)
	mustClose(t, tr)
	known, err := ParseKeys(read(t, dir, keysName))
	if err != nil {
		t.Fatal(err)
	}
	if r := mustVerify(t, dir, VerifyOptions{Known: known}); !r.OK() {
		t.Errorf("%v", r.Problems)
	}
}

// TestRecordsWrittenWhileStoppedAreNotAdoptedSilently appends a line as
// somebody with access to the disk could. A crash leaves lines like it, so it
// is taken, but somebody is told; after an orderly stop there is nothing to tell.
func TestRecordsWrittenWhileStoppedAreNotAdoptedSilently(t *testing.T) {
	dir, o := t.TempDir(), testOptions(t)
	var said []string
	o.Logf = func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	tr := mustOpen(t, dir, o)
	if err := tr.Append([]byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	mustClose(t, tr)
	tr = mustOpen(t, dir, o)
	if got := tr.Stats().Unsigned; got != 0 || len(said) != 0 {
		t.Fatalf("after an orderly stop: %d unsigned records, %q", got, said)
	}
	mustClose(t, tr)

	f, err := os.OpenFile(segmentPath(dir, 0, recordsSuffix), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("{\"forged\":1}\n"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	tr = mustOpen(t, dir, o)
	defer tr.Close()
	if got := tr.Stats().Unsigned; got != 1 || len(said) != 1 || !strings.Contains(said[0], "records 1 to 1 were never signed") {
		t.Errorf("%d unsigned records, %q", got, said)
	}
}

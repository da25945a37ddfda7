package trail

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of a few pages.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("mounting a small file system needs privileges: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting: %v", err)
		}
	})
	return dir
}

func TestFullDiskRefusesAndRecovers(t *testing.T) {
	for _, mode := range []Sync{Always, Batch, Off} {
		disk := smallDisk(t, "512k")
		dir := filepath.Join(disk, "trail")
		ballast := filepath.Join(disk, "ballast")
		if err := os.WriteFile(ballast, make([]byte, 300<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		o := testOptions(t)
		o.Sync, o.RollSize = mode, 40_000
		tr := mustOpen(t, dir, o)
		var acked []string
		var err error
		for i := 0; err == nil; i++ {
			rec := testRecord(i, 777)
			if err = tr.AppendSync(context.Background(), rec); err == nil {
				acked = append(acked, string(rec))
			}
			if i > 1000 {
				t.Fatal("the disk does not get full")
			}
		}
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, unix.ENOSPC) {
			t.Errorf("full disk: %v, want ErrUnavailable for ENOSPC", err)
		}
		if !errors.Is(tr.Err(), ErrUnavailable) {
			t.Errorf("Err() = %v", tr.Err())
		}
		if err := tr.AppendSync(context.Background(), []byte("{}")); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a second record: %v", err)
		}
		var u *UnavailableError
		if err := tr.Append([]byte(`{"queued":true}`)); !errors.As(err, &u) || !u.Queued {
			t.Errorf("Append: %v, want it queued", err)
		}
		// What is there is whole, also before the repair of a start.
		if r := mustVerify(t, dir, VerifyOptions{}); !r.OK() {
			t.Errorf("while the disk is full: %v", r.Problems)
		}
		if mode == Always { // a start on a full disk works, and goes on failing
			_ = tr.Close()
			fillDisk(t, ballast+"2") // Close gave back what it had allocated
			tr = mustOpen(t, dir, o)
			if err := tr.AppendSync(context.Background(), testRecord(5000, 777)); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("after a start on a full disk: %v", err)
			}
			if err := tr.Append([]byte(`{"queued":true}`)); !errors.Is(err, ErrUnavailable) {
				t.Errorf("Append: %v", err)
			}
		}
		if err := errors.Join(os.Remove(ballast), os.RemoveAll(ballast+"2")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the trail recovers", func() bool { return tr.Err() == nil })
		if err := tr.AppendSync(context.Background(), []byte(`{"after":true}`)); err != nil {
			t.Errorf("after the recovery: %v", err)
		}
		if s := tr.Stats(); s.Lost != 0 || s.Failures != 1 {
			t.Errorf("stats: %+v", s)
		}
		mustClose(t, tr)
		r := mustVerify(t, dir, VerifyOptions{})
		if !r.OK() {
			t.Fatalf("mode %d: %v", mode, r.Problems)
		}
		got := lines(t, dir)
		all := strings.Join(got, "\n")
		for _, rec := range append(acked, `{"queued":true}`, `{"after":true}`) {
			if !strings.Contains(all, rec) {
				t.Errorf("mode %d: an accepted record is missing: %.40s", mode, rec)
			}
		}
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	disk := smallDisk(t, "4m")
	dir := filepath.Join(disk, "trail")
	tr := mustOpen(t, dir, testOptions(t))
	fill(t, tr, 0, 10, 100)
	mustClose(t, tr)
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Skipf("remounting: %v", err)
	}
	if _, err := Open(dir, testOptions(t)); !errors.Is(err, unix.EROFS) {
		t.Errorf("Open: %v, want EROFS", err)
	}
	wantGood(t, dir, 10) // reading needs no lock
	if n := len(lines(t, dir)); n != 10 {
		t.Errorf("Scan finds %d records", n)
	}
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	mustClose(t, mustOpen(t, dir, testOptions(t)))
}

// immutable makes a file such that nobody can write to it, also through a
// descriptor that is open already.
func immutable(t *testing.T, path string, on bool) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		if flags &^= unix.STATX_ATTR_IMMUTABLE; on {
			flags |= unix.STATX_ATTR_IMMUTABLE // the same bit as FS_IMMUTABLE_FL
		}
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags)
	}
	if err != nil {
		t.Skipf("making a file immutable: %v", err)
	}
}

func TestFileThatBecomesReadOnlyRefusesAndRecovers(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t)
	o.Sync = Always
	tr := mustOpen(t, dir, o)
	defer tr.Close()
	fill(t, tr, 0, 10, 100)
	path := segmentPath(dir, 0, recordsSuffix)
	immutable(t, path, true)
	t.Cleanup(func() { immutable(t, path, false) })
	if err := tr.AppendSync(context.Background(), testRecord(10, 100)); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("AppendSync: %v", err)
	}
	immutable(t, path, false)
	eventually(t, "the trail recovers", func() bool { return tr.Err() == nil })
	fill(t, tr, 11, 20, 100)
	mustClose(t, tr)
	wantGood(t, dir, 20)
}

func TestDirectoryThatCannotBeWrittenRefusesAtTheNextSegment(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t)
	o.Sync, o.RollSize = Always, 1010
	tr := mustOpen(t, dir, o)
	defer tr.Close()
	for i := range 10 {
		fill(t, tr, i, i+1, 100)
	}
	immutable(t, dir, true)
	t.Cleanup(func() { immutable(t, dir, false) })
	if err := tr.AppendSync(context.Background(), testRecord(10, 100)); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("AppendSync: %v", err)
	}
	immutable(t, dir, false)
	eventually(t, "the trail recovers", func() bool { return tr.Err() == nil })
	for i := 11; i < 25; i++ {
		fill(t, tr, i, i+1, 100)
	}
	mustClose(t, tr)
	wantGood(t, dir, 25)
}

func TestRemovedDirectoryIsNoticedAndTheChainGoesOn(t *testing.T) {
	for _, tt := range []struct {
		name   string
		n      int // records before
		remove func(dir string) error
		lost   int64 // records missing afterwards
	}{
		{"all", 25, os.RemoveAll, 25},
		{"all of a trail whose open segment is empty", 0, os.RemoveAll, 0},
		{"moved away", 25, func(dir string) error { return os.Rename(dir, dir+".away") }, 25},
		{"the open segment", 25, func(dir string) error { return os.Remove(segmentPath(dir, 20, recordsSuffix)) }, 5},
		{"the open segment and what is beside it", 25, func(dir string) error {
			return errors.Join(os.Remove(segmentPath(dir, 20, recordsSuffix)), os.Remove(segmentPath(dir, 20, hashesSuffix)))
		}, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "trail")
			o := testOptions(t)
			o.Sync, o.RollSize = Always, 1010
			tr := mustOpen(t, dir, o)
			for i := range tt.n {
				fill(t, tr, i, i+1, 100)
			}
			if err := tt.remove(dir); err != nil {
				t.Fatal(err)
			}
			rec := testRecord(1000, 100)
			if err := tr.AppendSync(context.Background(), rec); !errors.Is(err, ErrUnavailable) {
				t.Errorf("a record written to a removed file was acknowledged: %v", err)
			}
			eventually(t, "the trail recovers", func() bool { return tr.Err() == nil })
			for i := range 15 {
				fill(t, tr, 2000+i, 2000+i+1, 100)
			}
			mustClose(t, tr)

			r := mustVerify(t, dir, VerifyOptions{})
			var missing int64
			for _, p := range r.Problems {
				if p.Kind != Missing {
					t.Errorf("problem: %v", p)
				}
				if strings.HasSuffix(p.File, recordsSuffix) {
					missing += p.End - p.First
				}
			}
			want := int64(tt.n) + 16
			if missing != tt.lost || r.Size != want {
				t.Errorf("%d records missing of %d, want %d of %d: %v", missing, r.Size, tt.lost, want, r.Problems)
			}
			tr = mustOpen(t, dir, o)
			fill(t, tr, 3000, 3005, 100)
			mustClose(t, tr)
			if r := mustVerify(t, dir, VerifyOptions{}); r.Size != want+5 {
				t.Errorf("after a restart: %d records, %v", r.Size, r.Problems)
			}
		})
	}
}

func TestFileInPlaceOfTheOpenSegmentIsNotTouched(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t)
	o.Sync = Always
	tr := mustOpen(t, dir, o)
	fill(t, tr, 0, 5, 100)
	path := segmentPath(dir, 0, recordsSuffix)
	other := path + ".other"
	if err := os.WriteFile(other, []byte("something else\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := tr.AppendSync(context.Background(), testRecord(9, 100)); !errors.Is(err, ErrUnavailable) {
			t.Errorf("AppendSync: %v", err)
		}
	}
	eventually(t, "the reason is told", func() bool {
		return tr.Err() != nil && strings.Contains(tr.Err().Error(), "was replaced by another file")
	})
	if err := tr.Close(); err == nil {
		t.Error("Close does not say that a record is lost")
	}
	if got := string(read(t, path)); got != "something else\n" {
		t.Errorf("the file in place is now %q", got)
	}
}

// TestNothingIsAssumedAfterAFailedSync lets syncs fail as they do where the
// kernel could not write: the data is gone from the disk, later syncs succeed.
func TestNothingIsAssumedAfterAFailedSync(t *testing.T) {
	for _, mode := range []Sync{Always, Batch, Off} {
		dir := t.TempDir()
		o := testOptions(t)
		o.Sync, o.Checkpoint, o.RollSize = mode, 20*time.Millisecond, 10_000
		var failing atomic.Bool
		safe := make(map[string]int64) // bytes of each segment that are really on disk
		o.sync = func(f *os.File) error {
			info, err := f.Stat()
			if err != nil {
				return err
			}
			if failing.CompareAndSwap(true, false) {
				// Zeros where the data should be, as after a lost write.
				if n := info.Size() - safe[f.Name()]; n > 0 {
					if _, err := f.WriteAt(make([]byte, n), safe[f.Name()]); err != nil {
						return err
					}
				}
				return unix.EIO
			}
			safe[f.Name()] = info.Size()
			return nil
		}
		var lost atomic.Int64
		o.Observer.Lost = func(n int64) { lost.Add(n) }
		tr := mustOpen(t, dir, o)
		acked := make(map[string]bool)
		for i := range 300 {
			if i%37 == 5 {
				failing.Store(true)
			}
			rec := testRecord(i, 100)
			if mode == Always {
				if tr.AppendSync(context.Background(), rec) == nil {
					acked[string(rec)] = true
				} else {
					eventually(t, "the trail recovers", func() bool { return tr.Err() == nil })
				}
				continue
			}
			var u *UnavailableError
			if err := tr.Append(rec); err != nil && (!errors.As(err, &u) || !u.Queued) {
				t.Fatal(err)
			}
			acked[string(rec)] = true
			if i%37 == 9 {
				eventually(t, "a sync fails", func() bool { return !failing.Load() && tr.Err() == nil })
			}
		}
		eventually(t, "the trail recovers", func() bool { return tr.Err() == nil })
		mustClose(t, tr)
		r := mustVerify(t, dir, VerifyOptions{})
		if !r.OK() {
			t.Fatalf("mode %d: %v", mode, r.Problems)
		}
		for _, l := range lines(t, dir) {
			delete(acked, l)
		}
		if int64(len(acked)) != lost.Load() || mode != Off && len(acked) > 0 {
			t.Errorf("mode %d: %d accepted records are not there, %d were reported lost", mode, len(acked), lost.Load())
		}
		if n := tr.Stats().Failures; n < 5 {
			t.Errorf("mode %d: %d syncs failed", mode, n)
		}
	}
}

func TestSlowDiskDelaysAndAHangingDiskRefuses(t *testing.T) {
	o := testOptions(t)
	o.Sync, o.Stall = Always, 200*time.Millisecond
	gate := make(chan struct{}, 100)
	o.sync = func(f *os.File) error { <-gate; return datasync(f) }
	dir := t.TempDir()
	gate <- struct{}{}
	tr := mustOpen(t, dir, o)
	if err := tr.AppendSync(context.Background(), testRecord(0, 100)); err != nil {
		t.Fatal(err)
	}
	// A sync that takes long is waited for …
	done := make(chan error, 1)
	go func() { done <- tr.AppendSync(context.Background(), testRecord(1, 100)) }()
	eventually(t, "the disk stalls", func() bool { return errors.Is(tr.Err(), ErrUnavailable) })
	// … but not by those who come after it has taken too long.
	if err := tr.AppendSync(context.Background(), testRecord(2, 100)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("while the disk hangs: %v", err)
	}
	close(gate)
	if err := <-done; err != nil {
		t.Errorf("the slow record: %v", err)
	}
	eventually(t, "the trail is available", func() bool { return tr.Err() == nil })
	mustClose(t, tr)
	wantGood(t, dir, 2)
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	o := testOptions(t)
	o.Stall = 20 * time.Millisecond
	hang := make(chan struct{})
	o.sync = func(f *os.File) error { <-hang; return datasync(f) }
	dir := t.TempDir()
	tr := mustOpen(t, dir, o)
	if err := tr.Append(testRecord(0, 100)); err != nil {
		t.Fatal(err)
	}
	if err := tr.Close(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Close: %v", err)
	}
	close(hang)
	<-tr.done
	wantGood(t, dir, 1)
}

func TestPromisedRecordIsWrittenToAFullDisk(t *testing.T) {
	disk := smallDisk(t, "1m")
	dir, ballast := filepath.Join(disk, "trail"), filepath.Join(disk, "ballast")
	o := testOptions(t)
	o.Sync, o.RollSize = Always, 20_000 // a segment ends while the disk is full
	tr := mustOpen(t, dir, o)
	ctx := context.Background()
	promises := make([]Promise, 40)
	var want []string
	for i := range promises {
		var err error
		rec := testRecord(i, 777)
		if promises[i], err = tr.AppendPromising(ctx, rec, 2000); err != nil {
			t.Fatal(err)
		}
		want = append(want, string(rec))
	}
	fillDisk(t, ballast)
	// What was not promised is refused sooner or later, and what was is not.
	var err error
	for i := 0; err == nil; i++ {
		if i > 2000 {
			t.Fatal("a full disk refuses nothing")
		}
		rec := testRecord(1000+i, 777)
		var p Promise
		if p, err = tr.AppendPromising(ctx, rec, 2000); err == nil {
			promises = append(promises, p)
			want = append(want, string(rec))
		}
	}
	if !errors.Is(err, unix.ENOSPC) || !errors.Is(tr.Err(), ErrUnavailable) {
		t.Fatalf("got %v, Err() %v", err, tr.Err())
	}
	if err := tr.AppendPromised(ctx, testRecord(9999, 300_000), promises[0]); !errors.Is(err, ErrPromise) {
		t.Errorf("a longer record: %v", err)
	}
	for i, p := range promises {
		rec := testRecord(5000+i, 1999)
		if err := tr.AppendPromised(ctx, rec, p); err != nil {
			t.Fatalf("promise %d: %v", i, err)
		}
		want = append(want, string(rec))
	}
	if r := mustVerify(t, dir, VerifyOptions{}); !r.OK() {
		t.Errorf("while the disk is full: %v", r.Problems)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the trail recovers", func() bool { return tr.Err() == nil })
	if err := tr.AppendSync(ctx, []byte(`{"after":true}`)); err != nil {
		t.Error(err)
	}
	mustClose(t, tr)
	if r := mustVerify(t, dir, VerifyOptions{}); !r.OK() {
		t.Error(r.Problems)
	}
	have := strings.Join(lines(t, dir), "\n")
	for _, rec := range want {
		if !strings.Contains(have, rec) {
			t.Fatalf("an acknowledged record is missing: %.60s", rec)
		}
	}
	// Nothing stays allocated behind the records.
	var st unix.Stat_t
	entries, _ := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	for _, name := range entries {
		if err := unix.Stat(name, &st); err != nil || st.Blocks*512 > st.Size+4096 {
			t.Errorf("%s: %d bytes take %d (%v)", name, st.Size, st.Blocks*512, err)
		}
	}
}

// fillDisk writes until there is no more room.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}

func TestRefusedAppendLeavesNothingBehind(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	o := testOptions(t)
	o.Sync = Always
	tr := mustOpen(t, dir, o)
	fill(t, tr, 0, 28, 100)
	segment := segmentPath(dir, 0, recordsSuffix)
	aside := filepath.Join(t.TempDir(), "aside")
	if err := os.Rename(segment, aside); err != nil {
		t.Fatal(err)
	}
	if err := tr.AppendSync(context.Background(), testRecord(28, 100)); err == nil {
		t.Fatal("a record was acknowledged that is in no file of the trail")
	}
	eventually(t, "the trail goes on", func() bool { return tr.Err() == nil })
	if err := os.Rename(aside, segment); err != nil {
		t.Fatal(err)
	}
	if r := mustVerify(t, dir, VerifyOptions{}); !r.OK() {
		t.Errorf("the segment is back as it was: %v", r.Problems)
	}
	mustClose(t, tr)
	if r := mustVerify(t, dir, VerifyOptions{}); !r.OK() {
		t.Errorf("after the end: %v", r.Problems)
	}
}

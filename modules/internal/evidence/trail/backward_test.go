package trail

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// backwards reads a trail from its end.
func backwards(t *testing.T, dir string, o ScanOptions) (out []Record, end Cursor) {
	t.Helper()
	end, err := ScanBackward(context.Background(), dir, o, func(r Record) error {
		r.Line = slices.Clone(r.Line)
		out = append(out, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, end
}

func TestScanBackwardFindsWhatScanFindsInOrder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	o := testOptions(t)
	o.RollSize = 400_000
	tr := mustOpen(t, dir, o)
	fill(t, tr, 0, 300, 100)
	fill(t, tr, 300, 310, 200_000) // longer than what is read at once
	fill(t, tr, 310, 4000, 100)
	hashes := segmentPath(dir, tr.writer.first, hashesSuffix)
	mustClose(t, tr)
	check := func(what string) {
		t.Helper()
		var forward []Record
		last, err := Scan(context.Background(), dir, ScanOptions{}, func(r Record) error {
			r.Line = slices.Clone(r.Line)
			forward = append(forward, r)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		got, end := backwards(t, dir, ScanOptions{})
		slices.Reverse(got)
		if end != last || len(got) != len(forward) || len(got) < 4000 {
			t.Fatalf("%s: ends at %v with %d records, want %v and %d", what, end, len(got), last, len(forward))
		}
		for i := range got {
			if got[i].Index != forward[i].Index || string(got[i].Line) != string(forward[i].Line) || got[i].Next != forward[i].Next {
				t.Fatalf("%s: record %d: got %d %v, want %v", what, i, got[i].Index, got[i].Next, forward[i].Next)
			}
		}
	}
	check("as it was written")
	// The hashes of the newest records are written after them.
	info, err := os.Stat(hashes)
	if err != nil {
		t.Fatal(err)
	}
	for _, fewer := range []int64{1, 5, info.Size() / 32} {
		if err := os.Truncate(hashes, max(0, info.Size()-32*fewer)); err != nil {
			t.Fatal(err)
		}
		check("with fewer hashes")
	}
	if err := os.Remove(hashes); err != nil {
		t.Fatal(err)
	}
	check("without hashes")
	// An unfinished line is not a record.
	l, _ := list(dir)
	f, err := os.OpenFile(segmentPath(dir, l.records[len(l.records)-1], recordsSuffix), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString(`{"half":`)
	f.Close()
	check("with half a line")
}

func TestScanBackwardReadsNoMoreThanIsAskedFor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	tr := mustOpen(t, dir, testOptions(t))
	fill(t, tr, 0, 30_000, 300)
	defer mustClose(t, tr)
	var read int64
	n := 0
	_, err := ScanBackward(context.Background(), dir, ScanOptions{Progress: func(b int64) { read = b }}, func(r Record) error {
		if n++; n == 10 {
			return ErrStop
		}
		if r.Index != int64(30_000-n) {
			return errors.New("not the last ones")
		}
		return nil
	})
	if err != nil || n != 10 || read > 2*readSize {
		t.Errorf("%d records from %d bytes: %v", n, read, err)
	}
	future := ScanOptions{ClosedBefore: time.Now().Add(time.Hour)}
	if got, _ := backwards(t, dir, future); len(got) != 30_000 { // the open segment is always read
		t.Errorf("%d records", len(got))
	}
}

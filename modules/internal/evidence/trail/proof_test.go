package trail

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

func TestEveryRecordOfSmallTrailsCanBeProved(t *testing.T) {
	_, _, known := testSigner(t)
	dir := t.TempDir()
	o := testOptions(t)
	o.RollSize = 710 // seven records: not a power of two
	for n := range 40 {
		tr := mustOpen(t, dir, o)
		if n > 0 {
			fill(t, tr, n-1, n, 100)
		}
		mustClose(t, tr)
		for i := range n {
			rec, proof, err := ProveRecord(dir, int64(i))
			if err != nil || !bytes.Equal(rec, testRecord(i, 100)) {
				t.Fatalf("record %d of %d: %v, %s", i, n, err, rec)
			}
			cp, index, err := CheckRecord(rec, proof, known)
			if err != nil || cp.Size != int64(n) || index != int64(i) {
				t.Fatalf("record %d of %d: %v, %v\n%s", i, n, cp, err, proof)
			}
			if _, _, err := CheckRecord(append(rec, ' '), proof, known); err == nil {
				t.Errorf("record %d of %d: the proof holds for another record too", i, n)
			}
		}
		for size := 1; size <= n; size++ {
			p, cp, err := proveTree(dir, int64(size))
			if err != nil {
				t.Fatal(err)
			}
			if err := tlog.CheckTree(p, cp.Size, cp.Root, int64(size), naiveRoot(testLeaves(size))); err != nil {
				t.Errorf("%d records to %d: %v", size, n, err)
			}
		}
		if _, _, err := ProveRecord(dir, int64(n)); err == nil {
			t.Errorf("a record that is not there is proved")
		}
	}
}

func TestRecordsCanBeProvedAfterOldSegmentsWent(t *testing.T) {
	_, _, known := testSigner(t)
	dir := t.TempDir()
	clock := newClock()
	o := testOptions(t)
	o.RollSize, o.Keep, o.Now, o.uptime = 710, 1e12, clock.now, clock.uptime
	tr := mustOpen(t, dir, o)
	for i := range 50 {
		if i == 30 {
			clock.move(1e13)
		}
		fill(t, tr, i, i+1, 100)
	}
	mustClose(t, tr)
	settle(t, dir, o)
	pruned := wantGood(t, dir, 50).Pruned
	if pruned != 28 {
		t.Fatalf("pruned %d", pruned)
	}
	for i := range int64(50) {
		rec, proof, err := ProveRecord(dir, i)
		if i < pruned {
			if err == nil || !strings.Contains(err.Error(), "no longer there") {
				t.Errorf("record %d: %v", i, err)
			}
			continue
		}
		if err == nil {
			_, _, err = CheckRecord(rec, proof, known)
		}
		if err != nil {
			t.Errorf("record %d: %v", i, err)
		}
	}
	for size := pruned; size <= 50; size++ {
		p, cp, err := proveTree(dir, size)
		if err == nil {
			err = tlog.CheckTree(p, cp.Size, cp.Root, size, naiveRoot(testLeaves(int(size))))
		}
		if err != nil {
			t.Errorf("consistency with %d: %v", size, err)
		}
	}
}

// TestPublishedProofs runs vectors of the transparency-dev project.
func TestPublishedProofs(t *testing.T) {
	root := filepath.Join("..", "..", "..", "..", "shared", "vectors", "rfc6962", "testdata")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("no vectors of RFC 6962 beside the repository: %v", err)
	}
	n := 0
	for _, kind := range []string{"inclusion", "consistency"} {
		err := filepath.WalkDir(filepath.Join(root, kind), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			var v struct {
				LeafIdx, TreeSize, Size1, Size2 uint64
				Root, LeafHash, Root1, Root2    []byte
				Proof                           [][]byte
				WantErr                         bool
			}
			if err := json.Unmarshal(read(t, path), &v); err != nil {
				return err
			}
			bad := max(v.LeafIdx, v.TreeSize, v.Size1, v.Size2) > 1<<62
			hash := func(b []byte) (h tlog.Hash) {
				bad = bad || len(b) != len(h)
				copy(h[:], b)
				return h
			}
			var proof []tlog.Hash
			for _, p := range v.Proof {
				proof = append(proof, hash(p))
			}
			switch {
			case bad:
			case kind == "inclusion":
				root, leaf := hash(v.Root), hash(v.LeafHash)
				bad = bad || tlog.CheckRecord(proof, int64(v.TreeSize), root, int64(v.LeafIdx), leaf) != nil
			case v.Size1 == 0 || v.Size1 == v.Size2:
				// tlog does not check what needs no proof.
				bad = len(proof) > 0 || v.Size1 == 0 || !bytes.Equal(v.Root1, v.Root2)
			default:
				r1, r2 := hash(v.Root1), hash(v.Root2)
				bad = bad || tlog.CheckTree(proof, int64(v.Size2), r2, int64(v.Size1), r1) != nil
			}
			if bad != v.WantErr {
				t.Errorf("%s: refused %v, want %v", strings.TrimPrefix(path, root), bad, v.WantErr)
			}
			n++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d vectors", n)
}

// proveTree returns the consistency proof of RFC 6962 section 2.1.2 that the
// trail of the last checkpoint begins with the first size records.
func proveTree(dir string, size int64) (tlog.TreeProof, Checkpoint, error) {
	_, cp, err := lastCheckpoint(dir)
	if err != nil {
		return nil, cp, err
	}
	if size < 1 || size > cp.Size {
		return nil, cp, fmt.Errorf("the trail has %d signed records, not %d", cp.Size, size)
	}
	r, err := newHashReader(dir)
	if err != nil {
		return nil, cp, err
	}
	p, err := tlog.ProveTree(cp.Size, size, r)
	return p, cp, err
}

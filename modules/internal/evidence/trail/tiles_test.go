package trail

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// tileClient is a monitor that knows C2SP tlog-tiles and nothing of this
// package: it reads the checkpoint and tiles as a web server would serve them.
type tileClient struct {
	t    *testing.T
	dir  string
	tree tlog.Tree
}

func (c *tileClient) get(path string) []byte {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join(c.dir, filepath.FromSlash(path)))
	if err != nil {
		c.t.Fatal(err)
	}
	return data
}

// Height is part of tlog.TileReader.
func (c *tileClient) Height() int { return 8 }

// ReadTiles is part of tlog.TileReader.
func (c *tileClient) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, tile := range tiles {
		out = append(out, c.get("tile/"+strings.TrimPrefix(tile.Path(), "tile/8/")))
	}
	return out, nil
}

// SaveTiles is part of tlog.TileReader.
func (c *tileClient) SaveTiles([]tlog.Tile, [][]byte) {}

// open checks the checkpoint and returns what reads authenticated hashes.
func (c *tileClient) open(vkey, origin string) tlog.HashReader {
	c.t.Helper()
	v, err := note.NewVerifier(vkey)
	if err != nil {
		c.t.Fatal(err)
	}
	n, err := note.Open(c.get("checkpoint"), note.VerifierList(v))
	if err != nil {
		c.t.Fatal(err)
	}
	lines := strings.Split(n.Text, "\n")
	if lines[0] != origin {
		c.t.Fatalf("origin %q, want %q", lines[0], origin)
	}
	if _, err := fmt.Sscan(lines[1], &c.tree.N); err != nil {
		c.t.Fatal(err)
	}
	if c.tree.Hash, err = tlog.ParseHash(lines[2]); err != nil {
		c.t.Fatal(err)
	}
	return tlog.TileHashReader(c.tree, c)
}

// entries reads all bundles and checks each entry against the tree.
// Of a large tree, only some of them are checked.
func (c *tileClient) entries(r tlog.HashReader) (out [][]byte) {
	c.t.Helper()
	for start := int64(0); start < c.tree.N; start += 256 {
		path := strings.TrimPrefix(tlog.Tile{H: 8, L: 0, N: start / 256, W: int(min(256, c.tree.N-start))}.Path(), "tile/8/0/")
		for data := c.get("tile/entries/" + path); len(data) > 0; {
			n := int(binary.BigEndian.Uint16(data))
			entry := data[2 : 2+n]
			data = data[2+n:]
			if c.tree.N > 2000 && len(out)%97 != 0 && int64(len(out)) < c.tree.N-2 {
				out = append(out, entry)
				continue
			}
			want, err := r.ReadHashes([]int64{tlog.StoredHashIndex(0, int64(len(out)))})
			if err != nil || want[0] != tlog.RecordHash(entry) {
				c.t.Fatalf("entry %d is not the one in the tree (%v)", len(out), err)
			}
			out = append(out, entry)
		}
	}
	return out
}

func TestTilesAreReadByAMonitorThatKnowsNothingOfUs(t *testing.T) {
	dir, out := filepath.Join(t.TempDir(), "trail"), filepath.Join(t.TempDir(), "log")
	o := testOptions(t)
	o.Origin, o.RollSize = "audit.example.com/orders", 100_000
	tr := mustOpen(t, dir, o)
	var want []string
	upTo := func(n int) {
		t.Helper()
		for i := len(want); i < n; i++ {
			size := 100
			if i == 700 {
				size = 300_000 // longer than a bundle can hold
			}
			rec := testRecord(i, size)
			if err := tr.Append(rec); err != nil {
				t.Fatal(err)
			}
			want = append(want, string(rec))
		}
		mustClose(t, tr)
		if r := mustVerify(t, dir, VerifyOptions{}); !r.OK() {
			t.Fatal(r.Problems)
		}
		tr = mustOpen(t, dir, o)
	}
	var older tlog.Tree
	// The first, a full tile, more of them, some of the next level, and a
	// size at which nothing is partial.
	for _, n := range []int{1, 256, 257, 600, 1100, 66_000, 65_536 + 1024} {
		upTo(n)
		if size, err := WriteTiles(context.Background(), dir, out, nil); err != nil || size != int64(n) {
			t.Fatalf("%d records: %d, %v", n, size, err)
		}
		c := &tileClient{t: t, dir: out}
		r := c.open(o.VerifierKey, "audit.example.com/orders")
		for i, e := range c.entries(r) {
			if len(want[i]) <= 65535 && string(e) != want[i] || len(want[i]) > 65535 && (len(e) != 65535 || !strings.HasPrefix(want[i], string(e[:65470]))) {
				t.Fatalf("entry %d: %.60q, want %.60q", i, e, want[i])
			}
		}
		if older.N > 0 {
			p, err := tlog.ProveTree(c.tree.N, older.N, r)
			if err != nil {
				t.Fatal(err)
			}
			if err := tlog.CheckTree(p, c.tree.N, c.tree.Hash, older.N, older.Hash); err != nil {
				t.Error(err)
			}
		}
		older = c.tree
	}
	// Where there is a full tile, the partial ones before it have gone.
	if partial, _ := filepath.Glob(filepath.Join(out, "tile", "entries", "000.p")); len(partial) > 0 {
		t.Errorf("%v", partial)
	}
	// The proof of the long record checks against the record as it is.
	rec, proof, err := ProveRecord(dir, 700)
	if err != nil || string(rec) != want[700] {
		t.Fatal(err)
	}
	known, err := ParseKeys([]byte(o.VerifierKey))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := CheckRecord(rec, proof, known); err != nil {
		t.Error(err)
	}
	rec[len(rec)-2] ^= 1 // far behind the head of the entry
	if _, _, err := CheckRecord(rec, proof, known); err == nil {
		t.Error("a change behind the head of a long record is not found")
	}
	mustClose(t, tr)
}

func TestTilesOfAnotherOrACutTrailAreRefused(t *testing.T) {
	base := t.TempDir()
	a, b, out := filepath.Join(base, "a"), filepath.Join(base, "b"), filepath.Join(base, "out")
	o := testOptions(t)
	o.Origin = "a.example.com"
	for dir, n := range map[string]int{a: 300, b: 200} {
		tr := mustOpen(t, dir, o)
		fill(t, tr, 0, n, 100)
		mustClose(t, tr)
	}
	if _, err := WriteTiles(context.Background(), a, out, nil); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(filepath.Join(out, "checkpoint"))
	if _, err := WriteTiles(context.Background(), b, out, nil); err == nil || !strings.Contains(err.Error(), "put back") {
		t.Errorf("a trail that is shorter than its tiles: %v", err)
	}
	o.Origin = "c.example.com"
	c := filepath.Join(base, "c")
	tr := mustOpen(t, c, o)
	fill(t, tr, 0, 400, 100)
	mustClose(t, tr)
	if _, err := WriteTiles(context.Background(), c, out, nil); err == nil {
		t.Error("the tiles of one trail were overwritten with those of another")
	}
	after, _ := os.ReadFile(filepath.Join(out, "checkpoint"))
	if !bytes.Equal(before, after) {
		t.Error("the checkpoint was replaced")
	}
}

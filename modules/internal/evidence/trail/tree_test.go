package trail

import (
	"crypto/sha256"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// naiveRoot is the definition of RFC 6962 section 2.1 as it stands.
func naiveRoot(leaves []tlog.Hash) tlog.Hash {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	default:
		k := 1
		for 2*k < n {
			k *= 2
		}
		l, r := naiveRoot(leaves[:k]), naiveRoot(leaves[k:])
		return sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
	}
}

// testLeaves are the leaf hashes of the records of 100 bytes.
func testLeaves(n int) []tlog.Hash {
	out := make([]tlog.Hash, n)
	for i := range out {
		out[i] = sha256.Sum256(append([]byte{0}, testRecord(i, 100)...))
	}
	return out
}

func TestRootsOfSmallTreesAreThoseOfTheDefinition(t *testing.T) {
	leaves := testLeaves(300)
	var f frontier
	for n := range len(leaves) + 1 {
		want := naiveRoot(leaves[:n])
		if got := f.root(); got != want {
			t.Fatalf("root of %d records = %v, want %v", n, got, want)
		}
		g, err := newFrontier(int64(n), f.nodes())
		if err != nil || !g.same(&f) || g.root() != want {
			t.Fatalf("the nodes of %d records do not make the same tree: %v", n, err)
		}
		if n < len(leaves) {
			f.add(leaves[n])
		}
	}
}

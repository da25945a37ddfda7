package trail

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// maxLevel is more levels than a tree indexed by int64 can have.
const maxLevel = 63

// frontier is the right edge of a Merkle tree: the roots of the largest
// complete subtrees that its n records split into, one for each bit of n. It
// is all that is needed to go on appending and to tell the root.
type frontier struct {
	n int64
	h [maxLevel]tlog.Hash // h[i] is meaningful where bit i of n is set
}

// add appends one leaf.
func (f *frontier) add(leaf tlog.Hash) {
	i := 0
	for ; f.n>>i&1 == 1; i++ {
		leaf = tlog.NodeHash(f.h[i], leaf)
	}
	f.h[i] = leaf
	f.n++
}

// root is the Merkle Tree Hash of RFC 6962 section 2.1.
func (f *frontier) root() tlog.Hash {
	if f.n == 0 {
		return sha256.Sum256(nil)
	}
	i := bits.TrailingZeros64(uint64(f.n))
	h := f.h[i]
	for i++; f.n>>i > 0; i++ {
		if f.n>>i&1 == 1 {
			h = tlog.NodeHash(f.h[i], h)
		}
	}
	return h
}

// nodes returns the subtree roots, that of the first records first.
func (f *frontier) nodes() []tlog.Hash {
	var out []tlog.Hash
	for i := bits.Len64(uint64(f.n)) - 1; i >= 0; i-- {
		if f.n>>i&1 == 1 {
			out = append(out, f.h[i])
		}
	}
	return out
}

// newFrontier is the inverse of nodes.
func newFrontier(n int64, nodes []tlog.Hash) (*frontier, error) {
	if n < 0 || len(nodes) != bits.OnesCount64(uint64(n)) {
		return nil, fmt.Errorf("%d subtree hashes do not make a tree of %d records", len(nodes), n)
	}
	f := &frontier{n: n}
	for i := bits.Len64(uint64(n)) - 1; i >= 0; i-- {
		if n>>i&1 == 1 {
			f.h[i], nodes = nodes[0], nodes[1:]
		}
	}
	return f, nil
}

// same reports whether two frontiers describe the same tree.
func (f *frontier) same(g *frontier) bool {
	if f.n != g.n {
		return false
	}
	for i := 0; f.n>>i > 0; i++ {
		if f.n>>i&1 == 1 && f.h[i] != g.h[i] {
			return false
		}
	}
	return true
}

// leafHash is the leaf hash of RFC 6962 section 2.1, SHA-256(0x00 || entry),
// of the entry of the line p[1:]. The byte p[0] is overwritten, which spares a
// copy of the line: callers restore it where it matters.
func leafHash(p []byte) tlog.Hash {
	p[0] = 0
	if len(p)-1 > maxEntry {
		return tlog.RecordHash(entryOf(p[1:]))
	}
	return sha256.Sum256(p)
}

// maxEntry is the longest entry that a bundle of C2SP tlog-tiles can hold.
// headOfEntry is what the entry of a longer record has of it.
const (
	maxEntry    = 1<<16 - 1
	headOfEntry = maxEntry - 1 - 2*sha256.Size
)

// entryOf returns the entry of a record: itself, or of one that is too long
// for a bundle its head and the digest of the rest. No record has a newline,
// so no two have one entry.
func entryOf(record []byte) []byte {
	if len(record) <= maxEntry {
		return record
	}
	rest := sha256.Sum256(record[headOfEntry:])
	e := make([]byte, 0, maxEntry)
	e = append(append(e, record[:headOfEntry]...), '\n')
	return hex.AppendEncode(e, rest[:])
}

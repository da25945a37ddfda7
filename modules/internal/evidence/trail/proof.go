package trail

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// proofHeader is the first line of a C2SP tlog-proof.
const proofHeader = "c2sp.org/tlog-proof@v1"

// ProveRecord returns the record of an index, and a proof in the form of
// C2SP tlog-proof that it belongs to the trail as the last checkpoint of the
// directory has it.
func ProveRecord(dir string, index int64) (record, proof []byte, err error) {
	msg, cp, err := lastCheckpoint(dir)
	if err != nil {
		return nil, nil, err
	}
	if index < 0 || index >= cp.Size {
		return nil, nil, fmt.Errorf("record %d is not among the %d that are signed", index, cp.Size)
	}
	_, err = Scan(context.Background(), dir, ScanOptions{From: Cursor{Index: index, segment: -1}, Gap: func(from, to int64) error {
		return fmt.Errorf("records %d to %d are no longer there", from, to-1)
	}}, func(r Record) error {
		record = bytes.Clone(r.Line)
		return ErrStop
	})
	if err != nil {
		return nil, nil, err
	}
	r, err := newHashReader(dir)
	if err != nil {
		return nil, nil, err
	}
	path, err := tlog.ProveRecord(cp.Size, index, r)
	if err != nil {
		return nil, nil, err
	}
	proof = formatProof(index, path, msg)
	if err := tlog.CheckRecord(path, cp.Size, cp.Root, index, tlog.RecordHash(entryOf(record))); err != nil {
		return nil, nil, fmt.Errorf("the trail does not agree with its checkpoint: %w", err)
	}
	return record, proof, nil
}

// CheckRecord checks a proof of ProveRecord: that the record is in the trail
// that the signer of the checkpoint calls by the returned origin.
func CheckRecord(record, proof []byte, known note.Verifiers) (Checkpoint, int64, error) {
	index, path, msg, err := parseProof(proof)
	if err != nil {
		return Checkpoint{}, 0, err
	}
	cp, err := ParseCheckpoint(msg, known)
	if err != nil {
		return Checkpoint{}, 0, fmt.Errorf("the checkpoint of the proof: %w", err)
	}
	if err := tlog.CheckRecord(path, cp.Size, cp.Root, index, tlog.RecordHash(entryOf(record))); err != nil {
		return Checkpoint{}, 0, fmt.Errorf("the record is not in the trail, or the proof is of another: %w", err)
	}
	return cp, index, nil
}

// ProveGrowth returns the consistency proof of RFC 6962 section 2.1.2 that the
// trail of the last checkpoint begins with the first old records, as the body
// of an add-checkpoint request of C2SP tlog-witness: the old size, the proof,
// and the checkpoint.
func ProveGrowth(dir string, old int64) ([]byte, error) {
	msg, cp, err := lastCheckpoint(dir)
	if err != nil {
		return nil, err
	}
	return growth(dir, msg, cp, old)
}

// Growth is ProveGrowth for a checkpoint that is not the last.
func Growth(dir string, msg []byte, old int64) ([]byte, error) {
	_, cp, err := readCheckpoint(msg)
	if err != nil {
		return nil, err
	}
	return growth(dir, msg, cp, old)
}

// PeekCheckpoint reads a checkpoint without a look at its signatures.
func PeekCheckpoint(msg []byte) (Checkpoint, error) {
	_, cp, err := readCheckpoint(msg)
	return cp, err
}

// WriteCosigned keeps a checkpoint with the cosignatures of its witnesses in
// the directory of a trail.
func WriteCosigned(dir string, msg []byte) error {
	return replaceFile(filepath.Join(dir, cosignedName), msg)
}

// ReadCosigned returns what WriteCosigned has kept.
func ReadCosigned(dir string) ([]byte, error) { return readSmall(filepath.Join(dir, cosignedName)) }

func growth(dir string, msg []byte, cp Checkpoint, old int64) ([]byte, error) {
	if old < 0 || old > cp.Size {
		return nil, fmt.Errorf("the trail has %d signed records, not %d", cp.Size, old)
	}
	var proof tlog.TreeProof
	if old > 0 && old < cp.Size {
		r, err := newHashReader(dir)
		if err != nil {
			return nil, err
		}
		if proof, err = tlog.ProveTree(cp.Size, old, r); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "old %d\n", old)
	for _, h := range proof {
		fmt.Fprintf(&b, "%s\n", h)
	}
	b.WriteByte('\n')
	b.Write(msg)
	return b.Bytes(), nil
}

func lastCheckpoint(dir string) ([]byte, Checkpoint, error) {
	msg, err := readSmall(filepath.Join(dir, checkpointName))
	if err != nil {
		return nil, Checkpoint{}, err
	}
	_, cp, err := readCheckpoint(msg)
	return msg, cp, err
}

func formatProof(index int64, path tlog.RecordProof, checkpoint []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nindex %d\n", proofHeader, index)
	for _, h := range path {
		fmt.Fprintf(&b, "%s\n", h)
	}
	b.WriteByte('\n')
	b.Write(checkpoint)
	return b.Bytes()
}

var errMalformedProof = errors.New("malformed proof")

// parseProof reads a C2SP tlog-proof. Extra data is allowed and ignored, as
// nothing vouches for it.
func parseProof(proof []byte) (index int64, path tlog.RecordProof, checkpoint []byte, err error) {
	fail := func() (int64, tlog.RecordProof, []byte, error) { return 0, nil, nil, errMalformedProof }
	if len(proof) > 2*maxNote {
		return fail()
	}
	head, checkpoint, ok := bytes.Cut(proof, []byte("\n\n"))
	if !ok {
		return fail()
	}
	lines := strings.Split(string(head), "\n")
	if lines[0] != proofHeader {
		return fail()
	}
	lines = lines[1:]
	if len(lines) > 0 && strings.HasPrefix(lines[0], "extra ") {
		if _, err := base64.StdEncoding.DecodeString(lines[0][len("extra "):]); err != nil {
			return fail()
		}
		lines = lines[1:]
	}
	if len(lines) == 0 || len(lines) > 1+maxLevel {
		return fail()
	}
	digits, ok := strings.CutPrefix(lines[0], "index ")
	if index, err = parseCount(digits); err != nil || !ok {
		return fail()
	}
	path = tlog.RecordProof{}
	for _, l := range lines[1:] {
		h, err := parseHash(l)
		if err != nil {
			return fail()
		}
		path = append(path, h)
	}
	return index, path, checkpoint, nil
}

// hashReader computes the hashes of complete subtrees from the leaf hashes
// that are noted beside the segments. They are not checked here: a proof
// that is made from wrong ones does not verify.
type hashReader struct {
	dir    string
	pruned *frontier
	firsts []int64
}

func newHashReader(dir string) (*hashReader, error) {
	r := &hashReader{dir: dir, pruned: new(frontier)}
	msg, err := readSmall(filepath.Join(dir, prunedName))
	if err == nil {
		text, _, err := openNote(msg, note.VerifierList())
		if err != nil {
			return nil, err
		}
		p, err := parsePruned(text)
		if err != nil {
			return nil, err
		}
		r.pruned = p.tree
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := list(dir)
	if err != nil {
		return nil, err
	}
	r.firsts = l.hashes
	return r, nil
}

// ReadHashes implements tlog.HashReader.
func (r *hashReader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		level, n := tlog.SplitStoredHashIndex(x)
		var err error
		if out[i], err = r.node(level, n); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// node is the root of the n'th complete subtree of 2^level records.
func (r *hashReader) node(level int, n int64) (tlog.Hash, error) {
	lo, hi := n<<level, (n+1)<<level
	var sub frontier // of the records from lo on
	if p := r.pruned; lo < p.n {
		if hi <= p.n && (p.n>>level&1 == 0 || p.n>>(level+1)<<(level+1) != lo) {
			return tlog.Hash{}, fmt.Errorf("records %d to %d are no longer there", lo, hi-1)
		}
		// Subtrees of p are aligned as those of the whole, so those at or
		// after lo are complete parts of ours.
		sub.n = min(p.n, hi) - lo
		for i := range bits.Len64(uint64(sub.n)) {
			sub.h[i] = p.h[i]
		}
	}
	if err := r.leaves(lo+sub.n, hi, &sub); err != nil {
		return tlog.Hash{}, err
	}
	return sub.h[level], nil
}

// leaves adds the leaf hashes of the records lo to hi-1.
func (r *hashReader) leaves(lo, hi int64, tree *frontier) error {
	for i, first := range r.firsts {
		end := int64(1<<63 - 1)
		if i+1 < len(r.firsts) {
			end = r.firsts[i+1]
		}
		if lo >= hi || lo < first || lo >= end {
			continue
		}
		h, err := openHashes(segmentPath(r.dir, first, hashesSuffix))
		if err != nil {
			return err
		}
		h.from(lo - first)
		for ; lo < min(hi, end); lo++ {
			leaf, ok := h.next()
			if !ok {
				break
			}
			tree.add(leaf)
		}
		h.Close()
	}
	if lo < hi {
		return fmt.Errorf("there is no leaf hash of record %d", lo)
	}
	return nil
}

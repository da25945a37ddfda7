package trail

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// maxDiagnosed is the number of records of one segment that are compared one
// by one. It bounds memory, to some 200 MB; beyond it only the first that
// differs is told.
const maxDiagnosed = 1 << 20

// diagnose finds out what was done to a segment that is not as it was signed:
// it compares the leaf hashes of the lines with those noted beside the
// segment when it was written. lines says that the seal agrees with the
// lines, so that it is the noted hashes that were changed.
func (c *check) diagnose(f *os.File, lines bool) error {
	v := c.v
	before := len(v.r.Problems) + v.r.Omitted
	hashesName := filepath.Base(segmentPath(v.dir, c.first, hashesSuffix))
	if lines && len(c.bad) == 0 {
		v.add(Problem{Kind: Edited, File: hashesName, First: c.first, End: v.tree.n, Detail: "the leaf hashes are not those of the records, which are as they were signed"})
		return nil
	}
	want, err := readHashes(c.hashes)
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	have, err := hashRecords(f)
	if err != nil {
		return err
	}
	trusted := c.seal != nil && c.agrees(want)
	if c.seal == nil && len(c.bad) == 0 {
		// What a checkpoint covers is right whatever is noted beside it.
		c.skip = min(c.good-c.first, int64(len(want)), int64(len(have)))
		if !slices.Equal(have[:c.skip], want[:c.skip]) {
			v.add(Problem{Kind: Edited, File: hashesName, First: c.first, End: c.first + c.skip, Detail: "the leaf hashes are not those of the records, which are as they were signed"})
		}
		have, want = have[c.skip:], want[c.skip:]
	}
	if want != nil && have != nil {
		c.align(have, want, trusted)
	}
	if c.tooLong {
		v.add(Problem{Kind: Inserted, File: c.name, Line: c.lines + 1, First: c.first + c.lines, End: c.first + c.lines, Detail: errLineTooLong.Error()})
	} else if c.seal != nil && c.leftOver > 0 {
		v.add(Problem{Kind: Inserted, File: c.name, Line: c.lines + 1, First: c.first + c.lines, End: c.first + c.lines, Detail: fmt.Sprintf("%d bytes without a newline after the last record", c.leftOver)})
	}
	if len(v.r.Problems)+v.r.Omitted > before {
		return nil
	}
	// The leaf hashes were changed along with the records. What is left
	// is where the signatures stop agreeing.
	end := v.tree.n
	detail := "the records are not those that were sealed"
	if len(c.bad) > 0 {
		end = c.bad[0].Size
		detail = fmt.Sprintf("the records are not those that were signed (%s)", c.bad[0].name)
	} else if c.seal != nil {
		end = max(end, c.seal.end)
	}
	first := c.good
	if c.differs {
		first = max(first, c.first+c.firstDiff)
	}
	v.add(Problem{Kind: Edited, File: c.name, First: first, End: max(end, first+1), Detail: detail})
	return nil
}

// agrees tells whether the noted leaf hashes are those that were sealed.
func (c *check) agrees(want []tlog.Hash) bool {
	if c.v.broken || int64(len(want)) != c.seal.end-c.seal.first {
		return false
	}
	tree := c.before
	for _, h := range want {
		tree.add(h)
	}
	return tree.same(c.seal.tree)
}

// readHashes reads all hashes. It returns none if there are too many.
func readHashes(h *hashFile) ([]tlog.Hash, error) {
	if h == nil || h.n > maxDiagnosed {
		return nil, nil
	}
	h.from(0)
	var out []tlog.Hash
	for hash, ok := h.next(); ok; hash, ok = h.next() {
		out = append(out, hash)
	}
	return out, h.failed()
}

func hashRecords(r io.Reader) ([]tlog.Hash, error) {
	lr := newLineReader(r)
	var out []tlog.Hash
	for {
		p, err := lr.next()
		if err == io.EOF || err == errLineTooLong {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if len(out) == maxDiagnosed {
			return nil, nil
		}
		out = append(out, leafHash(p))
	}
}

// align reports how the lines came from the records that were written.
func (c *check) align(lines, records []tlog.Hash, trusted bool) {
	a := &alignment{c: c, lines: lines, records: records, lineOf: index(lines), recordOf: index(records), moved: make(map[int]bool)}
	a.edited = "the line is not the record that was written"
	if !trusted {
		a.edited += ", going by the leaf hash noted beside it"
	}
	for a.i < len(lines) && a.j < len(records) {
		if lines[a.i] == records[a.j] {
			a.i++
			a.j++
		} else {
			a.step()
		}
	}
	for ; a.i < len(lines); a.i++ {
		if c.seal == nil && c.newer(a.i) {
			return // the hashes of the newest records are not noted yet
		}
		a.stray()
	}
	if c.seal == nil && a.j < len(records) && !a.moved[a.j] {
		c.lost(a.j, len(records))
		return
	}
	for ; a.j < len(records); a.j++ {
		a.absent()
	}
}

// alignment is a walk over the lines that are there and the records that
// should be.
type alignment struct {
	c                *check
	lines, records   []tlog.Hash
	lineOf, recordOf map[tlog.Hash]int
	i, j             int          // what comes next
	moved            map[int]bool // records found elsewhere, and reported
	edited           string
}

// step explains one difference.
func (a *alignment) step() {
	record, known := a.recordOf[a.lines[a.i]]
	line, present := a.lineOf[a.records[a.j]]
	switch {
	case !known && !present:
		a.c.problem(Edited, a.i, a.j, a.j+1, a.edited)
		a.i++
		a.j++
	case known && record < a.j || !known && line > a.i:
		a.stray()
		a.i++
	case present && line < a.i || !present:
		a.absent()
		a.j++
	case record-a.j <= line-a.i: // the record that should be here comes later
		a.c.problem(Reordered, line, a.j, a.j+1, "the record is not in its position but here")
		a.moved[a.j] = true
		a.j++
	default: // the line that is here should come later
		a.c.problem(Reordered, a.i, record, record+1, "the record is not in its position but here")
		a.moved[record] = true
		a.i++
	}
}

// stray reports line i, which is not a record or an earlier one.
func (a *alignment) stray() {
	record, known := a.recordOf[a.lines[a.i]]
	switch {
	case !known:
		a.c.problem(Inserted, a.i, a.j, a.j, "the line is not one of the segment's records")
	case !a.moved[record]:
		a.c.problem(Inserted, a.i, a.j, a.j, fmt.Sprintf("the line repeats record %d", a.c.first+a.c.skip+int64(record)))
	}
}

// absent reports that record j is not where it should be.
func (a *alignment) absent() {
	if !a.moved[a.j] {
		a.c.problem(Deleted, a.i, a.j, a.j+1, "the record is not there")
	}
}

// newer tells whether line i can be one whose hash is not noted yet: no
// checkpoint covers it, or all agree.
func (c *check) newer(i int) bool {
	return c.first+c.skip+int64(i) >= c.v.r.Checkpoint.Size || len(c.bad) == 0
}

// lost reports records whose hashes are noted and which are not there. Only
// a checkpoint can tell a power failure from a removal.
func (c *check) lost(from, to int) {
	c.problem(Truncated, -1, from, to, "their leaf hashes are noted, the records are not there: removed, or not written when the power failed (a start of the server repairs that)")
}

// problem reports what is wrong with line i (from 0, -1 if there is none)
// where record j should be. Neighbours that suffered the same are one problem.
func (c *check) problem(kind string, i, j, end int, detail string) {
	from := c.first + c.skip
	p := Problem{Kind: kind, File: c.name, First: from + int64(j), End: from + int64(end), Detail: detail}
	if i >= 0 {
		p.Line = c.skip + int64(i) + 1
	}
	if n := len(c.v.r.Problems); n > 0 && (kind == Edited || kind == Deleted) {
		last := &c.v.r.Problems[n-1]
		if last.Kind == kind && last.File == c.name && last.End == p.First && last.Detail == detail {
			last.End = p.End
			return
		}
	}
	c.v.add(p)
}

// index tells where each hash stands first.
func index(hashes []tlog.Hash) map[tlog.Hash]int {
	m := make(map[tlog.Hash]int, len(hashes))
	for i := len(hashes) - 1; i >= 0; i-- {
		m[hashes[i]] = i
	}
	return m
}

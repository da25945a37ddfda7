package trail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// VerifyOptions say against what a trail is verified.
type VerifyOptions struct {
	// Known are the keys that may sign. Without, those noted in the
	// directory are used, which whoever wrote the directory chose: see
	// Report.OwnKeys.
	Known note.Verifiers

	// Remembered are checkpoints that were kept elsewhere. Only they can
	// show that the newest records were removed together with the
	// checkpoints that covered them.
	Remembered [][]byte

	// MaxProblems bounds the report. Default: 100
	MaxProblems int

	// Progress is called now and then with the number of bytes read.
	Progress func(bytes int64)
}

// Kinds of Problem.
const (
	Edited    = "edited"    // a record was changed
	Deleted   = "deleted"   // records were removed
	Inserted  = "inserted"  // a line does not belong here
	Reordered = "reordered" // a record is not where it was
	Truncated = "truncated" // the newest records are missing
	Missing   = "missing"   // a file is not there
	Forged    = "forged"    // a signature or a signed note is not right
	Malformed = "malformed" // a file is not what it should be
)

// Problem is one thing that is wrong with a trail.
type Problem struct {
	Kind string

	// File is the name of the file concerned, Line the number of the line
	// in it, from 1, or 0.
	File string
	Line int64

	// First and End are the records concerned: First to End-1. For a line
	// that was inserted they are equal, and it stands before First.
	First, End int64

	// Detail says what was found in a sentence.
	Detail string
}

func (p Problem) String() string {
	where := p.File
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	switch {
	case p.End-p.First == 1:
		return fmt.Sprintf("%s: %s: record %d: %s", where, p.Kind, p.First, p.Detail)
	case p.End > p.First:
		return fmt.Sprintf("%s: %s: records %d to %d: %s", where, p.Kind, p.First, p.End-1, p.Detail)
	}
	return fmt.Sprintf("%s: %s: %s", where, p.Kind, p.Detail)
}

// Report is what Verify found.
type Report struct {
	Origin   string
	Problems []Problem // nothing is wrong if empty
	Omitted  int       // problems beyond MaxProblems
	Warnings []string  // what is worth knowing and is no fault

	Pruned   int64 // records before this one were removed because of their age
	Records  int64 // records read
	Size     int64 // index after the last record
	Bytes    int64 // read
	Segments int

	Root       tlog.Hash // of all Size records, if there was no problem
	Checkpoint Checkpoint
	Unsigned   int64 // records after the checkpoint
	OwnKeys    bool  // the keys came from the directory itself
	Took       time.Duration
}

// OK reports whether nothing is wrong.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

func (v *verifier) add(p Problem) {
	if len(v.r.Problems) >= v.o.MaxProblems {
		v.r.Omitted++
		return
	}
	v.r.Problems = append(v.r.Problems, p)
}

// warn notes what is no fault, up to the bound for problems.
func (v *verifier) warn(format string, args ...any) {
	if len(v.r.Warnings) < v.o.MaxProblems {
		v.r.Warnings = append(v.r.Warnings, fmt.Sprintf(format, args...))
	}
}

// verifier goes through a trail from its first record to its last.
type verifier struct {
	ctx    context.Context
	dir    string
	o      VerifyOptions
	known  note.Verifiers
	r      *Report
	tree   frontier
	broken bool // tree is not what it should be: roots cannot be compared
	marks  []mark
	seals  map[int64]*seal
	reader *lineReader
}

// mark is a tree that somebody signed.
type mark struct {
	Checkpoint
	name string
	last bool // the checkpoint of the directory
}

// Verify reads the trail in a directory and compares it with what was signed.
// It needs no lock: records that are appended meanwhile are read or not. The
// error is about reading; what is wrong with the trail is in the Report.
func Verify(ctx context.Context, dir string, o VerifyOptions) (*Report, error) {
	start := time.Now()
	if o.MaxProblems <= 0 {
		o.MaxProblems = 100
	}
	for attempt := 1; ; attempt++ {
		before, _ := readSmall(filepath.Join(dir, prunedName))
		r, err := verify(ctx, dir, o)
		after, _ := readSmall(filepath.Join(dir, prunedName))
		if attempt < 5 && !bytes.Equal(before, after) && (errors.Is(err, os.ErrNotExist) || err == nil && !r.OK()) {
			continue // old segments went while they were read
		}
		if err != nil {
			return nil, err
		}
		r.Took = time.Since(start)
		return r, nil
	}
}

func verify(ctx context.Context, dir string, o VerifyOptions) (*Report, error) {
	v := &verifier{ctx: ctx, dir: dir, o: o, known: o.Known, r: new(Report), seals: make(map[int64]*seal)}
	if err := v.keys(); err != nil {
		return nil, err
	}
	// The checkpoint is read before the segments, which then hold at least
	// what it covers, also while records are appended.
	if err := v.checkpoints(); err != nil {
		return nil, err
	}
	l, err := v.begin()
	if err != nil {
		return nil, err
	}
	if err := v.segments(l); err != nil {
		return nil, err
	}
	v.end()
	return v.r, nil
}

func (v *verifier) keys() error {
	if v.known != nil {
		return nil
	}
	known, err := readKeys(v.dir)
	if err != nil {
		return err
	}
	if known == nil {
		return fmt.Errorf("%s: no key to verify with: name one", v.dir)
	}
	v.known, v.r.OwnKeys = known, true
	v.warn("the keys are those noted in the trail itself: whoever can write there can replace them")
	return nil
}

func (v *verifier) checkpoints() error {
	msg, err := readSmall(filepath.Join(v.dir, checkpointName))
	switch {
	case errors.Is(err, os.ErrNotExist):
		v.add(Problem{Kind: Missing, File: checkpointName, Detail: "there is no checkpoint"})
	case err != nil:
		return err
	default:
		cp, err := ParseCheckpoint(msg, v.known)
		if err != nil {
			v.add(Problem{Kind: Forged, File: checkpointName, Detail: err.Error()})
			break
		}
		v.r.Checkpoint, v.r.Origin = cp, cp.Origin
		v.marks = append(v.marks, mark{cp, checkpointName, true})
	}
	for i, msg := range v.o.Remembered {
		name := fmt.Sprintf("remembered checkpoint %d", i+1)
		cp, err := ParseCheckpoint(msg, v.known)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if v.r.Origin == "" {
			v.r.Origin = cp.Origin
		}
		if cp.Origin != v.r.Origin {
			return fmt.Errorf("%s is of another trail: %q, not %q", name, cp.Origin, v.r.Origin)
		}
		v.marks = append(v.marks, mark{cp, name, false})
	}
	slices.SortStableFunc(v.marks, func(a, b mark) int { return int(min(max(a.Size-b.Size, -1), 1)) })
	return nil
}

// begin reads what was removed because of its age, and all seals.
func (v *verifier) begin() (*listing, error) {
	text, signed, err := v.note(prunedName)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		p, err := parsePruned(text)
		switch {
		case !signed:
			v.add(Problem{Kind: Forged, File: prunedName, Detail: errUnsigned.Error()})
		case err != nil:
			v.add(Problem{Kind: Malformed, File: prunedName, Detail: err.Error()})
		case v.r.Origin != "" && p.origin != v.r.Origin:
			v.add(Problem{Kind: Forged, File: prunedName, Detail: "is of another trail"})
		default:
			v.tree, v.r.Pruned = *p.tree, p.tree.n
		}
	}
	l, err := list(v.dir)
	if err != nil {
		return nil, err
	}
	for _, name := range l.others {
		v.warn("%s does not belong to the trail", name)
	}
	for _, first := range l.seals {
		if first < v.r.Pruned {
			continue
		}
		if err := v.readSeal(first); err != nil {
			return nil, err
		}
	}
	for len(v.marks) > 0 && v.marks[0].Size < v.tree.n {
		if v.marks[0].last {
			v.add(Problem{Kind: Forged, File: checkpointName, Detail: "is older than the removal of old records"})
		} else {
			v.warn("%s is older than what has been removed because of its age", v.marks[0].name)
		}
		v.marks = v.marks[1:]
	}
	return l, nil
}

// note reads a signed note of the directory. The text of one that is signed
// wrongly is empty.
func (v *verifier) note(name string) (text string, signed bool, err error) {
	msg, err := readSmall(filepath.Join(v.dir, name))
	if err != nil {
		return "", false, err
	}
	text, signed, err = openNote(msg, v.known)
	if err != nil {
		return "", false, nil
	}
	return text, signed, nil
}

func (v *verifier) readSeal(first int64) error {
	name := filepath.Base(segmentPath(v.dir, first, sealSuffix))
	text, signed, err := v.note(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil // removed because of its age while we look
	}
	if err != nil {
		return err
	}
	s, err := parseSeal(text)
	switch {
	case !signed:
		v.add(Problem{Kind: Forged, File: name, Detail: errUnsigned.Error()})
	case err != nil:
		v.add(Problem{Kind: Malformed, File: name, Detail: err.Error()})
	case s.first != first:
		v.add(Problem{Kind: Forged, File: name, Detail: fmt.Sprintf("is the seal of record %d", s.first)})
	case v.r.Origin != "" && s.origin != v.r.Origin:
		v.add(Problem{Kind: Forged, File: name, Detail: "is of another trail"})
	default:
		v.seals[first] = s
	}
	return nil
}

// segments goes through all segments, and through the holes between them.
func (v *verifier) segments(l *listing) error {
	firsts := l.records
	for i, first := range firsts {
		if first < v.r.Pruned {
			v.warn("the segment of record %d was to be removed because of its age", first)
			continue
		}
		if err := v.holes(first); err != nil {
			return err
		}
		if first < v.tree.n {
			name := filepath.Base(segmentPath(v.dir, first, recordsSuffix))
			v.add(Problem{Kind: Inserted, File: name, First: first, End: first, Detail: fmt.Sprintf("the file does not belong to the trail: the segment before it goes on to record %d", v.tree.n-1)})
			continue
		}
		err := v.segment(first, i == len(firsts)-1)
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("the trail was changed while it was read (%w): try again", err)
		}
		if err != nil {
			return err
		}
	}
	return v.holes(1<<63 - 1)
}

// holes moves on to the record first, or as far as there are seals, where
// segments are missing.
func (v *verifier) holes(first int64) error {
	for v.tree.n < first {
		s := v.seals[v.tree.n]
		if s == nil || s.end > first {
			break
		}
		name := filepath.Base(segmentPath(v.dir, s.first, recordsSuffix))
		v.add(Problem{Kind: Missing, File: name, First: s.first, End: s.end, Detail: "the segment is not there"})
		v.jump(s.tree)
	}
	if v.tree.n >= first || first == 1<<63-1 {
		return nil
	}
	// Not even a seal: the segments after the hole can be compared with
	// their own seals at best.
	name := filepath.Base(segmentPath(v.dir, v.tree.n, recordsSuffix))
	v.add(Problem{Kind: Missing, File: name, First: v.tree.n, End: first, Detail: "neither these records nor a seal of them are there"})
	v.jump(&frontier{n: first})
	v.broken = true
	return nil
}

// jump goes on from a tree that a seal vouches for.
func (v *verifier) jump(tree *frontier) {
	from := v.tree.n
	v.tree, v.broken = *tree, false
	for len(v.marks) > 0 && v.marks[0].Size <= tree.n {
		m := v.marks[0]
		v.marks = v.marks[1:]
		if m.Size == tree.n && m.Size > from {
			v.compare(m)
		}
	}
}

// compare checks the tree against a mark at its size.
func (v *verifier) compare(m mark) {
	if v.broken || m.Root == v.tree.root() {
		return
	}
	v.add(Problem{Kind: Forged, File: m.name, End: m.Size, Detail: fmt.Sprintf("the first %d records are not those that were signed", m.Size)})
}

// segment reads one segment.
func (v *verifier) segment(first int64, newest bool) error {
	path := segmentPath(v.dir, first, recordsSuffix)
	s := v.seals[first]
	name := filepath.Base(path)
	hashes, err := openHashes(segmentPath(v.dir, first, hashesSuffix))
	if errors.Is(err, os.ErrNotExist) {
		if s != nil {
			v.add(Problem{Kind: Missing, File: filepath.Base(segmentPath(v.dir, first, hashesSuffix)), First: first, End: s.end, Detail: "the leaf hashes are not there"})
		}
	} else if err != nil {
		return err
	}
	defer hashes.Close()
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	v.r.Segments++
	c := &check{v: v, name: name, first: first, seal: s, hashes: hashes, before: v.tree}
	if err := c.read(f); err != nil {
		return err
	}
	if s == nil && !newest {
		v.add(Problem{Kind: Missing, File: filepath.Base(segmentPath(v.dir, first, sealSuffix)), First: first, End: v.tree.n, Detail: "the segment has no seal"})
	}
	return c.finish(f)
}

// check compares one segment with its leaf hashes, its seal and the marks
// that fall into it.
type check struct {
	v      *verifier
	name   string
	first  int64
	seal   *seal
	hashes *hashFile
	before frontier // the tree before the segment

	lines     int64
	differs   bool  // from the leaf hashes
	firstDiff int64 // the first line that does
	tooLong   bool
	bad       []mark // whose root is not that of the lines
	good      int64  // size of the last mark that agreed
	leftOver  int    // bytes after the last line
	skip      int64  // records that diagnose need not look at
}

// differ notes that the line that comes next is not as it was.
func (c *check) differ() {
	if !c.differs {
		c.differs, c.firstDiff = true, c.lines
	}
}

func (c *check) read(f *os.File) error {
	v := c.v
	if v.reader == nil {
		v.reader = newLineReader(f)
	}
	lr := v.reader
	lr.reset(f)
	have := c.hashes != nil
	c.good = c.first
	c.mark() // marks at the very beginning
	for {
		p, err := lr.next()
		if err == io.EOF {
			break
		}
		if err == errLineTooLong {
			c.tooLong = true
			c.differ()
			break
		}
		if err != nil {
			return err
		}
		leaf := leafHash(p)
		if have {
			var want tlog.Hash
			if want, have = c.hashes.next(); have && want != leaf {
				c.differ()
			}
			if !have && c.seal != nil {
				c.differ()
			}
		}
		v.tree.add(leaf)
		c.lines++
		c.mark()
		if c.lines&0xfff == 0 {
			if err := v.ctx.Err(); err != nil {
				return err
			}
			if v.o.Progress != nil {
				v.o.Progress(v.r.Bytes + lr.off)
			}
		}
	}
	if have {
		if _, more := c.hashes.next(); more {
			c.differ()
		}
	}
	c.leftOver = lr.rest()
	v.r.Bytes += lr.off
	v.r.Records += c.lines
	return nil
}

// mark compares the marks at the current size.
func (c *check) mark() {
	v := c.v
	for len(v.marks) > 0 && v.marks[0].Size <= v.tree.n {
		m := v.marks[0]
		if c.seal != nil && m.Size > c.seal.end {
			return // belongs to what follows the seal
		}
		v.marks = v.marks[1:]
		if m.Size < v.tree.n {
			continue
		}
		if v.broken || m.Root == v.tree.root() {
			c.good = m.Size
		} else {
			c.bad = append(c.bad, m)
		}
	}
}

// finish says what is wrong with the segment, and leaves the tree as the
// seal has it, so that what follows can be verified all the same.
func (c *check) finish(f *os.File) error {
	v, s := c.v, c.seal
	sealed := s != nil
	okSeal := !sealed || s.end-s.first == c.lines && (v.broken || s.tree.same(&v.tree))
	if sealed && c.leftOver > 0 {
		okSeal = false
	}
	switch {
	case okSeal && len(c.bad) == 0 && !c.differs && !c.tooLong:
		if c.leftOver > 0 {
			v.warn("%s ends with %d bytes of an unfinished record", c.name, c.leftOver)
		}
	default:
		if err := c.diagnose(f, okSeal && sealed && !v.broken); err != nil {
			return err
		}
	}
	if sealed {
		v.tree, v.broken = *s.tree, false
		c.mark() // those beyond the last line but covered by the seal
	}
	return nil
}

// end looks at what no segment reached.
func (v *verifier) end() {
	v.r.Size = v.tree.n
	for _, m := range v.marks {
		if m.Size <= v.tree.n {
			v.compare(m)
			continue
		}
		v.add(Problem{
			Kind: Truncated, File: m.name, First: v.tree.n, End: m.Size,
			Detail: fmt.Sprintf("%d records were signed, the trail ends after %d", m.Size, v.tree.n),
		})
	}
	if v.r.OK() {
		v.r.Root = v.tree.root()
	}
	if v.r.Unsigned = max(0, v.tree.n-v.r.Checkpoint.Size); v.r.Unsigned > 0 {
		v.warn("%d records after the last checkpoint are not signed yet", v.r.Unsigned)
	}
}

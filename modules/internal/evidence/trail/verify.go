package trail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
)

func (v *verifier) add(p Problem) {
	if len(v.r.Problems) >= v.o.MaxProblems {
		v.r.Omitted++
		return
	}
	v.r.Problems = append(v.r.Problems, p)
}

// warn notes what is not a fault, up to the bound for problems.
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
// error concerns reading; what is wrong with the trail is in the Report.
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

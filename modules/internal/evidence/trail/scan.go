package trail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Cursor is a position between two records of a trail. The zero Cursor is the
// beginning. Its text form can be kept, and read again by ParseCursor.
type Cursor struct {
	Index   int64 // of the record that follows
	segment int64 // that holds it, if known
	offset  int64 // in that segment
}

// String prints the cursor.
func (c Cursor) String() string { return fmt.Sprintf("%d %d %d", c.Index, c.segment, c.offset) }

// ParseCursor reads what String printed. A single number is a cursor before
// the record of that index.
func ParseCursor(s string) (Cursor, error) {
	f := strings.Split(s, " ")
	if len(f) == 1 {
		n, err := parseCount(s)
		return Cursor{Index: n, segment: n}, err
	}
	n, err := parseCounts(s, 3)
	if err != nil || n[1] > n[0] {
		return Cursor{}, fmt.Errorf("%q is not a cursor", s)
	}
	return Cursor{n[0], n[1], n[2]}, nil
}

// Record is one record as Scan finds it.
type Record struct {
	Index int64  // in the trail, from 0
	Line  []byte // the JSON object, valid during the call
	Next  Cursor // the position after this record
}

// ScanOptions say what Scan reads.
type ScanOptions struct {
	// From is where to begin.
	From Cursor

	// Contains are texts that a line must contain, all of them. Lines that
	// do not are passed over without a look at them, at the speed of memory.
	Contains [][]byte

	// ClosedBefore passes over segments that were closed before that time,
	// and so hold no record made since.
	ClosedBefore time.Time

	// Limit, if set, tells the number of records that may be read, such as
	// those that are durable. It is asked again before waiting.
	Limit func() int64

	// Follow keeps waiting for more records until the context ends.
	Follow bool

	// Poll is how often a followed trail is looked at. Default: 200ms
	Poll time.Duration

	// Gap is called where records from index from to below to are not
	// there: removed because of their age or otherwise. An error ends the
	// scan.
	Gap func(from, to int64) error

	// Progress is called now and then with the number of bytes passed.
	Progress func(bytes int64)
}

// ErrStop may be returned by the function of a Scan to end it.
var ErrStop = errors.New("stop")

// Scan calls f for each complete record in a directory, in order, without
// checking signatures: for that there is Verify. It needs no lock and may run
// while records are appended. It returns the position where it stopped, which is
// after the last record for which f returned nil.
func Scan(ctx context.Context, dir string, o ScanOptions, f func(Record) error) (Cursor, error) {
	if o.Poll <= 0 {
		o.Poll = 200 * time.Millisecond
	}
	s := &scanner{ctx: ctx, dir: dir, o: o, f: f, at: o.From}
	s.literal, s.others = pickLiteral(o.Contains)
	if o.Limit != nil && s.literal != nil {
		// Whoever asks for a limit asks for an exact position.
		s.literal, s.others = nil, append(s.others, s.literal)
	}
	for {
		more, err := s.next()
		if err != nil {
			if errors.Is(err, ErrStop) {
				err = nil
			}
			return s.at, err
		}
		if more {
			continue
		}
		if !o.Follow {
			return s.at, nil
		}
		select {
		case <-ctx.Done():
			return s.at, ctx.Err()
		case <-time.After(o.Poll):
		}
	}
}

type scanner struct {
	ctx     context.Context
	dir     string
	o       ScanOptions
	f       func(Record) error
	at      Cursor
	literal []byte   // the text looked for first
	others  [][]byte // the rest
	buf     []byte
	bytes   int64
	idle    int // looks in vain at the same segment
}

// pickLiteral chooses the longest text: it is the rarest, more often than
// not. One that cannot stand in a line is left to matches, which never finds
// it.
func pickLiteral(texts [][]byte) (first []byte, others [][]byte) {
	longest := -1
	for i, t := range texts {
		inLine := len(t) > 0 && bytes.IndexByte(t, '\n') < 0
		if inLine && (longest < 0 || len(t) > len(texts[longest])) {
			longest = i
		}
	}
	for i, t := range texts {
		if i == longest {
			first = t
		} else if len(t) > 0 {
			others = append(others, t)
		}
	}
	return first, others
}

// next reads on. While a trail is followed, it mostly finds its position again
// without a look at the directory, of which there may be thousands of files.
func (s *scanner) next() (more bool, err error) {
	if !s.o.Follow || s.at.offset <= 0 || s.idle == 16 {
		s.idle = 0
		return s.pass()
	}
	s.idle++
	before := s.at
	err = s.segment(s.at.segment)
	if errors.Is(err, os.ErrNotExist) {
		return s.pass()
	}
	if s.at != before {
		s.idle = 0
	}
	if err != nil || s.limited() {
		return false, err
	}
	if _, err := os.Stat(segmentPath(s.dir, s.at.Index, recordsSuffix)); err == nil {
		s.at = Cursor{Index: s.at.Index, segment: s.at.Index}
		return true, nil
	}
	return false, nil
}

// pass reads up to the end of one segment and tells whether another follows.
func (s *scanner) pass() (more bool, err error) {
	l, err := list(s.dir)
	if err != nil {
		return false, err
	}
	// The segment that holds at.Index is the last that begins at or before
	// it.
	seg, next := int64(-1), int64(-1)
	for _, first := range l.records {
		if first <= s.at.Index {
			seg = first
		} else {
			next = first
			break
		}
	}
	if seg < 0 {
		if next < 0 {
			return false, nil
		}
		return true, s.gap(next)
	}
	if s.at.segment != seg {
		s.at.segment, s.at.offset = seg, -1
	}
	if skip, err := s.skip(seg, next); skip || err != nil {
		return skip, err
	}
	err = s.segment(seg)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil // removed meanwhile: look again
	}
	if err != nil || next < 0 {
		return false, err
	}
	if s.limited() {
		return false, nil
	}
	// What is missing between the end of this segment and the next is a
	// gap, and a line too many is not read twice.
	if s.at.Index < next {
		return true, s.gap(next)
	}
	s.at = Cursor{Index: next, segment: next}
	return true, nil
}

func (s *scanner) limited() bool {
	return s.o.Limit != nil && s.at.Index >= s.o.Limit()
}

// gap moves on to the record to.
func (s *scanner) gap(to int64) error {
	if s.o.Gap != nil {
		if err := s.o.Gap(s.at.Index, to); err != nil {
			return err
		}
	}
	s.at = Cursor{Index: to, segment: to}
	return nil
}

// skip passes over a segment that was closed before ClosedBefore.
func (s *scanner) skip(seg, next int64) (bool, error) {
	if s.o.ClosedBefore.IsZero() || next < 0 {
		return false, nil
	}
	msg, err := readSmall(segmentPath(s.dir, seg, sealSuffix))
	if err != nil {
		return false, nil // read it then
	}
	text, _, err := openNote(msg, note.VerifierList())
	if err != nil {
		return false, nil
	}
	sealed, err := parseSeal(text)
	if err != nil || sealed.first != seg || sealed.end != next || sealed.closed >= s.o.ClosedBefore.Unix() {
		return false, nil
	}
	s.at = Cursor{Index: next, segment: next}
	s.bytes += sealed.bytes
	return true, s.ctx.Err()
}

// segment reads one segment from at to its end.
func (s *scanner) segment(seg int64) error {
	f, err := os.Open(segmentPath(s.dir, seg, recordsSuffix))
	if err != nil {
		return err
	}
	defer f.Close()
	if s.buf == nil {
		s.buf = make([]byte, MaxRecord+1+readSize)
	}
	index, off := s.at.Index, s.at.offset
	if off < 0 {
		index, off = seg, 0
	}
	var have int
	for {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		n, err := f.ReadAt(s.buf[have:min(have+readSize, len(s.buf))], off+int64(have))
		have += n
		lines := s.buf[:bytes.LastIndexByte(s.buf[:have], '\n')+1]
		if len(lines) > 0 {
			if index, err = s.lines(lines, index, seg, off); err != nil {
				return err
			}
			have = copy(s.buf, s.buf[len(lines):have])
			off += int64(len(lines))
			s.bytes += int64(len(lines))
			if s.o.Progress != nil {
				s.o.Progress(s.bytes)
			}
		} else if have > MaxRecord {
			return fmt.Errorf("%s: record %d: %w", filepath.Base(f.Name()), index, errLineTooLong)
		}
		if s.limited() || n == 0 && (err == nil || err == io.EOF) {
			return nil
		}
		if err != nil && err != io.EOF {
			return err
		}
	}
}

// lines passes the complete lines in p, the first of which is record index
// and begins at off, and returns the index after them.
func (s *scanner) lines(p []byte, index, seg, off int64) (int64, error) {
	whole := p
	limit := int64(1<<63 - 1)
	if s.o.Limit != nil {
		limit = s.o.Limit()
	}
	place := func(i int64) Cursor { return Cursor{i, seg, off + int64(len(whole)-len(p))} }
	for len(p) > 0 {
		if s.literal != nil {
			// Go to the beginning of the line with the next match.
			m := bytes.Index(p, s.literal)
			if m < 0 {
				break
			}
			start := bytes.LastIndexByte(p[:m], '\n') + 1
			index += int64(bytes.Count(p[:start], newline))
			p = p[start:]
		}
		if index >= limit {
			return index, nil
		}
		end := bytes.IndexByte(p, '\n')
		line := p[:end:end]
		p = p[end+1:]
		i := index
		index++
		next := place(index)
		if i >= s.at.Index && s.matches(line) {
			if err := s.f(Record{Index: i, Line: line, Next: next}); err != nil {
				return index, err
			}
		}
		if i >= s.at.Index {
			s.at = next
		}
	}
	index += int64(bytes.Count(p, newline))
	p = p[len(p):]
	if index > s.at.Index {
		s.at = place(index)
	}
	return index, nil
}

var newline = []byte{'\n'}

func (s *scanner) matches(line []byte) bool {
	for _, t := range s.others {
		if !bytes.Contains(line, t) {
			return false
		}
	}
	return true
}

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

	"golang.org/x/mod/sumdb/tlog"
)

// ScanBackward calls f for the complete records in a directory, the newest
// first, as Scan does in order. It heeds Contains, ClosedBefore and Progress
// of the options. It returns the position after the newest record, from which
// Scan can go on.
//
// It reads from the end and no more than f asks for: which record the last
// line of a segment is, the leaf hashes tell.
func ScanBackward(ctx context.Context, dir string, o ScanOptions, f func(Record) error) (end Cursor, err error) {
	l, err := list(dir)
	if err != nil {
		return Cursor{}, err
	}
	b := &backward{ctx: ctx, dir: dir, o: o, f: f}
	for i, first := range slices.Backward(l.records) {
		next := int64(-1)
		if i+1 < len(l.records) {
			next = l.records[i+1]
		}
		at, err := b.segment(first, next)
		if i == len(l.records)-1 {
			end = at
		}
		if errors.Is(err, os.ErrNotExist) && i == 0 {
			return end, nil // removed meanwhile, because of its age
		}
		if errors.Is(err, ErrStop) {
			return end, nil
		}
		if err != nil {
			return end, err
		}
	}
	return end, nil
}

type backward struct {
	ctx   context.Context
	dir   string
	o     ScanOptions
	f     func(Record) error
	bytes int64
}

// segment passes over one segment, whose successor begins with the record
// next, if there is one, and returns the position after its last record.
func (b *backward) segment(first, next int64) (Cursor, error) {
	s := scanner{ctx: b.ctx, dir: b.dir, o: b.o}
	if skip, err := s.skip(first, next); err != nil {
		return Cursor{}, err
	} else if skip {
		return Cursor{}, ErrStop // and so are all before it
	}
	file, err := os.Open(segmentPath(b.dir, first, recordsSuffix))
	if err != nil {
		return Cursor{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return Cursor{}, err
	}
	at, err := b.last(file, first, info.Size())
	if err != nil {
		return at, err
	}
	return at, b.lines(file, at)
}

// last finds the position after the last complete line.
func (b *backward) last(file *os.File, first, size int64) (Cursor, error) {
	at := Cursor{Index: first, segment: first}
	if size == 0 {
		return at, nil
	}
	buf := make([]byte, min(size, MaxRecord+readSize))
	if _, err := file.ReadAt(buf, size-int64(len(buf))); err != nil && err != io.EOF {
		return at, err
	}
	end := bytes.LastIndexByte(buf, '\n') + 1
	at.offset = size - int64(len(buf)-end)
	if end == 0 {
		if size > int64(len(buf)) {
			return at, fmt.Errorf("%s: %w", filepath.Base(file.Name()), errLineTooLong)
		}
		at.offset = 0
		return at, nil
	}
	if after, ok := b.number(first, buf[:end], size == int64(len(buf))); ok {
		at.Index = after
		return at, nil
	}
	// Without leaf hashes to go by, the lines are counted.
	n, err := countLines(file, at.offset)
	at.Index = first + n
	return at, err
}

// maxLag is how many of the last leaf hashes and lines are compared: those of
// the newest records may not be written yet.
const maxLag = 4096

// number returns the index after the last line of text, by the leaf hashes.
// whole says that text begins where the segment does.
func (b *backward) number(first int64, text []byte, whole bool) (int64, bool) {
	h, err := openHashes(segmentPath(b.dir, first, hashesSuffix))
	if err != nil {
		return 0, false
	}
	defer h.Close()
	from := max(0, h.n-maxLag)
	h.from(from)
	places := make(map[tlog.Hash]int64)
	for i := from; i < h.n; i++ {
		hash, ok := h.next()
		if !ok {
			break
		}
		if _, twice := places[hash]; twice {
			return 0, false // equal records tell nothing
		}
		places[hash] = i
	}
	line := make([]byte, 1, 4096)
	for after := int64(0); after < maxLag && len(text) > 0; after++ {
		start := bytes.LastIndexByte(text[:len(text)-1], '\n') + 1
		if start == 0 && !whole {
			break
		}
		line = append(line[:1], text[start:len(text)-1]...)
		if i, ok := places[leafHash(line)]; ok {
			return first + i + 1 + after, true
		}
		text = text[:start]
	}
	return 0, false
}

func countLines(r io.ReaderAt, size int64) (n int64, err error) {
	buf := make([]byte, readSize)
	for off := int64(0); off < size; {
		got, err := r.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		n += int64(bytes.Count(buf[:got], newline))
		off += int64(got)
		if err != nil && (err != io.EOF || got == 0) {
			return n, err
		}
	}
	return n, nil
}

// lines passes over the lines before at, the last first.
func (b *backward) lines(file *os.File, at Cursor) error {
	var tail []byte // the beginning of what was read before, without a newline in it
	buf := make([]byte, readSize)
	for off := at.offset; off > 0; {
		if err := b.ctx.Err(); err != nil {
			return err
		}
		n := min(off, int64(len(buf)))
		off -= n
		if _, err := file.ReadAt(buf[:n], off); err != nil {
			return err
		}
		text := append(bytes.Clone(buf[:n]), tail...)
		for len(text) > 0 {
			start := bytes.LastIndexByte(text[:len(text)-1], '\n') + 1
			if start == 0 && off > 0 {
				break
			}
			at.Index--
			line := text[start : len(text)-1 : len(text)-1]
			if contains(line, b.o.Contains) {
				next := Cursor{at.Index + 1, at.segment, off + int64(len(text))}
				if err := b.f(Record{Index: at.Index, Line: line, Next: next}); err != nil {
					return err
				}
			}
			text = text[:start]
		}
		if len(text) > MaxRecord+1 {
			return fmt.Errorf("%s: %w", filepath.Base(file.Name()), errLineTooLong)
		}
		tail = bytes.Clone(text)
		b.bytes += n
		if b.o.Progress != nil {
			b.o.Progress(b.bytes)
		}
	}
	return nil
}

func contains(line []byte, texts [][]byte) bool {
	for _, t := range texts {
		if !bytes.Contains(line, t) {
			return false
		}
	}
	return true
}

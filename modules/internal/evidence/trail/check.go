package trail

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"
)

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

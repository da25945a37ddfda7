package trail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/caddy-moat/caddy-moat/modules/internal/filelock"
)

// Names in the directory of a trail.
const (
	lockName       = "lock"
	keysName       = "keys"
	checkpointName = "checkpoint"
	prunedName     = "pruned"
	cosignedName   = "cosigned"

	recordsSuffix = ".jsonl"
	hashesSuffix  = ".hashes"
	sealSuffix    = ".seal"
	tempSuffix    = ".tmp"
)

// MaxRecord is the longest record, in bytes. It is part of the format, so
// that a reader knows how much memory a line can cost.
const MaxRecord = 1 << 20

// segmentPath is the path of a segment's file, by the first record it holds.
func segmentPath(dir string, first int64, suffix string) string {
	return filepath.Join(dir, fmt.Sprintf("%020d", first)+suffix)
}

// parseName is the inverse of segmentPath for a name in the directory.
func parseName(name, suffix string) (first int64, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	first, err := strconv.ParseInt(digits, 10, 64)
	return first, err == nil && first >= 0 && digits[0] != '+'
}

// listing is what a directory holds.
type listing struct {
	records, hashes, seals []int64 // by first record, ascending
	temps                  []string
	others                 []string
}

func list(dir string) (*listing, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	l := new(listing)
	for _, e := range entries {
		name := e.Name()
		if e.Type()&^os.ModeSymlink != 0 { // a directory, or a pipe that hangs whoever opens it
			l.others = append(l.others, name)
		} else if first, ok := parseName(name, recordsSuffix); ok {
			l.records = append(l.records, first)
		} else if first, ok := parseName(name, hashesSuffix); ok {
			l.hashes = append(l.hashes, first)
		} else if first, ok := parseName(name, sealSuffix); ok {
			l.seals = append(l.seals, first)
		} else if strings.HasSuffix(name, tempSuffix) {
			l.temps = append(l.temps, name)
		} else if !slices.Contains([]string{lockName, keysName, checkpointName, prunedName, cosignedName}, name) {
			l.others = append(l.others, name)
		}
	}
	slices.Sort(l.records)
	slices.Sort(l.hashes)
	slices.Sort(l.seals)
	return l, nil
}

// readSmall reads a file that holds one note or a few keys.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxNote+1))
	if err == nil && len(data) > maxNote {
		err = fmt.Errorf("%s: larger than %d bytes", path, maxNote)
	}
	return data, err
}

// replaceFile puts data in place of a file so that a crash leaves the
// old content or the new, never a mixture.
func replaceFile(path string, data []byte) error {
	tmp := path + tempSuffix
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	return filelock.SyncDir(filepath.Dir(path))
}

// makeDir makes a directory, and those above it, so that a power failure
// does not take them away with all they hold.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return filelock.SyncDir(parent)
}

// errLineTooLong says that a line is longer than MaxRecord.
var errLineTooLong = errors.New("line longer than a record can be")

// readSize is what is read at once. It fits the second-level cache, where
// the lines are then found and hashed.
const readSize = 256 << 10

// lineReader cuts a segment into lines. It holds at most two reads and the
// longest line.
type lineReader struct {
	r          io.Reader
	buf        []byte // buf[0] is scratch, see next
	start, end int
	off        int64 // in the segment, of buf[start]
	err        error
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: r, buf: make([]byte, 1+2*readSize), start: 1, end: 1}
}

// next returns the next complete line, without its newline but with one
// scratch byte before it for leafHash: the line is p[1:], valid until the
// following call. At the end of the file it returns io.EOF; rest then tells
// whether an incomplete line follows.
func (l *lineReader) next() (p []byte, err error) {
	from := l.start
	for {
		if i := bytes.IndexByte(l.buf[from:l.end], '\n'); i >= 0 {
			i += from
			p = l.buf[l.start-1 : i : i]
			l.off += int64(i + 1 - l.start)
			l.start = i + 1
			if len(p)-1 > MaxRecord {
				return nil, errLineTooLong
			}
			return p, nil
		}
		if l.end-l.start > MaxRecord {
			return nil, errLineTooLong
		}
		if l.err != nil {
			return nil, l.err
		}
		l.makeRoom()
		from = l.end
		var n int
		n, l.err = l.r.Read(l.buf[l.end:min(l.end+readSize, len(l.buf))])
		l.end += n
	}
}

// makeRoom makes room for one read.
func (l *lineReader) makeRoom() {
	if len(l.buf)-l.end >= readSize {
		return
	}
	to := l.buf
	if l.end-l.start >= readSize {
		to = make([]byte, 2*len(l.buf))
	}
	l.end = 1 + copy(to[1:], l.buf[l.start:l.end])
	l.start, l.buf = 1, to
}

// reset begins another segment.
func (l *lineReader) reset(r io.Reader) {
	l.r, l.start, l.end, l.off, l.err = r, 1, 1, 0, nil
}

// rest is the number of bytes after the last complete line, once next has
// returned io.EOF.
func (l *lineReader) rest() int { return l.end - l.start }

// hashFile reads the leaf hashes of one segment in order.
type hashFile struct {
	f    *os.File
	n    int64 // hashes that there were when the file was opened
	r    io.Reader
	buf  []byte
	have []byte
	err  error
}

// openHashes opens a file of leaf hashes. What is appended later is not
// read: of the hashes that are there now the lines are there too.
func openHashes(path string) (*hashFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	h := &hashFile{f: f, n: info.Size() / tlog.HashSize, buf: make([]byte, 2048*tlog.HashSize)}
	h.from(0)
	return h, nil
}

// from goes to the i'th hash.
func (h *hashFile) from(i int64) {
	h.r = io.NewSectionReader(h.f, i*tlog.HashSize, max(0, h.n-i)*tlog.HashSize)
	h.have, h.err = nil, nil
}

// next returns the next hash; ok is false at the end.
func (h *hashFile) next() (hash tlog.Hash, ok bool) {
	if len(h.have) < tlog.HashSize {
		if h.err != nil {
			return hash, false
		}
		var n int
		n, h.err = io.ReadFull(h.r, h.buf)
		h.have = h.buf[:n]
		if n < tlog.HashSize {
			return hash, false
		}
	}
	hash = tlog.Hash(h.have[:tlog.HashSize])
	h.have = h.have[tlog.HashSize:]
	return hash, true
}

// failed returns the error that ended reading, if it was not the end.
func (h *hashFile) failed() error {
	if h.err == io.EOF || errors.Is(h.err, io.ErrUnexpectedEOF) {
		return nil
	}
	return h.err
}

func (h *hashFile) Close() error {
	if h == nil {
		return nil
	}
	return h.f.Close()
}

package trail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/caddy-moat/caddy-moat/modules/internal/filelock"
)

func (t *Trail) path(name string) string  { return filepath.Join(t.dir, name) }
func (w *writer) path(name string) string { return w.t.path(name) }

// Open opens the trail in a directory and makes it if there is none. It
// takes the directory for itself until Close (ErrLocked), repairs what a
// crash left of the last line, and refuses to go on with a trail whose end
// is not what was signed (ErrTampered).
func Open(dir string, o Options) (*Trail, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("audit trail: %w", err)
	}
	t := &Trail{
		dir:    dir,
		born:   time.Now(),
		wake:   make(chan struct{}, 1),
		quit:   make(chan struct{}),
		done:   make(chan struct{}),
		signed: make(chan struct{}),
	}
	t.opt.Store(&o)
	t.room.grown = make(chan struct{})
	t.pending = t.newBatch()
	t.writer = writer{t: t, start: o.Now().Round(0), startUp: o.uptime(), signAt: time.Now().Add(o.Checkpoint)}
	t.signer.t, t.signer.ask = t, make(chan *frontier, 1)
	t.signer.size.Store(-1)
	if err := t.load(&o); err != nil {
		t.writer.closeFiles()
		return nil, fmt.Errorf("audit trail %s: %w", dir, err)
	}
	t.durable = t.writer.durable.tree
	t.stats.Records = t.durable.n
	go t.signer.run()
	go t.writer.run()
	return t, nil
}

func (w *writer) closeFiles() {
	for _, f := range []*os.File{w.f, w.hashes, w.lock} {
		if f != nil {
			f.Close()
		}
	}
}

// takeLock locks the directory.
func takeLock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := filelock.TryLock(f); err != nil {
		if err == filelock.ErrLocked {
			err = ErrLocked
		}
		holder, _ := io.ReadAll(io.LimitReader(f, 32))
		f.Close()
		if pid := strings.TrimSpace(string(holder)); pid != "" && err == ErrLocked {
			return nil, fmt.Errorf("%w (process %q)", err, pid)
		}
		return nil, err
	}
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return f, nil
}

// addKey notes a verifier key in the directory. Keys are never removed: they
// are needed for what they signed.
func (t *Trail) addKey(key string) error {
	if key == "" {
		return nil
	}
	t.keys.Lock()
	defer t.keys.Unlock()
	path := t.path(keysName)
	have, err := readSmall(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if slices.Contains(strings.Split(string(have), "\n"), key) {
		return nil
	}
	if len(have) > 0 && have[len(have)-1] != '\n' {
		have = append(have, '\n')
	}
	return replaceFile(path, append(append(have, key...), '\n'))
}

// readKeys returns the keys noted in the directory, nil if there are none.
func readKeys(dir string) (note.Verifiers, error) {
	data, err := readSmall(filepath.Join(dir, keysName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	known, err := ParseKeys(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keysName, err)
	}
	return known, nil
}

// readNote reads the text of a signed note in the directory. With known keys
// it must be signed by one of them.
func readNote(path string, known note.Verifiers) (string, []byte, error) {
	msg, err := readSmall(path)
	if err != nil {
		return "", nil, err
	}
	text, signed, err := openNote(msg, known)
	if err == nil && known != nil && !signed {
		err = errUnsigned
	}
	if err != nil {
		return "", nil, fmt.Errorf("%w: %s: %v", ErrTampered, filepath.Base(path), err)
	}
	return text, msg, nil
}

// load takes the directory and finds the end of the trail.
func (t *Trail) load(o *Options) error {
	w := &t.writer
	lock, err := takeLock(t.dir)
	if err != nil {
		return err
	}
	w.lock = lock
	l, err := list(t.dir)
	if err != nil {
		return err
	}
	for _, name := range l.temps {
		if err := os.Remove(t.path(name)); err != nil {
			return err
		}
	}
	known, err := readKeys(t.dir)
	if err == nil && known == nil && o.VerifierKey != "" {
		known, err = ParseKeys([]byte(o.VerifierKey))
	}
	if err != nil {
		return err
	}
	text, msg, err := readNote(t.path(checkpointName), known)
	if errors.Is(err, os.ErrNotExist) {
		if len(l.records)+len(l.seals) > 0 {
			return fmt.Errorf("%w: there is no checkpoint: move the directory away to begin a new trail", ErrTampered)
		}
		return t.begin(o)
	}
	if err != nil {
		return err
	}
	cp, err := parseCheckpoint(text)
	if err != nil {
		return fmt.Errorf("%w: %s: %v", ErrTampered, checkpointName, err)
	}
	t.origin = cp.Origin
	t.signer.note = msg
	t.signer.size.Store(cp.Size)
	if err := t.addKey(o.VerifierKey); err != nil {
		return err
	}
	tree, err := w.loadSeals(l, known)
	if err != nil {
		return err
	}
	return w.loadOpen(l, tree, cp)
}

// begin makes a new trail. Its first checkpoint says that it is empty, so
// that a trail without checkpoint is never a good one.
func (t *Trail) begin(o *Options) error {
	t.origin = o.Origin
	if err := t.addKey(o.VerifierKey); err != nil {
		return err
	}
	t.signer.sign(&frontier{})
	if err := t.signer.err; err != nil {
		return err
	}
	return t.writer.create()
}

// loadSeals reads what is known about closed segments and returns the tree
// after them. Faults further back do not hinder going on: Verify finds them.
func (w *writer) loadSeals(l *listing, known note.Verifiers) (*frontier, error) {
	t, o := w.t, w.t.opt.Load()
	tree := &frontier{}
	text, _, err := readNote(t.path(prunedName), known)
	if err == nil {
		p, err := parsePruned(text)
		if err != nil || p.origin != t.origin {
			return nil, fmt.Errorf("%w: %s: %v", ErrTampered, prunedName, errMalformedNote)
		}
		tree, w.clock, w.pruned = p.tree, p.time, p
		if err := removeSegments(t.dir, tree.n); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for i, first := range l.seals {
		if first < tree.n {
			continue // removed above
		}
		check := known
		if i < len(l.seals)-1 {
			check = nil // thousands of signatures would delay the start
		}
		s, err := readSeal(t.dir, first, t.origin, check)
		if err != nil {
			return nil, err
		}
		if s.first != tree.n {
			o.Logf("audit trail %s: records %d to %d are missing", t.dir, tree.n, s.first-1)
		} else if info, err := os.Stat(segmentPath(t.dir, first, recordsSuffix)); err != nil || info.Size() != s.bytes {
			o.Logf("audit trail %s: the segment of records %d to %d was changed or removed", t.dir, s.first, s.end-1)
		}
		w.sealed = append(w.sealed, s)
		tree, w.clock = s.tree, max(w.clock, s.closed)
	}
	w.countSegments()
	return tree, nil
}

func readSeal(dir string, first int64, origin string, known note.Verifiers) (*seal, error) {
	path := segmentPath(dir, first, sealSuffix)
	text, _, err := readNote(path, known)
	if err != nil {
		return nil, err
	}
	s, err := parseSeal(text)
	if err != nil || s.origin != origin || s.first != first {
		return nil, fmt.Errorf("%w: %s: %v", ErrTampered, filepath.Base(path), errMalformedNote)
	}
	return s, nil
}

// loadOpen reads the open segment, which follows tree.
func (w *writer) loadOpen(l *listing, tree *frontier, cp Checkpoint) error {
	t, o := w.t, w.t.opt.Load()
	for _, first := range l.records {
		if first > tree.n {
			return fmt.Errorf("%w: the segment of record %d does not follow record %d", ErrTampered, first, tree.n-1)
		}
	}
	w.base.tree = *tree
	w.first = tree.n
	f, err := os.OpenFile(segmentPath(t.dir, w.first, recordsSuffix), os.O_RDWR, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if cp.Size > tree.n {
			return fmt.Errorf("%w: records %d to %d are missing", ErrTampered, tree.n, cp.Size-1)
		}
		return w.create()
	case err != nil:
		return err
	}
	w.f = f
	stale, staleOff, err := w.readOpen(f, cp)
	if err != nil {
		return err
	}
	if w.info, err = f.Stat(); err != nil {
		return err
	}
	if torn := w.info.Size() - w.base.off; torn > 0 {
		if err := f.Truncate(w.base.off); err != nil {
			return err
		}
		o.Logf("audit trail %s: removed %d bytes after record %d that a crash left unfinished", t.dir, torn, w.base.tree.n-1)
		t.stats.Repaired = torn
	}
	if signed, n := max(cp.Size, w.first), w.base.tree.n; n > signed {
		// An orderly stop signs everything, so these are from a crash, or
		// somebody wrote them while nothing was running.
		o.Logf("audit trail %s: records %d to %d were never signed and are taken as they stand: right after a crash, to be looked into after an orderly stop", t.dir, signed, n-1)
		t.stats.Unsigned = n - signed
	}
	w.hashes, err = openSidecar(segmentPath(t.dir, w.first, hashesSuffix), w.base.tree.n-w.first)
	if err != nil {
		return err
	}
	if err := w.repairHashes(f, stale, staleOff); err != nil {
		return err
	}
	w.written = w.base
	if err := datasync(f); err != nil {
		return err
	}
	w.durable = w.base
	w.opened = w.openedAt()
	return nil
}

// openedAt is roughly when the open segment was begun: when the one before
// was closed, or the directory was made.
func (w *writer) openedAt() int64 {
	now := w.now()
	if n := len(w.sealed); n > 0 {
		return w.sealed[n-1].closed
	}
	if info, err := os.Stat(w.path(keysName)); err == nil {
		return min(now, info.ModTime().Unix())
	}
	return now
}

// readOpen hashes the open segment into base, up to the first line that
// cannot have been finished, and compares it with the checkpoint. It returns
// the first record whose leaf hash is not noted as it is, and where it begins.
func (w *writer) readOpen(f *os.File, cp Checkpoint) (stale, staleOff int64, err error) {
	tree := &w.base.tree
	if cp.Size == tree.n && cp.Root != tree.root() {
		return 0, 0, fmt.Errorf("%w: the records before %d are not those that were signed", ErrTampered, cp.Size)
	}
	noted, err := openHashes(segmentPath(w.t.dir, w.first, hashesSuffix))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, 0, err
	}
	defer noted.Close()
	same := noted != nil
	lr := newLineReader(f)
	for {
		p, err := lr.next()
		if err == io.EOF {
			break
		}
		if err != nil && err != errLineTooLong {
			return 0, 0, err
		}
		if err != nil || tree.n >= cp.Size && !finished(p[1:]) {
			break
		}
		leaf := leafHash(p)
		if same {
			h, ok := noted.next()
			same = ok && h == leaf
		}
		tree.add(leaf)
		w.base.off = lr.off
		if same {
			stale, staleOff = tree.n, lr.off
		}
		if tree.n == cp.Size && tree.root() != cp.Root {
			return 0, 0, fmt.Errorf("%w: a record among %d to %d was changed", ErrTampered, w.first, cp.Size-1)
		}
	}
	if cp.Size > tree.n {
		return 0, 0, fmt.Errorf("%w: records %d to %d are missing", ErrTampered, tree.n, cp.Size-1)
	}
	return max(stale, w.first), staleOff, nil
}

// repairHashes notes the leaf hashes of the open segment from record first
// on, which begins at off. The end of the segment is known to be whole.
func (w *writer) repairHashes(f *os.File, first, off int64) error {
	lr := newLineReader(io.NewSectionReader(f, off, w.base.off-off))
	var leaves []byte
	for n := first; n < w.base.tree.n; n++ {
		p, err := lr.next()
		if err != nil {
			return err
		}
		leaf := leafHash(p)
		leaves = append(leaves, leaf[:]...)
		if len(leaves) < 64<<10 && n < w.base.tree.n-1 {
			continue
		}
		if _, err := w.hashes.WriteAt(leaves, (first-w.first)*tlog.HashSize); err != nil {
			return err
		}
		first, leaves = n+1, leaves[:0]
	}
	return nil
}

// finished tells whether a line after the last checkpoint can be a record:
// after a power failure there may be blocks of zeros where data should be.
func finished(line []byte) bool {
	return checkRecord(line) == nil && bytes.IndexByte(line, 0) < 0
}

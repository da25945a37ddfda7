package trail

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// fail makes the trail unavailable until recover succeeds.
func (w *writer) fail(err error) {
	t, o := w.t, w.t.opt.Load()
	var unsynced *syncError
	if errors.As(err, &unsynced) && w.base.tree.n > w.durable.tree.n {
		// With Off nothing was retained, and the kernel has told its last
		// about these pages.
		w.lose(w.base.tree.n - w.durable.tree.n)
		w.base = w.durable
	}
	if w.f != nil {
		// A part of a line may stand there. recover would remove it, but
		// the process may not live that long.
		_ = w.f.Truncate(w.base.off)
		// Nor may the leaf hash of a record that is not there: the segment
		// may have been moved away, and be put back as it was.
		_ = w.hashes.Truncate((w.base.tree.n - w.first) * tlog.HashSize)
		w.f.Close()
		w.hashes.Close()
		w.f, w.hashes = nil, nil
	}
	first := w.backoff == 0
	w.backoff = min(max(2*w.backoff, firstBackoff), lastBackoff)
	w.retryAt = time.Now().Add(w.backoff)

	failing := &UnavailableError{Cause: err}
	t.mu.Lock()
	t.failing = failing
	// Whoever waits is told now, so what they wait for is retained too, in
	// order.
	for _, b := range t.full {
		w.retain(b)
	}
	t.full = nil
	if b := t.pending; b.waiters > 0 {
		w.retain(b)
		t.pending = t.newBatch()
	}
	if first {
		t.stats.Failures++
	}
	t.room.changed()
	t.mu.Unlock()
	for _, b := range w.retained {
		b.finish(failing)
	}
	if first {
		o.Logf("audit trail %s is unavailable: %v", t.dir, err)
		if o.Observer.Failed != nil {
			o.Observer.Failed(err)
		}
	}
}

// recover opens the segment again and writes what is retained.
func (w *writer) recover() {
	again := w.retained
	w.retained, w.retainedBytes = nil, 0
	err := w.reopen()
	for i := 0; i < len(again) && err == nil; i++ {
		err = w.write(again[i]) // retains it
		again[i] = nil
	}
	for _, b := range again {
		if b != nil {
			w.retain(b)
		}
	}
	if err == nil {
		err = w.commit()
	}
	if err != nil {
		w.fail(err)
		return
	}
	w.allocated, w.hashesTo = w.written.off, w.leavesEnd()
	w.account(0)
	t, o := w.t, w.t.opt.Load()
	w.backoff = 0
	t.mu.Lock()
	t.failing = nil
	t.mu.Unlock()
	o.Logf("audit trail %s is available again, %d records", t.dir, w.durable.tree.n)
	if o.Observer.Recovered != nil {
		o.Observer.Recovered()
	}
}

// reopen opens the segment that records go to, cut to base.
func (w *writer) reopen() error {
	w.written = w.base
	if w.fresh {
		return w.resettle()
	}
	path := segmentPath(w.t.dir, w.first, recordsSuffix)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return w.resettle()
	}
	if err != nil {
		return err
	}
	if err := w.adopt(f); err != nil {
		f.Close()
		return err
	}
	return nil
}

// adopt takes f as the open segment if it is the same file as before.
func (w *writer) adopt(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(info, w.info) {
		return fmt.Errorf("%s was replaced by another file: move it away", f.Name())
	}
	if info.Size() < w.base.off {
		return fmt.Errorf("%s was cut to %d bytes by somebody else, %d were written: move the trail away", f.Name(), info.Size(), w.base.off)
	}
	if err := f.Truncate(w.base.off); err != nil {
		return err
	}
	hashes, err := openSidecar(segmentPath(w.t.dir, w.first, hashesSuffix), w.base.tree.n-w.first)
	if err != nil {
		return err
	}
	w.f, w.hashes, w.info = f, hashes, info
	return nil
}

// openSidecar opens a file of leaf hashes, cut to n of them.
func openSidecar(path string, n int64) (*os.File, error) {
	h, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := h.Truncate(n * tlog.HashSize); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// resettle goes on after the directory or the open segment was removed. The
// records are gone, which Verify will say; the chain goes on from what is
// remembered of it, so that later records are as well protected as before.
func (w *writer) resettle() error {
	t, o := w.t, w.t.opt.Load()
	if err := makeDir(t.dir); err != nil {
		return err
	}
	if err := w.relock(); err != nil {
		return err
	}
	if err := t.addKey(o.VerifierKey); err != nil {
		return err
	}
	if !w.fresh && w.base.tree.n > w.first {
		if err := w.seal(); err != nil {
			return err
		}
		o.Logf("audit trail %s: records %d to %d were removed while the server was running", t.dir, w.first, w.base.tree.n-1)
	}
	if err := w.remind(); err != nil {
		return err
	}
	return w.create()
}

// remind writes the notes that the open segment follows, where they are
// missing.
func (w *writer) remind() error {
	note := func(path, text string) error {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		msg, err := signNote(text, w.t.opt.Load().Signer)
		if err != nil {
			return err
		}
		return replaceFile(path, msg)
	}
	if w.pruned != nil {
		if err := note(w.path(prunedName), w.pruned.text()); err != nil {
			return err
		}
	}
	if n := len(w.sealed); n > 0 {
		s := w.sealed[n-1]
		return note(segmentPath(w.t.dir, s.first, sealSuffix), s.text())
	}
	return nil
}

// relock takes the lock of the directory again if it is not the one that was
// locked.
func (w *writer) relock() error {
	info, err := os.Stat(w.lock.Name())
	if err == nil {
		if held, err := w.lock.Stat(); err == nil && os.SameFile(info, held) {
			return nil
		}
	}
	lock, err := takeLock(w.t.dir)
	if err != nil {
		return err
	}
	w.lock.Close()
	w.lock = lock
	return nil
}

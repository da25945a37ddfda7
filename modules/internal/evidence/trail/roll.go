package trail

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/filelock"
)

// now returns the time in Unix seconds. It never goes back, whatever the
// clock does: seals would contradict one another.
func (w *writer) now() int64 {
	w.clock = max(w.clock, w.t.opt.Load().Now().Unix())
	return w.clock
}

// rollDue says whether a new segment should be begun before more bytes are
// written.
func (w *writer) rollDue(o *Options, more int) bool {
	if w.written.off == 0 {
		return false
	}
	if o.RollSize > 0 && w.written.off+int64(more) > o.RollSize {
		return true
	}
	return w.now()-w.opened >= max(1, int64(o.RollEvery/time.Second))
}

// roll seals the open segment and begins the next. What is written is
// durable afterwards. inHand bytes are about to be written.
func (w *writer) roll(inHand int) error {
	if w.written.off > w.durable.off {
		if err := w.commit(); err != nil {
			return err
		}
	}
	if err := w.inPlace(); err != nil {
		return err
	}
	if err := w.hashes.Sync(); err != nil {
		return err
	}
	w.trim()
	if err := w.seal(); err != nil {
		return err
	}
	f, h := w.f, w.hashes
	if err := w.create(); err != nil {
		return err
	}
	f.Close()
	h.Close()
	w.begun(inHand)
	w.prune(w.t.opt.Load())
	return nil
}

// seal signs what the open segment holds up to base, which is durable.
func (w *writer) seal() error {
	o := w.t.opt.Load()
	tree := w.base.tree
	s := &seal{
		origin: w.t.origin,
		first:  w.first, end: tree.n, bytes: w.base.off,
		opened: w.opened, closed: w.now(),
		tree: &tree,
	}
	msg, err := signNote(s.text(), o.Signer)
	if err != nil {
		return err
	}
	if err := replaceFile(segmentPath(w.t.dir, s.first, sealSuffix), msg); err != nil {
		return err
	}
	w.sealed = append(w.sealed, s)
	w.countSegments()
	w.fresh = true
	return nil
}

// create begins the segment that follows base.
func (w *writer) create() error {
	first := w.base.tree.n
	f, err := createSegment(w.t.dir, first)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	hashes, err := openSidecar(segmentPath(w.t.dir, first, hashesSuffix), 0)
	if err != nil {
		f.Close()
		return err
	}
	if err := filelock.SyncDir(w.t.dir); err != nil {
		f.Close()
		hashes.Close()
		return err
	}
	w.base.off = 0
	w.written, w.durable = w.base, w.base
	w.f, w.hashes, w.info = f, hashes, info
	w.first, w.opened, w.fresh = first, w.now(), false
	return nil
}

// createSegment makes the file of a new segment. One that exists is taken
// only if it is empty: then a crash or a full disk interrupted its making.
func createSegment(dir string, first int64) (*os.File, error) {
	path := segmentPath(dir, first, recordsSuffix)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.Size() != 0 {
		f.Close()
		return nil, errors.Join(err, fmt.Errorf("%s exists and is not of this trail: move it away", path))
	}
	return f, nil
}

// clockJump is how far the clock may run ahead of the time that has passed
// before nothing is removed on its word, and for how long: a day in which
// somebody may notice and set it right.
const clockJump = 24 * time.Hour

// maxPruned is how many segments are removed at a time: removing large files
// takes a file system a while, in which records wait.
const maxPruned = 8

// clockTrusted tells whether the clock has not been set forward. It is asked
// before anything is removed.
func (w *writer) clockTrusted(o *Options, now time.Time) bool {
	up := o.uptime()
	if ahead := now.Sub(w.start) - (up - w.startUp); ahead > clockJump {
		o.Logf("audit trail %s: the clock was set forward by %v: no records are removed because of their age for %v", w.t.dir, ahead.Round(time.Second), clockJump)
		w.start, w.startUp, w.distrust = now, up, up+clockJump
	}
	return up >= w.distrust
}

// prune removes segments that were closed longer ago than Keep, and that the
// last checkpoint covers: one that is older than what was removed could not
// be compared with anything. A signed
// note of what the tree looked like after them goes first, so that the chain
// verifies at every moment.
func (w *writer) prune(o *Options) {
	now := o.Now().Round(0)
	if !w.clockTrusted(o, now) || o.Keep < 0 {
		return
	}
	n, signed := 0, w.t.signer.size.Load()
	for n < min(maxPruned, len(w.sealed)) && w.sealed[n].end <= signed && w.sealed[n].closed < now.Add(-o.Keep).Unix() {
		n++
	}
	if n == 0 {
		return
	}
	last := w.sealed[n-1]
	p := &pruned{origin: w.t.origin, time: w.now(), tree: last.tree}
	msg, err := signNote(p.text(), o.Signer)
	if err == nil {
		err = replaceFile(w.path(prunedName), msg)
	}
	if err == nil {
		err = removeSegments(w.t.dir, last.end)
	}
	if err != nil {
		o.Logf("audit trail %s: removing old segments: %v", w.t.dir, err)
		return
	}
	w.pruned = p
	w.sealed = append([]*seal(nil), w.sealed[n:]...)
	w.countSegments()
	o.Logf("audit trail %s: records before %d were kept for %v and have been removed", w.t.dir, last.end, o.Keep)
}

// removeSegments removes the files of all segments before record end.
func removeSegments(dir string, end int64) error {
	l, err := list(dir)
	if err != nil {
		return err
	}
	remove := func(firsts []int64, suffix string) {
		for _, first := range firsts {
			if first < end && err == nil {
				err = os.Remove(segmentPath(dir, first, suffix))
			}
		}
	}
	remove(l.records, recordsSuffix)
	remove(l.hashes, hashesSuffix)
	remove(l.seals, sealSuffix)
	if err != nil {
		return err
	}
	return filelock.SyncDir(dir)
}

func (w *writer) countSegments() {
	w.t.mu.Lock()
	w.t.stats.Segments = len(w.sealed)
	w.t.mu.Unlock()
}

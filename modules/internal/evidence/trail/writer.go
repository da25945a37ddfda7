package trail

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// position is a position between two records of the open segment.
type position struct {
	off  int64    // bytes of the segment
	tree frontier // of all records before
}

// writer is the state of the one goroutine that writes. Nobody else touches
// it while that goroutine runs.
type writer struct {
	t    *Trail
	lock *os.File

	f, hashes *os.File    // of the open segment; nil while failing
	info      os.FileInfo // of f, to notice that it was removed
	place     string      // its name, of the segment that begins with placeOf
	placeOf   int64
	first     int64 // first record of the open segment
	opened    int64 // when it was begun, Unix seconds
	fresh     bool  // the segment before is sealed, the next not yet made

	written position // records handed to the operating system
	durable position // records synced
	base    position // what retained follows: durable, or written with Off

	// retained are the batches after base. They are written again after a
	// failed sync, since the kernel forgets what it could not write.
	retained      []*batch
	retainedBytes int

	pruned *pruned // what was removed, nil if nothing
	sealed []*seal // closed segments that still exist, oldest first
	clock  int64   // latest time seen, Unix seconds: never goes back

	start             time.Time     // by the clock, to notice that it is set
	startUp, distrust time.Duration // the same by uptime; until when the clock is not trusted

	// What is allocated beyond what is written, see room.
	allocated, hashesTo int64     // where the space for records and hashes ends
	growAt, rollAt      time.Time // when to try again
	growBack            time.Duration

	pendingSince time.Time // when the oldest pending record was seen
	unsynced     time.Time // when the oldest unsynced record was written
	signAt       time.Time // next checkpoint
	retryAt      time.Time
	backoff      time.Duration
	group        int // callers that shared the last sync

	leaves   []byte // scratch
	slowSaid time.Time
	last     error // what Close returns
}

// The pauses between attempts to recover.
const (
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = time.Second
)

// slowSync is how long a sync may take before it is worth a line in the log.
const slowSync = time.Second

// maxBatches is how many batches are written before the writer looks what
// else there is to do.
const maxBatches = 64

// closeAttempts is how often Close tries to write to a disk that fails.
const closeAttempts = 3

func (w *writer) run() {
	defer close(w.t.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(w.sleep())
		select {
		case <-w.t.wake:
		case <-timer.C:
		case <-w.t.quit:
			w.close()
			return
		}
		w.step(false)
	}
}

// sleep tells how long nothing needs to be done unless a record comes.
func (w *writer) sleep() time.Duration {
	o := w.t.opt.Load()
	if w.f == nil {
		return max(0, time.Until(w.retryAt))
	}
	next := w.signAt
	earlier := func(since time.Time, d time.Duration) {
		if at := since.Add(d); !since.IsZero() && at.Before(next) {
			next = at
		}
	}
	earlier(w.pendingSince, o.Interval)
	if o.Sync != Off {
		earlier(w.unsynced, o.Interval)
	}
	if w.growBack > 0 && w.growAt.Before(next) {
		next = w.growAt
	}
	return max(0, time.Until(next))
}

// step does what is due. With all, everything is due.
func (w *writer) step(all bool) {
	o := w.t.opt.Load()
	now := time.Now()
	w.busy(true)
	defer w.busy(false)
	if w.signAt.Sub(now) > o.Checkpoint { // it was longer before
		w.signAt = now.Add(o.Checkpoint)
	}
	if w.f == nil && (all || !now.Before(w.retryAt)) {
		w.recover()
	}
	if w.f == nil {
		return
	}
	if o.Sync == Always {
		w.gather()
	}
	w.grow(o)
	waiters := 0
	for n := 0; ; n++ {
		if n == maxBatches || w.retainedBytes > o.Queue/2 {
			w.t.poke() // to come back for the rest
			break
		}
		b := w.take(o, now, all)
		if b == nil {
			break
		}
		waiters += b.waiters
		if err := w.write(b); err != nil {
			w.fail(err)
			return
		}
	}
	sign := all || !now.Before(w.signAt)
	due := waiters > 0 || o.Sync == Always || w.retainedBytes > o.Queue/2 ||
		o.Sync == Batch && now.Sub(w.unsynced) >= o.Interval
	if w.written.off > w.durable.off && (due || sign) {
		if err := w.commit(); err != nil {
			w.fail(err)
			return
		}
	}
	w.group = waiters
	if sign {
		w.signAt = now.Add(o.Checkpoint)
		w.tick(o)
	}
}

// gather waits a moment for the callers that the last sync released: they
// are about to come back, and whoever misses a sync waits for two.
func (w *writer) gather() {
	if w.group < 2 {
		return
	}
	waiting := func() int {
		w.t.mu.Lock()
		defer w.t.mu.Unlock()
		return w.t.pending.waiters
	}
	for range 20 {
		if waiting() >= w.group {
			return
		}
		runtime.Gosched()
	}
}

// take returns the oldest batch if it is due.
func (w *writer) take(o *Options, now time.Time, all bool) *batch {
	t := w.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.full) > 0 {
		b := t.full[0]
		if t.full = t.full[1:]; len(t.full) == 0 {
			t.full = nil
		}
		return b
	}
	b := t.pending
	if b.n == 0 {
		return nil
	}
	if w.pendingSince.IsZero() {
		w.pendingSince = now
	}
	due := all || b.waiters > 0 || o.Sync == Always || now.Sub(w.pendingSince) >= o.Interval
	if !due {
		return nil
	}
	w.pendingSince = time.Time{}
	t.pending = t.newBatch()
	return b
}

// write appends a batch to the open segment. The batch is retained, also if
// writing it fails.
func (w *writer) write(b *batch) error {
	o := w.t.opt.Load()
	if size := len(b.buf) - 1; w.rollDue(o, size) && w.mayRoll(o, size) {
		if err := w.roll(size); err != nil {
			w.retain(b)
			return err
		}
	}
	w.retain(b)
	if w.unsynced.IsZero() {
		w.unsynced = time.Now()
	}
	next := position{off: w.written.off + int64(len(b.buf)-1), tree: w.written.tree}
	w.leaves = hashLines(b.buf, &next.tree, w.leaves[:0])
	_, err := w.f.WriteAt(b.buf[1:], w.written.off)
	if err == nil {
		_, err = w.hashes.WriteAt(w.leaves, (w.written.tree.n-w.first)*tlog.HashSize)
	}
	if err != nil {
		return err
	}
	w.written = next
	if o.Sync == Off && b.waiters == 0 && len(w.retained) == 1 {
		w.base = w.written
		w.release()
	}
	return nil
}

// hashLines adds the lines of a batch to tree and their hashes to leaves.
func hashLines(buf []byte, tree *frontier, leaves []byte) []byte {
	for start := 1; start < len(buf); {
		end := start + bytes.IndexByte(buf[start:], '\n')
		before := buf[start-1]
		leaf := leafHash(buf[start-1 : end])
		buf[start-1] = before
		tree.add(leaf)
		leaves = append(leaves, leaf[:]...)
		start = end + 1
	}
	return leaves
}

func (w *writer) retain(b *batch) {
	w.retained = append(w.retained, b)
	w.retainedBytes += len(b.buf) - 1
}

// release lets go of what is retained, all of which has been written.
func (w *writer) release() {
	t := w.t
	t.mu.Lock()
	t.queued -= w.retainedBytes
	for i, b := range w.retained {
		t.stats.Bytes += int64(len(b.buf) - 1)
		if len(t.spare) < maxSpare && cap(b.buf) <= 2*batchSize {
			t.spare = append(t.spare, b.buf)
			b.buf = nil
		}
		w.retained[i] = nil
	}
	t.mu.Unlock()
	w.retained, w.retainedBytes = w.retained[:0], 0
}

// commit makes durable what is written, and tells those who wait for it.
func (w *writer) commit() error {
	o := w.t.opt.Load()
	start := time.Now()
	err := o.sync(w.f)
	took := time.Since(start)
	if err == nil {
		err = w.inPlace()
	}
	if err != nil {
		return &syncError{err}
	}
	w.durable, w.base = w.written, w.written
	w.unsynced = time.Time{}
	t := w.t
	t.mu.Lock()
	t.durable = w.durable.tree
	t.stats.Syncs++
	t.mu.Unlock()
	for _, b := range w.retained {
		b.finish(nil)
	}
	w.release()
	if o.Observer.Fsync != nil {
		o.Observer.Fsync(took)
	}
	if took > slowSync && time.Since(w.slowSaid) > time.Minute {
		w.slowSaid = time.Now()
		o.Logf("audit trail %s: the disk took %v to make records durable", t.dir, took.Round(time.Millisecond))
	}
	return nil
}

// syncError says that it is unknown what of the written data reached the
// disk.
type syncError struct{ error }

func (e *syncError) Unwrap() error { return e.error }

var errRemoved = errors.New("its open segment was removed or replaced")

// inPlace tells whether the open segment is still what its name stands for.
// Writing to a file that was removed succeeds, and keeps nothing.
func (w *writer) inPlace() error {
	if w.place == "" || w.placeOf != w.first {
		w.place, w.placeOf = segmentPath(w.t.dir, w.first, recordsSuffix), w.first
	}
	same, err := stillAt(w.place, w.info)
	if errors.Is(err, os.ErrNotExist) || err == nil && !same {
		return errRemoved
	}
	return err
}

// busy notes when the writer began to do what may take the disk long.
func (w *writer) busy(on bool) {
	since := int64(0)
	if on {
		since = max(1, int64(time.Since(w.t.born)))
	}
	w.t.ioSince.Store(since)
}

// tick does what is done from time to time: it begins a new segment if the
// open one is old, and has a checkpoint signed.
func (w *writer) tick(o *Options) {
	if w.written.off > 0 && w.rollDue(o, 0) && w.mayRoll(o, 0) {
		if err := w.roll(0); err != nil {
			w.fail(err)
			return
		}
	}
	w.prune(o)
	w.t.signer.offer(&w.durable.tree)
}

// close ends the writer.
func (w *writer) close() {
	w.unlimited()
	for failures := 0; failures <= closeAttempts; {
		w.step(true)
		if w.f != nil && w.empty() {
			break
		}
		if w.f == nil {
			failures++
			time.Sleep(w.backoff)
		}
	}
	if w.f == nil {
		w.last = w.abandon()
	} else {
		w.trim()
		tree := w.durable.tree
		w.t.signer.ask <- &tree
		w.last = errors.Join(w.f.Close(), w.hashes.Close())
	}
	close(w.t.signer.ask)
	<-w.t.signed
	if err := w.t.signer.err; err != nil {
		w.last = errors.Join(w.last, fmt.Errorf("audit trail %s: the last checkpoint is not written: %w", w.t.dir, err))
	}
	w.lock.Close()
}

// empty reports whether nothing is queued.
func (w *writer) empty() bool {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	return w.t.queued == 0
}

// abandon gives up what could not be written.
func (w *writer) abandon() error {
	t := w.t
	t.mu.Lock()
	left := append(append(w.retained, t.full...), t.pending)
	failing := t.failing
	t.mu.Unlock()
	var lost int64
	for _, b := range left {
		lost += b.n
		b.finish(failing)
	}
	if lost == 0 {
		return nil
	}
	w.lose(lost)
	return fmt.Errorf("audit trail %s: closed while unavailable: %d records are lost", t.dir, lost)
}

func (w *writer) lose(n int64) {
	if n == 0 {
		return
	}
	w.t.mu.Lock()
	w.t.stats.Lost += n
	w.t.mu.Unlock()
	if f := w.t.opt.Load().Observer.Lost; f != nil {
		f(n)
	}
}

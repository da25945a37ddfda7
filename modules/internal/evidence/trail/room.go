package trail

import (
	"bytes"
	"context"
	"errors"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// With Always, the writer keeps space of the file system allocated beyond the
// end of the open segment. A record is admitted only if there is room for it
// and for the records that were promised to callers, so that a disk that
// fills refuses requests that have not begun and never the outcome of one
// that has. Where the file system cannot allocate, nothing is promised.

const (
	// growBy is how much is allocated at a time, lowRoom when.
	growBy  = 256 << 10
	lowRoom = 128 << 10

	// hashShare is the part of what is allocated for records that is
	// allocated for their leaf hashes besides: records are longer than
	// hashShare*32 bytes.
	hashShare = 4

	pageSize = 4096
)

// room is the state of that account, guarded by Trail.mu.
type room struct {
	kept     bool  // an account is kept: Always, and a file system that can
	never    bool  // the file system cannot
	free     int64 // bytes allocated, and neither taken nor promised; negative after a failure
	promised int64
	want     int64         // what somebody waits for
	grown    chan struct{} // closed when any of this has changed
	short    error         // an *UnavailableError while the disk is full, or nil
	waiting  [][]byte      // records of Append that there was no room for
}

// Promise is room for one more record. The zero Promise holds no room.
type Promise struct{ bytes int64 }

// AppendPromising is AppendSync that also keeps room on the disk for one more
// record of up to room bytes, which AppendPromised appends later, whatever
// else fills the disk meanwhile. Each Promise must be redeemed, by
// AppendPromised or Release.
func (t *Trail) AppendPromising(ctx context.Context, rec []byte, room int) (Promise, error) {
	return t.appendSync(ctx, rec, Promise{}, int64(room)+1)
}

// AppendPromised is AppendSync into the room that was kept for it. If rec is
// longer than that, and there is no more, it returns ErrPromise, and the
// promise still holds.
func (t *Trail) AppendPromised(ctx context.Context, rec []byte, p Promise) error {
	_, err := t.appendSync(ctx, rec, p, 0)
	return err
}

// ErrPromise says that a record is longer than the room that was kept for it.
var ErrPromise = errors.New("the record is longer than the room that was kept for it")

// Release gives back what is not needed.
func (t *Trail) Release(p Promise) {
	if p.bytes == 0 {
		return
	}
	t.mu.Lock()
	t.release(p)
	t.mu.Unlock()
}

// release is Release for callers that hold mu.
func (t *Trail) release(p Promise) {
	t.room.promised -= p.bytes
	t.room.free += p.bytes
}

// takeRoom takes room for n bytes and a promise, and waits until the writer
// has made it or has failed to. Callers hold mu.
func (t *Trail) takeRoom(ctx context.Context, o *Options, n, promise int64) (Promise, error) {
	r := &t.room
	for {
		switch {
		case t.ended:
			return Promise{}, &UnavailableError{Cause: errClosed}
		case t.failing != nil:
			return Promise{}, t.failing
		case o.Sync != Always || r.never:
			return Promise{}, nil
		case r.short != nil:
			return Promise{}, r.short
		case r.kept && r.free >= n+promise:
			r.free -= n + promise
			r.promised += promise
			if r.free < lowRoom {
				t.poke()
			}
			return Promise{promise}, nil
		}
		r.want = max(r.want, n+promise)
		grown := r.grown
		t.mu.Unlock()
		t.poke()
		var err error
		select {
		case <-grown:
		case <-t.done: // the writer is gone
			err = &UnavailableError{Cause: errClosed}
		case <-ctx.Done():
			err = &UnavailableError{Cause: ctx.Err()}
		}
		t.mu.Lock()
		if err != nil {
			return Promise{}, err
		}
	}
}

// mustWait keeps rec, a record of Append, for when there is room for it, if
// there is none now. Callers hold mu.
func (t *Trail) mustWait(o *Options, rec []byte) bool {
	r := &t.room
	size := len(rec) + 1
	if o.Sync != Always || !r.kept || t.failing != nil {
		return false
	}
	if r.short == nil && len(r.waiting) == 0 && r.free >= int64(size) {
		r.free -= int64(size)
		return false
	}
	r.waiting = append(r.waiting, bytes.Clone(rec))
	t.queued += size
	t.stats.Records++
	return true
}

// unwritten is the number of bytes that are admitted and not yet taken by the
// writer. Callers hold mu.
func (t *Trail) unwritten() int64 {
	n := int64(len(t.pending.buf) - 1)
	for _, b := range t.full {
		n += int64(len(b.buf) - 1)
	}
	return n
}

// changed tells those who wait for room to look again. Callers hold mu.
func (r *room) changed() {
	close(r.grown)
	r.grown = make(chan struct{})
}

// account counts anew what is free, after the open segment is another or was
// cut. inHand is what the writer has taken and is about to write.
func (w *writer) account(inHand int) {
	t := w.t
	t.mu.Lock()
	defer t.mu.Unlock()
	t.room.free = w.allocated - w.written.off - int64(inHand) - t.unwritten() - t.room.promised
}

// grow keeps enough room allocated.
func (w *writer) grow(o *Options) {
	t := w.t
	r := &t.room
	if o.Sync != Always || r.never {
		w.unaccount()
		return
	}
	if !r.kept { // nobody else writes it
		w.allocated, w.hashesTo = max(w.allocated, w.written.off), max(w.hashesTo, w.leavesEnd())
		w.account(0)
		t.mu.Lock()
		r.kept = true
		t.mu.Unlock()
	}
	t.mu.Lock()
	free, need, short := r.free, r.want, r.short != nil
	for _, rec := range r.waiting {
		need += int64(len(rec) + 1)
	}
	t.mu.Unlock()
	if short {
		need = max(need, lowRoom) // not to be available for one request
	}
	if free >= need && free >= lowRoom {
		w.growBack = 0
		w.settle(nil)
		return
	}
	if soon := time.Now().Before(w.growAt); soon && free >= need {
		w.settle(nil)
		return
	} else if soon && short {
		return
	}
	err := w.allocate(growBy + max(0, need-free))
	if err != nil && free < need {
		err = w.allocate((need - free + pageSize - 1) / pageSize * pageSize)
	}
	switch {
	case err == nil:
		w.growBack = 0
	case cannotAllocate(err):
		o.Logf("audit trail %s: the file system cannot reserve space (%v): a disk that fills may refuse requests whose intent is recorded", t.dir, err)
		t.mu.Lock()
		r.never = true
		t.mu.Unlock()
		w.unaccount()
		return
	default:
		w.growBack = min(max(2*w.growBack, firstBackoff), lastBackoff)
		w.growAt = time.Now().Add(w.growBack)
		if free >= need {
			err = nil // enough for now
		}
	}
	w.settle(err)
}

// allocate allocates n more bytes for records, and their share for hashes.
func (w *writer) allocate(n int64) error {
	if err := allocate(w.f, w.allocated, n); err != nil {
		return err
	}
	if err := allocate(w.hashes, w.hashesTo, n/hashShare); err != nil {
		return err
	}
	w.allocated += n
	w.hashesTo += n / hashShare
	w.t.mu.Lock()
	w.t.room.free += n
	w.t.mu.Unlock()
	return nil
}

// settle tells everybody what came of growing.
func (w *writer) settle(err error) {
	t, o := w.t, w.t.opt.Load()
	r := &t.room
	t.mu.Lock()
	was := r.short
	first := err != nil && was == nil
	if r.short = nil; err != nil {
		r.short = &UnavailableError{Cause: err}
	}
	if first {
		t.stats.Failures++
	}
	if err == nil && len(r.waiting) > 0 {
		t.admitWaiting()
	}
	if r.want != 0 || was != nil || err != nil {
		if err == nil {
			r.want = 0
		}
		r.changed()
	}
	t.mu.Unlock()
	switch {
	case first:
		o.Logf("audit trail %s is unavailable: %v", t.dir, err)
		if o.Observer.Failed != nil {
			o.Observer.Failed(err)
		}
	case err == nil && was != nil:
		o.Logf("audit trail %s is available again, %d records", t.dir, w.durable.tree.n)
		if o.Observer.Recovered != nil {
			o.Observer.Recovered()
		}
	}
}

// unaccount ends the account: nobody waits for room any more.
func (w *writer) unaccount() {
	t := w.t
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &t.room
	if !r.kept && r.want == 0 && len(r.waiting) == 0 {
		return
	}
	r.kept, r.want, r.short, r.free = false, 0, nil, 0
	w.growBack = 0
	t.admitWaiting()
	r.changed()
}

// admitWaiting puts the records that waited for room. Callers hold mu.
func (t *Trail) admitWaiting() {
	for _, rec := range t.room.waiting {
		t.queued -= len(rec) + 1 // put counts it again
		t.stats.Records--
		t.room.free -= int64(len(rec) + 1)
		t.put(rec)
	}
	t.room.waiting = nil
}

// mayRoll tells whether there is room for a new segment and for all that was
// promised. What is tried is given back, with the rest, when the old segment
// is closed: see trim.
func (w *writer) mayRoll(o *Options, inHand int) bool {
	t := w.t
	if o.Sync != Always || !t.room.kept {
		return true
	}
	if time.Now().Before(w.rollAt) {
		return false
	}
	t.mu.Lock()
	need := t.room.promised + t.unwritten() + int64(inHand) + lowRoom
	t.mu.Unlock()
	from := max(w.allocated, w.written.off)
	if err := allocate(w.f, from, need+need/hashShare); err != nil {
		w.rollAt = time.Now().Add(lastBackoff)
		return false
	}
	w.allocated = from + need
	return true
}

// trim gives back what is allocated beyond the records.
func (w *writer) trim() {
	if w.allocated > w.written.off {
		_ = w.f.Truncate(w.written.off)
		_ = w.hashes.Truncate(w.leavesEnd())
	}
}

// begun makes room in a new segment for what was promised.
func (w *writer) begun(inHand int) {
	w.allocated, w.hashesTo = 0, 0
	t := w.t
	if !t.room.kept {
		return
	}
	w.account(inHand)
	t.mu.Lock()
	need := max(0, -t.room.free) + lowRoom
	t.mu.Unlock()
	_ = w.allocate(need) // if not, grow tries again
}

// leavesEnd is where the leaf hash of the next record goes.
func (w *writer) leavesEnd() int64 { return (w.written.tree.n - w.first) * tlog.HashSize }

// unlimited is set when the trail is closed: what waits is then written or
// fails like everything else.
func (w *writer) unlimited() {
	w.t.mu.Lock()
	w.t.room.never = true
	w.t.mu.Unlock()
	w.unaccount()
}

// cannotAllocate tells that a file system has no way to allocate.
func cannotAllocate(err error) bool { return errors.Is(err, errors.ErrUnsupported) }

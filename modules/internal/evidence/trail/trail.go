package trail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Errors of a trail, to be matched with errors.Is.
var (
	// ErrUnavailable says that a record could not be written, or not in
	// time. The trail recovers by itself. See UnavailableError.
	ErrUnavailable = errors.New("audit trail unavailable")

	// ErrLocked says that another process, or another Trail of this one,
	// writes to the directory.
	ErrLocked = errors.New("audit trail is in use by another process")

	// ErrTampered says that what the directory holds is not what was signed.
	ErrTampered = errors.New("audit trail does not agree with its signed checkpoint")

	// ErrRecord says that a record is not one JSON object on one line of
	// at most MaxRecord bytes.
	ErrRecord = errors.New("not an audit record")

	errClosed = errors.New("the trail is closed")
	errFull   = errors.New("the queue is full")
	errStall  = errors.New("the disk does not respond")
)

// UnavailableError is the reason for an ErrUnavailable.
type UnavailableError struct {
	Cause error

	// Queued says that the record is held in memory nevertheless and will
	// be written when the trail recovers.
	Queued bool
}

func (e *UnavailableError) Error() string { return ErrUnavailable.Error() + ": " + e.Cause.Error() }

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Cause }

// Is makes every UnavailableError an ErrUnavailable.
func (e *UnavailableError) Is(target error) bool { return target == ErrUnavailable }

// processStart is where uptime is counted from.
var processStart = time.Now()

// Trail is an open trail. Its methods may be called from many goroutines.
type Trail struct {
	dir    string
	origin string
	opt    atomic.Pointer[Options]
	wake   chan struct{} // holds a token when the writer should look
	quit   chan struct{}
	done   chan struct{} // closed when the writer has ended
	signed chan struct{} // closed when the signer has ended
	closed sync.Once

	// ioSince is when the disk was last given work, in nanoseconds since
	// born, 0 while it has none.
	ioSince atomic.Int64
	born    time.Time
	keys    sync.Mutex // held while the file of keys is changed

	mu      sync.Mutex
	pending *batch   // that records are added to, never nil
	full    []*batch // that came before it and are large enough
	spare   [][]byte // buffers to be used again
	queued  int      // bytes in pending and in what the writer has not made durable
	failing error    // an *UnavailableError, or nil
	ended   bool
	durable frontier // of what is known to be on disk
	room    room
	stats   Stats

	writer writer
	signer signer
}

// Stats are figures about a trail since it was opened, but for Records and
// Durable, which count since it was begun.
type Stats struct {
	Records     int64 // accepted
	Durable     int64 // synced
	Queued      int   // bytes waiting to become durable
	Bytes       int64 // written
	Syncs       int64
	Failures    int64 // times the trail became unavailable
	Refused     int64 // records refused because the trail was unavailable
	Lost        int64 // records accepted and lost
	Segments    int   // closed and kept
	Checkpoints int64 // signed
	Repaired    int64 // bytes of an unfinished record removed by Open
	Unsigned    int64 // records that Open found after the last signed one
}

// batch is a number of records that are written with one call.
type batch struct {
	buf     []byte // buf[0] is scratch, see leafHash; then the lines
	n       int64
	waiters int
	done    chan struct{} // closed when err is valid; nil if nobody waits
	err     error
}

// batchSize is the size from which a batch is written without waiting for
// Interval. It fits the second-level cache, so that the writer finds there
// what the callers put there.
const batchSize = 256 << 10

// maxSpare is how many buffers are kept for later.
const maxSpare = 8

func (t *Trail) newBatch() *batch {
	if n := len(t.spare); n > 0 {
		b := &batch{buf: t.spare[n-1][:1]}
		t.spare = t.spare[:n-1]
		return b
	}
	return &batch{buf: make([]byte, 1, batchSize+64<<10)}
}

// finish tells the waiters.
func (b *batch) finish(err error) {
	if b.done != nil {
		b.err = err
		close(b.done)
		b.done = nil
	}
}

func checkRecord(rec []byte) error {
	if len(rec) < 2 || len(rec) > MaxRecord || rec[0] != '{' || rec[len(rec)-1] != '}' || bytes.IndexByte(rec, '\n') >= 0 {
		return ErrRecord
	}
	return nil
}

// Append adds one record: a JSON object on one line, without newline. The
// record is copied and the call does not wait for the disk.
//
// While the trail is unavailable it returns an *UnavailableError; the record
// is kept for later as long as the queue has room for it, and the error says
// whether it is.
func (t *Trail) Append(rec []byte) error {
	if err := checkRecord(rec); err != nil {
		return err
	}
	o := t.opt.Load()
	t.mu.Lock()
	if err := t.admit(o, rec); err != nil {
		t.stats.Refused++
		t.mu.Unlock()
		return err
	}
	if t.mustWait(o, rec) {
		err := t.room.short
		t.mu.Unlock()
		t.poke()
		if err != nil {
			err = &UnavailableError{Cause: errors.Unwrap(err), Queued: true}
		}
		return err
	}
	b := t.put(rec)
	first := b.n == 1
	err := t.failing
	t.mu.Unlock()
	if first || o.Sync == Always {
		t.poke()
	}
	switch {
	case err != nil:
		return &UnavailableError{Cause: errors.Unwrap(err), Queued: true}
	case t.stalled(o):
		return &UnavailableError{Cause: errStall, Queued: true}
	}
	return nil
}

// AppendSync adds one record and returns when it is durable. Many callers
// share one sync of the disk. The context bounds the wait.
//
// After an error the record may be in the trail or not: a disk that failed
// is tried again, and what was on its way is then written if it can be.
// While the trail is known to be unavailable the record is not kept.
func (t *Trail) AppendSync(ctx context.Context, rec []byte) error {
	_, err := t.appendSync(ctx, rec, Promise{}, 0)
	return err
}

// appendSync appends rec, which p may have room for, and keeps room for
// another of promise bytes.
func (t *Trail) appendSync(ctx context.Context, rec []byte, p Promise, promise int64) (Promise, error) {
	if err := checkRecord(rec); err != nil {
		t.Release(p)
		return Promise{}, err
	}
	o := t.opt.Load()
	stalled := t.stalled(o)
	t.mu.Lock()
	b, next, err := t.admitSync(ctx, o, rec, p, promise, stalled)
	if err != nil {
		t.mu.Unlock()
		return Promise{}, err
	}
	done := b.done
	t.mu.Unlock()
	t.poke()
	if ctx.Done() == nil {
		<-done
		err = b.err
	} else {
		select {
		case <-done:
			err = b.err
		case <-ctx.Done():
			err = &UnavailableError{Cause: ctx.Err(), Queued: true}
		}
	}
	if err != nil {
		t.Release(next)
		next = Promise{}
	}
	return next, err
}

// admitSync puts rec into a batch that somebody waits for. Callers hold mu.
func (t *Trail) admitSync(ctx context.Context, o *Options, rec []byte, p Promise, promise int64, stalled bool) (*batch, Promise, error) {
	size := int64(len(rec) + 1)
	kept := p.bytes > 0 && t.room.kept && t.failing == nil
	if kept && size > p.bytes && t.room.free < size-p.bytes {
		return nil, Promise{}, ErrPromise
	}
	t.release(p)
	err := t.failing
	if err == nil && stalled {
		err = &UnavailableError{Cause: errStall}
	}
	if err == nil {
		err = t.admit(o, rec)
	}
	var next Promise
	if err == nil && kept {
		t.room.free -= size
	} else if err == nil {
		next, err = t.takeRoom(ctx, o, size, promise)
	}
	if err != nil {
		t.stats.Refused++
		return nil, Promise{}, err
	}
	b := t.put(rec)
	b.waiters++
	if b.done == nil {
		b.done = make(chan struct{})
	}
	return b, next, nil
}

// admit says whether there is room for rec. Callers hold mu.
func (t *Trail) admit(o *Options, rec []byte) error {
	var err error
	switch {
	case t.ended:
		err = errClosed
	case t.queued+len(rec)+1 > o.Queue:
		err = errFull
	default:
		return nil
	}
	return &UnavailableError{Cause: err}
}

// put adds rec to the pending batch. Callers hold mu.
func (t *Trail) put(rec []byte) *batch {
	b := t.pending
	if len(b.buf) >= batchSize {
		t.full = append(t.full, b)
		b = t.newBatch()
		t.pending = b
	}
	b.buf = append(append(b.buf, rec...), '\n')
	b.n++
	t.queued += len(rec) + 1
	t.stats.Records++
	return b
}

// poke makes the writer look at the queue.
func (t *Trail) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *Trail) stalled(o *Options) bool {
	since := t.ioSince.Load()
	return since != 0 && time.Since(t.born)-time.Duration(since) > o.Stall
}

// Err returns nil while records can be written, and otherwise an
// *UnavailableError.
func (t *Trail) Err() error {
	stalled := t.stalled(t.opt.Load())
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.ended:
		return &UnavailableError{Cause: errClosed}
	case t.failing != nil:
		return t.failing
	case t.room.short != nil:
		return t.room.short
	case stalled:
		return &UnavailableError{Cause: errStall}
	}
	return nil
}

// Size returns the number of durable records and the root of their tree.
func (t *Trail) Size() (records int64, root tlog.Hash) {
	t.mu.Lock()
	f := t.durable
	t.mu.Unlock()
	return f.n, f.root()
}

// Origin returns the name of the trail in its checkpoints.
func (t *Trail) Origin() string { return t.origin }

// Dir returns the directory of the trail.
func (t *Trail) Dir() string { return t.dir }

// Stats returns figures for metrics.
func (t *Trail) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.Queued, s.Durable = t.queued, t.durable.n
	return s
}

// Reconfigure applies new options to an open trail. The origin stays. What
// is queued is kept, even where the new queue is smaller.
func (t *Trail) Reconfigure(o Options) error {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return err
	}
	if err := t.addKey(o.VerifierKey); err != nil {
		return fmt.Errorf("audit trail %s: noting the verifier key: %w", t.dir, err)
	}
	t.opt.Store(&o)
	t.poke()
	return nil
}

// Close writes and syncs what is queued, signs a last checkpoint and lets go
// of the directory. It returns an error if records were lost. It does not wait
// for ever: a disk that hangs keeps the directory locked.
func (t *Trail) Close() error {
	t.closed.Do(func() {
		t.mu.Lock()
		t.ended = true
		t.mu.Unlock()
		close(t.quit)
	})
	select {
	case <-t.done:
		return t.writer.last
	case <-time.After(3 * t.opt.Load().Stall):
		return &UnavailableError{Cause: errStall}
	}
}

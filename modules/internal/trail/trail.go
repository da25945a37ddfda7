package trail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Sync says when records are made durable.
type Sync int

const (
	// Batch writes and syncs at most Interval after a record came. A crash
	// of the machine loses what came within the last Interval.
	Batch Sync = iota

	// Always syncs at once. Records that come while the disk is busy share
	// the next sync.
	Always

	// Off syncs only for checkpoints, which are never signed for records
	// that are not durable, and when a segment or the trail is closed.
	Off
)

// Defaults of Options.
const (
	DefaultInterval   = 100 * time.Millisecond
	DefaultRollSize   = 128 << 20
	DefaultRollEvery  = 24 * time.Hour
	DefaultKeep       = 180 * 24 * time.Hour
	DefaultCheckpoint = 10 * time.Second
	DefaultQueue      = 32 << 20
	DefaultStall      = 10 * time.Second
)

// Options say how a trail is kept. The zero value of each field but Signer
// stands for its default.
type Options struct {
	// Sync says when records are made durable. Default: Batch
	Sync Sync

	// Interval is how long Batch and Off may hold a record before it is
	// written. Default: 100ms
	Interval time.Duration

	// RollSize is the size in bytes at which a new segment is begun. It
	// bounds the work of a start, which reads the last segment; a negative
	// size means no bound. Default: 128 MiB
	RollSize int64

	// RollEvery is the age at which a new segment is begun. Default: 24h
	RollEvery time.Duration

	// Keep is how long records are kept at least. Whole segments that were
	// closed longer ago are removed; a negative duration keeps everything.
	// Default: 180 days
	Keep time.Duration

	// Checkpoint is how often the state of the trail is signed, if it
	// changed. Default: 10s
	Checkpoint time.Duration

	// Signer signs checkpoints. It must be an Ed25519 signer as package
	// note or NewSigner makes. Required.
	Signer note.Signer

	// VerifierKey is the public half of Signer in the encoded form of
	// package note. It is noted in the directory, so that Open can tell
	// whether what it finds was signed by this trail.
	VerifierKey string

	// Origin names the trail in its checkpoints. An existing trail keeps
	// the name that it has. Default: the signer's name
	Origin string

	// Queue bounds the memory for records that are not yet durable, in
	// bytes. Default: 32 MiB
	Queue int

	// Stall is how long the disk may take to write and sync what is due
	// before the trail counts as unavailable. It recovers when the disk answers. Default: 10s
	Stall time.Duration

	// Now tells the time. Default: time.Now
	Now func() time.Time

	// Logf receives warnings. It must not block.
	Logf func(format string, args ...any)

	// Observer is told what happens.
	Observer Observer

	sync   func(*os.File) error // datasync, or what a test puts in its place
	uptime func() time.Duration // likewise, time that nobody can set
}

// Observer receives events, each where it is not nil. They are called one
// after the other by the goroutines of a trail and must neither block nor
// call the Trail.
type Observer struct {
	// Fsync is called with the duration of every sync of records.
	Fsync func(time.Duration)

	// Failed is called when the trail becomes unavailable, Recovered when it
	// is available again.
	Failed    func(error)
	Recovered func()

	// Lost is called with the number of records that a caller was told were
	// accepted and that cannot be written.
	Lost func(records int64)

	// Signed is called with every signed checkpoint, so that it can be kept
	// where whoever can write to this disk cannot.
	Signed func(checkpoint []byte)
}

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.Interval, DefaultInterval)
	def(&o.RollEvery, DefaultRollEvery)
	def(&o.Keep, DefaultKeep)
	def(&o.Checkpoint, DefaultCheckpoint)
	def(&o.Stall, DefaultStall)
	if o.RollSize == 0 {
		o.RollSize = DefaultRollSize
	}
	if o.Queue == 0 {
		o.Queue = DefaultQueue
	}
	if o.Origin == "" && o.Signer != nil {
		o.Origin = o.Signer.Name()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if o.uptime == nil {
		o.uptime = func() time.Duration { return time.Since(processStart) }
	}
	if o.sync == nil {
		o.sync = datasync
	}
	return o
}

func (o *Options) check() error {
	switch {
	case o.Signer == nil:
		return errors.New("audit trail: no signer")
	case !validName(o.Origin):
		return fmt.Errorf("audit trail: %q cannot be an origin: spaces and '+' are not allowed", o.Origin)
	case o.Sync < Batch || o.Sync > Off:
		return fmt.Errorf("audit trail: unknown sync mode %d", o.Sync)
	case o.Interval < 0 || o.RollEvery < 0 || o.Checkpoint < 0 || o.Stall < 0:
		return errors.New("audit trail: negative duration")
	case o.Queue < 2*MaxRecord:
		return fmt.Errorf("audit trail: the queue must hold at least %d bytes", 2*MaxRecord)
	}
	if o.VerifierKey != "" {
		v, err := note.NewVerifier(o.VerifierKey)
		if err != nil {
			return fmt.Errorf("audit trail: verifier key: %w", err)
		}
		if v.Name() != o.Signer.Name() || v.KeyHash() != o.Signer.KeyHash() {
			return errors.New("audit trail: the verifier key does not belong to the signer")
		}
	}
	return nil
}

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
	errStall  = errors.New("the disk does not answer")
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
		t.mu.Unlock()
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
	if err := checkRecord(rec); err != nil {
		return err
	}
	o := t.opt.Load()
	stalled := t.stalled(o)
	t.mu.Lock()
	err := t.failing
	if err == nil && stalled {
		err = &UnavailableError{Cause: errStall}
	}
	if err == nil {
		err = t.admit(o, rec)
	} else {
		t.stats.Refused++
	}
	if err != nil {
		t.mu.Unlock()
		return err
	}
	b := t.put(rec)
	b.waiters++
	if b.done == nil {
		b.done = make(chan struct{})
	}
	done := b.done
	t.mu.Unlock()
	t.poke()
	if ctx.Done() == nil {
		<-done
		return b.err
	}
	select {
	case <-done:
		return b.err
	case <-ctx.Done():
		return &UnavailableError{Cause: ctx.Err(), Queued: true}
	}
}

// admit says whether there is room for rec. Callers hold mu.
func (t *Trail) admit(o *Options, rec []byte) error {
	err := error(nil)
	switch {
	case t.ended:
		err = errClosed
	case t.queued+len(rec)+1 > o.Queue:
		err = errFull
	default:
		return nil
	}
	t.stats.Refused++
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

// Package deliver carries the records of a log to somewhere else: at least
// once, in order, and without ever holding up the log.
//
// The log is the truth and stays where it is. A [Worker] reads it from a
// cursor that it keeps in a file, hands batches to a [Sink], and moves the
// cursor when the sink has acknowledged them. After a crash the last batch may
// be handed over again, so records carry their index in the log and a receiver
// can tell. A sink that is down costs nothing but lag. What the log has
// removed before it could be delivered is reported as a gap, to the observer
// and to the sink itself, at the position where the records are missing.
//
// A new kind of sink is one type with two methods.
package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// Record is one record of the log, or the note of a gap.
type Record struct {
	Index int64  // its number in the log, counted from 0
	Line  []byte // JSON, without newline

	// Missing, where above 0, says that this is not a record: that many
	// records, from Index on, were removed from the log before they could
	// be delivered. Line says so too.
	Missing int64
}

// Source is a log.
type Source interface {
	// Name names the log.
	Name() string

	// Size returns the number of durable records.
	Size() int64

	// Read calls f with up to limit durable records from index on, in
	// order. Where records have been removed, it calls f with a Record
	// whose Missing says how many. The line is valid during the call only.
	Read(ctx context.Context, index int64, limit int, f func(Record) error) error
}

// Sink takes records to where they are wanted.
type Sink interface {
	// Send delivers a batch in order. A nil error means that the receiver
	// has it for good: the records will not be sent again. The context
	// bounds the attempt. A batch is sent again after an error, perhaps
	// together with other records.
	Send(ctx context.Context, log string, batch []Record) error

	// Close lets go of connections and files.
	Close() error
}

// Options of a worker. Zero values stand for the defaults.
type Options struct {
	// Cursor is the file that holds the index of the next record to send.
	// Required.
	Cursor string

	// FromNow begins a new cursor at the log's end instead of its
	// beginning.
	FromNow bool

	// Batch is how many records are sent at once at most. Default: 500
	Batch int

	// BatchBytes bounds the size of a batch. Default: 1 MiB
	BatchBytes int

	// Timeout bounds one attempt. Default: 30s
	Timeout time.Duration

	// Poll is how often the log is looked at for new records. Default: 1s
	Poll time.Duration

	// MinBackoff and MaxBackoff bound the wait after a failure, which
	// doubles each time and of which a random half is left out, so that
	// many workers do not come back together. Defaults: 500ms, 1m
	MinBackoff, MaxBackoff time.Duration

	// Grace is how long Stop waits for a sink that does not heed the end of
	// its context: a file on a disk that hangs. Default: 5s
	Grace time.Duration

	// Sleep waits; tests replace it. It returns early with the context.
	Sleep func(ctx context.Context, d time.Duration)

	Observer Observer
}

// Observer is told what happens, each where it is not nil.
type Observer struct {
	Sent   func(records int)
	Failed func(err error, attempts int)
	Gap    func(from, missing int64)
}

func (o Options) withDefaults() Options {
	if o.Batch == 0 {
		o.Batch = 500
	}
	if o.BatchBytes == 0 {
		o.BatchBytes = 1 << 20
	}
	for _, d := range []struct {
		to  *time.Duration
		def time.Duration
	}{{&o.Timeout, 30 * time.Second}, {&o.Poll, time.Second}, {&o.MinBackoff, 500 * time.Millisecond}, {&o.MaxBackoff, time.Minute}, {&o.Grace, 5 * time.Second}} {
		if *d.to == 0 {
			*d.to = d.def
		}
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	return o
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Worker delivers one log to one sink.
type Worker struct {
	source Source
	sink   Sink
	opt    Options

	next   atomic.Int64 // cursor
	fresh  bool         // nothing was delivered yet: what is missing before the first record was not wanted
	cancel context.CancelFunc
	done   chan struct{} // closed when the sink is out of use

	abandoned atomic.Bool // another worker may have the cursor now
}

// cursor is the content of a cursor file.
type cursor struct {
	Log  string `json:"log"`
	Next int64  `json:"next"`
}

// Start begins to deliver. The worker owns the sink from now on.
func Start(source Source, sink Sink, o Options) (*Worker, error) {
	c := &Worker{source: source, sink: sink, opt: o.withDefaults()}
	if err := c.load(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel, c.done = cancel, make(chan struct{})
	go func() {
		defer close(c.done)
		c.run(ctx)
	}()
	return c, nil
}

// ErrHangs says that a sink went on with an attempt after Stop.
var ErrHangs = errors.New("the sink hangs and was left to itself")

// Stop ends the delivery, in the middle of an attempt if need be: what was
// not acknowledged will be sent again by the next worker. A sink that hangs
// holds nobody up for long; whatever comes of its attempt is no longer noted.
func (c *Worker) Stop() error {
	c.cancel()
	timeout := time.NewTimer(c.opt.Grace)
	defer timeout.Stop()
	select {
	case <-c.done:
		return c.sink.Close()
	case <-timeout.C:
	}
	c.abandoned.Store(true)
	go func() {
		<-c.done
		_ = c.sink.Close()
	}()
	return ErrHangs
}

// Lag is the number of durable records that the sink has not acknowledged.
func (c *Worker) Lag() int64 {
	return max(c.source.Size()-c.next.Load(), 0)
}

// load reads the cursor, or begins one.
func (c *Worker) load() error {
	left, _ := filepath.Glob(c.opt.Cursor + temporary) // by a crash
	for _, path := range left {
		_ = os.Remove(path)
	}
	size := c.source.Size()
	data, err := os.ReadFile(c.opt.Cursor)
	if errors.Is(err, os.ErrNotExist) {
		c.fresh = true
		if c.opt.FromNow {
			c.next.Store(size)
		}
		return c.save()
	}
	if err != nil {
		return err
	}
	var cur cursor
	if err := json.Unmarshal(data, &cur); err != nil || cur.Next < 0 {
		return fmt.Errorf("%s is not a delivery cursor; remove it to deliver from the beginning again", c.opt.Cursor)
	}
	if cur.Log != c.source.Name() || cur.Next > size {
		// Another log stands where the old one was. Its records have not
		// been delivered, whatever the cursor says.
		cur.Next, c.fresh = 0, true
	}
	c.next.Store(cur.Next)
	c.fresh = c.fresh || cur.Next == 0
	return nil
}

// save makes the cursor durable.
func (c *Worker) save() error {
	data, err := json.Marshal(cursor{c.source.Name(), c.next.Load()})
	if err != nil {
		return err
	}
	dir, name := filepath.Split(c.opt.Cursor)
	if err := os.MkdirAll(filepath.Clean(dir), 0o700); err != nil {
		return err
	}
	// A worker that was left to itself may be writing its own.
	f, err := os.CreateTemp(filepath.Clean(dir), name+temporary)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(data, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && !c.abandoned.Load() {
		err = os.Rename(f.Name(), c.opt.Cursor)
	}
	return err
}

// temporary ends the names of cursors that are being written.
const temporary = ".*.tmp"

// run delivers until ctx ends.
func (c *Worker) run(ctx context.Context) {
	for attempts := 0; ctx.Err() == nil; {
		n, err := c.once(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			attempts++
			if c.opt.Observer.Failed != nil {
				c.opt.Observer.Failed(err, attempts)
			}
			c.opt.Sleep(ctx, c.backoff(attempts))
		case n == 0:
			attempts = 0
			c.opt.Sleep(ctx, c.opt.Poll)
		default:
			attempts = 0
			if c.opt.Observer.Sent != nil {
				c.opt.Observer.Sent(n)
			}
		}
	}
}

// backoff returns how long to wait after so many failures.
func (c *Worker) backoff(attempts int) time.Duration {
	d := c.opt.MaxBackoff
	if attempts < 20 {
		d = min(c.opt.MinBackoff<<(attempts-1), c.opt.MaxBackoff)
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // spread, not secrecy
}

// errEnough ends a read when the batch is full.
var errEnough = errors.New("enough")

// once delivers one batch and returns how many records it held.
func (c *Worker) once(ctx context.Context) (int, error) {
	next := c.next.Load()
	var batch []Record
	records, bytes, fresh := 0, 0, c.fresh
	err := c.source.Read(ctx, next, c.opt.Batch, func(r Record) error {
		if r.Index != next {
			return fmt.Errorf("the log gave record %d instead of %d", r.Index, next)
		}
		if r.Missing > 0 {
			next += r.Missing
			if !fresh {
				r.Line = fmt.Appendf(nil, `{"kind":"gap","log":%q,"first":%d,"missing":%d}`, c.source.Name(), r.Index, r.Missing)
				batch = append(batch, r)
			}
			return nil
		}
		fresh = false
		r.Line = append([]byte(nil), r.Line...)
		batch = append(batch, r)
		next++
		records++
		if bytes += len(r.Line); bytes >= c.opt.BatchBytes || records >= c.opt.Batch {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return 0, err
	}
	if len(batch) == 0 {
		return 0, nil
	}
	attempt, cancel := context.WithTimeout(ctx, c.opt.Timeout)
	defer cancel()
	if err = c.sink.Send(attempt, c.source.Name(), batch); err != nil {
		return 0, err
	}
	c.fresh = fresh
	c.next.Store(next)
	for _, r := range batch {
		if r.Missing > 0 && c.opt.Observer.Gap != nil {
			c.opt.Observer.Gap(r.Index, r.Missing)
		}
	}
	// If the cursor cannot be saved, delivery goes on: the worst is that
	// more is sent again after a crash.
	if err = c.save(); err != nil && c.opt.Observer.Failed != nil {
		c.opt.Observer.Failed(fmt.Errorf("saving the cursor: %w", err), 0)
	}
	return len(batch), nil
}

package trail

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/mod/sumdb/note"
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
	// before the trail counts as unavailable. It recovers when the disk responds. Default: 10s
	Stall time.Duration

	// Now tells the time. Default: time.Now
	Now func() time.Time

	// Logf receives warnings. It must not block.
	Logf func(format string, args ...any)

	// Observer is told what happens.
	Observer Observer

	sync   func(*os.File) error // datasync, or what a test puts instead
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

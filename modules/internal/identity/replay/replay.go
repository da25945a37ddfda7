// Package replay remembers what may be used but once, or for a moment: the proofs of RFC 9449,
// the signatures and nonces of RFC 9421, idempotency keys.
//
// Who uses it verifies first and stores then, so that only who has a
// credential can fill the memory. An entry is remembered until it could not be
// accepted anyway. When there is no more room, what comes is refused, and
// nothing that could still be used again is forgotten.
package replay

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrReplayed says that the entry has been used before.
	ErrReplayed = errors.New("it has been used before")

	// ErrOlder says that the entry is older than the memory, which so cannot
	// know whether it has been used before.
	ErrOlder = errors.New("it is older than the memory of what has been used")

	// ErrFull says that there is no room to remember the entry.
	ErrFull = errors.New("too many entries to remember")
)

// Entry is one use of a value.
type Entry struct {
	// Scope keeps the values of one kind and owner apart from all others.
	Scope string

	// Value is what may be used once within the scope.
	Value string

	// Made is when the value was made, if it says so.
	Made time.Time

	// Until is when it will not be accepted any more, used or not. A store may
	// remember it for longer.
	Until time.Time

	// Again is for how long after its first use it may be used again, in whole
	// seconds: 0 for never. Its first use must have said so too.
	Again time.Duration
}

// Store notes uses. Memory is that of this process; one that several servers
// share can stand in its place.
type Store interface {
	// Use notes e, or returns one of the errors of this package if it must
	// not be accepted. Any other error means that the store cannot be asked,
	// so that e must not be accepted either.
	Use(ctx context.Context, e Entry, now time.Time) error
}

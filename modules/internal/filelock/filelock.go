// Package filelock keeps two processes from changing the same files at once,
// and makes changes of names durable.
package filelock

import "errors"

// ErrLocked says that somebody else has the lock.
var ErrLocked = errors.New("locked by another process")

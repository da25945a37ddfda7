//go:build unix

package filelock

import (
	"os"

	"golang.org/x/sys/unix"
)

// TryLock takes an exclusive lock on f or fails at once, with ErrLocked if
// somebody has it. The kernel drops it when f is closed or the process ends,
// however it ends.
func TryLock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		return ErrLocked
	}
	return os.NewSyscallError("flock", err)
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

//go:build unix

package trail

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// flock takes an exclusive lock on f or fails at once, with ErrLocked if
// somebody has it. The kernel drops it when the process ends, however it ends.
func flock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		return ErrLocked
	}
	return os.NewSyscallError("flock", err)
}

// stillAt reports whether path is the name of the file that info is about. It
// does what os.Stat and os.SameFile do, for a fraction of the cost.
func stillAt(path string, info os.FileInfo) (bool, error) {
	var st syscall.Stat_t
	err := syscall.Stat(path, &st)
	for err == syscall.EINTR {
		err = syscall.Stat(path, &st)
	}
	if err != nil {
		return false, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	own, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Dev == own.Dev && st.Ino == own.Ino, nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

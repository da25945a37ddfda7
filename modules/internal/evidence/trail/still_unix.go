//go:build unix

package trail

import (
	"os"
	"syscall"
)

// stillAt reports whether path is the name of the file that info describes. It
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

package trail

import (
	"os"

	"golang.org/x/sys/windows"
)

// flock takes an exclusive lock on f or fails at once, with ErrLocked if
// somebody has it. The system drops it when the process ends, however it ends.
func flock(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, new(windows.Overlapped))
	if err == windows.ERROR_LOCK_VIOLATION {
		return ErrLocked
	}
	return os.NewSyscallError("LockFileEx", err)
}

// syncDir does nothing: NTFS journals names, and directories cannot be
// flushed.
func syncDir(string) error { return nil }

// stillAt reports whether path is the name of the file that info is about.
func stillAt(path string, info os.FileInfo) (bool, error) {
	now, err := os.Stat(path)
	return err == nil && os.SameFile(now, info), err
}

package apikey

import (
	"os"

	"golang.org/x/sys/windows"
)

// flock takes an exclusive lock on f or fails at once, with errLocked if
// somebody has it. The system drops it when the process ends, however it ends.
func flock(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, new(windows.Overlapped))
	if err == windows.ERROR_LOCK_VIOLATION {
		return errLocked
	}
	return os.NewSyscallError("LockFileEx", err)
}

// keepOwner does nothing: a new file inherits the rights of its directory.
func keepOwner(*os.File, os.FileInfo) error { return nil }

// syncDir does nothing: NTFS journals names, and directories cannot be
// flushed.
func syncDir(string) error { return nil }

package filelock

import (
	"os"

	"golang.org/x/sys/windows"
)

// TryLock takes an exclusive lock on f or fails at once, with ErrLocked if
// somebody has it. The system drops it when f is closed or the process ends,
// however it ends.
func TryLock(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, new(windows.Overlapped))
	if err == windows.ERROR_LOCK_VIOLATION {
		return ErrLocked
	}
	return os.NewSyscallError("LockFileEx", err)
}

// SyncDir does nothing: NTFS journals names, and directories cannot be
// flushed.
func SyncDir(string) error { return nil }

package trail

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync makes the content of f durable. The size is part of it, other
// metadata need not be (fdatasync(2)).
func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// allocate makes sure that there is space for n bytes of f from off on,
// without changing its size (fallocate(2)).
func allocate(f *os.File, off, n int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, off, n)
		if err != unix.EINTR {
			return os.NewSyscallError("fallocate", err)
		}
	}
}

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

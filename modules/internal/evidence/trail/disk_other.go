//go:build !linux

package trail

import (
	"errors"
	"os"
)

// datasync makes the content of f durable.
func datasync(f *os.File) error { return f.Sync() }

// allocate would make sure that there is space beyond the end of a file.
func allocate(*os.File, int64, int64) error { return errors.ErrUnsupported }

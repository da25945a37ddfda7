//go:build unix

package main

import (
	"os"
	"syscall"
)

// become replaces this process by the binary, so that signals reach it.
func become(binary string, args []string) error {
	return syscall.Exec(binary, append([]string{binary}, args...), os.Environ())
}

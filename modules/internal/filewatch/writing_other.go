//go:build !linux

package filewatch

import "os"

func beingWritten(*os.File) bool { return false }

//go:build !amd64

package redaction

func classifyWords(stop, ink []uint64, p []byte) { classifyPortable(stop, ink, p) }

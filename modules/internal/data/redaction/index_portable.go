//go:build !amd64

package redaction

func classifyWords(stop, ink, p []byte) { classifyPortable(stop, ink, p) }

package redaction

import "golang.org/x/sys/cpu"

var hasAVX2 = cpu.X86.HasAVX2

// classifyWords is classifyPortable, faster.
func classifyWords(stop, ink, p []byte) {
	if n := len(p) / 64; hasAVX2 && n > 0 {
		_, _ = stop[8*n-1], ink[8*n-1]
		classifyAVX2(&stop[0], &ink[0], &p[0], n)
		return
	}
	classifyPortable(stop, ink, p)
}

// classifyAVX2 sets 8*n bytes of stop and ink for the 64*n bytes at p.
//
//go:noescape
func classifyAVX2(stop, ink, p *byte, n int)

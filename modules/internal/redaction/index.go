package redaction

import (
	"encoding/binary"
	"math/bits"
)

// A text is walked in blocks. Before a block is walked, two bitmaps are made of
// it, a bit for each byte:
//
//	stop   what a string may not run over: quote, backslash, control
//	       characters, and whatever is not ASCII
//	ink    what is not white space
//
// The ends of strings and of white space are then found by counting zeros,
// 64 bytes at a time and without a branch for each byte. The bits say nothing
// about where strings begin, so nothing has to be carried from block to block.
const (
	blockSize = 8 << 10
	// Twice a block, so that a position in the text is also one in the
	// bitmap, with the bits after the block still within reach.
	indexWords = 2 * blockSize / 64
)

type bitmap [indexWords]uint64

// next returns the position of the first set bit at i or after it.
func (m *bitmap) next(i int) int {
	for {
		k, s := uint(i)>>6, uint(i)&63
		x := m[k%indexWords]>>s | m[(k+1)%indexWords]<<1<<(63-s)
		if x != 0 {
			return i + bits.TrailingZeros64(x)
		}
		i += 64
	}
}

// classify fills the bitmaps for p[from:to], where from is a multiple of
// blockSize and to at most blockSize more. Every bit after to is set, up to
// where next may look.
func classify(stop, ink *bitmap, p []byte, from, to int) {
	k := uint(from) / 64 % indexWords
	whole := (to - from) &^ 63
	if whole > 0 {
		classifyWords(stop[k:], ink[k:], p[from:from+whole])
		k += uint(whole) / 64
	}
	if rest := to - from - whole; rest > 0 {
		var last [64]byte
		copy(last[:], p[from+whole:to])
		classifyWords(stop[k:k+1], ink[k:k+1], last[:])
		after := ^uint64(0) << rest
		stop[k] |= after
		ink[k] |= after
		k++
	}
	for range 2 {
		stop[k%indexWords] = ^uint64(0)
		ink[k%indexWords] = ^uint64(0)
		k++
	}
}

// classifyPortable sets one word of stop and ink for every 64 bytes of p.
func classifyPortable(stop, ink []uint64, p []byte) {
	for k := 0; len(p) >= 64; k++ {
		var s, n uint64
		for j := 0; j < 64; j += 8 {
			x := binary.LittleEndian.Uint64(p[j : j+8])
			s |= gather(x&high|zeros(x^quotes)|zeros(x^slashes)|zeros(x&upper)) << j
			n |= gather(zeros(x^spaces)|zeros(x^tabs)|zeros(x^feeds)|zeros(x^returns)) << j
		}
		stop[k], ink[k] = s, ^n
		p = p[64:]
	}
}

const (
	ones    = 0x0101010101010101
	high    = 0x80 * ones
	upper   = 0xe0 * ones
	quotes  = '"' * ones
	slashes = '\\' * ones
	spaces  = ' ' * ones
	tabs    = '\t' * ones
	feeds   = '\n' * ones
	returns = '\r' * ones
)

// zeros sets the high bit of each byte that is zero, and no other bit. (The
// well-known shorter form also sets it in bytes after a zero.)
func zeros(x uint64) uint64 {
	return ^((x&^high + ^uint64(high)) | x) & high
}

// gather makes 8 bits of the high bits of 8 bytes.
func gather(x uint64) uint64 {
	return x >> 7 * 0x0102040810204080 >> 56
}

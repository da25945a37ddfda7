package redaction

import (
	"bytes"
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
	// A bitmap has room for two blocks, so that where a byte of the text has
	// its bit follows from its position alone, also right after a block.
	indexSpan  = 2 * blockSize
	indexBytes = indexSpan / 8
)

// bitmap holds its bits from the lowest of the first byte on. Behind them is
// room for what is read past the last.
type bitmap [indexBytes + 16]byte

// next returns the position of the first set bit at i or after it.
func (m *bitmap) next(i int) int {
	for {
		k := uint(i) % indexSpan / 8
		x := binary.LittleEndian.Uint64(m[k:k+8]) >> (uint(i) % 8)
		if x != 0 {
			return i + bits.TrailingZeros64(x)
		}
		i += 64 - i%8
	}
}

// classify fills the bitmaps for p[from:to], where from is a multiple of
// blockSize and to at most blockSize more. Every bit after to is set, as far
// as next looks.
func classify(stop, ink *bitmap, p []byte, from, to int) {
	k := uint(from) % indexSpan / 8
	whole := (to - from) &^ 63
	if whole > 0 {
		classifyWords(stop[k:], ink[k:], p[from:from+whole])
		k += uint(whole) / 8
	}
	if rest := to - from - whole; rest > 0 {
		last := filling
		copy(last[:], p[from+whole:to])
		classifyWords(stop[k:], ink[k:], last[:])
		k += 8
	}
	for _, m := range [...]*bitmap{stop, ink} {
		binary.LittleEndian.PutUint64(m[k:], ^uint64(0))
		binary.LittleEndian.PutUint64(m[k%indexBytes:], ^uint64(0))
	}
}

// filling stands after a text, for its bits.
var filling = [64]byte(bytes.Repeat([]byte{'"'}, 64))

// classifyPortable sets 8 bytes of stop and ink for every 64 bytes of p.
func classifyPortable(stop, ink, p []byte) {
	for ; len(p) >= 64; stop, ink, p = stop[8:], ink[8:], p[64:] {
		var s, n uint64
		for j := 0; j < 64; j += 8 {
			x := binary.LittleEndian.Uint64(p[j : j+8])
			s |= gather(x&high|zeros(x^quotes)|zeros(x^slashes)|zeros(x&upper)) << j
			n |= gather(zeros(x^spaces)|zeros(x^tabs)|zeros(x^feeds)|zeros(x^returns)) << j
		}
		binary.LittleEndian.PutUint64(stop, s)
		binary.LittleEndian.PutUint64(ink, ^n)
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

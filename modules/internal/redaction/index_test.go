package redaction

import (
	"math/rand/v2"
	"testing"
)

// slowClassify says what the bitmaps mean.
func slowClassify(p []byte) (stop, ink []uint64) {
	stop, ink = make([]uint64, len(p)/64), make([]uint64, len(p)/64)
	for i, c := range p[:len(p)&^63] {
		if c == '"' || c == '\\' || c < 0x20 || c >= 0x80 {
			stop[i/64] |= 1 << (i % 64)
		}
		if !isSpace(c) {
			ink[i/64] |= 1 << (i % 64)
		}
	}
	return stop, ink
}

func TestClassifiersAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	texts := [][]byte{make([]byte, 256)}
	for i := range texts[0] {
		texts[0][i] = byte(i)
	}
	for range 500 {
		text := make([]byte, 64*(1+r.IntN(20)))
		for i := range text {
			if text[i] = byte(r.IntN(256)); r.IntN(2) == 0 {
				text[i] = "\"\\ \t\n\r\x00\x1f\x20\x21\x7f\x80\xffa{"[r.IntN(15)]
			}
		}
		texts = append(texts, text)
	}
	for _, text := range texts {
		wantStop, wantInk := slowClassify(text)
		for name, f := range map[string]func(stop, ink []uint64, p []byte){"used": classifyWords, "portable": classifyPortable} {
			stop, ink := make([]uint64, len(text)/64), make([]uint64, len(text)/64)
			f(stop, ink, text)
			for k := range stop {
				if stop[k] != wantStop[k] || ink[k] != wantInk[k] {
					t.Fatalf("%s: %q: %x %x, want %x %x", name, text[64*k:64*k+64], stop[k], ink[k], wantStop[k], wantInk[k])
				}
			}
		}
	}
}

func TestNextFindsEveryByte(t *testing.T) {
	for size := range 300 {
		text := make([]byte, size)
		for i := range text {
			text[i] = 'a'
		}
		for at := 0; at <= size; at += 7 {
			var stop, ink bitmap
			if at < size {
				text[at] = '"'
			}
			classify(&stop, &ink, text, 0, size)
			for i := 0; i <= size; i++ {
				want := size
				if i <= at && at < size {
					want = at
				}
				if got := stop.next(i); got < want || got > want && want < size {
					t.Fatalf("of %d bytes with a quote at %d, from %d: %d", size, at, i, got)
				}
			}
			if at < size {
				text[at] = 'a'
			}
		}
	}
}

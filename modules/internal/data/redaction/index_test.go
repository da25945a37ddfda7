package redaction

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// slowClassify says what the bitmaps mean.
func slowClassify(p []byte) (stop, ink []byte) {
	stop, ink = make([]byte, len(p)/8), make([]byte, len(p)/8)
	for i, c := range p[:len(p)&^63] {
		if c == '"' || c == '\\' || c < 0x20 || c >= 0x80 {
			stop[i/8] |= 1 << (i % 8)
		}
		if !isSpace(c) {
			ink[i/8] |= 1 << (i % 8)
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
		for name, f := range map[string]func(stop, ink, p []byte){"used": classifyWords, "portable": classifyPortable} {
			stop, ink := make([]byte, len(text)/8), make([]byte, len(text)/8)
			f(stop, ink, text)
			if !bytes.Equal(stop, wantStop) || !bytes.Equal(ink, wantInk) {
				t.Fatalf("%s: %q: %x %x, want %x %x", name, text, stop, ink, wantStop, wantInk)
			}
		}
	}
}

func TestNextFindsEveryByte(t *testing.T) {
	for _, size := range []int{0, 1, 63, 64, 65, 127, 128, 129, 300, blockSize - 1, blockSize} {
		text := make([]byte, size)
		for i := range text {
			text[i] = 'a'
		}
		for at := 0; at <= size; at += 1 + size/40 {
			var stop, ink bitmap
			if at < size {
				text[at] = '"'
			}
			for _, from := range []int{0, blockSize, 2 * blockSize} {
				p := append(make([]byte, from), text...)
				classify(&stop, &ink, p, from, from+size)
				for i := 0; i <= size; i++ {
					want := size
					if i <= at && at < size {
						want = at
					}
					if got := stop.next(from+i) - from; got != want {
						t.Fatalf("of %d bytes from %d on with a quote at %d, from %d: %d", size, from, at, i, got)
					}
				}
			}
			if at < size {
				text[at] = 'a'
			}
		}
	}
}

package redaction

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// sub is where in a string a piece of the text ended, if it is not between two
// characters.
type sub uint8

const (
	subNone   sub = iota
	subEscape     // after a backslash
	subHex4       // before the first digit of \uXXXX
	subHex3
	subHex2
	subHex1
	subLowSlash // after the first half of a surrogate pair
	subLowU
	subLow4
	subLow3
	subLow2
	subLow1
	// Before the last 1, 2 or 3 bytes of a character beyond ASCII. The
	// others are for the second byte after one that narrows its range,
	// Table 3-7 of the Unicode Standard.
	subTail1
	subTail2
	subTail3
	subTailE0
	subTailED
	subTailF0
	subTailF4
)

// scanString goes on in a string at i, and returns the index of the closing
// quote, or len(p) if it is not there. It is for all that is not a run of plain
// characters up to the closing quote.
//
// Half of a surrogate pair is not a character, but JSON can write it, and programs
// that cut strings in two do (RFC 8259 section 8.2). Its readers disagree about
// what it stands for, so it is refused in a name, which might be another to
// them.
func (w *Rewriter) scanString(p []byte, i int, name bool) (int, Reason) {
	for {
		if w.sub != subNone {
			if i >= len(p) {
				return i, ""
			}
			if w.sub == subLowSlash && p[i] != '\\' && !name {
				w.sub = subNone
				continue
			}
			if reason := w.stepString(p[i], name); reason != "" {
				return i, reason
			}
			i++
			continue
		}
		if i = w.stop.next(i); i >= len(p) {
			return len(p), ""
		}
		switch c := p[i]; {
		case c == '"':
			return i, ""
		case c == '\\':
			w.escaped = true
			i++
			if n := skipEscape(p[i:]); n > 0 {
				i += n
			} else {
				w.sub = subEscape
			}
		case c < 0x20:
			return i, ReasonControl
		default:
			i = skipRunes(p, i)
			if i < len(p) && p[i] >= utf8.RuneSelf {
				if w.sub = leadByte(p[i]); w.sub == subNone {
					return i, ReasonUTF8
				}
				i++
			}
		}
	}
}

// skipEscape returns the length of what follows a backslash, if it is whole and
// does not need a closer look, otherwise 0.
func skipEscape(p []byte) int {
	switch {
	case len(p) == 0:
		return 0
	case simpleEscape(p[0]):
		return 1
	case len(p) < 5 || p[0] != 'u':
		return 0
	}
	a, b, c, d := hexValue(p[1]), hexValue(p[2]), hexValue(p[3]), hexValue(p[4])
	if (a|b|c|d)&16 != 0 || a == 0xd && b >= 8 {
		return 0 // not a digit, or half of a surrogate pair
	}
	return 5
}

func simpleEscape(c byte) bool {
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	}
	return false
}

// skipRunes skips whole, valid characters beyond ASCII as long as there are
// 4 bytes to look at.
func skipRunes(p []byte, i int) int {
	for i+4 <= len(p) {
		x := binary.LittleEndian.Uint32(p[i:])
		switch {
		case x&0x00c0c0f0 == 0x008080e0:
			// Three bytes: neither overlong nor a surrogate.
			if y := x & 0x0000200f; y == 0 || y == 0x0000200d {
				return i
			}
			i += 3
		case x&0x0000c0e0 == 0x000080c0:
			if x&0x1e == 0 {
				return i
			}
			i += 2
		case x&0xc0c0c0f8 == 0x808080f0:
			// From U+10000 to U+10FFFF.
			if y := bits.ReverseBytes32(x) & 0x07300000; y == 0 || y > 0x04000000 {
				return i
			}
			i += 4
		default:
			return i
		}
	}
	return i
}

// leadByte returns what has to follow the first byte of a character beyond
// ASCII, subNone if c cannot be one.
func leadByte(c byte) sub {
	switch {
	case c < 0xc2 || c > 0xf4:
		return subNone
	case c < 0xe0:
		return subTail1
	case c == 0xe0:
		return subTailE0
	case c == 0xed:
		return subTailED
	case c < 0xf0:
		return subTail2
	case c == 0xf0:
		return subTailF0
	case c == 0xf4:
		return subTailF4
	}
	return subTail3
}

// stepString takes one byte within an escape or a character of several bytes.
func (w *Rewriter) stepString(c byte, name bool) Reason {
	switch s := w.sub; s {
	case subEscape:
		if c == 'u' {
			w.sub, w.codeUnit = subHex4, 0
			return ""
		}
		w.sub = subNone
		if !simpleEscape(c) {
			return ReasonEscape
		}
	case subHex4, subHex3, subHex2, subHex1, subLow4, subLow3, subLow2, subLow1:
		h := hexValue(c)
		if h > 15 {
			return ReasonEscape
		}
		w.codeUnit = w.codeUnit<<4 | uint32(h)
		w.sub = s + 1
		return w.endEscape(s, name)
	case subLowSlash:
		if c != '\\' {
			return ReasonSurrogate
		}
		w.sub = subLowU
	case subLowU:
		if c != 'u' {
			if name {
				return ReasonSurrogate
			}
			w.sub = subEscape
			return w.stepString(c, name)
		}
		w.sub, w.codeUnit = subLow4, 0
	default:
		return w.stepRune(c)
	}
	return ""
}

// endEscape looks at the code unit once its last digit is read.
func (w *Rewriter) endEscape(s sub, name bool) Reason {
	half := w.codeUnit >> 10 // 0x36 begins a surrogate pair, 0x37 ends it
	switch {
	case s == subHex1 && half == 0x36, s == subLow1 && half == 0x36 && !name:
		w.sub = subLowSlash
	case !name && (s == subHex1 || s == subLow1):
		w.sub = subNone
	case s == subHex1 && half == 0x37, s == subLow1 && half != 0x37:
		return ReasonSurrogate
	case s == subHex1 || s == subLow1:
		w.sub = subNone
	}
	return ""
}

// stepRune takes a byte that continues a character.
func (w *Rewriter) stepRune(c byte) Reason {
	low, high := byte(0x80), byte(0xbf)
	next := w.sub - 1
	switch w.sub {
	case subTail1:
		next = subNone
	case subTailE0:
		low, next = 0xa0, subTail1
	case subTailED:
		high, next = 0x9f, subTail1
	case subTailF0:
		low, next = 0x90, subTail2
	case subTailF4:
		high, next = 0x8f, subTail2
	}
	if c < low || c > high {
		return ReasonUTF8
	}
	w.sub = next
	return ""
}

// The states of a number. Zero is outside a number.
const (
	numberStart uint8 = iota + 1
	numberMinus
	numberZero // may end
	numberInt  // may end
	numberPoint
	numberFrac // may end
	numberExp
	numberSign
	numberPower // may end
)

func numberEnds(n uint8) bool {
	return n == numberZero || n == numberInt || n == numberFrac || n == numberPower
}

// numberStep returns the state after c, 0 if c cannot stand there.
func numberStep(n uint8, c byte) uint8 {
	digit := c-'0' <= 9
	switch {
	case digit && (n == numberStart || n == numberMinus):
		if c == '0' {
			return numberZero
		}
		return numberInt
	case digit && n == numberInt:
		return numberInt
	case digit && (n == numberPoint || n == numberFrac):
		return numberFrac
	case digit && (n == numberExp || n == numberSign || n == numberPower):
		return numberPower
	case c == '-' && n == numberStart:
		return numberMinus
	case c == '.' && (n == numberZero || n == numberInt):
		return numberPoint
	case c|0x20 == 'e' && (n == numberZero || n == numberInt || n == numberFrac):
		return numberExp
	case (c == '-' || c == '+') && n == numberExp:
		return numberSign
	}
	return 0
}

// scanNumber returns the index after the number at i, or 0 if it is not
// certain to end there or is malformed: numberStep then tells.
func scanNumber(p []byte, i int) int {
	if p[i] == '-' {
		i++
	}
	from := i
	if i = skipDigits(p, i); i == from || i >= len(p) || p[from] == '0' && i-from > 1 {
		return 0
	}
	if p[i] == '.' {
		i++
		from = i
		if i = skipDigits(p, i); i == from || i >= len(p) {
			return 0
		}
	}
	if p[i]|0x20 == 'e' {
		if i++; i < len(p) && (p[i] == '+' || p[i] == '-') {
			i++
		}
		from = i
		if i = skipDigits(p, i); i == from || i >= len(p) {
			return 0
		}
	}
	return i
}

// skipDigits returns the index of the first byte at i or after it that is not a
// digit.
func skipDigits(p []byte, i int) int {
	for i+8 <= len(p) {
		if n := countDigits(binary.LittleEndian.Uint64(p[i:])); n < 8 {
			return i + n
		}
		i += 8
	}
	for i < len(p) && p[i]-'0' <= 9 {
		i++
	}
	return i
}

// countDigits returns how many of the 8 bytes of x, from the lowest on, are
// digits.
func countDigits(x uint64) int {
	x ^= '0' * ones
	return bits.TrailingZeros64(((x&^high+(0x80-10)*ones)|x)&high) / 8
}

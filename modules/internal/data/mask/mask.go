// Package mask makes pieces of text unreadable: wholly or in part, for good
// or, with a key, in a way that can be recognised or undone.
//
// It works on decoded text and knows nothing of JSON. Where characters are
// counted, a character is what a reader takes for one (an extended grapheme
// cluster, Unicode Standard Annex 29).
package mask

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// Func appends the masked form of text to dst.
type Func func(dst, text []byte) []byte

// Fixed stands for a value about which nothing may be seen, not even its
// length.
const Fixed = "****"

// presets are the masks that have a name. Those for numbers of a known form
// require a least length: a shorter value is something else, of which too
// much would be shown.
var presets = map[string]Func{
	"last4":       Keep(0, 4, '*'),
	"first3last4": Keep(3, 4, '*'),
	"mobile":      keepOf(3, 4, 10),
	"landline":    keepOf(4, 2, 9),
	"id_card":     keepOf(1, 2, 15),
	"bank_card":   bankCard,
	"name":        Keep(1, 0, '*'),
	"address":     address,
	"email":       email,
	"plate":       keepOf(3, 1, 6),
	"ip":          ip,
}

// Preset returns the mask called name:
//
//	last4         all but the last 4 characters        13812345678 → *******5678
//	first3last4   all but the first 3 and last 4       13812345678 → 138****5678
//	mobile        the same, of at least 10             18049531999 → 180****1999
//	landline      all but the first 4 and last 2       09157518479 → 0915*****79
//	id_card       all but the first and the last 2     5***************1X
//	bank_card     all but the first 4 and last 4, in groups of 4
//	name          all but the first                    段正淳 → 段**
//	address       the last 8
//	email         all but the first of the local part  d***@example.com;
//	              all of a text that is not an address
//	plate         all but the first 3 and the last     苏D40000 → 苏D4***0
//	ip            192.0.2.1 → 192.*.*.*; the first 16 bits of IPv6
//
// Text that is too short for its preset, or not of its form, is masked
// entirely.
func Preset(name string) (Func, bool) {
	f, ok := presets[name]
	return f, ok
}

// Presets returns the names that Preset knows, sorted.
func Presets() []string {
	names := make([]string, 0, len(presets))
	for name := range presets {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Keep shows the first and the last characters of a text and puts char in
// the place of each one between. Text with nothing between is masked
// entirely.
func Keep(first, last int, char rune) Func {
	return func(dst, text []byte) []byte { return keep(dst, text, first, last, char) }
}

// keepOf is Keep for text that has the least number of characters.
func keepOf(first, last, least int) Func {
	return func(dst, text []byte) []byte { return keepLeast(dst, text, first, last, least, '*') }
}

func keep(dst, text []byte, first, last int, char rune) []byte {
	return keepLeast(dst, text, first, last, 0, char)
}

func keepLeast(dst, text []byte, first, last, least int, char rune) []byte {
	n := len(text)
	head, tail := first, n-last
	if !ascii(text) {
		n = count(text)
		head, tail = prefix(text, first), prefix(text, n-last)
	}
	if n < least || n <= first+last {
		return repeat(dst, char, n)
	}
	dst = append(dst, text[:head]...)
	dst = repeat(dst, char, n-first-last)
	return append(dst, text[tail:]...)
}

// hide masks text entirely, one star for each character.
func hide(dst, text []byte) []byte { return repeat(dst, '*', count(text)) }

func repeat(dst []byte, char rune, n int) []byte {
	const stars = "****************************************************************"
	if char == '*' && n <= len(stars) {
		return append(dst, stars[:n]...)
	}
	for range n {
		dst = utf8.AppendRune(dst, char)
	}
	return dst
}

// Truncate returns the first n characters of text, and whether that is all
// of it.
func Truncate(text []byte, n int) (head []byte, whole bool) {
	end := prefix(text, n)
	return text[:end], end == len(text)
}

func ascii(text []byte) bool {
	const ones = 0x0101010101010101
	for len(text) >= 8 {
		x := binary.LittleEndian.Uint64(text)
		// CR LF is the one cluster of two bytes that ASCII knows.
		cr := x ^ '\r'*ones
		if (x|(cr-ones)&^cr)&(0x80*ones) != 0 {
			return false
		}
		text = text[8:]
	}
	for _, c := range text {
		if c >= utf8.RuneSelf || c == '\r' {
			return false
		}
	}
	return true
}

// count returns the number of characters in text.
func count(text []byte) int {
	if ascii(text) {
		return len(text)
	}
	return uniseg.GraphemeClusterCount(string(text))
}

// prefix returns the length in bytes of the first n characters of text.
func prefix(text []byte, n int) int {
	if ascii(text) {
		return min(n, len(text))
	}
	rest, state := text, -1
	for ; n > 0 && len(rest) > 0; n-- {
		_, rest, _, state = uniseg.FirstGraphemeCluster(rest, state)
	}
	return len(text) - len(rest)
}

func address(dst, text []byte) []byte {
	n := count(text)
	if n <= 8 {
		return hide(dst, text)
	}
	return repeat(append(dst, text[:prefix(text, n-8)]...), '*', 8)
}

// email shows the domain, so it has to be one and nothing else: what people
// write behind an address, or an @ before a name, is masked with the rest.
func email(dst, text []byte) []byte {
	at := bytes.LastIndexByte(text, '@')
	if at < 1 || !isDomain(text[at+1:]) {
		return hide(dst, text)
	}
	return append(keep(dst, text[:at], 1, 0, '*'), text[at:]...)
}

// isDomain reports whether text may be the name of a host: its last label has
// a letter, of whatever script (RFC 3696 section 2).
func isDomain(text []byte) bool {
	letter := false
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case unicode.IsLetter(r):
			letter = true
		case r == '.':
			letter = false
		case !unicode.IsMark(r) && !unicode.IsDigit(r) && r != '-':
			return false
		}
		text = text[n:]
	}
	return letter
}

// bankCard groups by four, as on the card, whatever the grouping was.
func bankCard(dst, text []byte) []byte {
	const least = 12
	digits := make([]byte, 0, 32)
	for _, c := range text {
		switch {
		case '0' <= c && c <= '9':
			digits = append(digits, c)
		case c != ' ' && c != '-':
			return hide(dst, text)
		}
	}
	if len(digits) < least {
		return hide(dst, text)
	}
	dst = append(dst, digits[:4]...)
	for i := range len(digits) - 8 {
		if i%4 == 0 {
			dst = append(dst, ' ')
		}
		dst = append(dst, '*')
	}
	dst = append(dst, ' ')
	return append(dst, digits[len(digits)-4:]...)
}

func ip(dst, text []byte) []byte {
	addr, err := netip.ParseAddr(string(text))
	if err != nil {
		return hide(dst, text)
	}
	if addr = addr.Unmap(); addr.Is4() {
		first, _, _ := strings.Cut(addr.String(), ".")
		return append(append(dst, first...), ".*.*.*"...)
	}
	first, _, _ := strings.Cut(addr.WithZone("").StringExpanded(), ":")
	return append(append(dst, first...), ":*:*:*:*:*:*:*"...)
}

package redaction

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// appendDecoded appends what a string literal stands for. raw is what stands
// between its quotes, and has been validated.
func appendDecoded(dst, raw []byte) []byte {
	for {
		at := bytes.IndexByte(raw, '\\')
		if at < 0 {
			return append(dst, raw...)
		}
		dst = append(dst, raw[:at]...)
		c := raw[at+1]
		raw = raw[at+2:]
		switch c {
		case 'u':
			r := hex4(raw)
			raw = raw[4:]
			if utf16.IsSurrogate(r) {
				if pair := secondHalf(r, raw); pair != utf8.RuneError {
					r, raw = pair, raw[6:]
				} else {
					r = utf8.RuneError // as most readers take half a pair
				}
			}
			dst = utf8.AppendRune(dst, r)
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		default: // quote, backslash, slash
			dst = append(dst, c)
		}
	}
}

// secondHalf returns the character of which r is the first half if raw begins
// with the second, otherwise U+FFFD.
func secondHalf(r rune, raw []byte) rune {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return utf8.RuneError
	}
	return utf16.DecodeRune(r, hex4(raw[2:]))
}

func hex4(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		r = r<<4 | rune(hexValue(c))
	}
	return r
}

// hexValue returns the value of a hexadecimal digit, 16 of anything else.
func hexValue(c byte) byte { return hexValues[c] }

var hexValues = func() (table [256]byte) {
	for c := range table {
		switch d := byte(c); {
		case '0' <= d && d <= '9':
			table[c] = d - '0'
		case 'a' <= d|0x20 && d|0x20 <= 'f':
			table[c] = d | 0x20 - 'a' + 10
		default:
			table[c] = 16
		}
	}
	return table
}()

// appendQuoted appends text as a string literal.
func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(text); i++ {
		if i+8 <= len(text) {
			x := binary.LittleEndian.Uint64(text[i:])
			if zeros(x^quotes)|zeros(x^slashes)|zeros(x&upper) == 0 {
				i += 7
				continue
			}
		}
		if c := text[i]; escapes[c] {
			dst = appendEscape(append(dst, text[from:i]...), c)
			from = i + 1
		}
	}
	return append(append(dst, text[from:]...), '"')
}

// escapes are the characters that a string literal cannot hold as they are.
var escapes = func() (set [256]bool) {
	for c := range 0x20 {
		set[c] = true
	}
	set['"'], set['\\'] = true, true
	return set
}()

func appendEscape(dst []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}

package strictjson

import (
	"unicode/utf16"
	"unicode/utf8"
)

// escapeLen returns the length of the escape that b starts with, a pair of
// surrogates being one escape, or 0 if it is not a valid one. A surrogate
// without its partner is not a character: RFC 7493 section 2.1.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		r := hex4(b)
		switch {
		case r < 0:
			return 0
		case !utf16.IsSurrogate(r):
			return 6
		case len(b) >= 12 && b[6] == '\\' && b[7] == 'u' && utf16.DecodeRune(r, hex4(b[6:])) != utf8.RuneError:
			return 12
		}
	}
	return 0
}

// hex4 returns the number in b = \uXXXX, or -1.
func hex4(b []byte) rune {
	if len(b) < 6 {
		return -1
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c-'a' <= 5:
			c -= 'a' - 10
		case c-'A' <= 5:
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// unescape appends to dst what text, the inside of a valid string, stands for.
func unescape(dst, text []byte) []byte {
	for i := 0; i < len(text); {
		if text[i] != '\\' {
			dst = append(dst, text[i])
			i++
			continue
		}
		switch c := text[i+1]; c {
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
		case 'u':
			r, n := hex4(text[i:]), 6
			if utf16.IsSurrogate(r) {
				r, n = utf16.DecodeRune(r, hex4(text[i+6:])), 12
			}
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		default:
			dst = append(dst, c)
		}
		i += 2
	}
	return dst
}

// IsNull reports whether value is null.
func IsNull(value []byte) bool { return value[0] == 'n' }

// IsFalse reports whether value is false.
func IsFalse(value []byte) bool { return value[0] == 'f' }

// IsNumber reports whether value is a number.
func IsNumber(value []byte) bool { return value[0] == '-' || value[0]-'0' <= 9 }

// Text returns what a string stands for. It is false if value is not a
// string. The bytes are those of value unless it is written with escapes.
func Text(value []byte) ([]byte, bool) {
	if value[0] != '"' {
		return nil, false
	}
	text := value[1 : len(value)-1]
	for _, c := range text {
		if c == '\\' {
			return unescape(make([]byte, 0, len(text)), text), true
		}
	}
	return text, true
}

// Array returns an iterator over the elements of an array. It is false if
// value is not an array.
func Array(value []byte) (Elements, bool) {
	return Elements{value}, value[0] == '['
}

// Elements walks over an array:
//
//	for e, ok := a.Next(); ok; e, ok = a.Next() { … }
type Elements struct{ rest []byte }

// Next returns the next element, and false after the last.
func (e *Elements) Next() ([]byte, bool) {
	i := skipSpace(e.rest, 1) // over the bracket or comma
	if i >= len(e.rest) || e.rest[i] == ']' {
		e.rest = nil
		return nil, false
	}
	end := skipValue(e.rest, i)
	v := e.rest[i:end:end]
	e.rest = e.rest[skipSpace(e.rest, end):]
	return v, true
}

// Lookup returns the value of the member or element called name in value:
// one step of a JSON Pointer, RFC 6901 section 4. It is false where there is
// none.
func Lookup(value []byte, name string) ([]byte, bool) {
	switch value[0] {
	case '{':
		return lookupMember(value, name)
	case '[':
		n, ok := index(name)
		if !ok {
			return nil, false
		}
		a := Elements{value}
		for v, ok := a.Next(); ok; v, ok = a.Next() {
			if n == 0 {
				return v, true
			}
			n--
		}
	}
	return nil, false
}

func lookupMember(object []byte, name string) ([]byte, bool) {
	for i := firstMember(object); object[i] != '}'; {
		key, value, next := memberAt(object, i)
		if string(key) == name {
			return value, true
		}
		i = next
	}
	return nil, false
}

// Count returns the number of members of an object.
func Count(object []byte) (n int) {
	for i := firstMember(object); object[i] != '}'; n++ {
		_, _, i = memberAt(object, i)
	}
	return n
}

// Object returns an iterator over the members of an object. It is false if
// value is not an object.
func Object(value []byte) (Members, bool) {
	if value[0] != '{' {
		return Members{}, false
	}
	return Members{value, firstMember(value)}, true
}

// Members walks over an object:
//
//	for name, v, ok := o.Next(); ok; name, v, ok = o.Next() { … }
type Members struct {
	object []byte
	at     int
}

// Next returns the next member, and false after the last. The name is decoded.
func (m *Members) Next() (name, value []byte, ok bool) {
	if m.object[m.at] == '}' {
		return nil, nil, false
	}
	name, value, m.at = memberAt(m.object, m.at)
	return name, value, true
}

func firstMember(object []byte) int { return skipSpace(object, 1) }

// memberAt reads the member at object[i] and returns the place of the next one,
// or of the closing brace.
func memberAt(object []byte, i int) (key, value []byte, next int) {
	end := skipValue(object, i)
	key, _ = Text(object[i:end])
	i = skipSpace(object, skipSpace(object, end)+1) // over the colon
	end = skipValue(object, i)
	if next = skipSpace(object, end); object[next] == ',' {
		next = skipSpace(object, next+1)
	}
	return key, object[i:end:end], next
}

// index reads an array index: digits without sign and leading zeros.
func index(s string) (int, bool) {
	if s == "" || len(s) > 9 || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if s[i]-'0' > 9 {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// skipValue returns the position after the valid value at b[i].
func skipValue(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		depth := 0
		for {
			switch b[i] {
			case '"':
				i = skipString(b, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
			i++
		}
	}
	for i < len(b) {
		switch b[i] {
		case ',', '}', ']', ':', ' ', '\t', '\n', '\r':
			return i
		}
		i++
	}
	return i
}

func skipString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// AppendString appends s as a JSON string. s must be valid UTF-8.
func AppendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

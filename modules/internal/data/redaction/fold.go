package redaction

import (
	"unicode"
	"unicode/utf8"
)

// Names that a client has spelled are compared as the most liberal of the JSON
// libraries do that may read them: whatever their case, by the simple case
// folding of Unicode, where U+017F is an s and U+212A a k (Go's encoding/json,
// .NET's web defaults). Beyond that U+0130 and U+0131 are an i, as for Java's
// String.equalsIgnoreCase.
//
// The words of a name may be put together in another way, too: to the JSON
// mapping of protobuf, and to programs that turn camel case and kebab case into
// snake case or back, is_admin, isAdmin and is-admin are one. So a "_" or "-"
// between two other characters does not count.
const (
	dottedI  = '\u0130'
	dotlessI = '\u0131'
)

// foldRune returns the same for all characters that differ only in case: a
// lower-case letter if there is one of ASCII among them.
func foldRune(r rune) rune {
	switch {
	case r < utf8.RuneSelf:
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	case r == dottedI, r == dotlessI:
		return 'i'
	}
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	if least < utf8.RuneSelf {
		return foldRune(least)
	}
	return least
}

// separates reports whether name[i] stands between two words: a name keeps what
// it begins and ends with, and more than one of them.
func separates(name []byte, i int) bool {
	joins := func(c byte) bool { return c == '_' || c == '-' }
	return joins(name[i]) && i > 0 && i+1 < len(name) && !joins(name[i-1]) && !joins(name[i+1])
}

// appendFold appends name with every character folded, and its words joined.
func appendFold(dst, name []byte) []byte {
	for i := 0; i < len(name); {
		c := name[i]
		if c < utf8.RuneSelf {
			if separates(name, i) {
				i++
				continue
			}
			if c-'A' <= 'Z'-'A' {
				c += 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(name[i:])
		dst = utf8.AppendRune(dst, foldRune(r))
		i += n
	}
	return dst
}

// FoldName returns the same for all names that differ only in case, and in what
// stands between their words; see
// [Options.FoldCase].
func FoldName(name string) string { return string(appendFold(nil, []byte(name))) }

// variants calls f with every character that folds to r, which is folded.
func variants(r rune, f func(rune)) {
	f(r)
	for v := unicode.SimpleFold(r); v != r; v = unicode.SimpleFold(v) {
		f(v)
	}
	if r == 'i' {
		f(dottedI)
		f(dotlessI)
	}
}

// spellings returns how long, in bytes, a name can be that folds to name: at
// least and at most, and at most with every character escaped.
func spellings(name string) (least, most, escaped int) {
	for i, r := range name {
		if i > 0 { // a separator before it
			most, escaped = most+1, escaped+6
		}
		short, long, units := utf8.UTFMax, 0, 0
		variants(r, func(v rune) {
			n, u := utf8.RuneLen(v), 6 // \uXXXX
			if v > 0xffff {
				u = 12
			}
			short, long, units = min(short, n), max(long, n), max(units, u)
		})
		least, most, escaped = least+short, most+long, escaped+units
	}
	return least, most, escaped
}

// Package requestpath rejects request paths that two programs can read in two
// ways. A layer that decides by path is only worth something if the server
// behind it serves the path that was decided on, so a path that another
// program might decode, clean or split differently is not a path at all.
//
// The path checked is the one that will be sent to the upstream: the Path and
// RawPath of the request's URL after whatever rewrote them. What is rejected,
// with one example each:
//
//	/a%2fb  /a%5cb        an encoded separator: one segment or two
//	/%2e%2e/a  /a%2ejson  an encoded dot: literal, or resolved after decoding
//	/a/./b  /a/../b  /..  dot segments: removed by some, kept by others
//	//a  /a//b  /a//      empty segments: merged by some, kept by others
//	/a\b                  a backslash: a separator on Windows
//	/a;v=1/b  /a%3bb      path parameters: dropped by servlet containers
//	/a%00b  /a%0ab        control characters: end of string, or of line
//	/%252e  /%2575        a percent sign that could be decoded again
//	/%25u002e             the same in the form that IIS decodes
//	/%c0%af  /%ff         what is not UTF-8: overlong forms of "/" and others
//	/a%EF%BC%8Fb          characters that compatibility mapping turns into
//	                      "/", "\", "." or ";" (U+FF0F and the like)
//	http:a  *  host:80    a target that is not a path
//
// Everything else has one reading: its segments, percent-decoded once. Where an
// upstream is known to keep encoded slashes, see Whole.
package requestpath

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Error says why a path is refused. It holds nothing of the request.
type Error string

// Error returns the reason.
func (e Error) Error() string { return string(e) }

// Reasons for refusing a path.
const (
	ErrForm      Error = "the request target is not a path"
	ErrSeparator Error = "the path has an encoded separator"
	ErrDot       Error = "the path has a dot segment or an encoded dot"
	ErrEmpty     Error = "the path has an empty segment"
	ErrBackslash Error = "the path has a backslash"
	ErrParameter Error = "the path has a semicolon"
	ErrControl   Error = "the path has a control character"
	ErrTwice     Error = "the path is encoded twice"
	ErrUTF8      Error = "the path is not UTF-8"
	ErrLookalike Error = "the path has a character that can turn into a separator"
)

// plain marks the bytes that are the same encoded or not, and mean nothing
// to anyone, apart from "/" and "." which the scan looks at itself.
var plain = func() (t [256]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_~!$&'()*+,=:@/." {
		t[c] = true
	}
	return t
}()

// Of returns the one reading of the path in u that a request with this
// method asks for, decoded once, or an Error. An empty path is "/", as
// RFC 9112 section 3.2.1 has it sent. A trailing slash is kept.
//
// The result always begins with a slash. The target of a CONNECT and the
// asterisk of OPTIONS are not paths and are refused: nothing can be allowed
// or denied about them.
func Of(method string, u *url.URL) (string, error) {
	p := u.Path
	if u.Opaque != "" {
		return "", ErrForm
	}
	if p == "" {
		if method == http.MethodConnect {
			return "", ErrForm
		}
		return "/", nil
	}
	if p[0] != '/' {
		return "", ErrForm
	}
	if u.RawPath == "" && isPlain(p) {
		return p, nil
	}
	if err := readings(p, u.EscapedPath()); err != nil {
		return "", err
	}
	return p, nil
}

// Whole returns the one reading of a path in which an encoded slash is data, as
// it is by RFC 3986 section 2.2: the segment of /projects/group%2Fproject stays
// whole, and %2F, in capitals, stands for the slash in it. It is for upstreams
// that are known to read it so. Everything else of a path has to have one
// reading as Of wants it, and no dot segment may hide beside an encoded slash.
func Whole(method string, u *url.URL) (string, error) {
	p, err := Of(method, u)
	escaped := u.EscapedPath()
	if err == nil || !HasSlash(escaped) || u.Opaque != "" {
		return p, err
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return "", ErrDot
		}
	}
	// With a letter in place of each of them, the rest must be as usual.
	parts := splitSlashes(escaped)
	plain := strings.Join(parts, "x")
	decoded, err := url.PathUnescape(plain)
	if err != nil {
		return "", ErrForm
	}
	if _, err := Of(method, &url.URL{Path: decoded, RawPath: plain}); err != nil {
		return "", err
	}
	for i, part := range parts {
		if parts[i], err = url.PathUnescape(part); err != nil {
			return "", ErrForm
		}
	}
	return strings.Join(parts, Slash), nil
}

// Shown returns a path as it is told to people: decoded once, but for encoded
// slashes, which would make another path of it. It may have any number of
// readings.
func Shown(u *url.URL) string {
	if u.RawPath == "" || !HasSlash(u.RawPath) {
		return u.Path
	}
	parts := splitSlashes(u.EscapedPath())
	for i, part := range parts {
		decoded, err := url.PathUnescape(part)
		if err != nil {
			return u.Path
		}
		parts[i] = decoded
	}
	return strings.Join(parts, Slash)
}

// Slash stands for an encoded slash in what Whole returns.
const Slash = "%2F"

// HasSlash reports whether a path has an encoded slash.
func HasSlash(path string) bool {
	for i := strings.IndexByte(path, '%'); i >= 0 && i+2 < len(path); {
		if path[i+1] == '2' && path[i+2]|0x20 == 'f' {
			return true
		}
		next := strings.IndexByte(path[i+1:], '%')
		if next < 0 {
			return false
		}
		i += 1 + next
	}
	return false
}

// splitSlashes splits an escaped path at its encoded slashes.
func splitSlashes(escaped string) (parts []string) {
	start := 0
	for i := 0; i+2 < len(escaped); i++ {
		if escaped[i] == '%' && escaped[i+1] == '2' && escaped[i+2]|0x20 == 'f' {
			parts = append(parts, escaped[start:i])
			start = i + 3
			i += 2
		}
	}
	return append(parts, escaped[start:])
}

// isPlain reports whether p, which begins with a slash, has no byte and no
// segment that needs a closer look. Most paths end here.
func isPlain(p string) bool {
	last := byte(0)
	for i := 0; i < len(p); i++ {
		c := p[i]
		if !plain[c] || last == '/' && (c == '/' || c == '.') {
			return false
		}
		last = c
	}
	return true
}

// readings looks at the decoded path and at the encoded one that is sent on.
func readings(p, escaped string) error {
	if !utf8.ValidString(p) {
		return ErrUTF8
	}
	for i, c := range p {
		switch {
		case c < 0x20 || c >= 0x7f && c < 0xa0:
			return ErrControl
		case c == '\\':
			return ErrBackslash
		case c == ';':
			return ErrParameter
		case c == '%' && decodable(p[i+1:]):
			return ErrTwice
		case c >= 0x80 && lookalike(c):
			return ErrLookalike
		}
	}
	if err := segments(p); err != nil {
		return err
	}
	return encodings(escaped)
}

// segments refuses empty segments, except the last, and dot segments.
func segments(p string) error {
	rest := p[1:]
	for {
		segment, after, more := strings.Cut(rest, "/")
		switch segment {
		case "":
			if more {
				return ErrEmpty
			}
		case ".", "..":
			return ErrDot
		}
		if !more {
			if segment == "" && strings.HasSuffix(p, "//") {
				return ErrEmpty
			}
			return nil
		}
		rest = after
	}
}

// encodings refuses the separators and dots that only the encoded form shows.
func encodings(escaped string) error {
	for {
		i := strings.IndexByte(escaped, '%')
		if i < 0 || i+2 >= len(escaped) {
			return nil
		}
		hi, lo := escaped[i+1], escaped[i+2]|0x20
		switch {
		case hi == '2' && lo == 'f', hi == '5' && lo == 'c':
			return ErrSeparator
		case hi == '2' && lo == 'e':
			return ErrDot
		}
		escaped = escaped[i+3:]
	}
}

// decodable reports whether a percent sign before s could be decoded again.
func decodable(s string) bool {
	if len(s) >= 2 && hex(s[0]) && hex(s[1]) {
		return true
	}
	return len(s) >= 5 && s[0]|0x20 == 'u' && hex(s[1]) && hex(s[2]) && hex(s[3]) && hex(s[4])
}

func hex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

// lookalike reports whether Unicode normalization or a best-fit code page
// turns c into a separator or a dot. U+FF1B, the semicolon of Chinese text,
// is not among them: it belongs in names.
func lookalike(c rune) bool {
	switch c {
	case 0xff0f, 0x2044, 0x2215, 0x29f8, // slashes
		0xff3c, 0xfe68, 0x2216, 0x29f5, 0x29f9, // backslashes
		0xff0e, 0xfe52, 0x2024, 0x2025, // dots
		0xff05, 0xfe6a, // percent signs
		0x037e: // Greek question mark: canonically a semicolon
		return true
	}
	return false
}

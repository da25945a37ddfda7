package mask

import (
	"bytes"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/keyform"
)

// Open returns where the end of text begins that is not decided yet: what Find
// says of all that begins before it stays the same whatever follows text, and
// what begins at it or after it may become something, or something else. It
// is len(text) if nothing is open.
func (d *Detector) Open(text []byte) int {
	open := len(text)
	if d.kinds&numbers != 0 {
		open = min(open, openNumber(text))
	}
	if d.kinds&kindEmail != 0 {
		open = min(open, openEmail(text))
	}
	if d.kinds&kindJWT != 0 {
		open = min(open, openJWT(text))
	}
	if d.kinds&kindAPIKey != 0 {
		open = min(open, openAPIKey(text), openPrivateKey(text))
	}
	return open
}

// openNumber handles digits, in groups or not, and the X of an identity
// number. What has more digits than a number can have is decided.
func openNumber(text []byte) int {
	end := len(text)
	if end > 0 && text[end-1]|0x20 == 'x' {
		end--
	}
	open, digits := len(text), 0
	i := end
scan:
	for i > 0 && digits <= len(digitBuf{}) {
		switch c := text[i-1]; {
		case isDigit(c):
			i--
			digits++
			open = i
		case (c == ' ' || c == '-') && i > 1 && isDigit(text[i-2]) && (i == end || isDigit(text[i])):
			i--
		default:
			break scan
		}
	}
	if open > 0 && open <= end && i > 0 && text[i-1] == '+' && (open == i || i == len(text)) {
		open = i - 1
	}
	return open
}

func isLocal(c byte) bool { return isAlnum(c) || strings.IndexByte(localMore, c) >= 0 }

// back returns where the last run of bytes begins that are in set, and end
// at end.
func back(text []byte, end int, in func(byte) bool) int {
	for end > 0 && in(text[end-1]) {
		end--
	}
	return end
}

func openEmail(text []byte) int {
	domain := back(text, len(text), func(c byte) bool { return isAlnum(c) || c == '-' || c == '.' })
	if domain > 0 && text[domain-1] == '@' {
		if local := back(text, domain-1, isLocal); local < domain-1 {
			return local
		}
	}
	return back(text, len(text), isLocal)
}

func isTokenByte(c byte) bool { return isBase64URL(c) || c == '.' }

func openJWT(text []byte) int {
	for i := back(text, len(text), isTokenByte); i < len(text); i++ {
		for _, begin := range [...]string{"eyJ", "ewo", "eyA"} {
			if n := min(len(begin), len(text)-i); string(text[i:i+n]) == begin[:n] {
				return i
			}
		}
	}
	return len(text)
}

// openAPIKey handles keys that are known by their prefix, and about ours,
// which begin with any.
func openAPIKey(text []byte) int {
	run := back(text, len(text), isTokenByte)
	open := len(text)
	for i := run; i < len(text) && open == len(text); i++ {
		if i > 0 && isBase64URL(text[i-1]) {
			continue
		}
		for _, f := range keyForms[text[i]] {
			if n := min(len(f.prefix), len(text)-i); string(text[i:i+n]) == f.prefix[:n] {
				open = i
			}
		}
	}
	own := max(back(text, len(text), func(c byte) bool { return isAlnum(c) || c == '_' }), len(text)-keyform.MinLen-keyform.MaxPrefix-1)
	return min(open, max(own, 0))
}

func openPrivateKey(text []byte) int {
	const begin = "-----BEGIN "
	if i := bytes.LastIndex(text, []byte(begin)); i >= 0 {
		label, rest, ok := bytes.Cut(text[i+len(begin):], []byte("-----"))
		if !ok || bytes.HasSuffix(label, []byte("PRIVATE KEY")) && !bytes.Contains(rest, []byte("-----END "+string(label)+"-----")) {
			return i
		}
	}
	for n := min(len(begin), len(text)); n > 0; n-- {
		if bytes.HasSuffix(text, []byte(begin[:n])) {
			return len(text) - n
		}
	}
	return len(text)
}

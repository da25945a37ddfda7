package dpop

import (
	"net/url"
	"strings"
)

// sameURL compares addresses without query and fragment, after the
// normalization of RFC 3986 sections 6.2.2 and 6.2.3 that RFC 9449 section 4.3
// asks for: case of scheme and host, the port that is the scheme's own, an
// empty path, and the spelling of escapes. Dot segments are not removed but
// refused, since nobody who means the same path writes them.
func sameURL(a, b string) bool {
	x, ok := normalize(a)
	if !ok {
		return false
	}
	y, ok := normalize(b)
	return ok && x == y
}

func normalize(s string) (string, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || u.User != nil || u.Host == "" {
		return "", false
	}
	scheme := strings.ToLower(u.Scheme)
	host := strings.ToLower(u.Host)
	switch scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	default:
		return "", false
	}
	// Escapes in a host are decoded once already; nobody needs them.
	if host = strings.TrimSuffix(host, ":"); host == "" || strings.Contains(host, "%") {
		return "", false
	}
	path, ok := normalizePath(u.EscapedPath())
	return scheme + "://" + host + path, ok
}

// normalizePath writes escapes in one way: those of unreserved characters as
// the characters, all others in upper case. The path is one that url.Parse has
// accepted.
func normalizePath(path string) (string, bool) {
	if path == "" {
		return "/", true
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			b.WriteByte(path[i])
			continue
		}
		c := unhex(path[i+1])<<4 | unhex(path[i+2])
		if unreserved(c) {
			b.WriteByte(c)
		} else {
			b.WriteString(strings.ToUpper(path[i : i+3]))
		}
		i += 2
	}
	for segment := range strings.SplitSeq(b.String(), "/") {
		if segment == "." || segment == ".." {
			return "", false
		}
	}
	return b.String(), true
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// unreserved is RFC 3986 section 2.3.
func unreserved(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '-' || c == '.' || c == '_' || c == '~'
}

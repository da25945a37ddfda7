package credential

import (
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// cookies returns the value of the cookie of that name and how many there are.
// The value is empty if there is one that net/http, or whoever else is strict,
// would pass over: somebody behind may be less strict and read that one.
func cookies(lines []string, want string) (raw string, n int) {
	readable := true
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			// Commas have separated cookies once (RFC 2965).
			for piece := range strings.SplitSeq(pair, ",") {
				if !isCookie(piece, want) {
					continue
				}
				name, value, _ := strings.Cut(piece, "=")
				n++
				raw = unquote(strings.TrimRight(value, " \t"))
				readable = readable && len(piece) == len(pair) && textproto.TrimString(name) == want && !strings.ContainsFunc(raw, notInValue)
			}
		}
	}
	if !readable {
		return "", n
	}
	return raw, n
}

// isCookie reports whether somebody might read a cookie of that name in
// piece, whatever stands round the name.
func isCookie(piece, name string) bool {
	n, _, _ := strings.Cut(piece, "=")
	return strings.Contains(n, name) && strings.TrimFunc(n, notInName) == name || isSpelling(n, name)
}

// isSpelling reports whether PHP would take a cookie for that of the name: it
// decodes names, reads "." and " " as "_" and what follows a bracket as an
// index.
func isSpelling(sent, name string) bool {
	if !strings.ContainsAny(sent, "%[+") && !strings.ContainsAny(name, "_.") {
		return false
	}
	if decoded, err := url.QueryUnescape(sent); err == nil {
		sent = decoded
	}
	sent = strings.TrimLeft(sent, " ")
	sent, index, found := strings.Cut(sent, "[")
	if found && !strings.Contains(index, "]") {
		sent += "_" + index
	}
	return underscores.Replace(sent) == underscores.Replace(name)
}

var underscores = strings.NewReplacer(".", "_", " ", "_")

func unquote(value string) string {
	if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
		return value[1 : len(value)-1]
	}
	return value
}

func notInName(c rune) bool { return !httpguts.IsTokenRune(c) }

// notInValue is for what RFC 6265 section 4.1.1 does not allow in a value.
func notInValue(c rune) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == ',' || c == '\\' }

// isCookieOf is isCookie of any piece that a comma separates.
func isCookieOf(pair, name string) bool {
	for piece := range strings.SplitSeq(pair, ",") {
		if isCookie(piece, name) {
			return true
		}
	}
	return false
}

// RemoveCookie takes the cookies of that name out of the header and leaves the
// others as they are.
func RemoveCookie(h http.Header, name string) { removeCookie(h, name) }

// RemoveCookies is RemoveCookie for several names, of which an asterisk at the
// end stands for any rest.
func RemoveCookies(h http.Header, names []string) {
	for _, name := range names {
		prefix, all := strings.CutSuffix(name, "*")
		if !all {
			removeCookie(h, name)
			continue
		}
		for _, found := range CookiesWith(h, prefix) {
			removeCookie(h, found)
		}
	}
}

// CookiesWith returns the names of cookies that begin with a prefix.
func CookiesWith(h http.Header, prefix string) []string {
	var names []string
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			name, _, _ := strings.Cut(textproto.TrimString(pair), "=")
			if strings.HasPrefix(name, prefix) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// removeCookie takes the cookies of that name out of the header and leaves
// the others as they are.
func removeCookie(h http.Header, name string) {
	lines := h["Cookie"]
	kept := make([]string, 0, len(lines))
	for _, line := range lines {
		var pairs []string
		for pair := range strings.SplitSeq(line, ";") {
			if !isCookieOf(pair, name) {
				pairs = append(pairs, pair)
			}
		}
		if rest := textproto.TrimString(strings.Join(pairs, ";")); rest != "" {
			kept = append(kept, rest)
		}
	}
	if len(kept) == 0 {
		delete(h, "Cookie")
		return
	}
	h["Cookie"] = kept
}

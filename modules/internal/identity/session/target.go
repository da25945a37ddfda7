package session

import (
	"net/url"
	"strings"
)

const maxTarget = 2048

// Target returns where a browser may be sent once it is logged in: a path of the
// same origin, with a query. Anything else is the root: what browsers could take
// for another host, or read in another way than it is written.
func Target(text string) string {
	if len(text) == 0 || len(text) > maxTarget || text[0] != '/' || strings.HasPrefix(text, "//") {
		return "/"
	}
	for i := range len(text) {
		// Browsers drop tabs and newlines, and read a backslash as a slash.
		if c := text[i]; c <= ' ' || c >= 0x7f || c == '\\' || c == '#' {
			return "/"
		}
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" {
		return "/"
	}
	return text
}

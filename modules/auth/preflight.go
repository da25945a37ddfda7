package auth

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/query"
)

// namesMethod reports whether r asks for another method than that of its
// request line, as X-HTTP-Method-Override and _method do. No browser adds
// that to a preflight.
func namesMethod(r *http.Request) bool {
	for name := range r.Header {
		if name != "Access-Control-Request-Method" && strings.Contains(strings.ToLower(name), "method") {
			return true
		}
	}
	for pair := range strings.FieldsFuncSeq(r.URL.RawQuery, func(c rune) bool { return c == '&' || c == ';' }) {
		sent, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(sent); err == nil {
			sent = plain
		}
		if query.CanMean(sent, "_method") {
			return true
		}
	}
	return false
}

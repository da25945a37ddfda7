package auth

import (
	"net/http"
	"net/url"
	"strings"
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
	query := r.URL.RawQuery
	if plain, err := url.QueryUnescape(query); err == nil {
		query = plain
	}
	return strings.Contains(strings.ToLower(query), "_method")
}

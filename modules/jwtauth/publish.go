package jwtauth

import (
	"net/http"
	"strconv"
)

// published is a public key set and the path at which it is served.
type published struct {
	path string
	set  func() []byte
}

// Publish serves the public key set of the internal issuer, where it is asked
// to.
func (p *Provider) Publish(w http.ResponseWriter, r *http.Request) bool {
	if p.publish == nil || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	for _, pub := range p.publish {
		if r.URL.Path != pub.path {
			continue
		}
		body := pub.set()
		h := w.Header()
		h.Set("Content-Type", "application/jwk-set+json") // RFC 7517 section 8.5.2
		h.Set("Content-Length", strconv.Itoa(len(body)))
		// Shorter than a new key is published before it signs.
		h.Set("Cache-Control", "public, max-age=900")
		h.Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(http.StatusOK)
		if r.Method == http.MethodGet {
			_, _ = w.Write(body)
		}
		return true
	}
	return false
}

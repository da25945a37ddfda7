package jwtauth

import (
	"net/http"
	"strconv"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
)

// published is a public key set and the path at which it is served.
type published struct {
	path string
	set  func() []byte
}

// endpoints are those of the public key sets of internal issuers, where they
// are to be served.
func (p *Provider) endpoints() []credential.Endpoint {
	all := make([]credential.Endpoint, 0, len(p.publish))
	for _, pub := range p.publish {
		all = append(all, credential.Endpoint{
			Path: pub.path, Methods: []string{http.MethodGet, http.MethodHead}, Rule: "publish", Serve: pub.serve,
		})
	}
	return all
}

func (pub *published) serve(w http.ResponseWriter, r *http.Request) error {
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
	return nil
}

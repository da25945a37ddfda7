package trustedheaderauth

import (
	"net/http"

	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// The placeholders in which reverse_proxy, which forward_auth is, keeps the
// response of its upstream. No client can set them.
const (
	statusPlaceholder = "http.reverse_proxy.status_code"
	headerPlaceholder = "http.reverse_proxy.header."
)

// believed returns the fields of which the service's response and the request, as
// it came to the handler, say the same. It is nil where there was no response, or
// one that denies.
func (p *Provider) believed(r *http.Request) map[string]string {
	repl := reqctx.Replacer(r)
	if repl == nil {
		return nil
	}
	status, _ := repl.Get(statusPlaceholder)
	if code, ok := status.(int); !ok || code < 200 || code > 299 {
		return nil
	}
	c := reqctx.Of(r)
	values := make(map[string]string)
	for _, f := range p.copied() {
		answered, _ := repl.Get(headerPlaceholder + f.From)
		text, _ := answered.(string)
		if text == "" {
			continue // and what the request has there is the client's
		}
		// Only what this very pass has removed: another forward_auth may have
		// responded since, and have copied nothing.
		if sent, latest := c.Removed(f.To); !latest || len(sent) != 1 || sent[0] != text {
			return nil // it was not copied
		}
		values[f.To] = text
	}
	return values
}

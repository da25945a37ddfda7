package apikeyauth

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
)

const apiKeyScheme = "ApiKey"

// Source is a location in a request where a key may stand. Exactly one of Header,
// Query, Basic and WebSocket is set.
type Source struct {
	// The name of a header.
	Header string `json:"header,omitempty"`

	// The authentication scheme before the key in that header. Default:
	// none, but for Authorization, where one is required.
	Scheme string `json:"scheme,omitempty"`

	// The name of a query parameter.
	Query string `json:"query,omitempty"`

	// Which part of Basic credentials (RFC 7617) is the key: `user`, as in
	// `curl -u <key>:`, or `password`. What does not begin with the prefix of
	// the store's keys is ignored as a name or password. Clients are
	// asked for it with a challenge of Basic, for which browsers open a dialog.
	Basic string `json:"basic,omitempty"`

	// The name of the subprotocol that the client of a WebSocket offers before
	// the key (RFC 6455 section 11.3.4), such as bearer. Keys are always removed
	// from the subprotocols; if the upstream selects none, this one is selected.
	WebSocket string `json:"websocket,omitempty"`
}

func (p *Provider) compileFrom() error {
	from := p.From
	if len(from) == 0 {
		from = []Source{{Header: "Authorization", Scheme: apiKeyScheme}, {Header: "Authorization", Scheme: credential.Bearer}}
	}
	seen := make(map[string]bool)
	var list []credential.Source
	for _, s := range from {
		c, err := s.compile()
		if err != nil {
			return fmt.Errorf("from: %w", err)
		}
		if seen[c.Key()] {
			return fmt.Errorf("from: %s is given twice", c.Key())
		}
		seen[c.Key()] = true
		if c.Scheme == credential.Bearer || c.Basic != "" {
			c.Ours = p.isKey
		}
		if p.scheme == "" {
			p.scheme = c.Scheme
		}
		list = append(list, c)
	}
	if p.scheme == "" {
		p.scheme = apiKeyScheme
	}
	p.from = credential.NewSources("API key", list)
	return nil
}

// isKey reports whether what stands behind Bearer, or in Basic, is one of our keys, which
// begin with the prefix of the store. The rest are tokens.
func (p *Provider) isKey(text string) bool {
	prefix := p.store.Prefix()
	return len(text) > len(prefix) && text[:len(prefix)] == prefix && text[len(prefix)] == '_'
}

func (s Source) compile() (credential.Source, error) {
	c := credential.Source{Header: s.Header, Scheme: s.Scheme, Query: s.Query, Basic: s.Basic, WebSocket: s.WebSocket}
	if strings.EqualFold(s.Header, "Authorization") && s.Scheme == "" {
		return c, errors.New("Authorization needs a scheme: from header Authorization ApiKey") //nolint:staticcheck // a name
	}
	return c, c.Check()
}

// read returns the one key of the request.
func (p *Provider) read(r *http.Request) (string, error) { return p.from.Read(r) }

// Places returns where keys stand.
func (p *Provider) Places(r *http.Request) []credential.Place { return p.from.Places(r) }

// Clean removes the key from the request if the provider is configured so.
func (p *Provider) Clean(r *http.Request) {
	p.from.RemoveOffered(r)
	if p.Strip {
		p.from.Remove(r)
	}
}

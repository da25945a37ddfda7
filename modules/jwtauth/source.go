package jwtauth

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
)

// Source is a location in a request where a token may stand. Exactly one of
// Header, Cookie, Query, Basic and WebSocket is set.
type Source struct {
	// The name of a header.
	Header string `json:"header,omitempty"`

	// The authentication scheme before the token in that header. Default:
	// Bearer for Authorization, none for other headers.
	Scheme string `json:"scheme,omitempty"`

	// The name of a cookie.
	Cookie string `json:"cookie,omitempty"`

	// The name of a query parameter.
	Query string `json:"query,omitempty"`

	// Which part of Basic credentials (RFC 7617) is the token: `user` or
	// `password`, as of git with https://oauth2:<token>@host. What does not look
	// like a signed token is then ignored as a password, unless opaque tokens
	// are accepted too. Clients are asked for it with a challenge of
	// Basic, for which browsers open a dialog.
	Basic string `json:"basic,omitempty"`

	// The name of the subprotocol that the client of a WebSocket offers before
	// the token (RFC 6455 section 11.3.4), such as bearer in
	// `new WebSocket(url, ["bearer", token])`, the only way besides a
	// query or a cookie in which a page in a browser can send one. The form of
	// Kubernetes (base64url.bearer.authorization.k8s.io.<token in base64url>) is read
	// beside it. Tokens are always removed from the subprotocols; if the
	// upstream selects none, this one is selected, if it was offered.
	WebSocket string `json:"websocket,omitempty"`
}

func (p *Provider) compileFrom() error {
	from := p.From
	if len(from) == 0 {
		from = []Source{{Header: "Authorization"}}
	}
	if p.bindDPoP {
		// RFC 9449 section 7.1 knows no other location.
		if len(from) != 1 || !strings.EqualFold(from[0].Header, "Authorization") || from[0].Scheme != "" {
			return errors.New("with bind dpop a token stands in the Authorization header alone: remove `from`")
		}
		from = []Source{{Header: "Authorization", Scheme: "DPoP"}}
	}
	seen := make(map[string]bool)
	var list []credential.Source
	for _, s := range from {
		c, err := s.compile()
		if err != nil {
			return fmt.Errorf("from: %w", err)
		}
		if seen[c.At()] {
			return fmt.Errorf("from: %s is given twice", c.At())
		}
		seen[c.At()] = true
		if c.Basic != "" && p.Introspection == nil {
			c.Ours = looksSigned
		}
		if p.scheme == "" {
			p.scheme = c.Scheme
		}
		list = append(list, c)
	}
	if p.scheme == "" {
		p.scheme = credential.Bearer
	}
	p.from = credential.NewSources("token", list)
	return nil
}

func (s Source) compile() (credential.Source, error) {
	c := credential.Source{Header: s.Header, Scheme: s.Scheme, Cookie: s.Cookie, Query: s.Query, Basic: s.Basic, WebSocket: s.WebSocket}
	if strings.EqualFold(s.Header, "Authorization") && s.Scheme == "" {
		c.Scheme = credential.Bearer
	}
	return c, c.Check()
}

// looksSigned reports whether a part of Basic credentials is meant to be a
// signed token: three parts, the first of which is an object in base64url (RFC
// 7515 section 7.1).
func looksSigned(text string) bool {
	return strings.HasPrefix(text, "ey") && strings.Count(text, ".") == 2
}

// read returns the one token of the request.
func (p *Provider) read(r *http.Request) (string, error) {
	raw, err := p.from.Read(r)
	if err == credential.ErrMissing && p.bindDPoP {
		// Where a token has to be bound, one under the scheme Bearer is a bad
		// credential and not a missing one (RFC 9449 section 7.2).
		if _, ours := credential.AfterScheme(r.Header.Get("Authorization"), credential.Bearer); ours {
			return "", errNotDPoP
		}
	}
	return raw, err
}

// Places returns where tokens stand.
func (p *Provider) Places(r *http.Request) []credential.Place { return p.from.Places(r) }

// Clean removes the token from the request if the provider is configured so.
func (p *Provider) Clean(r *http.Request) {
	p.from.RemoveOffered(r)
	if !p.strip {
		return
	}
	p.from.Remove(r)
	if p.bindDPoP {
		delete(r.Header, "Dpop")
	}
}

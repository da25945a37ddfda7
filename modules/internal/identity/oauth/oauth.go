// Package oauth issues tokens to clients that an administrator has registered:
// an authorization server of OAuth 2.0 (RFC 6749) as RFC 9700 wants it today.
//
// What a client may get is written in the file of clients and nowhere else: a
// request can narrow it and never widen it. Whatever a request says twice, or in
// two ways, is rejected. The name of the issuer comes from the configuration,
// never from a request.
package oauth

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/dpop"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/issuer"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/replay"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/revocation"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
)

// Grant types, as requests name them.
const (
	GrantClientCredentials = "client_credentials"
	GrantCode              = "authorization_code"
	GrantRefresh           = "refresh_token"
	GrantExchange          = "urn:ietf:params:oauth:grant-type:token-exchange"
)

// Grants are the grant types that a client can have.
var Grants = []string{GrantClientCredentials, GrantCode, GrantRefresh, GrantExchange}

// Leeway is how far the clocks of clients may be off.
const Leeway = 30 * time.Second

// Server answers the requests of clients. Its fields are set before it is
// used, and not changed.
type Server struct {
	// Issuer signs the tokens. Its name is the issuer identifier (RFC 8414
	// section 2), an https URL.
	Issuer *issuer.Issuer

	Clients *Clients

	// Proofs checks proofs of possession (RFC 9449).
	Proofs *dpop.Checker

	// Used remembers the assertions of clients.
	Used replay.Store

	// Revoked is where revoked tokens are noted.
	Revoked *revocation.Store

	// Users are those who can log in, nil for none. State is what is remembered of
	// logins, RefreshLifetime how long one lasts.
	Users           *Users
	State           *State
	RefreshLifetime time.Duration

	// Lifetime is how long an access token is valid, where the client's entry
	// does not say.
	Lifetime time.Duration

	Now func() time.Time

	verifier *token.Verifier
}

// Request is a request to one of the endpoints that clients authenticate at.
type Request struct {
	// Form is its content.
	Form *Form

	// Authorization are the values of that field, Proofs those of DPoP.
	Authorization, Proofs []string

	// URL is the address of the endpoint, as the metadata name it.
	URL string

	// Certificate is the certificate of the connection, or nil. Trusted says
	// that its chain was verified.
	Certificate *x509.Certificate
	Trusted     bool

	// Client is set once the client is known.
	Client *Client

	// Grant is the grant type that the request names, if there is such.
	Grant string
}

// Response is what a client gets that asks for a token (RFC 6749 section 5.1).
type Response struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"`
	Scope       string `json:"scope,omitempty"`

	RefreshToken string `json:"refresh_token,omitempty"`

	// IssuedType is there in exchanges (RFC 8693 section 2.2.1).
	IssuedType string `json:"issued_token_type,omitempty"`
}

// Prepare makes the server ready.
func (s *Server) Prepare() (err error) {
	if s.Now == nil {
		s.Now = time.Now
	}
	s.verifier, err = token.NewVerifier([]token.Issuer{{
		Name: s.Issuer.Name(), Keys: s.Issuer, AnyAudience: true, Types: []string{accessType},
	}}, token.Options{Revoked: s.revoked})
	return err
}

// Token issues a token.
func (s *Server) Token(ctx context.Context, r *Request) (*Response, error) {
	grant, err := r.Form.Required("grant_type")
	if err != nil {
		return nil, err
	}
	issue := s.grants(grant)
	if issue == nil {
		return nil, refuse(CodeUnsupportedGrantType, "grant_type is not one of this server")
	}
	r.Grant = grant
	if err := s.authenticate(ctx, r); err != nil {
		return nil, err
	}
	if !r.Client.Has(grant) {
		return nil, refuse(CodeUnauthorizedClient, "the client may not use this grant_type")
	}
	bound, err := s.binding(ctx, r)
	if err != nil {
		return nil, err
	}
	return issue(ctx, r, bound)
}

// grants returns what issues tokens for a grant type, or nil.
func (s *Server) grants(name string) func(context.Context, *Request, *Binding) (*Response, error) {
	switch name {
	case GrantClientCredentials:
		return s.clientCredentials
	case GrantExchange:
		return s.exchange
	case GrantCode:
		if s.Users != nil {
			return s.exchangeCode
		}
	case GrantRefresh:
		if s.Users != nil {
			return s.refresh
		}
	}
	return nil
}

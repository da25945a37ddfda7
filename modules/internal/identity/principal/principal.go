// Package principal is the verified caller of a request, as the modules of
// caddy-moat hand it to one another.
//
// An authenticator makes one Principal from one verified credential and
// nothing afterwards reads the credential again. What strings cannot carry
// (sets of roles, typed claims) travels here; what Caddy already carries
// travels in the placeholders {http.auth.user.*} too, so that the modules
// also work behind authenticators that know nothing of this package.
package principal

import (
	"slices"
)

// Kinds of credential, as they appear in audit records and in `except kind`.
const (
	KindJWT         = "jwt"
	KindOpaque      = "opaque" // an OAuth 2.0 token resolved by introspection, RFC 7662
	KindAPIKey      = "api_key"
	KindCertificate = "client_cert"    // of a TLS connection, or one that a proxy has seen (RFC 9440)
	KindSignature   = "signature"      // of an HTTP message, RFC 9421
	KindHeader      = "trusted_header" // of a request that forward_auth has let pass
	KindWebhook     = "webhook"        // signed as its sender does
	KindSession     = "session"        // of a browser whose user has logged in (OpenID Connect)
	KindBasic       = "basic"
	KindOther       = "other" // an authenticator that is not ours
)

// Principal is one verified identity. It is immutable: it may be shared by
// many requests at once, since verified tokens are cached.
type Principal struct {
	// ID is what {http.auth.user.id} says: the subject of a token, the
	// name of a user.
	ID string

	// Issuer is who vouches for the identity: the iss of a token. Empty
	// where there is none.
	Issuer string

	// Kind says which sort of credential was verified, one of the Kind
	// constants or the name of a later one.
	Kind string

	// KeyID names the key that verified the credential, never the key.
	KeyID string

	// TokenID identifies the credential itself (the jti of a token), so
	// that a record can be matched with a revocation.
	TokenID string

	// Roles and Scopes are what the credential grants, without duplicates.
	Roles  []string
	Scopes []string

	// Plan is what the caller has subscribed to, for rate limits that
	// differ by it. Empty where nothing says so.
	Plan string

	// Claims are the verified claims. Nil where the credential has none.
	Claims *Claims

	// App is the application that sends the request for the user, where both
	// had to show a credential. Nil otherwise.
	App *Principal
}

// Of returns the principal that an authenticator other than ours has named, made
// from what Caddy's placeholders say: http.auth.user.id, .roles and .scopes, whose
// lists are read as SplitNames does. It returns nil for an anonymous request. get
// is the look-up of the request's replacer, and may be nil.
func Of(get func(string) (any, bool)) *Principal {
	if get == nil {
		return nil
	}
	id, ok := text(get, "http.auth.user.id")
	if !ok || id == "" {
		return nil
	}
	p := &Principal{ID: id, Kind: KindOther}
	if roles, ok := text(get, "http.auth.user.roles"); ok {
		p.Roles = SplitNames(roles)
	}
	if scopes, ok := text(get, "http.auth.user.scopes"); ok {
		p.Scopes = SplitNames(scopes)
	}
	return p
}

func text(get func(string) (any, bool), key string) (string, bool) {
	v, ok := get(key)
	if !ok {
		return "", false
	}
	s, ok := v.(string)
	return s, ok
}

// HasRole reports whether p has the role. A nil Principal has none.
func (p *Principal) HasRole(role string) bool {
	return p != nil && slices.Contains(p.Roles, role)
}

// HasScope reports whether p has the scope. A nil Principal has none.
func (p *Principal) HasScope(scope string) bool {
	return p != nil && slices.Contains(p.Scopes, scope)
}

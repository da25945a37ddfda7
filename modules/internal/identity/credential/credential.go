// Package credential is the contract between the handler that holds an
// ordered list of authentication methods and the methods themselves. It
// carries what caddyauth.Authenticator cannot say: whether a credential is
// missing, bad, ambiguous, or impossible to check right now.
//
// There is one interface, Method. What a method is by its configuration stands
// in its Traits, and what it has found out about a request in a Grant or in an
// *Error: something new that a method can do is a field of these, and no
// interface of its own.
package credential

import (
	"net/http"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// Method is one way to authenticate requests.
type Method interface {
	// Traits describes the method as it is configured. It is asked before the
	// method is provisioned for what its syntax says, and afterwards for all.
	Traits() Traits

	// Places says where in the request credentials of this method stand,
	// without looking at what they are. Each location appears once for each
	// credential found in it.
	Places(r *http.Request) []Place

	// Identify verifies the credential. The error, if there is one, is
	// always an *Error.
	Identify(r *http.Request) (Grant, error)

	// Challenges returns the values of WWW-Authenticate for a rejection. why
	// is nil where another method refused, or where nothing was offered.
	Challenges(why *Error) []string

	// Clean removes the credential from the request, where the method is
	// configured to keep it from the upstream. It must not rely on the
	// credential having been verified.
	Clean(r *http.Request)
}

// Place is the location of a credential in a request.
type Place struct {
	// Kind is the sort of credential: two of one kind in different locations
	// are one too many.
	Kind string

	// At names the location, such as "header Authorization" or "cookie id".
	At string

	// Known is set where the method knows the credential for its own by its
	// looks, where other methods would take it for theirs: an API key behind
	// Bearer is not a token, whichever method is listed first.
	Known bool

	// Ambient is set where browsers send the credential by themselves,
	// whichever page makes them send a request: one in a cookie.
	Ambient bool
}

// Kind is why a credential was not accepted.
type Kind int

// The kinds of rejection.
const (
	// Missing: the request has no credential of this method; the next
	// method may have its turn.
	Missing Kind = iota

	// Malformed: more than one credential, or one that cannot be read
	// as such. HTTP 400.
	Malformed

	// Bad: a credential that was checked and is not accepted. HTTP 401.
	Bad

	// Insufficient: a valid credential that grants too little. HTTP 403.
	Insufficient

	// Conflict: a valid credential for something that has been done already.
	// HTTP 409.
	Conflict

	// TooLarge: content that is too large to be verified. HTTP 413.
	TooLarge

	// Unavailable: whoever could verify the credential cannot be
	// reached. HTTP 503.
	Unavailable
)

// The stable codes of rejections. The first three are of RFC 6750 section 3.1.
const (
	CodeInvalidRequest    = "invalid_request"
	CodeInvalidToken      = "invalid_token"
	CodeInsufficientScope = "insufficient_scope"

	// CodeInsufficientAuthentication: the user has to be authenticated in another
	// way, or more recently (RFC 9470 section 3).
	CodeInsufficientAuthentication = "insufficient_user_authentication"

	// CodeMissing: no credential was offered and one is required.
	CodeMissing = "missing_credentials"

	// CodeInvalidCredentials: a credential other than a token, such as a
	// password, is wrong.
	CodeInvalidCredentials = "invalid_credentials"

	// CodeUnavailable: the identity provider cannot be reached.
	CodeUnavailable = "identity_provider_unavailable"
)

// Error is why a method did not accept a request. Code and Detail are fit to
// be shown to the client; Cause is for the log.
type Error struct {
	Kind   Kind
	Code   string
	Detail string

	// Rule is what decided, as the administrator wrote it: the issuer.
	Rule string

	// Scope is what the credential would need, for insufficient_scope.
	Scope string

	// RetryAfter is when to try again, for Unavailable.
	RetryAfter time.Duration

	// Header is added to the response: a DPoP-Nonce, for one.
	Header http.Header

	// Caller is whose credential it was, where that is verified although the
	// credential is rejected: a key that may not be used from here. It is for
	// the record alone, and identifies nobody.
	Caller *principal.Principal

	Cause error

	// ExpiredCookie is the name of the cookie of a token that was good until it
	// expired: a browser that comes back after a while, and means no harm.
	ExpiredCookie string
}

// Error returns the code and the detail.
func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Code
	}
	return e.Code + ": " + e.Detail
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Status returns the HTTP status of the rejection.
func (e *Error) Status() int {
	switch e.Kind {
	case Malformed:
		return http.StatusBadRequest
	case Insufficient:
		return http.StatusForbidden
	case Conflict:
		return http.StatusConflict
	case TooLarge:
		return http.StatusRequestEntityTooLarge
	case Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusUnauthorized
}

// ErrMissing rejects a request without a credential.
var ErrMissing = &Error{Kind: Missing, Code: CodeMissing, Detail: "authentication is required"}

// Forward hands a claim to the upstream in a request header.
type Forward struct {
	// Claim is a JSON Pointer into the verified claims, or the name of a
	// top-level claim. A claim that is missing sets no header.
	Claim string `json:"claim"`

	// Header is the name of the request header.
	Header string `json:"header"`
}

// Package credential is the contract between the handler that holds an
// ordered list of authentication methods and the methods themselves. It
// carries what caddyauth.Authenticator cannot say: whether a credential is
// missing, bad, ambiguous, or impossible to check right now.
package credential

import (
	"net/http"
	"strings"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// Method is one way to authenticate a request.
type Method interface {
	// Places says where in the request credentials of this method stand,
	// without looking at what they are. Each place appears once for each
	// credential found in it.
	Places(r *http.Request) []Place

	// Identify verifies the credential. The error, if there is one, is
	// always an *Error.
	Identify(r *http.Request) (*principal.Principal, error)

	// Challenges returns the values of WWW-Authenticate for a refusal. why
	// is nil where another method refused, or where nothing was offered.
	Challenges(why *Error) []string

	// Clean removes the credential from the request, where the method is
	// configured to keep it from the upstream. It must not rely on the
	// credential having been verified.
	Clean(r *http.Request)
}

// Place is where in a request a credential stands.
type Place struct {
	// Kind is the sort of credential: two of one kind in different places
	// are one too many.
	Kind string

	// At names the place, such as "header Authorization" or "cookie id".
	At string
}

// Kind is why a credential was not accepted.
type Kind int

// The kinds of refusal.
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

// The stable codes of refusals. The first three are of RFC 6750 section 3.1.
const (
	CodeInvalidRequest    = "invalid_request"
	CodeInvalidToken      = "invalid_token"
	CodeInsufficientScope = "insufficient_scope"

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

	// Header is added to the answer: a DPoP-Nonce, for one.
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

// Status returns the HTTP status of the refusal.
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

// ErrMissing is the refusal of a request without a credential.
var ErrMissing = &Error{Kind: Missing, Code: CodeMissing, Detail: "authentication is required"}

// Forward hands a claim to the upstream in a request header.
type Forward struct {
	// Claim is a JSON Pointer into the verified claims, or the name of a
	// top-level claim. A claim that is missing sets no header.
	Claim string `json:"claim"`

	// Header is the name of the request header.
	Header string `json:"header"`
}

// Options are what a method's directive says that is not the method's to do,
// but the handler's that holds it.
type Options struct {
	Optional  bool
	Preflight bool

	// Origins are those of other sites whose pages may send requests with a
	// credential in a cookie.
	Origins []string

	// KeepStreams lets streams go on when their right has ended.
	KeepStreams bool

	Forward []Forward

	// Strip are names of headers that mean something to the method, and that
	// no client may hand to the upstream.
	Strip []string
}

// WithOptions is a method whose syntax has options for the handler.
type WithOptions interface {
	HandlerOptions() Options
}

// InCookie is a method whose credential may stand in a cookie.
type InCookie interface {
	// CookieOf returns the name of the cookie that has the credential of the
	// request, if one has.
	CookieOf(r *http.Request) string
}

// InHeader is a method whose credential may stand in header fields that its
// configuration names.
type InHeader interface {
	// ReadsHeader reports whether it may stand in the field of that name, or
	// in one that a server could take for it.
	ReadsHeader(name string) bool
}

// Right is how long a verified credential is good.
type Right interface {
	// Until is when it expires, with the leeway of clocks. Zero where it does
	// not expire by itself.
	Until() time.Time

	// Over reports whether it has expired or was revoked. It is asked from
	// other goroutines than that of the request.
	Over(now time.Time) bool
}

// RightVar is the key of the request's variable table under which a method that
// identifies somebody may leave the Right.
const RightVar = "moat.right"

// Recognizer is a method that knows some credentials for its own by their
// looks, where other methods would take them for theirs: an API key behind
// Bearer is no token, whichever method is listed first.
type Recognizer interface {
	// Recognizes returns the place, as in Place.At, of a credential that is
	// this method's and nobody else's.
	Recognizes(r *http.Request) (at string, ok bool)
}

// Voucher is a method that can say beforehand who vouches for the callers that
// it identifies.
type Voucher interface {
	Vouches() []principal.Source
}

// Doubt is something in the configuration of a method that works and is
// probably not meant.
type Doubt struct {
	ID   string // what kind it is, which stays the same
	Text string // what is wrong, and what to write instead
}

// Doubter is a method that can say what is doubtful in its configuration.
type Doubter interface {
	Doubts() []Doubt
}

// ClaimDoubt returns what is doubtful about a text that was written where an
// option takes a claim pointer.
func ClaimDoubt(option, text string) (Doubt, bool) {
	meant := principal.Meant(text)
	mark := "a dot"
	if strings.Contains(text, "/") {
		mark = "a slash"
	}
	return Doubt{
		ID: "claim_name_separated",
		Text: option + " " + text + ": without a leading slash this is one claim with " + mark + " in its name; did you mean " + meant +
			"? A claim that is really named so is written " + principal.Pointer{text}.String(),
	}, meant != ""
}

// Taker is a method whose credential stands in header fields that all clients
// are forbidden to send, and that some peers are believed in. It takes what it
// believes out of the request before those fields (Options.Strip) are removed.
type Taker interface {
	Take(r *http.Request)
}

// Connected is a method that knows the caller by the certificate of the
// connection, and so depends on how connections are made.
type Connected interface {
	// KnowsConnection reports whether the method looks at the certificate
	// of the connection, and whether it looks at nothing else.
	KnowsConnection() (looks, only bool)
}

// Advertiser is a method that says in a field of its own what credentials it
// asks for, beside its challenge.
type Advertiser interface {
	// Advertise adds to the header of a 401.
	Advertise(h http.Header)
}

// Answerer is a method that has something to do with the answers to requests
// that it has authenticated.
type Answerer interface {
	// Answer returns the writer that the request goes on with and what is to
	// be called, with the error of the handlers behind, when it is over. That
	// is nil where there is nothing to do.
	Answer(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, func(error) error)
}

// Late is a method that may learn only while the request is served that its
// credential was not good: content that is compared as it is read.
type Late interface {
	// Guard returns the writer that the request goes on with.
	Guard(w http.ResponseWriter, r *http.Request) http.ResponseWriter

	// Failed says why a request that was let pass has failed after all, nil
	// if it has not or if it has been answered. err is that of the handlers
	// behind.
	Failed(r *http.Request, err error) *Error
}

// Publisher is a method that has something to tell everybody, such as the
// public keys of its issuer.
type Publisher interface {
	// Publish answers the request if it is for what the method publishes,
	// and reports whether it was.
	Publish(w http.ResponseWriter, r *http.Request) bool
}

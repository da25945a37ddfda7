package token

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrInvalid is what errors.Is finds in every rejection of a token, whatever the
// reason. The rejections are all of type *Error.
var ErrInvalid = errors.New("invalid token")

// ErrUnavailable says that a token could not be judged, because the keys of
// its issuer cannot be had. It is not a statement about the token.
var ErrUnavailable = errors.New("keys of the issuer are unavailable")

// Reason says in one word why a token was refused, for metrics and records.
type Reason string

// The reasons.
const (
	ReasonMalformed  Reason = "malformed"   // not a JWT, or a claim of the wrong type
	ReasonHeader     Reason = "header"      // crit, jwk, b64, enc, or a nested token
	ReasonType       Reason = "type"        // typ is not the one asked for
	ReasonAlgorithm  Reason = "algorithm"   // none, not supported, not allowed, or not the key's
	ReasonIssuer     Reason = "issuer"      // iss is missing or not a configured one
	ReasonUnknownKey Reason = "unknown_key" // the issuer has no such key
	ReasonSignature  Reason = "signature"
	ReasonExpired    Reason = "expired" // exp has passed, or the token is older than max_age
	ReasonEarly      Reason = "early"   // nbf or iat lies in the future
	ReasonAudience   Reason = "audience"
	ReasonClaims     Reason = "claims" // a claim that is required is missing or has another value
	ReasonRevoked    Reason = "revoked"
)

// Error is the reason why a token is rejected. Its text is fit for the client: it never
// holds anything from the token or from the policy.
type Error struct {
	// Reason is the category.
	Reason Reason

	// Detail says more, for record and log alone: which claim of the
	// configuration was not met, what came and what was expected. What came
	// from the token is cut and quoted, and perhaps nobody has vouched for it.
	Detail string

	text string
}

// Error returns what may be told to the client.
func (e *Error) Error() string { return e.text }

// because returns the rejection with more detail.
func (e *Error) because(format string, args ...any) *Error {
	why := *e
	why.Detail = fmt.Sprintf(format, args...)
	return &why
}

// maxShown is how many bytes of a text of a token are shown.
const maxShown = 100

// shown quotes a text that came with a token, and cuts it.
func shown(text []byte) string {
	if len(text) <= maxShown {
		return strconv.QuoteToASCII(string(text))
	}
	return strconv.QuoteToASCII(strings.ToValidUTF8(string(text[:maxShown]), "")) + "…"
}

// orMissing is shown of a claim that may not be there.
func orMissing(value []byte) string {
	if value == nil {
		return "missing"
	}
	return shown(value)
}

// listed names what was expected.
func listed(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// Is makes every rejection an ErrInvalid.
func (e *Error) Is(target error) bool { return target == ErrInvalid }

// Rejections that need no detail are made once.
var (
	errMalformed     = &Error{Reason: ReasonMalformed, text: "malformed token"}
	errHeader        = &Error{Reason: ReasonHeader, text: "token header is not accepted"}
	errType          = &Error{Reason: ReasonType, text: "token is of another type"}
	errAlgorithm     = &Error{Reason: ReasonAlgorithm, text: "token algorithm is not accepted"}
	errIssuer        = &Error{Reason: ReasonIssuer, text: "token issuer is not accepted"}
	errUnknownKey    = &Error{Reason: ReasonUnknownKey, text: "token key is not known"}
	errManyKeys      = &Error{Reason: ReasonUnknownKey, text: "token key is not known", Detail: "too many of the issuer's keys fit the token"}
	errSignature     = &Error{Reason: ReasonSignature, text: "token signature is wrong"}
	errExpired       = &Error{Reason: ReasonExpired, text: "token has expired"}
	errTooOld        = &Error{Reason: ReasonExpired, text: "token is too old", Detail: "max_age"}
	errEarly         = &Error{Reason: ReasonEarly, text: "token is not valid yet"}
	errAudience      = &Error{Reason: ReasonAudience, text: "token is for another audience"}
	errEmptyAudience = &Error{Reason: ReasonAudience, text: "token is for another audience", Detail: "the token has an empty list of audiences, and none is configured: have the client ask for an audience, or write audience *"}
	errNoAudience    = &Error{Reason: ReasonAudience, text: "token is for another audience", Detail: "the token names an audience and none is configured"}
	errNoExpiry      = &Error{Reason: ReasonClaims, text: "token has no expiry"}
	errNoIssued      = &Error{Reason: ReasonClaims, text: "token does not say when it was issued", Detail: "max_age needs iat"}
	errRevoked       = &Error{Reason: ReasonRevoked, text: "token has been revoked"}
)

func errClaim(detail string) *Error {
	return &Error{Reason: ReasonClaims, text: "token claims are not accepted", Detail: detail}
}

package oauth

import (
	"net/http"
	"time"
)

// Codes of errors: RFC 6749 section 5.2, RFC 8707 section 2, RFC 9449 section 5,
// RFC 6749 section 4.1.2.1 for the last two.
const (
	CodeInvalidRequest       = "invalid_request"
	CodeInvalidClient        = "invalid_client"
	CodeInvalidGrant         = "invalid_grant"
	CodeUnauthorizedClient   = "unauthorized_client"
	CodeUnsupportedGrantType = "unsupported_grant_type"
	CodeInvalidScope         = "invalid_scope"
	CodeInvalidTarget        = "invalid_target"
	CodeInvalidProof         = "invalid_dpop_proof"
	CodeUnavailable          = "temporarily_unavailable"
)

// Error is why a request is rejected. Code and Description are for the client;
// Description never repeats anything from the request.
type Error struct {
	Status      int
	Code        string
	Description string

	// RetryAfter, where above zero, is when to try again.
	RetryAfter time.Duration

	// Cause is for the log and the record alone.
	Cause error
}

// Error returns what the client is told.
func (e *Error) Error() string { return e.Code + ": " + e.Description }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// because returns the error with a cause.
func (e *Error) because(err error) *Error {
	with := *e
	with.Cause = err
	return &with
}

func refuse(code, description string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: code, Description: description}
}

// unavailable says that something could not be looked up or noted, so that
// nothing was granted.
func unavailable(err error) *Error {
	return &Error{
		Status: http.StatusServiceUnavailable, Code: CodeUnavailable, Description: "try again later",
		RetryAfter: 5 * time.Second, Cause: err,
	}
}

// errClient rejects a client that could not be authenticated. It is the same
// for a client that does not exist.
var errClient = &Error{Status: http.StatusUnauthorized, Code: CodeInvalidClient, Description: "the client is not authenticated"}

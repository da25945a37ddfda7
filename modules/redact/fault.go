package redact

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
)

// fault is why a body cannot be redacted. The zero fault means no fault.
type fault struct {
	// reason is one word for the metrics: syntax, charset, encoding,
	// media_type, partial, truncated, event, internal.
	reason string

	// detail is for the log.
	detail string

	// passable faults are about what a body is, not what is wrong with it:
	// `unreadable pass` lets them through.
	passable bool

	// hint is what the administrator can write, if it is not what is said of
	// every passable fault.
	hint string

	cause error
}

// advice is what the administrator can do about bodies with this fault.
func (f *fault) advice() string {
	switch {
	case f.hint != "":
		return f.hint
	case f.passable:
		return "if such bodies cannot carry what is to be hidden, name their media type: pass <media type>"
	case f.reason == "syntax":
		return "the body is not JSON from this offset on; `caddy moat redact --config <file> < body` says the same of a copy of it"
	case f.reason == "truncated":
		return "the service ended its body too early; its own log may say why"
	}
	return ""
}

func (f *fault) Error() string {
	s := f.reason
	if f.detail != "" {
		s += ": " + f.detail
	}
	if f.cause != nil {
		s += ": " + f.cause.Error()
	}
	return s
}

func (f *fault) Unwrap() error { return f.cause }

func (f *fault) is() bool { return f.reason != "" }

// passes reports whether what has this fault is let through.
func (h *Handler) passes(f *fault) bool { return f.passable && h.Unreadable == "pass" }

// errRefused is what the handlers inside get when they go on writing a
// response that has been rejected, or one to a client that cannot be served.
var errRefused = errors.New("the response is rejected by redact")

// unreadableResponse tells the client no more than that.
func unreadableResponse(f *fault) *problem.Problem {
	return &problem.Problem{
		Status: http.StatusBadGateway,
		Code:   "unreadable_response",
		Detail: "The response of the service cannot be shown.",
		Cause:  f,
	}
}

func upgradeRefused() *problem.Problem {
	return &problem.Problem{
		Status: http.StatusBadGateway,
		Code:   "upgrade_refused",
		Detail: "The connection cannot be switched to another protocol.",
	}
}

func invalidRequestBody(f *fault) *problem.Problem {
	return &problem.Problem{
		Status: http.StatusBadRequest,
		Code:   "invalid_request_body",
		Detail: "The request body is not valid JSON.",
		Cause:  f,
	}
}

func unsupportedRequestBody(f *fault) *problem.Problem {
	return &problem.Problem{
		Status: http.StatusUnsupportedMediaType,
		Code:   "unsupported_request_body",
		Detail: "The media type, charset or coding of the request body is not accepted here.",
		Cause:  f,
	}
}

func largeRequestBody(limit int) *problem.Problem {
	return &problem.Problem{
		Status: http.StatusRequestEntityTooLarge,
		Code:   "request_body_too_large",
		Detail: "The request body is too large.",
		Cause: &fault{
			reason: "too_large", detail: "the upstream must be told the length, and the body is larger than " + strconv.Itoa(limit) + " bytes",
			hint: "raise max_body in requests",
		},
	}
}

func internalFault(err error) *problem.Problem {
	return &problem.Problem{
		Status: http.StatusInternalServerError,
		Code:   "redaction_failed",
		Detail: "The rules for this caller cannot be applied.",
		Cause:  err,
	}
}

// Package problem describes why a request is rejected: a status, a stable code
// that programs can compare, and a sentence that anyone may see.
package problem

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// ContentType is the media type of a problem document, RFC 9457 section 3.
const ContentType = "application/problem+json"

// Problem is the rejection of a request. It is an error whose text is fit to be shown to
// the client: Caddy publishes it in placeholders. What only the administrator
// should see goes to the log, not in here.
type Problem struct {
	Status int    // HTTP status
	Code   string // stable, lower case with underscores: invalid_token
	Detail string // one sentence, without anything from the request

	// Faults are what is wrong with the request, one by one.
	Faults []Fault

	// Challenges are the values of WWW-Authenticate, one field line each.
	Challenges []string

	// RetryAfter, where above zero, is sent in whole seconds, rounded up.
	RetryAfter time.Duration

	// Cause is for the log alone. It is neither shown nor part of Error.
	Cause error
}

// Fault is one thing that is wrong with a request. It holds no value of the request.
type Fault struct {
	In       string `json:"in"`                // body, query, path, header or cookie
	Name     string `json:"name,omitempty"`    // of the parameter
	Pointer  string `json:"pointer,omitempty"` // RFC 6901, to a value inside of the body or parameter
	Keyword  string `json:"keyword"`           // of JSON Schema, or a word of ours
	Expected string `json:"expected"`          // what would be right
}

// Error returns the code and the detail.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Code
	}
	return p.Code + ": " + p.Detail
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Cause }

// SetHeader sets the header fields that go with the rejection, whoever writes
// the body.
func (p *Problem) SetHeader(h http.Header) {
	for _, c := range p.Challenges {
		h.Add("WWW-Authenticate", c)
	}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((p.RetryAfter+time.Second-1)/time.Second), 10))
	}
	// A rejection must not be served from a cache to somebody else, nor to
	// the same caller once it has a credential (RFC 9111 section 3.5).
	h.Set("Cache-Control", "no-store")
}

// Document returns the problem document, RFC 9457 section 3, with the
// extension member "code".
func (p *Problem) Document() []byte {
	doc, err := json.Marshal(struct {
		Type   string  `json:"type"`
		Title  string  `json:"title"`
		Status int     `json:"status"`
		Code   string  `json:"code"`
		Detail string  `json:"detail,omitempty"`
		Errors []Fault `json:"errors,omitempty"`
	}{"about:blank", http.StatusText(p.Status), p.Status, p.Code, p.Detail, p.Faults})
	if err != nil {
		return nil // strings and an int: cannot happen
	}
	return append(doc, '\n')
}

package reqctx

import (
	"net/http"

	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
)

// CodeTooEarly is the code of a request in early data that must not be acted on.
const CodeTooEarly = "too_early"

// EarlyData reports whether a request has come in TLS early data (0-RTT), here
// or, as it says in Early-Data, at a gateway before (RFC 8470 section 5.1). Who
// has recorded it can send it once more, from any address: neither is known
// before the handshake is complete.
func EarlyData(r *http.Request) bool {
	// Whatever the field says, it counts as 1.
	return r.TLS != nil && !r.TLS.HandshakeComplete || len(r.Header["Early-Data"]) > 0
}

// Safe reports whether a method is safe (RFC 9110 section 9.2.1).
func Safe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// TooEarly rejects a request in early data (RFC 8470 section 5.2): the
// client sends it again once the handshake is complete.
func TooEarly() *problem.Problem {
	return &problem.Problem{
		Status: http.StatusTooEarly, Code: CodeTooEarly,
		Detail: "this request must be sent after the TLS handshake",
	}
}

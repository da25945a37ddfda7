package audit

import (
	"errors"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
)

// foreign tells what a layer decided that knows nothing of decision.Log, by
// what it leaves behind: the error it returned, the placeholders it set. It is
// nil where that says nothing.
func foreign(r *http.Request, repl *caddy.Replacer, err error) *decision.Decision {
	var herr caddyhttp.HandlerError
	if err == nil || !errors.As(err, &herr) {
		return nil
	}
	switch herr.StatusCode {
	case http.StatusTooManyRequests:
		zone, ok := placeholder(repl, "http.rate_limit.exceeded.name")
		if !ok {
			return nil
		}
		return &decision.Decision{Layer: "rate_limit", Result: decision.Deny, Rule: zone, Code: "rate_limited"}
	case http.StatusUnauthorized:
		// Caddy's authentication handler says exactly this and wraps no
		// error that could be told by its type.
		if herr.Err == nil || herr.Err.Error() != "not authenticated" {
			return nil
		}
		return &decision.Decision{Layer: "authentication", Result: decision.Deny, Code: "unauthenticated"}
	}
	return nil
}

func placeholder(repl *caddy.Replacer, key string) (string, bool) {
	if repl == nil {
		return "", false
	}
	v, ok := repl.Get(key)
	if !ok {
		return "", false
	}
	s, ok := v.(string)
	return s, ok && s != ""
}

// traceID returns the trace-id of a traceparent header that is valid in every
// byte (W3C Trace Context section 3.2), and nothing otherwise: the field is the
// client's to choose.
func traceID(h http.Header) string {
	values := h["Traceparent"]
	if len(values) != 1 {
		return ""
	}
	v := values[0]
	// version "-" trace-id "-" parent-id "-" trace-flags; later versions
	// may append more after another dash.
	if len(v) < 55 || v[2] != '-' || v[35] != '-' || v[52] != '-' || len(v) > 55 && (v[55] != '-' || v[:2] == "00") {
		return ""
	}
	if !lowerHex(v[:2]) || !lowerHex(v[3:35]) || !lowerHex(v[36:52]) || !lowerHex(v[53:55]) || v[:2] == "ff" {
		return ""
	}
	id := v[3:35]
	if strings.Trim(id, "0") == "" || strings.Trim(v[36:52], "0") == "" {
		return ""
	}
	return id
}

func lowerHex(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

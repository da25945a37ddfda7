package reqctx

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// EndToEnd takes out of a request's header what is for this server alone and
// not for whoever gets the request next, so that what is decided on is what
// is served, and what is set afterwards stays.
//
//   - Fields that Connection names are removed at once, and no longer named
//     (RFC 9110 section 7.6.1). A proxy behind would remove them later, among
//     them fields of the same name that carry the identity found here.
//   - An Upgrade to what carries requests itself (h2c, HTTP, TLS) is ignored,
//     as a server may (RFC 9110 section 7.8): nobody would decide on the
//     requests in there. Other protocols, such as websocket, are left alone.
func EndToEnd(r *http.Request) {
	if names, ok := r.Header["Connection"]; ok && !plainConnection(names) {
		dropNamed(r.Header, names)
	}
	if offers, ok := r.Header["Upgrade"]; ok && slices.ContainsFunc(offers, carriesRequests) {
		delete(r.Header, "Upgrade")
		delete(r.Header, "Http2-Settings")
	}
}

// plainConnection reports whether Connection has but one of the values that
// almost all requests have.
func plainConnection(values []string) bool {
	return len(values) == 1 && connectionOption(values[0])
}

// connectionOption reports whether a member of Connection concerns the
// connection itself and names no field, or names Upgrade, which the proxy
// behind looks for.
func connectionOption(name string) bool {
	return strings.EqualFold(name, "keep-alive") || strings.EqualFold(name, "close") || strings.EqualFold(name, "upgrade")
}

// dropNamed removes the fields that Connection names and leaves the rest of it.
func dropNamed(h http.Header, values []string) {
	var kept []string
	for _, value := range values {
		for name := range strings.SplitSeq(value, ",") {
			name = textproto.TrimString(name)
			switch {
			case name == "":
			case connectionOption(name):
				kept = append(kept, name)
			default:
				h.Del(name)
			}
		}
	}
	if kept == nil {
		delete(h, "Connection")
		return
	}
	h["Connection"] = []string{strings.Join(kept, ", ")}
}

// carriesRequests reports whether an Upgrade offers a protocol in which
// requests are made.
func carriesRequests(value string) bool {
	for offer := range strings.SplitSeq(value, ",") {
		name := textproto.TrimString(offer)
		if end := strings.IndexAny(name, "/; \t"); end >= 0 {
			name = name[:end]
		}
		switch strings.ToLower(name) {
		case "h2c", "h2", "h3", "http", "https", "tls", "spdy":
			return true
		}
	}
	return false
}

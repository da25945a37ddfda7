package redact

import (
	"net/http"
	"slices"
	"strings"
	"sync"
)

// field is one field of a header, all its lines.
type field struct {
	name   string
	values []string
}

// snapshot is a header as it stood at some moment, to return to.
type snapshot struct {
	list  []field
	space [12]field
}

func (s *snapshot) save(h http.Header) {
	s.list = s.space[:0]
	for name, values := range h {
		s.list = append(s.list, field{name, values})
	}
}

// restore makes h what it was. Lines that were added to a field since are cut
// off: appending leaves the saved slice as long as it was.
func (s *snapshot) restore(h http.Header) {
	clear(h)
	for _, f := range s.list {
		h[f.name] = f.values
	}
}

// restore makes the header what it was before the handlers inside touched it,
// but for what a client needs to read the rejection and to report it: the fields of
// the Fetch standard, which decide whether a script sees a response at all, rate
// limits, IDs of the request, its trace, and the fields named.
func (rw *responseWriter) restore(also ...string) {
	h := rw.w.Header()
	var kept []field
	for name, values := range h {
		if keptInRejections(name) || slices.Contains(also, name) {
			kept = append(kept, field{name, values})
		}
	}
	rw.outer.restore(h)
	for _, f := range kept {
		h[f.name] = f.values
	}
}

// keptInRejections reports whether a field goes with a rejection that replaces
// the response it came with. It reveals nothing about the body.
func keptInRejections(name string) bool {
	switch name {
	case "Vary", "Timing-Allow-Origin", "Cross-Origin-Resource-Policy",
		"X-Request-Id", "Request-Id", "X-Correlation-Id", "Correlation-Id", "X-Trace-Id", "X-Amzn-Requestid", "X-Amzn-Request-Id", "X-Ms-Request-Id",
		"Traceparent", "Tracestate", "Traceresponse", "B3", "X-Cloud-Trace-Context", "X-Amzn-Trace-Id", "Uber-Trace-Id":
		return true
	}
	for _, prefix := range [...]string{"Access-Control-", "Ratelimit", "X-Ratelimit-", "X-Rate-Limit-", "X-B3-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// asked is the fields of a request that ask for a part, a coding or a
// validation of the response: what was taken out, to be put back for the layers
// outside.
type asked struct {
	list  []field
	space [4]field
	done  bool
}

// narrow makes r ask for the whole response, unencoded and unconditionally: a
// part of a document cannot be understood, and whether an entity tag matches
// would tell something about the original bytes, unless it is one of ours.
func (a *asked) narrow(r *http.Request, tags *tagCipher, identity *[1]string) {
	a.list, a.done = a.space[:0], true
	a.take(r.Header, "Accept-Encoding")
	a.take(r.Header, "Connect-Accept-Encoding") // of messages within a stream
	a.take(r.Header, "Range")
	a.take(r.Header, "If-Range")
	a.take(r.Header, "A-Im") // deltas, RFC 3229
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if reads {
		a.take(r.Header, "If-Modified-Since")
		a.take(r.Header, "If-Unmodified-Since")
	}
	a.condition(r, "If-None-Match", reads, tags)
	a.condition(r, "If-Match", reads, tags)
	// An absent field would let Go's transport ask for gzip by itself.
	// (A slice of its own: the replacements of request_header write into it.)
	identity[0] = "identity"
	r.Header["Accept-Encoding"] = identity[:]
}

// condition replaces the entity tags of a condition by those that the upstream
// knows. Without tags a condition on a read is dropped, and one on a write is
// left as it is: no tag was given out that it could be about.
func (a *asked) condition(r *http.Request, name string, reads bool, tags *tagCipher) {
	values := r.Header[name]
	if values == nil {
		return
	}
	star := len(values) == 1 && strings.TrimSpace(values[0]) == "*"
	if !reads && (star || tags == nil) {
		return
	}
	a.take(r.Header, name)
	if star || tags == nil {
		return
	}
	if known := tags.openAll(values); known != nil {
		r.Header[name] = known
	} else if name == "If-Match" {
		r.Header[name] = []string{noTag} // a condition that fails, not one that is gone
	}
}

func (a *asked) take(h http.Header, name string) {
	if values, ok := h[name]; ok {
		a.list = append(a.list, field{name, values})
		delete(h, name)
	}
}

// restore undoes narrow.
func (a *asked) restore(r *http.Request) {
	if !a.done {
		return
	}
	delete(r.Header, "Accept-Encoding")
	for _, f := range a.list {
		r.Header[f.name] = f.values
	}
}

// headers are the two that have to be put back.
type headers struct {
	asked asked
	outer snapshot // of the response, before the handlers inside touched it
}

var headerPool = sync.Pool{New: func() any { return new(headers) }}

// release gives h back without what it points at.
func (h *headers) release() {
	clear(h.asked.space[:min(len(h.asked.list), len(h.asked.space))])
	clear(h.outer.space[:min(len(h.outer.list), len(h.outer.space))])
	h.asked.list, h.asked.done, h.outer.list = nil, false, nil
	headerPool.Put(h)
}

// speaksOfOriginal reports whether a response field speaks of the original
// bytes. Such fields are wrong about others, and a hash of the original would
// let the redacted values be found by trying. A trailer by Go's convention is
// one of them.
func speaksOfOriginal(name string) bool {
	switch name {
	case "Content-Length", "Etag", "Last-Modified", "Accept-Ranges", "Content-Range", "Digest", "Content-Digest",
		"Repr-Digest", "Content-Md5", "Trailer":
		return true
	}
	return strings.HasPrefix(name, http.TrailerPrefix)
}

// removeDescribing takes out the fields that speak of the original bytes, in
// one pass, since looking for each of them would cost more.
func removeDescribing(h http.Header) {
	for name := range h {
		if speaksOfOriginal(name) {
			delete(h, name)
		}
	}
}

// digests are the request fields that speak of the original body.
var digests = [...]string{"Digest", "Content-Digest", "Repr-Digest", "Content-Md5"}

// dependOnCaller marks a response that another caller would get differently.
// The lines of its own are the two of space.
func dependOnCaller(h http.Header, cookie bool, space *[2]string) {
	if h["Vary"] == nil {
		space[0] = "Authorization"
		h["Vary"] = space[:1:1]
	} else {
		addVary(h, "Authorization")
	}
	if cookie {
		addVary(h, "Cookie")
	}
	for name := range h {
		switch name {
		// Caches that follow these do not look at Cache-Control (RFC 9213 section 2.2).
		case "Cdn-Cache-Control", "Surrogate-Control", "Cloudflare-Cdn-Cache-Control":
			delete(h, name)
		}
	}
	if control := h["Cache-Control"]; len(control) > 0 {
		h["Cache-Control"] = private(control)
	} else {
		space[1] = "private"
		h["Cache-Control"] = space[1:]
	}
}

// private returns Cache-Control with what allows shared caches to store an
// response removed and private added (RFC 9111 section 5.2.2).
func private(values []string) []string {
	var kept []string
	for d := range strings.SplitSeq(strings.Join(values, ","), ",") {
		d = strings.TrimSpace(d)
		name, _, _ := strings.Cut(strings.ToLower(d), "=")
		switch strings.TrimSpace(name) {
		case "", "public", "s-maxage", "private", "proxy-revalidate":
			continue
		case "no-store":
			return []string{"no-store"}
		}
		kept = append(kept, d)
	}
	return []string{strings.Join(append([]string{"private"}, kept...), ", ")}
}

func addVary(h http.Header, name string) {
	for _, v := range h["Vary"] {
		for f := range strings.SplitSeq(v, ",") {
			f = strings.TrimSpace(f)
			if f == "*" || strings.EqualFold(f, name) {
				return
			}
		}
	}
	h["Vary"] = append(h["Vary"], name)
}

// removeAnnounced takes out what was announced as a trailer. A trailer that
// says something about the body speaks of the original; and in a response that
// is still held it would become a header.
func removeAnnounced(h http.Header, announced []string) {
	for _, line := range announced {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
}

// removeTrailers takes out what was announced as a trailer, or is one by Go's
// convention.
func removeTrailers(h http.Header, announced []string) {
	removeAnnounced(h, announced)
	for name := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			delete(h, name)
		}
	}
}

// bodyAllowed reports whether a response with this status has a body, RFC 9110
// section 6.4.1.
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusResetContent &&
		status != http.StatusNotModified
}

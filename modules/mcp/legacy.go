package mcp

import (
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// legacy are the open streams of HTTP+SSE, the transport of revision 2024-11-05: a
// client is told in the first event where it sends its messages, and waits for the
// answers in the stream. An answer of ours has to go there, too.
type legacy struct {
	mu      sync.Mutex
	streams map[string]*response // by where messages are sent
}

// address returns a reference as the URI that a request has which follows it.
func address(r *http.Request, reference string) (string, bool) {
	base := r.URL
	// What the client knows is the request as it came.
	if came, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		base = came.URL
	}
	u, err := base.Parse(reference)
	if err != nil || reference == "" && base.RawQuery == "" {
		return "", false
	}
	return (&url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}).RequestURI(), true
}

// open notes where the client of a stream sends its messages.
func (l *legacy) open(rw *response, reference string) {
	at, ok := address(rw.r, strings.TrimSpace(reference))
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams == nil {
		l.streams = make(map[string]*response)
	}
	l.streams[at], rw.address = rw, at
}

// close forgets a stream.
func (l *legacy) close(rw *response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.streams[rw.address] == rw {
		delete(l.streams, rw.address)
	}
}

// answer writes a message to the stream that the sender of a request listens to,
// and reports whether there is one. It must be of the same caller: an address can
// be guessed.
func (l *legacy) answer(r *http.Request, message []byte) bool {
	at, ok := address(r, "")
	if !ok {
		return false
	}
	l.mu.Lock()
	rw := l.streams[at]
	l.mu.Unlock()
	return rw != nil && rw.caller == caller(r) && rw.tell(message)
}

// caller names who sends a request.
func caller(r *http.Request) string {
	if p := reqctx.Principal(r); p != nil {
		return p.Caller()
	}
	return ""
}

// tell writes an event of ours to the stream, between two of the server's.
func (rw *response) tell(message []byte) bool {
	rw.mu.Lock()
	defer rw.mu.Unlock()
	if rw.mode != events || !rw.restricted || !rw.committed {
		return false
	}
	if _, err := rw.w.Write(append(append([]byte("event: message\ndata: "), message...), "\n\n"...)); err != nil { //nolint:gosec // an event stream
		return false
	}
	return http.NewResponseController(rw.w).Flush() == nil
}

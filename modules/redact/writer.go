package redact

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// flushDelay is how long a document may still be held after the upstream has
// flushed. reverse_proxy flushes after every read of a body of unknown length,
// so nearly all answers are flushed that are complete a moment later; with no
// delay at all none of them could be refused cleanly.
const flushDelay = 25 * time.Millisecond

// sniffDelay is how long the first bytes of a body are kept for want of more
// that would tell what it is.
const sniffDelay = 50 * time.Millisecond

// mode is what happens to the bytes of the body.
type mode uint8

const (
	waiting   mode = iota // no header yet
	sniffing              // the first bytes are awaited, to know what it is
	rewriting             // through the rewriter
	streaming             // through the rewriter, event by event
	framing               // through the rewriter of another format, part by part
	passing               // as they are
	dropping              // there is no body in this answer
	hiding                // an error: kept for the log, to be replaced
)

// responseWriter stands between the handlers inside and the client. It is
// an http.ResponseWriter and what http.ResponseController looks for, except
// for Unwrap, ReadFrom and Push: there is no way round it.
//
// Its methods may be called from several goroutines: reverse_proxy flushes
// from a timer and passes 1xx answers on from the transport's goroutine.
type responseWriter struct {
	h      *Handler
	w      http.ResponseWriter
	r      *http.Request
	view   *view // nil: the caller may see everything
	caller *principal.Principal
	vars   map[string]any // of the request
	repl   *caddy.Replacer

	counter *counter // of the request
	*headers

	mu        sync.Mutex // guards what follows, and writing to w
	status    int
	mode      mode
	label     label
	kind      kind
	sized     bool // the upstream has said how long the body is
	seen      bool // the body is not empty
	committed bool // the header has left, and maybe some of the body
	upgraded  bool // the connection has left HTTP
	closed    bool // the handlers inside are done
	flushed   bool // the handlers inside have flushed
	due       bool // the delay after that is over
	waited    bool // the first bytes have been kept for long enough
	timer     *time.Timer
	until     time.Time // when it is to fire
	part      *excerpt  // of a body that passes, nil for the whole
	first     []byte    // while sniffing or hiding
	overflow  bool      // while hiding: there was more
	held      []byte
	heldIn    *[]byte // where held came from
	rewriter  *redaction.Rewriter
	events    *eventStream
	framed    rewriter // of other formats
	prefix    int      // bytes that stand before the JSON
	decoding  *decoding
	trailers  []string // the Trailer field of the upstream
	fault     fault
	refusal   func() error // instead of a fault: how to refuse

	// The lines of header fields of our own.
	identity, length [1]string
	dependent        [2]string
}

func newResponseWriter(h *Handler, w http.ResponseWriter, r *http.Request, v *view, p *principal.Principal) *responseWriter {
	// A handler may keep it for longer than it should, so it is not used
	// for another request. What is large of it is.
	rw := &responseWriter{h: h, w: w, r: r, view: v, caller: p, headers: headerPool.Get().(*headers)}
	rw.outer.save(w.Header())
	if v != nil || h.HideErrors {
		rw.asked.narrow(r, v.tagCipher(), &rw.identity)
	}
	return rw
}

// leave gives the request back as it was. It is the last thing to happen.
func (rw *responseWriter) leave() {
	rw.asked.restore(rw.r)
	rw.mu.Lock()
	defer rw.mu.Unlock()
	h := rw.headers
	rw.headers = nil
	h.release()
}

// Header returns the header that the client will get, which is the
// underlying one, so that what the layers outside have set stands in it.
func (rw *responseWriter) Header() http.Header { return rw.w.Header() }

// WriteHeader notes the status and decides what becomes of the body. The
// header leaves with the first bytes of it, or when it has ended.
func (rw *responseWriter) WriteHeader(status int) {
	rw.mu.Lock()
	defer rw.mu.Unlock()
	if rw.closed || rw.status != 0 {
		return
	}
	switch {
	case status == http.StatusSwitchingProtocols:
		rw.status = status
		rw.upgrade(status)
	case status >= 100 && status < 200:
		if rw.view != nil {
			removeDescribing(rw.w.Header()) // of the answer that is to come
		}
		rw.w.WriteHeader(status)
	default:
		rw.begin(status)
	}
}

// upgrade passes on an answer after which the connection is no longer HTTP.
func (rw *responseWriter) upgrade(status int) {
	if rw.h.WebSocket != "allow" {
		rw.refusal = func() error { return rw.h.refuse(rw.w, rw.r, upgradeRefused()) }
		return
	}
	rw.upgraded, rw.committed, rw.mode = true, true, passing
	rw.w.WriteHeader(status)
}

// begin chooses the mode, as far as the header tells it.
func (rw *responseWriter) begin(status int) {
	rw.status = status
	h := rw.w.Header()
	rw.trailers = h["Trailer"]
	_, rw.sized = h["Content-Length"]
	rw.label = readLabel(h, rw.h.pass)
	if rw.label.kind == listed && isMultipart(rw.label.mediaType) {
		rw.label.kind = multi // whatever looks like JSON in it is redacted even so
	}
	rw.label.prefixes = rw.h.prefixes
	rw.kind = rw.label.kind
	isError := status >= 400 && rw.h.HideErrors
	switch {
	case rw.r.Method == http.MethodConnect && status < 300:
		rw.upgrade(status)
		return
	case rw.view == nil && !isError:
		rw.mode = passing
		_ = rw.commit(false) // nothing is held: there is nothing to fail
		return
	case rw.r.Method == http.MethodHead || !bodyAllowed(status):
		rw.mode = dropping
		return
	case status == http.StatusPartialContent && !rw.partial():
		return
	}
	rw.mode = sniffing
	if isError {
		rw.mode = hiding
	}
	c := readCoding(h)
	if c.doubt != "" && isError { // an error is not passed on unread
		_ = rw.fail(fault{reason: "encoding", detail: c.doubt})
		return
	}
	rw.label.doubt = c.doubt
	if c.name != "" {
		rw.decoding = startDecoding(rw, c.name)
	}
	if rw.mode == sniffing && decisive(rw.label, nil) {
		_ = rw.decide()
	}
}

// partial is about an answer with a part of something, which was not asked
// for. It reports whether the first bytes may show that it is none of a document;
// if not, it is refused. What is encoded cannot be decoded in parts.
func (rw *responseWriter) partial() bool {
	c := readCoding(rw.w.Header())
	switch rw.label.kind {
	case media, listed, opaque:
		if c.name == "" && c.doubt == "" && rw.label.mediaType != "multipart/byteranges" {
			return true
		}
	}
	_ = rw.fail(partFault(false))
	return false
}

func partFault(passable bool) fault {
	return fault{reason: "partial", detail: "a part of a body, status 206, that was not asked for", passable: passable}
}

// fail notes a fault, or lets a body pass that may pass unread.
func (rw *responseWriter) fail(f fault) error {
	if rw.h.passes(&f) {
		rw.mode = passing
		return nil
	}
	if !rw.fault.is() {
		rw.fault = f
	}
	return errRefused
}

// Write takes bytes of the body.
func (rw *responseWriter) Write(p []byte) (int, error) {
	rw.mu.Lock()
	if rw.closed {
		rw.mu.Unlock()
		return 0, http.ErrHandlerTimeout
	}
	if rw.status == 0 {
		rw.begin(http.StatusOK)
	}
	if d := rw.decoding; d != nil {
		rw.mu.Unlock()
		return d.write(p)
	}
	defer rw.mu.Unlock()
	if err := rw.body(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteString takes bytes of the body.
func (rw *responseWriter) WriteString(s string) (int, error) { return rw.Write([]byte(s)) }

// FlushError is what http.ResponseController calls to flush. It ends the
// hold, except that a document is held a moment longer.
func (rw *responseWriter) FlushError() error {
	rw.mu.Lock()
	defer rw.mu.Unlock()
	if rw.closed || rw.fault.is() || rw.refusal != nil {
		return nil
	}
	if rw.status == 0 {
		rw.begin(http.StatusOK)
	}
	rw.flushed = true
	return rw.flush()
}

// Flush is FlushError for those who look for an http.Flusher.
func (rw *responseWriter) Flush() { _ = rw.FlushError() }

func (rw *responseWriter) flush() error {
	if rw.fault.is() {
		return nil
	}
	if rw.mode == sniffing {
		if rw.settle() != nil {
			return nil // the fault is noted
		}
	}
	if !rw.committed {
		switch {
		case rw.mode == hiding || rw.mode == dropping:
			return nil
		case rw.mode == sniffing && rw.due:
			return rw.spaceLeaves()
		case rw.mode == sniffing || !rw.due && rw.kind == document && !caddyhttp.IsIncremental(rw.w.Header()):
			rw.arm(flushDelay)
			return nil
		}
		if err := rw.commit(false); err != nil {
			return err
		}
	}
	return http.NewResponseController(rw.w).Flush()
}

// arm has release called after d, or earlier where that was to be.
func (rw *responseWriter) arm(d time.Duration) {
	until := time.Now().Add(d)
	switch {
	case rw.timer == nil:
		rw.timer = time.AfterFunc(d, rw.release)
	case rw.until.IsZero() || until.Before(rw.until):
		rw.timer.Reset(d)
	default:
		return
	}
	rw.until = until
}

// release is called when the delay after a flush, or after the first bytes, is
// over.
func (rw *responseWriter) release() {
	rw.mu.Lock()
	defer rw.mu.Unlock()
	rw.until = time.Time{}
	if rw.closed || rw.committed || rw.refusal != nil || rw.fault.is() {
		return
	}
	rw.waited = true
	if rw.flushed {
		rw.due = true
		_ = rw.flush()
	} else if rw.mode == sniffing {
		_ = rw.settle()
	}
}

func (rw *responseWriter) stopTimer() {
	if rw.timer != nil {
		rw.timer.Stop()
	}
}

// Hijack gives the connection away, if the upstream has switched protocols
// and may.
func (rw *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	rw.mu.Lock()
	defer rw.mu.Unlock()
	if !rw.upgraded {
		return nil, nil, http.ErrNotSupported
	}
	return http.NewResponseController(rw.w).Hijack()
}

// SetReadDeadline serves http.ResponseController.
func (rw *responseWriter) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(rw.w).SetReadDeadline(t)
}

// SetWriteDeadline serves http.ResponseController.
func (rw *responseWriter) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(rw.w).SetWriteDeadline(t)
}

// EnableFullDuplex serves http.ResponseController.
func (rw *responseWriter) EnableFullDuplex() error {
	return http.NewResponseController(rw.w).EnableFullDuplex()
}

// callerName is what encrypted values are bound to.
func callerName(p *principal.Principal) string {
	if p == nil {
		return ""
	}
	return p.ID
}

// Interface guards
var (
	_ http.ResponseWriter = (*responseWriter)(nil)
	_ http.Flusher        = (*responseWriter)(nil)
	_ http.Hijacker       = (*responseWriter)(nil)
)

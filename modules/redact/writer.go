package redact

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// defaultFlushDelay is how long a document may still be held after the upstream has
// flushed. reverse_proxy flushes after every read of a body of unknown length,
// so nearly all responses are flushed that are complete a moment later; with no
// delay at all none of them could be refused cleanly.
const defaultFlushDelay = 25 * time.Millisecond

// responseWriter stands between the handlers inside and the client. It is
// an http.ResponseWriter and what http.ResponseController looks for, except
// for Unwrap, ReadFrom and Push: there is no way around it.
//
// Its methods may be called from several goroutines: reverse_proxy flushes
// from a timer and passes 1xx responses on from the transport's goroutine.
type responseWriter struct {
	h      *Handler
	w      http.ResponseWriter
	r      *http.Request
	view   *view // nil: the caller may see everything
	caller *principal.Principal
	vault  *redaction.Vault // nil: the request has no placeholders
	log    *decision.Log    // of the request
	repl   *caddy.Replacer

	counter *counter // of the request
	*headers

	mu        sync.Mutex // guards what follows, and writing to w
	status    int
	mode      mode // nil: there is no header yet, or it is refused
	sniffing  sniffing
	rewriting rewriting
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
	held      []byte
	heldIn    *[]byte // where held came from
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
			removeDescribing(rw.w.Header()) // of the response that is to come
		}
		rw.w.WriteHeader(status)
	default:
		rw.begin(status)
	}
}

// fail notes a fault, the first one.
func (rw *responseWriter) fail(f fault) error {
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

// body takes bytes of the decoded body.
func (rw *responseWriter) body(p []byte) error {
	if rw.fault.is() || rw.refusal != nil {
		return errRefused
	}
	if len(p) == 0 {
		return nil
	}
	rw.seen = true
	err := rw.mode.write(p)
	if err == nil && rw.due && !rw.committed {
		err = rw.flush()
	}
	return err
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
	leaves, err := rw.mode.flush()
	if err != nil || !leaves {
		return err
	}
	if !rw.committed {
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
	} else if rw.mode == &rw.sniffing {
		_ = rw.sniffing.settle()
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

// Interface guards
var (
	_ http.ResponseWriter = (*responseWriter)(nil)
	_ http.Flusher        = (*responseWriter)(nil)
	_ http.Hijacker       = (*responseWriter)(nil)
)

package redact

import (
	"errors"
	"net"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/conceal"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// finish ends a response after the handlers inside have returned. What could
// not be sent for what it holds is refused; if too much has been sent for
// that, the connection is aborted by a panic with http.ErrAbortHandler.
func (rw *responseWriter) finish(err error, body *requestBody) error {
	rw.endDecoding(nil)
	rw.mu.Lock()
	defer rw.mu.Unlock()
	rw.closed = true
	rw.stopTimer()
	defer rw.done()
	if f := body.failed(); f != nil {
		if !rw.committed {
			rw.restore()
			return rw.h.refuse(rw.w, rw.r, f)
		}
		rw.h.cut(rw.r, f) // of the request: the upstream has responded to the part that it got
	}
	switch {
	case rw.part.enough(): // whether or not the handlers inside were stopped
		rw.h.decide(rw.log, rw.view)
		return nil
	case err != nil && !rw.fault.is() && rw.refusal == nil:
		return rw.failed(err)
	case rw.refusal != nil:
		rw.restore()
		return rw.refusal()
	case rw.upgraded || rw.status == 0:
		rw.h.decide(rw.log, nil) // nothing that a rule could be about
		return nil
	}
	return rw.complete()
}

// complete ends the body.
func (rw *responseWriter) complete() error {
	if e, ok := rw.mode.(*hiding); ok && !rw.fault.is() && !e.harmless() {
		return rw.replaceError()
	}
	err := rw.closeBody()
	switch {
	case rw.fault.is():
		return rw.reject()
	case err != nil: // the client is gone
		return nil
	}
	rw.h.decide(rw.log, rw.view)
	if rw.committed {
		// Trailers come to stand in the header after the body.
		if rw.mode.alters() || rw.decoding != nil {
			removeTrailers(rw.w.Header(), rw.trailers)
		}
		return nil
	}
	if err := rw.commit(true); err != nil && rw.h.logger.Core().Enabled(zap.DebugLevel) {
		rw.h.logger.Debug("client is gone", zap.Error(err))
	}
	return nil
}

// closeBody tells the mode that nothing follows.
func (rw *responseWriter) closeBody() error {
	if rw.fault.is() || !rw.seen {
		return nil
	}
	return rw.mode.end()
}

// failed passes on an error of a handler inside. Nothing that is held leaves;
// if something has left already, what follows must not complete it.
func (rw *responseWriter) failed(err error) error {
	if rw.upgraded {
		return err
	}
	if rw.committed {
		rw.abort(&fault{reason: "truncated", detail: "a handler failed in the middle of the body", cause: err})
	}
	if rw.status != 0 {
		rw.restore()
	}
	return err
}

// reject refuses a response that has a fault.
func (rw *responseWriter) reject() error {
	if rw.committed {
		rw.abort(&rw.fault)
	}
	if rw.status >= 400 && rw.h.HideErrors {
		return rw.replaceError()
	}
	rw.restore()
	return rw.h.refuse(rw.w, rw.r, unreadableResponse(&rw.fault))
}

// recovered handles a panic of the handlers inside. reverse_proxy panics with
// http.ErrAbortHandler when it cannot go on with a body, which is also what it
// does when we refuse one. While nothing has been sent, that can still be said
// in a proper response; every other panic goes on.
func (rw *responseWriter) recovered(cause any, body *requestBody) error {
	rw.endDecoding(errAborted)
	rw.mu.Lock()
	defer rw.mu.Unlock()
	if rw.closed { // the panic is that of finish, which has said why
		panic(cause)
	}
	rw.closed = true
	rw.stopTimer()
	defer rw.done()
	if err, ok := cause.(error); !ok || !errors.Is(err, http.ErrAbortHandler) || rw.upgraded {
		panic(cause)
	}
	if rw.part.enough() {
		rw.h.decide(rw.log, rw.view)
		return nil
	}
	f := body.failed()
	if rw.committed || rw.r.Context().Err() != nil {
		// Whoever writes to us has only seen that we take nothing more: the
		// reason is known here alone.
		if f == nil && rw.fault.is() {
			f = unreadableResponse(&rw.fault)
		}
		switch {
		case f != nil && rw.committed:
			rw.cut(f)
		case f != nil:
			rw.h.cut(rw.r, f)
		}
		if rw.committed {
			rw.reset()
		}
		panic(cause)
	}
	if f != nil {
		rw.restore()
		return rw.h.refuse(rw.w, rw.r, f)
	}
	if rw.refusal != nil {
		rw.restore()
		return rw.refusal()
	}
	if !rw.fault.is() {
		if rw.status == 0 {
			panic(cause) // `abort`, for one
		}
		rw.fault = fault{reason: "truncated", detail: "the upstream ended in the middle of the body"}
	}
	if _, ok := rw.mode.(*hiding); ok {
		return rw.replaceError()
	}
	return rw.reject()
}

// endDecoding waits for the decoder, if there is one. The handlers inside are
// done, so nobody starts one now.
func (rw *responseWriter) endDecoding(err error) {
	rw.mu.Lock()
	d := rw.decoding
	rw.mu.Unlock()
	if d != nil {
		d.end(err)
	}
}

// abort ends the connection so that nobody takes what has left for the whole.
func (rw *responseWriter) abort(f *fault) {
	rw.cut(unreadableResponse(f))
	rw.reset()
	panic(http.ErrAbortHandler)
}

// cut says why the response ends before its end, to a client of events too.
func (rw *responseWriter) cut(p *problem.Problem) {
	rw.h.cut(rw.r, p)
	if rw.kind == events {
		reqctx.EndEvents(rw.w, p.Code, p.Detail)
	}
}

// cut says why a message ends before its end.
func (h *Handler) cut(r *http.Request, p *problem.Problem) {
	h.note(r, p, "aborted")
	h.metrics.decided.WithLabelValues("redact", decision.Error, p.Code).Inc()
	reqctx.Decisions(r).Add(decision.Decision{Layer: "redact", Result: decision.Error, Code: p.Code})
}

// reset makes the end of an aborted body known to a client of HTTP/1.0, where
// the end of the connection is the end of the body: it is reset, not closed.
func (rw *responseWriter) reset() {
	if rw.r.ProtoMajor != 1 || rw.r.ProtoMinor != 0 {
		return
	}
	conn, _, err := http.NewResponseController(rw.w).Hijack()
	if err != nil {
		return
	}
	// The one inside TLS: closing that of TLS would say that all is well.
	for {
		c, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = c.NetConn()
	}
	if c, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = c.SetLinger(0)
	}
	_ = conn.Close()
}

// done gives back what was borrowed, and says what was redacted.
func (rw *responseWriter) done() {
	rw.releaseHeld()
	rw.rewriting.release()
}

// account says that n values were changed, and by which rules.
func (rw *responseWriter) account(n int, fired func() []string) {
	if n == 0 {
		return
	}
	rw.h.metrics.fields.Add(float64(n))
	rw.log.AddRedacted(n, fired()...)
	rw.counter.add(n, rw.repl)
}

// note logs and counts a rejection.
func (h *Handler) note(r *http.Request, p *problem.Problem, what string) {
	reason := ""
	var f *fault
	if errors.As(p.Cause, &f) {
		reason = f.reason
	}
	h.metrics.refusals.WithLabelValues(p.Code, reason).Inc()
	c := h.logger.Check(zap.WarnLevel, what)
	if c == nil {
		return
	}
	fields := []zap.Field{zap.String("code", p.Code), zap.String("method", r.Method), zap.String("path", conceal.Path(r.URL.Path))}
	if f != nil {
		fields = append(fields, zap.String("reason", f.reason))
		var at *redaction.Error
		if errors.As(f.cause, &at) {
			fields = append(fields, zap.Int64("offset", at.Offset))
		}
		if hint := f.advice(); hint != "" {
			fields = append(fields, zap.String("hint", hint))
		}
	}
	if p.Cause != nil {
		fields = append(fields, zap.Error(p.Cause))
	}
	c.Write(fields...)
}

// syntaxFault is what the rewriter found wrong. Its text quotes nothing of
// the body.
func syntaxFault(err error) fault {
	f := fault{reason: "syntax", cause: err}
	var e *redaction.Error
	if errors.As(err, &e) {
		switch e.Reason {
		case redaction.ReasonTruncated:
			f.reason = "truncated"
		case redaction.ReasonTrailing:
			f.hint = "in a body of known length, the second JSON text and those after it have to begin on lines of their own"
		}
	}
	return f
}

// noText is what a body has that is called JSON and is space.
func noText() fault { return fault{reason: "truncated", detail: "no JSON text in the body"} }

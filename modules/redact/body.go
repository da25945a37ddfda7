package redact

import (
	"errors"
	"net/http"
	"strconv"
	"sync"
)

// body takes bytes of the decoded body.
func (rw *responseWriter) body(p []byte) error {
	if rw.fault.is() || rw.refusal != nil {
		return errRefused
	}
	if len(p) == 0 || rw.mode == dropping {
		return nil
	}
	rw.seen = true
	var err error
	switch rw.mode {
	case hiding:
		return rw.hide(p)
	case sniffing:
		err = rw.sniff(p)
	default:
		err = rw.process(p)
	}
	if err == nil && rw.due && !rw.committed && rw.mode != sniffing {
		err = rw.flush()
	}
	return err
}

// sniff collects the first bytes until they tell what the body is.
func (rw *responseWriter) sniff(p []byte) error {
	n := min(len(p), maxSpace-len(rw.first))
	if len(rw.first) == 0 && decisive(rw.label, p) { // the usual case: no copy is needed
		if err := rw.decideBy(p); err != nil {
			return err
		}
		return rw.process(p)
	}
	rw.first = append(rw.first, p[:n]...)
	if !decisive(rw.label, rw.first) && (!rw.waited || !tells(rw.label, rw.first)) {
		if !rw.waited {
			rw.arm(sniffDelay)
		} else if rw.flushed {
			return rw.spaceLeaves()
		}
		return nil
	}
	if err := rw.decide(); err != nil {
		return err
	}
	return rw.process(p[n:])
}

// settle ends the sniffing early, where what has come tells enough: nobody is
// to wait for bytes that do not come.
func (rw *responseWriter) settle() error {
	if !tells(rw.label, rw.first) {
		return nil
	}
	return rw.decide()
}

// spaceLeaves lets the space go that a body begins with, which keeps the
// connection alive until there is something to say.
func (rw *responseWriter) spaceLeaves() error {
	if len(rw.first) == 0 || len(trimSpace(rw.first)) > 0 || rw.label.kind == media {
		return nil
	}
	space := rw.first
	rw.first = nil
	if _, err := (*output)(rw).Write(space); err != nil {
		return rw.blame(err)
	}
	if !rw.committed {
		if err := rw.commit(false); err != nil {
			return err
		}
	}
	return http.NewResponseController(rw.w).Flush()
}

// decide ends the sniffing with what there is, and processes that.
func (rw *responseWriter) decide() error {
	first := rw.first
	rw.first = nil
	if err := rw.decideBy(first); err != nil {
		return err
	}
	return rw.process(first)
}

func (rw *responseWriter) decideBy(first []byte) error {
	k, f := judge(rw.label, first)
	if !f.is() && k == form {
		k, f = opaque, fault{reason: "media_type", detail: rw.label.mediaType, passable: true}
	}
	rw.kind = k
	if rw.status == http.StatusPartialContent && k != media && k != listed {
		f = partFault(f.passable)
	}
	if f.is() {
		return rw.fail(f)
	}
	switch k {
	case document, sequence:
		if rw.view == nil { // a harmless error to a caller that no rule concerns
			rw.mode = passing
			return nil
		}
		rw.mode = rewriting
		rw.prefix, _ = cutPrefix(rw.label.prefixes, first)
		rw.rewriter = rw.view.program.Get((*output)(rw))
		rw.rewriter.SetCaller(callerName(rw.caller))
		if k == document && rw.sized {
			rw.rewriter.SetLines()
		}
	case events:
		if rw.view == nil {
			rw.mode = passing
			return nil
		}
		rw.mode = streaming
		rw.rewriter = rw.view.program.Get(nil)
		rw.events = newEventStream((*output)(rw), rw.rewriter, rw.h, callerName(rw.caller))
	case multi, envelopes:
		if rw.view == nil {
			rw.mode = passing
			return nil
		}
		rw.mode = framing
		if rw.framed, f = newFramed(k, rw.w.Header(), rw.h, rw.view, callerName(rw.caller), (*output)(rw)); f.is() {
			return rw.fail(f)
		}
	default:
		rw.mode = passing
	}
	return nil
}

// process takes bytes whose treatment is decided.
func (rw *responseWriter) process(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if n := min(rw.prefix, len(p)); n > 0 {
		rw.prefix -= n
		if _, err := (*output)(rw).Write(p[:n]); err != nil || n == len(p) {
			return rw.blame(err)
		}
		p = p[n:]
	}
	if rw.label.charset == superCharset && (rw.mode == rewriting || rw.mode == streaming) {
		if n := ascii(p); n < len(p) {
			if err := rw.pass(p[:n]); err != nil {
				return err
			}
			return rw.fail(beyondASCII())
		}
	}
	return rw.pass(p)
}

// pass gives bytes to what treats them.
func (rw *responseWriter) pass(p []byte) error {
	var err error
	switch rw.mode {
	case rewriting:
		_, err = rw.rewriter.Write(p)
	case streaming:
		err = rw.events.write(p)
	case framing:
		_, err = rw.framed.Write(p)
	case passing:
		_, err = (*output)(rw).Write(p)
	}
	return rw.blame(err)
}

// blame tells a fault of the body from a client that is gone.
func (rw *responseWriter) blame(err error) error {
	if err == nil {
		return nil
	}
	var out *outputError
	if errors.As(err, &out) {
		return out.err
	}
	var f *fault
	if errors.As(err, &f) {
		return rw.fail(*f)
	}
	return rw.fail(syntaxFault(err))
}

// output is where the rewriter writes: what has been understood. It is held
// until the hold is over.
type output responseWriter

// outputError is a failure of the connection to the client.
type outputError struct{ err error }

func (e *outputError) Error() string { return e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }

func (o *output) Write(p []byte) (int, error) {
	rw := (*responseWriter)(o)
	if !rw.committed {
		if rw.mode != passing && len(rw.held)+len(p) <= rw.h.Hold {
			if rw.heldIn == nil {
				rw.heldIn = buffers.Get().(*[]byte)
				rw.held = (*rw.heldIn)[:0]
			}
			rw.held = append(rw.held, p...)
			return len(p), nil
		}
		if err := rw.commit(false); err != nil {
			return 0, &outputError{err}
		}
	}
	if rw.part != nil {
		return rw.writePart(p)
	}
	n, err := rw.w.Write(p)
	if err != nil {
		err = &outputError{err}
	}
	return n, err
}

// commit sends the header and what has been held.
func (rw *responseWriter) commit(final bool) error {
	rw.committed = true
	rw.stopTimer()
	rw.fixHeader(final)
	if rw.asked.done && rw.status == http.StatusOK && (rw.mode == passing || rw.mode == dropping && !rw.redacted()) {
		rw.condition()
	}
	rw.w.WriteHeader(rw.status)
	if rw.part.enough() && !final {
		return http.NewResponseController(rw.w).Flush()
	}
	if len(rw.held) == 0 {
		return nil
	}
	_, err := rw.w.Write(rw.held)
	rw.releaseHeld()
	return err
}

// fixHeader makes the header say what is true of the body that leaves.
func (rw *responseWriter) fixHeader(final bool) {
	h := rw.w.Header()
	redacted := rw.redacted()
	if redacted || rw.decoding != nil {
		rw.describe(h)
		removeAnnounced(h, rw.trailers)
	}
	if rw.decoding != nil || redacted && rw.label.doubt != "" { // what was read as JSON is not encoded
		delete(h, "Content-Encoding")
	}
	if redacted && final && rw.mode != dropping && len(rw.held) > 0 {
		rw.length[0] = strconv.Itoa(len(rw.held))
		h["Content-Length"] = rw.length[:]
	}
	if rw.asked.done && (redacted || rw.decoding != nil || !rw.sized) {
		delete(h, "Accept-Ranges")
	}
	if rw.h.answers.depends && rw.kind != media && rw.kind != listed {
		cookie := rw.caller != nil && rw.r.Header["Authorization"] == nil && rw.r.Header["Cookie"] != nil
		dependOnCaller(h, cookie, &rw.dependent)
	}
}

// describe removes what is said of the original bytes. The entity tag may
// come back as one of ours.
func (rw *responseWriter) describe(h http.Header) {
	tag := h["Etag"]
	removeDescribing(h)
	if c := rw.view.tagCipher(); c != nil && len(tag) == 1 {
		if shown := c.seal(tag[0]); shown != "" {
			h["Etag"] = []string{shown}
		}
	}
}

// redacted reports whether the body that leaves may be another than came.
func (rw *responseWriter) redacted() bool {
	switch rw.mode {
	case rewriting, streaming, framing, sniffing:
		return true
	case dropping:
		return rw.view != nil && rw.kind != media && rw.kind != listed
	}
	return false
}

// buffers are for what is held. Only those of usual size are kept.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

func (rw *responseWriter) releaseHeld() {
	if rw.heldIn != nil && cap(rw.held) <= 2*defaultHold {
		*rw.heldIn = rw.held
		buffers.Put(rw.heldIn)
	}
	rw.held, rw.heldIn = nil, nil
}

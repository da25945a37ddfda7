package redact

import (
	"net/http"
	"strconv"
	"sync"
)

// output is where the rewriters write: what has been understood. It is held
// until the hold is over.
type output responseWriter

// outputError is a failure of the connection to the client.
type outputError struct{ err error }

func (e *outputError) Error() string { return e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }

func (o *output) Write(p []byte) (int, error) {
	rw := (*responseWriter)(o)
	if !rw.committed {
		if len(rw.held)+len(p) <= rw.h.Hold {
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
	if rw.asked.done && rw.status == http.StatusOK && !rw.mode.alters() {
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
	redacted := rw.mode.alters()
	if redacted || rw.decoding != nil {
		rw.describe(h)
		removeAnnounced(h, rw.trailers)
	}
	if rw.decoding != nil || redacted && rw.label.doubt != "" { // what was read as JSON is not encoded
		delete(h, "Content-Encoding")
	}
	if redacted && final && len(rw.held) > 0 {
		rw.length[0] = strconv.Itoa(len(rw.held))
		h["Content-Length"] = rw.length[:]
	}
	if rw.asked.done && (redacted || rw.decoding != nil || !rw.sized) {
		delete(h, "Accept-Ranges")
	}
	if (rw.h.responses.depends || rw.vault != nil) && rw.kind != media && rw.kind != listed {
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

// buffers are for what is held. Only those of usual size are kept.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

func (rw *responseWriter) releaseHeld() {
	if rw.heldIn != nil && cap(rw.held) <= 2*defaultHold {
		*rw.heldIn = rw.held
		buffers.Put(rw.heldIn)
	}
	rw.held, rw.heldIn = nil, nil
}

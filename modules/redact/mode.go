package redact

import (
	"net/http"
)

// mode is what becomes of the bytes of a body. There is one type for each way:
//
//	sniffing   the first bytes are awaited, to know what the body is
//	rewriting  it goes through the rewriter of its format
//	passing    it goes on as it is
//	dropping   the response has none
//	hiding     it is that of an error: kept for the log, to be replaced
//
// The header of the response chooses the mode, and the first bytes of the body
// where the header says too little. Callers of the methods hold mu.
type mode interface {
	// write takes bytes of the decoded body.
	write(p []byte) error

	// flush is called when the upstream has flushed. It reports whether what
	// there is may leave.
	flush() (leaves bool, err error)

	// end is called when a body that is not empty has come to its end.
	end() error

	// alters reports whether the body that leaves may be another than came.
	alters() bool
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
		rw.mode = passing{rw}
		_ = rw.commit(false) // nothing is held: there is nothing to fail
		return
	case rw.r.Method == http.MethodHead || !bodyAllowed(status):
		rw.mode = dropping{rw}
		return
	case status == http.StatusPartialContent && !rw.partial():
		return
	}
	c := readCoding(h)
	if c.doubt != "" && isError { // an error is not passed on unread
		rw.mode = &hiding{rw: rw}
		_ = rw.fail(fault{reason: "encoding", detail: c.doubt})
		return
	}
	rw.label.doubt = c.doubt
	if c.name != "" {
		rw.decoding = startDecoding(rw, c.name)
	}
	if isError {
		rw.mode = &hiding{rw: rw}
	} else {
		rw.sniff()
	}
}

// upgrade passes on a response after which the connection is no longer HTTP.
func (rw *responseWriter) upgrade(status int) {
	if rw.h.WebSocket != "allow" {
		rw.refusal = func() error { return rw.h.refuse(rw.w, rw.r, upgradeRefused()) }
		return
	}
	rw.upgraded, rw.committed, rw.mode = true, true, passing{rw}
	rw.w.WriteHeader(status)
}

// partial handles a partial response, which was not asked for. It reports
// whether its first bytes may show that it is not part of a JSON document; if
// not, it is rejected. What is encoded cannot be decoded in parts.
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

// choose chooses the mode by what judge makes of the first bytes of the body,
// or of all of it.
func (rw *responseWriter) choose(first []byte) error {
	k, f := judge(rw.label, first)
	if !f.is() && k == form {
		k, f = opaque, fault{reason: "media_type", detail: rw.label.mediaType, passable: true}
	}
	rw.kind = k
	if rw.status == http.StatusPartialContent && k != media && k != listed {
		f = partFault(f.passable)
	}
	if !f.is() && (k == media || k == listed) || rw.h.passes(&f) {
		rw.mode = passing{rw}
		return nil
	}
	if f.is() {
		return rw.fail(f)
	}
	return rw.rewrite(first)
}

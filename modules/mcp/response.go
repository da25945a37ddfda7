package mcp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/data/mcp"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// exchange is the message of a POST and what the record says of it.
type exchange struct {
	message *mcp.Message
	call    decision.Call
}

// mode is what happens to the bytes of a body.
type mode uint8

const (
	waiting  mode = iota // no header yet
	sniffing             // nobody has said what it is
	document             // one message
	events               // Server-Sent Events
	passing              // as they are
	failed               // nothing of it leaves
)

// response stands between the MCP server and the client. There is no way round
// it: it has no Unwrap and no ReadFrom.
//
// Its methods may be called from several goroutines, since reverse_proxy flushes
// from a timer.
type response struct {
	h          *Handler
	w          http.ResponseWriter
	r          *http.Request
	exchange   *exchange // nil where the request is not a message
	calls      reqctx.Calls
	restricted bool // rules decide what the caller sees
	asked      mcp.Kind
	shows      func(name string) bool // for what was asked
	caller     string
	address    string // where the client of a stream of HTTP+SSE sends its messages

	mu        sync.Mutex
	stream    *mcp.Stream
	events    *mcp.Events
	mode      mode
	status    int
	any       bool          // there is a body
	committed bool          // the header has left
	told      bool          // the client knows that the stream has ended
	first     []byte        // while sniffing
	held      *bytes.Buffer // of a document, filtered
	fault     error
}

// pass lets the request go on and filters what comes back.
func (h *Handler) pass(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, e *exchange, calls reqctx.Calls) error {
	if calls != nil {
		if r.Method == http.MethodOptions {
			return next.ServeHTTP(w, r) // a response about the endpoint, without a message
		}
		narrow(r)
	}
	rw := &response{h: h, w: w, r: r, exchange: e, calls: calls, restricted: calls != nil}
	if rw.restricted {
		rw.caller = caller(r)
	}
	rw.stream = h.filter.Open(rw)
	defer rw.leave()
	err := rw.run(next)
	return rw.finish(err)
}

// run serves the request. A response that cannot be filtered makes reverse_proxy
// panic when it can write no more of it, which is for finish to answer.
func (rw *response) run(next caddyhttp.Handler) (err error) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		rw.mu.Lock()
		faulty := rw.fault != nil
		rw.mu.Unlock()
		if !faulty || cause != http.ErrAbortHandler { //nolint:errorlint // it is panicked with as it is
			panic(cause)
		}
	}()
	return next.ServeHTTP(rw, rw.r)
}

// Shows reports what a list shows to the caller. A policy is asked once for each
// kind, since it stays the same while the response takes.
func (rw *response) Shows(kind mcp.Kind, name string) bool {
	if rw.calls == nil {
		return true
	}
	if kind != rw.asked { // a list is of one kind
		rw.asked, rw.shows = kind, rw.calls.Shows(rw.r, policy.Call(kind))
	}
	return rw.shows(name)
}

// buffers hold documents until they are understood.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// hold has a document of a length, if it is known, wait. Callers hold mu.
func (rw *response) hold() {
	rw.mode = document
	if rw.restricted {
		rw.held = buffers.Get().(*bytes.Buffer)
		if n, err := strconv.ParseInt(rw.w.Header().Get("Content-Length"), 10, 64); err == nil && n > 0 {
			rw.held.Grow(int(min(n, hold)))
		}
	}
	rw.stream.Begin(rw.sink(rw.held))
}

// narrow has the server send what can be read: no content coding, no part, and
// no switch of protocols.
func narrow(r *http.Request) {
	r.Header["Accept-Encoding"] = []string{"identity"}
	for _, name := range []string{"Range", "If-Range", "If-None-Match", "If-Modified-Since", "Upgrade"} {
		delete(r.Header, name)
	}
}

// leave gives back what the response holds.
func (rw *response) leave() {
	rw.mu.Lock()
	defer rw.mu.Unlock()
	if rw.address != "" {
		rw.h.legacy.close(rw)
	}
	if rw.stream == nil {
		return
	}
	hidden, code := rw.stream.Hidden, rw.stream.ErrorCode
	rw.stream.Close()
	rw.stream, rw.events, rw.mode = nil, nil, failed
	rw.release()
	if hidden > 0 {
		rw.h.hidden.Add(float64(hidden))
	}
	if rw.exchange != nil && (hidden > 0 || code != 0) {
		noted := rw.exchange.call
		noted.Hidden, noted.Error = hidden, code
		reqctx.Decisions(rw.r).SetCall(&noted)
	}
}

// release gives the buffer of a document back. Callers hold mu.
func (rw *response) release() {
	if rw.held != nil && rw.held.Cap() <= 2*hold {
		rw.held.Reset()
		buffers.Put(rw.held)
	}
	rw.held = nil
}

// Header returns the header that the client will get.
func (rw *response) Header() http.Header { return rw.w.Header() }

// WriteHeader notes the status and decides what becomes of the body.
func (rw *response) WriteHeader(status int) {
	rw.mu.Lock()
	defer rw.mu.Unlock()
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		rw.w.WriteHeader(status)
		return
	}
	rw.begin(status)
}

// errUnreadable are the faults of a response that cannot be filtered.
var (
	errCoding = errors.New("it has a content coding")
	errKind   = errors.New("it is neither JSON nor a stream of events")
	errSwitch = errors.New("it switches protocols")
)

// begin chooses the mode. Callers hold mu.
func (rw *response) begin(status int) {
	if rw.mode != waiting {
		return
	}
	rw.status = status
	header := rw.w.Header()
	media := mediaType(header.Get("Content-Type"))
	coding := header.Get("Content-Encoding")
	coded := coding != "" && !strings.EqualFold(coding, "identity")
	switch {
	case status == http.StatusSwitchingProtocols && rw.restricted:
		rw.fail(errSwitch)
	case rw.r.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified || status == http.StatusSwitchingProtocols:
		rw.mode = passing
	case coded && rw.restricted:
		rw.fail(errCoding)
	case coded:
		rw.mode = passing
	case media == "text/event-stream":
		rw.mode = events
		rw.events = mcp.NewEvents(rw.sink(rw.w), rw.stream, rw.h.MaxEvent)
		if rw.restricted && rw.r.Method == http.MethodGet {
			rw.events.Endpoint = func(reference string) { rw.h.legacy.open(rw, reference) }
		}
	case media == "application/json" || strings.HasSuffix(media, "+json") || media == "text/json":
		rw.hold()
	default:
		rw.mode = sniffing
	}
	if rw.restricted && (rw.mode == document || rw.mode == events || rw.mode == sniffing) {
		for _, name := range []string{"Accept-Ranges", "Digest", "Content-Digest", "Repr-Digest", "Content-Md5", "Etag", "Last-Modified", "Trailer"} {
			delete(header, name)
		}
	}
	if rw.mode == events || rw.mode == passing {
		rw.commit()
	}
}

// mediaType returns the type in a Content-Type, in small letters, without parameters.
func mediaType(value string) string {
	if value == "application/json" || value == "text/event-stream" {
		return value // as most servers write it
	}
	media, _, err := mime.ParseMediaType(value)
	if err != nil {
		media, _, _ = strings.Cut(strings.ToLower(value), ";")
		media = strings.TrimSpace(media)
	}
	return media
}

// sink is where what was filtered goes: away, where it is only looked at.
func (rw *response) sink(to io.Writer) io.Writer {
	if !rw.restricted {
		return io.Discard
	}
	return to
}

// commit lets the header leave. Callers hold mu.
func (rw *response) commit() {
	if rw.committed {
		return
	}
	rw.committed = true
	if rw.restricted && rw.mode != passing {
		rw.w.Header().Del("Content-Length")
	}
	rw.w.WriteHeader(rw.status)
}

// fail notes that the response cannot be filtered. Callers hold mu.
func (rw *response) fail(err error) {
	rw.mode, rw.fault = failed, err
	if rw.held != nil {
		rw.held.Reset()
	}
}

// Write takes bytes of the body.
func (rw *response) Write(p []byte) (int, error) {
	rw.mu.Lock()
	defer rw.mu.Unlock()
	if rw.mode == waiting {
		rw.begin(http.StatusOK)
	}
	rw.any = rw.any || len(p) > 0
	if !rw.restricted {
		return rw.watch(p)
	}
	text := p
	if rw.mode == sniffing {
		rw.first = append(rw.first, p...)
		if rw.sniff(rw.first); rw.mode == sniffing {
			return len(p), nil
		}
		text, rw.first = rw.first, nil
	}
	if err := rw.take(text); err != nil {
		return 0, err
	}
	return len(p), nil
}

// take filters bytes of the body. Callers hold mu.
func (rw *response) take(text []byte) error {
	switch rw.mode {
	case passing:
		_, err := rw.w.Write(text) //nolint:gosec // what the server behind sends
		return err
	case document:
		if _, err := rw.stream.Write(text); err != nil {
			rw.fail(err)
			return errStopped
		}
		if rw.held.Len() <= hold && !rw.committed {
			return nil
		}
		rw.commit()
		_, err := rw.held.WriteTo(rw.w)
		return err
	case events:
		if _, err := rw.events.Write(text); err != nil {
			rw.fail(err)
			rw.sendFault()
			return errStopped
		}
		return nil
	}
	return errStopped
}

// errStopped ends the copying of a body of which nothing more leaves.
var errStopped = errors.New("mcp: the response cannot be filtered")

// watch passes the body on as it comes, and looks for errors in it.
func (rw *response) watch(p []byte) (int, error) {
	if rw.mode == sniffing {
		rw.sniff(p)
	}
	rw.commit()
	switch rw.mode {
	case document:
		_, _ = rw.stream.Write(p)
	case events:
		_, _ = rw.events.Write(p)
	}
	return rw.w.Write(p)
}

// sniff looks at the first bytes of a body of which nobody has said what it is. A
// client may take it for JSON if it looks so.
func (rw *response) sniff(p []byte) {
	text := bytes.TrimLeft(bytes.TrimPrefix(p, []byte("\ufeff")), " \t\r\n")
	if len(text) == 0 && len(p) < hold {
		return
	}
	switch {
	case len(text) > 0 && (text[0] == '{' || text[0] == '['):
		rw.hold()
	case rw.restricted && rw.status < 300:
		rw.fail(errKind)
	default:
		rw.mode = passing
		rw.commit()
	}
}

// sendFault ends a stream with an error for who waits for the response: a mere end
// could be taken for a broken connection, and the call be repeated.
func (rw *response) sendFault() {
	if rw.exchange == nil || rw.exchange.message.ID == nil || rw.exchange.message.IsResponse() {
		return
	}
	doc := errorMessage(rw.unreadable())
	_, err := rw.w.Write(append(append([]byte("event: message\ndata: "), doc...), "\n\n"...)) //nolint:gosec // an event stream
	rw.told = err == nil
	_ = http.NewResponseController(rw.w).Flush()
}

// unreadable is the error for a response that cannot be filtered.
func (rw *response) unreadable() *mcp.Error {
	e := &mcp.Error{Status: http.StatusBadGateway, Code: mcp.CodeInternal, Message: "the response of the server cannot be read"}
	if rw.exchange != nil {
		e.ID = rw.exchange.message.ID
	}
	return e
}

// finish ends the response, of which the handlers behind have returned err.
func (rw *response) finish(err error) error {
	rw.mu.Lock()
	defer rw.mu.Unlock()
	if rw.mode == waiting {
		return err
	}
	if rw.restricted && rw.mode == document && err == nil && rw.any {
		if end := rw.stream.End(); end != nil {
			rw.fail(end)
		} else if rw.committed {
			_, err = rw.held.WriteTo(rw.w)
			return err
		}
	}
	if rw.fault != nil {
		return rw.refuse()
	}
	if rw.restricted && rw.mode == document && !rw.committed && err == nil {
		rw.w.Header()["Content-Length"] = []string{strconv.Itoa(rw.held.Len())}
		rw.committed = true
		rw.w.WriteHeader(rw.status)
		_, err = rw.held.WriteTo(rw.w)
		return err
	}
	if err == nil {
		rw.commit()
	}
	return err
}

// refuse ends a response that cannot be filtered: by an error, or where a part of
// it has left, by breaking it off.
func (rw *response) refuse() error {
	rw.h.logger.Warn("the response of the MCP server cannot be filtered", zap.Error(rw.fault))
	rw.h.decided.WithLabelValues(layer, decision.Error, CodeUnreadable).Inc()
	reqctx.Decisions(rw.r).Add(decision.Decision{Layer: layer, Result: decision.Error, Code: CodeUnreadable})
	switch {
	case rw.told:
		return nil
	case rw.committed:
		panic(http.ErrAbortHandler)
	}
	header := rw.w.Header()
	for _, name := range []string{"Content-Encoding", "Mcp-Session-Id"} {
		header.Del(name)
	}
	doc := errorMessage(rw.unreadable())
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(doc)))
	header.Set("Cache-Control", "no-store")
	rw.w.WriteHeader(http.StatusBadGateway)
	_, _ = rw.w.Write(doc)
	return nil
}

// FlushError is what http.ResponseController calls to flush. A document is not
// flushed: nobody can make anything of a part of a message.
func (rw *response) FlushError() error {
	rw.mu.Lock()
	defer rw.mu.Unlock()
	if rw.mode == waiting {
		rw.begin(http.StatusOK)
	}
	if !rw.committed || rw.mode == failed {
		return nil
	}
	return http.NewResponseController(rw.w).Flush()
}

// Flush is FlushError for those who look for an http.Flusher.
func (rw *response) Flush() { _ = rw.FlushError() }

// Hijack gives the connection away where nothing is filtered.
func (rw *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if rw.restricted {
		return nil, nil, http.ErrNotSupported
	}
	return http.NewResponseController(rw.w).Hijack()
}

// SetReadDeadline serves http.ResponseController.
func (rw *response) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(rw.w).SetReadDeadline(t)
}

// SetWriteDeadline serves http.ResponseController.
func (rw *response) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(rw.w).SetWriteDeadline(t)
}

// EnableFullDuplex serves http.ResponseController.
func (rw *response) EnableFullDuplex() error {
	return http.NewResponseController(rw.w).EnableFullDuplex()
}

// Interface guards
var (
	_ http.ResponseWriter = (*response)(nil)
	_ http.Flusher        = (*response)(nil)
	_ http.Hijacker       = (*response)(nil)
)

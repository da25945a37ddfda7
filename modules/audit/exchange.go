package audit

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// holdSize is how much of a response waits for its outcome record with `sync
// always`. A response that fits is held back whole, so that a clean 503 can
// replace it; of a longer one the end waits.
const holdSize = 16 << 10

// exchange stands between the inner handlers and the client for one request.
// It counts what passes and, with `sync always`, keeps the response from being
// complete at the client before its record is on disk.
//
// It is not pooled: handlers of upgraded and streamed connections may touch
// the writer for a moment after ServeHTTP has returned, and must not find
// another request's response behind it.
type exchange struct {
	caddyhttp.ResponseWriterWrapper

	context *reqctx.Context // of the request, made here or by a layer further out
	vars    map[string]any  // of the request, which nobody replaces
	repl    *caddy.Replacer

	head bool // the request's method is HEAD: no body follows, whatever the header says

	status   int                                 // of the final response; 0 until one is begun
	begun    atomic.Int32                        // the same, for other goroutines
	caller   atomic.Pointer[principal.Principal] // whoever is known when the response is begun
	sent     atomic.Int64                        // body bytes that the inner handlers wrote
	received atomic.Int64                        // body bytes read from the client
	upgraded bool                                // the connection was hijacked
	body     requestBody
	capture  *capture // what of the response body is to be recorded

	// onUpgrade is called when the connection is given away.
	onUpgrade func()

	// With `sync always` only.
	hold      bool
	committed bool   // the header has been passed on
	length    int64  // declared Content-Length, -1 without one
	passed    int64  // body bytes passed on
	held      []byte // body bytes that wait, from heldPool
}

var heldPool = sync.Pool{New: func() any { b := make([]byte, 0, holdSize); return &b }}

// bodyless reports whether the response has no body, so that its header alone
// completes it (RFC 9110 section 6.4.1).
func (x *exchange) bodyless() bool {
	return x.head || x.status == http.StatusNoContent || x.status == http.StatusNotModified || x.length == 0
}

// WriteHeader notes the status and, unless the response is held, passes the
// header on.
func (x *exchange) WriteHeader(status int) {
	if x.status != 0 {
		return
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		x.ResponseWriter.WriteHeader(status) // informational, not the response
		return
	}
	x.begin(status)
	if !x.hold {
		x.ResponseWriter.WriteHeader(status)
		return
	}
	x.length = -1
	if v := x.Header().Get("Content-Length"); v != "" {
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 {
			x.length = n
		}
	}
	// Announced trailers must not be in the header map when the header
	// leaves, and a response that cannot fit gains nothing by waiting.
	if x.length > holdSize && !x.head || status == http.StatusSwitchingProtocols || len(x.Header()["Trailer"]) > 0 {
		x.commit()
	}
}

// begin notes that the final response begins, whom it is for, and what it is.
// Nobody is identified later.
func (x *exchange) begin(status int) {
	x.status = status
	if x.capture != nil {
		x.capture.describe(x.Header())
	}
	if x.context != nil {
		x.caller.Store(x.context.Principal())
	}
	x.begun.Store(int32(status)) //nolint:gosec // a status has three digits
}

// commit passes the held header on.
func (x *exchange) commit() {
	if !x.committed {
		x.committed = true
		x.ResponseWriter.WriteHeader(x.status)
	}
}

func (x *exchange) Write(p []byte) (int, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	var n int
	var err error
	if x.hold {
		n, err = x.writeHeld(p)
	} else {
		n, err = x.ResponseWriter.Write(p)
	}
	x.sent.Add(int64(n))
	if x.capture != nil {
		x.capture.add(p[:n])
	}
	return n, err
}

// writeHeld keeps p while the response fits into the hold; afterwards it
// passes p on, except for the end of a response whose length is known. Without
// a known length the end of the message is the last chunk, the END_STREAM flag
// or the closed connection, which follow only after the handler has returned.
func (x *exchange) writeHeld(p []byte) (int, error) {
	if !x.committed {
		if len(x.held)+len(p) <= holdSize {
			x.keep(p)
			return len(p), nil
		}
		x.commit()
		// What was held is not the end of the response, since p follows.
		if err := x.pass(x.held); err != nil {
			return 0, err
		}
		x.held = x.held[:0]
	}
	if x.length < 0 || x.head || x.passed+int64(len(x.held)+len(p)) < x.length {
		n, err := x.ResponseWriter.Write(p)
		x.passed += int64(n)
		return n, err
	}
	if len(x.held) > 0 {
		return 0, http.ErrContentLength // more than was declared
	}
	tail := min(len(p), holdSize)
	if err := x.pass(p[:len(p)-tail]); err != nil {
		return 0, err
	}
	x.keep(p[len(p)-tail:])
	return len(p), nil
}

// keep appends p to the held bytes. The caller has made sure that it fits.
func (x *exchange) keep(p []byte) {
	if x.held == nil {
		x.held = *heldPool.Get().(*[]byte)
	}
	x.held = append(x.held, p...)
}

// pass writes p to the client.
func (x *exchange) pass(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	n, err := x.ResponseWriter.Write(p)
	x.passed += int64(n)
	return err
}

// ReadFrom keeps the kernel's short cut from file to socket open where the
// bytes need not be seen.
func (x *exchange) ReadFrom(r io.Reader) (int64, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	if x.capture != nil {
		return x.copyFrom(r)
	}
	if !x.hold {
		n, err := x.ResponseWriterWrapper.ReadFrom(r)
		x.sent.Add(n)
		return n, err
	}
	if !x.committed || x.length < 0 || x.head || len(x.held) > 0 {
		return x.copyFrom(r)
	}
	// Everything but the last byte may take the short cut. The reader is
	// limited in place: the short cut sees through one limit, not two.
	limited := io.LimitedReader{R: r, N: x.length - x.passed - 1}
	outer, nested := r.(*io.LimitedReader)
	if nested {
		limited = io.LimitedReader{R: outer.R, N: min(outer.N, limited.N)}
	}
	if limited.N <= 0 {
		return x.copyFrom(r)
	}
	n, err := x.ResponseWriterWrapper.ReadFrom(&limited)
	if nested {
		outer.N -= n
	}
	x.passed += n
	x.sent.Add(n)
	if err != nil || limited.N > 0 {
		return n, err
	}
	m, err := x.copyFrom(r)
	return n + m, err
}

// copyFrom copies r through Write.
func (x *exchange) copyFrom(r io.Reader) (int64, error) {
	buf := heldPool.Get().(*[]byte)
	defer heldPool.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{x}, struct{ io.Reader }{r}, (*buf)[:holdSize])
}

// Flush is http.Flusher.
func (x *exchange) Flush() { _ = x.FlushError() }

// FlushError passes on what the inner handlers have written, except what
// would complete the response: that leaves when it has been recorded.
func (x *exchange) FlushError() error {
	if x.hold && !x.upgraded {
		if x.status == 0 {
			x.WriteHeader(http.StatusOK)
		}
		if !x.committed {
			if x.bodyless() || x.length >= 0 && int64(len(x.held)) >= x.length {
				return nil
			}
			x.commit()
			if err := x.pass(x.held); err != nil {
				return err
			}
			x.held = x.held[:0]
		} else if x.bodyless() {
			return nil
		}
	} else if x.status == 0 {
		x.begin(http.StatusOK) // as net/http has it
	}
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// Hijack hands the connection over and goes on counting.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, brw, err := http.NewResponseController(x.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	x.upgraded = true
	x.begun.CompareAndSwap(0, http.StatusSwitchingProtocols)
	if x.onUpgrade != nil {
		x.onUpgrade()
	}
	counted := &countedConn{Conn: conn, x: x}
	// net/http returns an empty writer, but the reader may hold what the
	// client sent early; both must go through the counter from here on.
	brw.Writer.Reset(counted)
	early, _ := brw.Peek(brw.Reader.Buffered())
	if len(early) == 0 {
		brw.Reader.Reset(counted)
		return counted, brw, nil
	}
	x.received.Add(int64(len(early)))
	brw.Reader.Reset(io.MultiReader(bytes.NewReader(bytes.Clone(early)), counted))
	_, _ = brw.Peek(len(early)) // so that Buffered tells of them again
	return counted, brw, nil
}

// release lets the rest of the response go: its record is on disk, or need not
// be.
func (x *exchange) release() error {
	if !x.hold || x.upgraded || x.status == 0 {
		return nil
	}
	x.commit()
	err := x.pass(x.held)
	x.held = x.held[:0]
	return err
}

// discard forgets a held response, so that another can replace it. It
// reports whether that is possible: nothing of the response has left.
func (x *exchange) discard() bool {
	if !x.hold || x.committed || x.upgraded {
		return false
	}
	x.held = x.held[:0]
	x.status = 0
	x.begun.Store(0)
	x.sent.Store(0)
	h := x.Header()
	for name := range h {
		// These two are the server's own, everything else the
		// application's.
		if name != "Server" && name != "Alt-Svc" {
			delete(h, name)
		}
	}
	return true
}

// recycle gives the buffer back. Nothing is held any more.
func (x *exchange) recycle() {
	if x.held != nil && !x.upgraded {
		b := x.held[:0]
		x.held = nil
		clear(b[:cap(b)]) // responses are not left in memory
		heldPool.Put(&b)
	}
}

// requestBody counts what is read of the request's body.
type requestBody struct {
	io.ReadCloser
	x       *exchange
	capture *capture
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.x.received.Add(int64(n))
	if b.capture != nil {
		b.capture.add(p[:n])
	}
	return n, err
}

// countedConn counts what passes through an upgraded connection.
type countedConn struct {
	net.Conn
	x *exchange
}

func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.x.received.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.x.sent.Add(int64(n))
	return n, err
}

func (c *countedConn) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(c.Conn, r)
	c.x.sent.Add(n)
	return n, err
}

func (c *countedConn) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, c.Conn)
	c.x.received.Add(n)
	return n, err
}

// CloseWrite passes a half-close on where the connection knows it.
func (c *countedConn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Interface guards
var (
	_ http.ResponseWriter = (*exchange)(nil)
	_ http.Flusher        = (*exchange)(nil)
	_ http.Hijacker       = (*exchange)(nil)
	_ io.ReaderFrom       = (*exchange)(nil)
)

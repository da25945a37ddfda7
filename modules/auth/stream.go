package auth

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// CodeStreamEnded is the code of the decision that ended a stream.
const CodeStreamEnded = "stream_ended"

// lookEvery is how often it is looked whether a credential has been revoked.
const lookEvery = time.Second

// lingering is how long a connection that has been told to end may take to do so.
const lingering = time.Second

// errEnded is how writing to a stream ends whose right has ended.
var errEnded = errors.New("the credential has expired or was revoked")

// ending passes on a request whose credential ends at some time, and ends with
// it what has no end of its own: server-sent events and other responses of
// unknown length, and upgraded connections. s is the room for that.
func (h *Handler) ending(s *stream, w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, won winners, g *granted) (err error) {
	outer := r.Context()
	s.ResponseWriter, s.r = w, r
	s.rights = [2]credential.Right{g.user.Right, g.app.Right}
	s.life.Context = outer
	// The handlers outside hold this request, too: what those inside change of it
	// must stay, and the end of a stream does not end theirs.
	*r = *r.WithContext(&s.life)
	defer func() {
		s.life.end()
		*r = *r.WithContext(outer)
		if !s.finish() {
			return
		}
		// reverse_proxy gives up by a panic. The response ends properly here.
		if cause := recover(); cause != nil && cause != http.ErrAbortHandler { //nolint:errorlint // it is panicked with as it is
			panic(cause)
		}
		err = nil
		if s.plain() {
			reqctx.EndEvents(w, CodeStreamEnded, "The credential has expired or was revoked.")
		}
		reqctx.Decisions(r).Add(decision.Decision{Layer: h.Name, Result: decision.Deny, Rule: "stream_expiry", Code: CodeStreamEnded})
	}()
	return h.serve(s, r, next, won, g)
}

// stream is the response to a request whose credential ends at some time.
type stream struct {
	caddyhttp.ResponseWriterWrapper
	r      *http.Request
	rights [2]credential.Right // each of which is needed: those of the user and of the application
	life   life

	mu     sync.Mutex
	status bool // the header has been written
	socket bool // a WebSocket over HTTP/2 or HTTP/3
	frames frames
	conn   *tunnel // where the connection was given away
	timer  *time.Timer
	ended  bool // with the right
	done   bool // the handlers have returned

	leaving sync.Mutex // held while a deadline is set, so that the response stays meanwhile
	left    bool       // as done
}

// WriteHeader notes whether the response has an end.
func (s *stream) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		s.begin(status)
	}
	s.ResponseWriterWrapper.WriteHeader(status)
}

func (s *stream) begin(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status {
		return
	}
	s.status = true
	connect := s.r.Method == http.MethodConnect
	s.socket = connect && status == http.StatusOK
	if status == http.StatusSwitchingProtocols || s.socket || endless(s.r.Method, status, s.Header()) {
		s.timer = time.AfterFunc(s.next(time.Now()), s.look)
	}
}

// endless reports whether nothing says how long a response is.
func endless(method string, status int, h http.Header) bool {
	switch {
	case method == http.MethodHead, status == http.StatusNoContent, status == http.StatusNotModified, h.Get("Content-Length") != "":
		return false
	}
	disposition, _, _ := strings.Cut(h.Get("Content-Disposition"), ";")
	return !strings.EqualFold(strings.TrimSpace(disposition), "attachment")
}

// next is when to look again.
func (s *stream) next(now time.Time) time.Duration {
	wait := lookEvery
	for i := range s.rights {
		if until := s.rights[i].Until; !until.IsZero() {
			wait = min(wait, until.Sub(now))
		}
	}
	return max(wait, time.Millisecond)
}

// look ends the stream if its right has ended.
func (s *stream) look() {
	now := time.Now()
	over := s.rights[0].Over(now) || s.rights[1].Over(now)
	if over && !s.hurry(now.Add(lingering)) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.done:
		return
	case !over:
		s.timer.Reset(s.next(now))
		return
	}
	s.timer.Reset(lingering) // a deadline is gone once something has been written
	if s.ended {
		return
	}
	s.ended = true
	switch {
	case s.conn != nil:
		s.conn.end()
	case s.socket && s.frames.between():
		_, _ = s.ResponseWriter.Write(closeFrame)
		_ = http.NewResponseController(s.ResponseWriter).Flush() //nolint:bodyclose // of the controller's
	}
	s.life.end()
}

// hurry sets a deadline for what is being written: what the client does not read
// must not keep the stream from ending. It reports false if the handlers have
// returned, after which the response is not ours any more.
//
// The deadline goes past all that stands round the writer of net/http or quic-go,
// which alone may be told by another goroutine than the handler's.
func (s *stream) hurry(deadline time.Time) bool {
	if conn := s.tunnel(); conn != nil {
		_ = conn.SetWriteDeadline(deadline)
		return true
	}
	s.leaving.Lock()
	defer s.leaving.Unlock()
	if s.left {
		return false
	}
	if w, ok := innermost(s.ResponseWriter).(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = w.SetWriteDeadline(deadline)
	}
	return true
}

// innermost returns the writer that no other stands in.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = u.Unwrap()
	}
}

// FlushError flushes, and not while the end of a WebSocket is being written.
func (s *stream) FlushError() error {
	s.begin(http.StatusOK)
	s.mu.Lock()
	if s.socket {
		defer s.mu.Unlock()
	} else {
		s.mu.Unlock()
	}
	return http.NewResponseController(s.ResponseWriter).Flush() //nolint:bodyclose // of the controller's
}

func (s *stream) tunnel() *tunnel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn
}

// Write passes on what belongs to the response while the right lasts.
func (s *stream) Write(p []byte) (int, error) {
	s.begin(http.StatusOK)
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return 0, errEnded
	}
	if !s.socket {
		s.mu.Unlock()
		return s.ResponseWriter.Write(p)
	}
	defer s.mu.Unlock()
	n, err := s.ResponseWriter.Write(p)
	s.frames.feed(p[:n])
	return n, err
}

// ReadFrom passes on content of known length as fast as the writer below can.
func (s *stream) ReadFrom(r io.Reader) (int64, error) {
	s.begin(http.StatusOK)
	s.mu.Lock()
	bounded := s.timer == nil
	s.mu.Unlock()
	if bounded {
		return s.ResponseWriterWrapper.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{s}, r)
}

// Hijack gives the connection away.
func (s *stream) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(s.ResponseWriter).Hijack() //nolint:bodyclose // of the controller's
	if err != nil {
		return nil, nil, err
	}
	t := &tunnel{Conn: conn, websocket: strings.EqualFold(s.Header().Get("Upgrade"), "websocket")}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = t
	if s.timer == nil {
		s.timer = time.AfterFunc(s.next(time.Now()), s.look)
	}
	// The writer of the response may still hold the head in its buffer.
	if err := rw.Flush(); err != nil {
		return nil, nil, err
	}
	return t, bufio.NewReadWriter(rw.Reader, bufio.NewWriter(t)), nil
}

// finish stops looking and reports whether the stream has ended with its right.
func (s *stream) finish() bool {
	s.leaving.Lock()
	s.left = true
	s.leaving.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
	if s.timer != nil {
		s.timer.Stop()
	}
	return s.ended
}

// plain reports whether there is a response that has not become something else.
func (s *stream) plain() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status && !s.socket && s.conn == nil
}

// tunnel is a connection that was given away.
type tunnel struct {
	net.Conn
	websocket bool

	mu     sync.Mutex
	frames frames
	ended  bool
}

func (t *tunnel) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return 0, errEnded
	}
	n, err := t.Conn.Write(p)
	if t.websocket {
		t.frames.feed(p[:n])
	}
	return n, err
}

// CloseWrite ends one direction, as proxies do when the other side has ended it.
func (t *tunnel) CloseWrite() error {
	if c, ok := t.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return t.Conn.Close()
}

// Close closes the connection, which closes itself once it has been ended.
func (t *tunnel) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return nil
	}
	return t.Conn.Close()
}

// end tells the client why, where the protocol has words for it, and closes the
// connection once the client has closed its side or has had time to.
func (t *tunnel) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	if t.websocket && t.frames.between() {
		_, _ = t.Conn.Write(closeFrame)
	}
	_ = t.Conn.SetReadDeadline(time.Now().Add(lingering))
	go func() {
		// A connection that is closed with bytes to be read is reset, and the
		// client may never see what was written last.
		_, _ = io.Copy(io.Discard, io.LimitReader(t.Conn, 1<<20))
		_ = t.Conn.Close()
	}()
}

// closeFrame closes a WebSocket with the status 1008, policy violation (RFC 6455
// sections 5.5.1 and 7.4.1).
var closeFrame = append([]byte{0x88, byte(2 + len(closeReason)), 1008 >> 8, 1008 & 0xff}, closeReason...)

const closeReason = "credential ended"

// frames follows the frames of a WebSocket (RFC 6455 section 5.2), to know where
// one ends.
type frames struct {
	head [14]byte
	n    int    // bytes of the head that have been seen
	rest uint64 // of the payload
}

// between reports whether no frame has begun that has not ended.
func (f *frames) between() bool { return f.n == 0 && f.rest == 0 }

func (f *frames) feed(p []byte) {
	for len(p) > 0 {
		if f.rest > 0 {
			n := min(uint64(len(p)), f.rest)
			f.rest -= n
			p = p[n:]
			continue
		}
		f.head[f.n] = p[0]
		f.n++
		p = p[1:]
		if f.n < 2 {
			continue
		}
		length, extended := uint64(f.head[1]&0x7f), 0
		switch length {
		case 126:
			extended = 2
		case 127:
			extended = 8
		}
		size := 2 + extended
		if f.head[1]&0x80 != 0 {
			size += 4
		}
		if f.n < size {
			continue
		}
		if extended > 0 {
			length = 0
			for _, b := range f.head[2 : 2+extended] {
				length = length<<8 | uint64(b)
			}
		}
		f.n, f.rest = 0, length
	}
}

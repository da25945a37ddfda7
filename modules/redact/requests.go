package redact

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// redactRequest puts the rules between the body of r and the upstream. Bodies
// that end within the hold are read here, so that what is wrong with them is
// known before the upstream sees anything; it returns nil if there is no
// body, or one that passes.
func (h *Handler) redactRequest(r *http.Request, p *principal.Principal) (*requestBody, error) {
	if r.Method == http.MethodConnect || !reqctx.HasContent(r) {
		return nil, nil
	}
	v, err := h.requests.of(p)
	if err != nil {
		return nil, internalFault(err)
	}
	if v == nil {
		return nil, nil
	}
	b := &requestBody{src: r.Body, closer: r.Body, caller: callerOf(p, nil)}
	if v.places {
		b.caller.Vault = redaction.NewVault()
	}
	l := readLabel(r.Header, h.reqPass)
	c := readCoding(r.Header)
	if c.label && c.doubt == "" {
		c.doubt = "a content coding that is not known"
	}
	if c.doubt != "" { // whatever passes: who says it may know what the upstream makes of it
		return nil, unsupportedRequestBody(&fault{reason: "encoding", detail: c.doubt})
	}
	if c.name != "" {
		b.src = &lazyDecoder{name: c.name, src: r.Body}
	}
	first, err := b.peek(l)
	if err != nil {
		return nil, h.unreadRequest(err)
	}
	if len(first) == 0 {
		r.Body, r.ContentLength = http.NoBody, 0
		r.Header.Del("Content-Length")
		return nil, nil
	}
	k, f := judge(l, first)
	if k == events && !f.is() {
		f = fault{reason: "media_type", detail: "events in a request"}
	}
	if f.is() {
		if err := h.unreadableRequest(f); err != nil {
			return nil, err
		}
	}
	for _, name := range digests {
		delete(r.Header, name)
	}
	if c.name != "" {
		delete(r.Header, "Content-Encoding")
	}
	if !f.is() && reads(k) {
		f = b.read(&requestText{r.Method, r.URL.RawQuery, r.Header, l, k, r.ContentLength >= 0, first}, h, v, b.caller)
		if f.is() {
			if err := h.unreadableRequest(f); err != nil {
				return nil, err
			}
		}
	}
	if b.rewriter == nil {
		b.plain(r, first, c.name != "")
		return nil, nil
	}
	if h.needsLength(r) {
		return b, b.whole(r, first, h.Requests.MaxBody)
	}
	return b, b.start(r, first, h.Hold)
}

// unreadableRequest refuses a body that is not read, unless such bodies pass.
func (h *Handler) unreadableRequest(f fault) error {
	if h.passes(&f) {
		return nil
	}
	return unsupportedRequestBody(&f)
}

// unreadRequest is the fault of a body that did not arrive. What request_body says
// about one that is too large is passed on.
func (*Handler) unreadRequest(err error) error {
	var he caddyhttp.HandlerError
	if errors.As(err, &he) {
		return he
	}
	return invalidRequestBody(&fault{reason: "truncated", detail: "the body could not be read", cause: err})
}

// requestBody is a request body as the upstream may see it.
type requestBody struct {
	src      io.Reader
	closer   io.Closer
	rewriter rewriter
	caller   redaction.Caller
	out      bytes.Buffer // redacted and not yet read
	buf      []byte
	ended    bool

	// The transport reads on a goroutine of its own.
	mu      sync.Mutex
	closed  bool
	problem *problem.Problem
}

// peek reads until it is decided what the body is.
func (b *requestBody) peek(l label) ([]byte, error) {
	first := make([]byte, 0, sniffLen)
	for len(first) == 0 || !decisive(l, first) {
		first = slices.Grow(first, sniffLen)
		n, err := b.src.Read(first[len(first):cap(first)])
		first = first[:len(first)+n]
		if err == io.EOF {
			b.ended = true
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return first, nil
}

// plain lets the body pass after all.
func (b *requestBody) plain(r *http.Request, first []byte, decoded bool) {
	r.Body = reqctx.PutBack(first, readCloser{b.src, b.closer}, b.ended)
	if decoded {
		r.ContentLength = -1
		r.Header.Del("Content-Length")
	}
}

// readCloser is what is read of a body, which may have been decoded, and what is
// closed.
type readCloser struct {
	io.Reader
	io.Closer
}

// start redacts as much as may be held, and makes the rest follow as it is
// read.
func (b *requestBody) start(r *http.Request, first []byte, hold int) error {
	_, err := b.rewriter.Write(first)
	if err == nil && b.ended {
		err = b.rewriter.Close()
	}
	for err == nil && !b.ended && b.out.Len() <= hold {
		err = b.fill()
	}
	if err != nil {
		return b.blame(err)
	}
	r.Body = b
	if b.ended {
		r.ContentLength = int64(b.out.Len())
		r.Header["Content-Length"] = []string{strconv.Itoa(b.out.Len())}
		return nil
	}
	r.ContentLength = -1
	r.Header.Del("Content-Length")
	return nil
}

// whole redacts all of the body, so that its length is known.
func (b *requestBody) whole(r *http.Request, first []byte, limit int) error {
	if limit == 0 {
		limit = defaultMaxBody
	}
	if err := b.start(r, first, limit); err != nil {
		return err
	}
	if !b.ended || b.out.Len() > limit {
		return largeRequestBody(limit)
	}
	return nil
}

// fill redacts one more piece of the body.
func (b *requestBody) fill() error {
	if b.buf == nil {
		b.buf = make([]byte, 16<<10)
	}
	n, err := b.src.Read(b.buf)
	if _, werr := b.rewriter.Write(b.buf[:n]); werr != nil {
		return werr
	}
	if err == io.EOF {
		b.ended = true
		return b.rewriter.Close()
	}
	return err
}

// blame tells what is wrong with the body from a failure to read it.
func (b *requestBody) blame(err error) error {
	var e *redaction.Error
	if errors.As(err, &e) {
		f := syntaxFault(err)
		return invalidRequestBody(&f)
	}
	var f *fault
	if errors.As(err, &f) {
		switch f.reason {
		case "truncated", "syntax":
			return invalidRequestBody(f)
		}
		return unsupportedRequestBody(f)
	}
	return (*Handler)(nil).unreadRequest(err)
}

// Read is called by whoever sends the body on.
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	for b.out.Len() == 0 && !b.ended {
		if b.problem != nil {
			return 0, errRefused
		}
		if err := b.fill(); err != nil {
			err = b.blame(err)
			var p *problem.Problem
			if !errors.As(err, &p) {
				return 0, err
			}
			b.problem = p
		}
	}
	if b.problem != nil {
		return 0, errRefused
	}
	return b.out.Read(p)
}

// Close closes the body of the client.
func (b *requestBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return b.closer.Close()
}

// failed returns why the body was refused while it was being sent on.
func (b *requestBody) failed() *problem.Problem {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.problem
}

// account says what was redacted.
func (b *requestBody) account(h *Handler, r *http.Request) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := b.rewriter.Count(); n > 0 {
		h.metrics.fields.Add(float64(n))
		reqctx.Decisions(r).AddRedacted(n, b.rewriter.Fired()...)
	}
}

// lazyDecoder decodes from its first read on: to make a decoder means to read.
type lazyDecoder struct {
	name string
	src  io.Reader
	dec  io.Reader
}

func (l *lazyDecoder) Read(p []byte) (int, error) {
	if l.dec == nil {
		dec, err := newDecoder(l.name, l.src)
		if err != nil {
			return 0, err
		}
		l.dec = dec
	}
	return l.dec.Read(p)
}

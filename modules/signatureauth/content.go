package signatureauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/httpsig"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// verifyContent compares the content with its digest. What fits into the
// buffer is compared at once; of what does not, the rest is compared as it is
// read, and what is returned then knows the result.
func (p *Provider) verifyContent(r *http.Request, digest *httpsig.Digest) (*compared, error) {
	limit := p.Body
	if limit == 0 {
		limit = defaultBody
	}
	text, err := reqctx.ReadContent(r, limit)
	switch {
	case errors.Is(err, reqctx.ErrTooLarge):
		w := &compared{ReadCloser: digest.Reader(r.Body)}
		r.Body = w
		return w, nil
	case err != nil:
		return nil, err
	case !digest.Check(text):
		return nil, errDigest
	}
	return nil, nil //nolint:nilnil // there is nothing to be compared
}

var errDigest = &httpsig.Error{Class: httpsig.ErrDigest, Reason: "the content does not have the digest that was signed"}

// compared is content that is compared as it is read.
type compared struct {
	io.ReadCloser
	failed failed
	unsent bool // the response that says that the client has gone was held back
}

// errGone is how reading ends. It is also a context.Canceled, so that
// reverse_proxy takes it for the client's doing, which it is: it neither tries
// again nor counts a failure of the upstream, which one sender could take away
// from all others that way.
var errGone = fmt.Errorf("%w: %w", errDigest, context.Canceled)

func (w *compared) Read(b []byte) (int, error) {
	n, err := w.ReadCloser.Read(b)
	if errors.Is(err, httpsig.ErrDigest) {
		w.failed.note()
		err = errGone
	}
	return n, err
}

// guardedWriter holds back the status with which reverse_proxy notes that the
// client has gone: it is still there, and gets a response.
type guardedWriter struct {
	*caddyhttp.ResponseWriterWrapper
	content *compared
}

// statusGone is what reverse_proxy says of a client that has gone.
const statusGone = 499

func (g *guardedWriter) WriteHeader(status int) {
	if status == statusGone && g.content.failed.noted() {
		g.content.unsent = true
		return
	}
	g.ResponseWriterWrapper.WriteHeader(status)
}

// broken reports whether a request that was let pass is to be rejected after all:
// its content was not what was signed. A response that came before the end of the
// content stays. err is that of the handlers behind.
func (w *compared) broken(err error) bool {
	return w.failed.noted() && (err != nil || w.unsent)
}

// serving is the rest of a request whose signature is good: its content may
// still be compared, and its response be signed.
type serving struct {
	content *compared  // or nil
	to      *Responses // or nil
	asked   *asked
}

// serve implements credential.Grant.Wrap.
func (s *serving) serve(w http.ResponseWriter, r *http.Request, next credential.Next) error {
	inner, signing := w, (*signingWriter)(nil)
	if s.to != nil {
		signing = newSigningWriter(w, s.to, s.asked)
		inner = signing
	}
	if s.content != nil {
		inner = &guardedWriter{&caddyhttp.ResponseWriterWrapper{ResponseWriter: inner}, s.content}
	}
	err := run(inner, r, next, signing != nil)
	if s.content != nil && s.content.broken(err) {
		return explain(errDigest)
	}
	if signing != nil {
		return signing.finish(r, err)
	}
	return err
}

// errAborted stands for a handler that has given up in the middle of a response.
var errAborted = caddyhttp.Error(http.StatusBadGateway, errors.New("the response was aborted"))

// run calls next. Where the response is held back, one that was aborted, as
// reverse_proxy does it by a panic, is an error: nothing of it has left.
func run(w http.ResponseWriter, r *http.Request, next credential.Next, held bool) (err error) {
	if held {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if cause != http.ErrAbortHandler || r.Context().Err() != nil { //nolint:errorlint // it is panicked with as it is
				panic(cause)
			}
			err = errAborted
		}()
	}
	return next(w, r)
}

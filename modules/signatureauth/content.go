package signatureauth

import (
	"bytes"
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
// read, and the result is for Failed to tell.
func (p *Provider) verifyContent(r *http.Request, digest *httpsig.Digest) error {
	if !reqctx.HasContent(r) {
		if !digest.Check(nil) {
			return errDigest
		}
		return nil
	}
	limit := p.Body
	if limit == 0 {
		limit = defaultBody
	}
	if r.ContentLength <= limit { // also where it is not known
		begin, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
		if err != nil {
			return err
		}
		if int64(len(begin)) <= limit {
			if !digest.Check(begin) {
				return errDigest
			}
			r.Body = &content{Reader: bytes.NewReader(begin), Closer: r.Body}
			return nil
		}
		r.Body = &content{Reader: io.MultiReader(bytes.NewReader(begin), r.Body), Closer: r.Body}
	}
	w := &compared{ReadCloser: digest.Reader(r.Body)}
	r.Body = w
	if vars := reqctx.Vars(r); vars != nil {
		vars[contentVar] = w
	}
	return nil
}

// contentVar is the variable under which content stands that is compared as it
// is read.
const contentVar = "moat.signature.content"

var errDigest = &httpsig.Error{Class: httpsig.ErrDigest, Reason: "the content does not have the digest that was signed"}

// content is what has been read of a body and the rest of it.
type content struct {
	io.Reader
	io.Closer
}

// compared is content that is compared as it is read.
type compared struct {
	io.ReadCloser
	failed failed
	unsent bool // the answer that says that the client has gone was held back
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

// Guard returns the writer for a request whose content is compared as it is
// read.
func (p *Provider) Guard(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	c, ok := reqctx.Vars(r)[contentVar].(*compared)
	if !ok {
		return w
	}
	return &guardedWriter{&caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, c}
}

// guardedWriter holds back the status with which reverse_proxy notes that the
// client has gone: it is still there, and gets an answer.
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

// Failed says why a request that was let pass has failed after all: its content
// was not what was signed.
func (p *Provider) Failed(r *http.Request, err error) *credential.Error {
	w, ok := reqctx.Vars(r)[contentVar].(*compared)
	if !ok || !w.failed.noted() || err == nil && !w.unsent {
		return nil // an answer that came before the end of the content stays
	}
	return explain(errDigest)
}

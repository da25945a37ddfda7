package reqctx

import (
	"errors"
	"io"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// ErrTooLarge is what ReadContent returns for content that is larger than asked.
var ErrTooLarge = errors.New("the content is too large")

// ReadContent reads the content of a request where that is at most max bytes,
// and leaves all of it for whoever reads the body next. A layer behind another
// that has read it gets what is in memory already, which nobody may change.
//
// It is nil where there is none. Content that is larger is ErrTooLarge; nothing of
// it is lost either, and the body can be read from its beginning. So it can be
// after an error, which whoever reads on meets where it is.
func ReadContent(r *http.Request, max int64) ([]byte, error) {
	if p, ok := r.Body.(*peekable); ok && p.body != nil {
		r.Body = p.body // a placeholder has asked for it
	}
	if b, ok := r.Body.(*Body); ok && b.whole && b.read == 0 {
		if int64(len(b.text)) > max {
			return nil, ErrTooLarge
		}
		return b.text, nil
	}
	if r.ContentLength > max {
		return nil, ErrTooLarge // nothing of it need be read
	}
	if !HasContent(r) {
		return nil, nil
	}
	text, err := readAll(r.Body, max+1, r.ContentLength)
	whole := err == nil && int64(len(text)) <= max
	r.Body = &Body{text: text, whole: whole, rest: r.Body}
	switch {
	case whole:
		return text, nil
	case err == nil:
		return nil, ErrTooLarge
	}
	return nil, err
}

// maxAnnounced is how much room is made for content because its length says so.
const maxAnnounced = 64 << 10

// readAll reads up to max bytes, into room for as much as is announced.
func readAll(body io.Reader, max, announced int64) ([]byte, error) {
	if announced <= 0 {
		announced = 511
	}
	// One byte more, so that the end is met without more room.
	text := make([]byte, 0, min(max, 1+min(announced, maxAnnounced)))
	for int64(len(text)) < max {
		if len(text) == cap(text) {
			text = slices.Grow(text, len(text))
		}
		n, err := body.Read(text[len(text):min(int64(cap(text)), max)])
		text = text[:len(text)+n]
		if err == io.EOF { //nolint:errorlint // as io.ReadAll
			return text, nil
		}
		if err != nil {
			return text, err
		}
	}
	return text, nil
}

// Limited reports whether reading a body ended at the limit of request_body.
func Limited(err error) bool {
	var tooLarge *http.MaxBytesError
	var he caddyhttp.HandlerError
	return errors.As(err, &tooLarge) || errors.As(err, &he) && he.StatusCode == http.StatusRequestEntityTooLarge
}

// Body is a request body of which the beginning, or all, has been read.
type Body struct {
	text  []byte
	read  int // of text
	whole bool
	rest  io.ReadCloser
}

// PutBack returns a body that is text and then what rest has. With whole, text is
// all, and rest is only closed.
func PutBack(text []byte, rest io.ReadCloser, whole bool) *Body {
	return &Body{text: text, rest: rest, whole: whole}
}

// is reports whether content is all of the body, in the same memory: what ReadContent
// returns.
func (b *Body) is(content []byte) bool {
	return b != nil && b.whole && len(content) > 0 && len(content) == len(b.text) && &content[0] == &b.text[0]
}

// Read reads what has been read before, and then the rest.
func (b *Body) Read(p []byte) (int, error) {
	switch {
	case b.read < len(b.text):
		n := copy(p, b.text[b.read:])
		b.read += n
		return n, nil
	case b.whole:
		return 0, io.EOF
	}
	return b.rest.Read(p)
}

// Close closes the body of the client.
func (b *Body) Close() error { return b.rest.Close() }

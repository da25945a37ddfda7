package breaker

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

// content is the body of a request. It notes whether the client has sent it to its end: a
// proxy answers content that ends early or is garbled with 502, as if the upstream had
// failed.
type content struct {
	io.ReadCloser
	closed, broken atomic.Bool
}

// watch has the content of a request looked at.
func watch(r *http.Request) *content {
	c := &content{ReadCloser: r.Body}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = c
	}
	return c
}

// restore gives the request its content back.
func (c *content) restore(r *http.Request) {
	if r.Body == c {
		r.Body = c.ReadCloser
	}
}

// Read reads, and notes an error that is not of a proxy that has closed the content.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !c.closed.Load() {
		c.broken.Store(true)
	}
	return n, err
}

// Close closes the content.
func (c *content) Close() error {
	c.closed.Store(true)
	return c.ReadCloser.Close()
}

package audit

import (
	"net/http"
	"sync"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/conceal"
)

// capture keeps the beginning of a body for the record. A transport may still
// read the request's body when the response is over, if the upstream has answered
// before it had all of it.
type capture struct {
	max      int64
	kind     string
	encoding string

	mu   sync.Mutex
	buf  []byte
	more bool // there was more than fits
	done bool // the record is made: what comes now comes too late
}

// describe notes the header fields that say how to read the body.
func (c *capture) describe(h http.Header) {
	c.kind, c.encoding = h.Get("Content-Type"), h.Get("Content-Encoding")
}

func (c *capture) add(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return
	}
	room := c.max - int64(len(c.buf))
	if int64(len(p)) > room {
		c.more = true
		p = p[:max(room, 0)]
	}
	c.buf = append(c.buf, p...)
}

// clean returns what may be recorded, and whether anything was left out.
func (c *capture) clean(b *conceal.Body) (text []byte, elided bool) {
	if c == nil {
		return nil, false
	}
	c.mu.Lock()
	c.done = true
	c.mu.Unlock()
	return b.Clean(c.buf, c.kind, c.encoding, c.more)
}

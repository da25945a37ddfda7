package audit

import (
	"net/http"

	"github.com/caddy-moat/caddy-moat/modules/internal/conceal"
)

// capture keeps the beginning of a body for the record.
type capture struct {
	max      int64
	buf      []byte
	more     bool // there was more than fits
	kind     string
	encoding string
}

// describe notes the header fields that say how to read the body.
func (c *capture) describe(h http.Header) {
	c.kind, c.encoding = h.Get("Content-Type"), h.Get("Content-Encoding")
}

func (c *capture) add(p []byte) {
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
	return b.Clean(c.buf, c.kind, c.encoding, c.more)
}

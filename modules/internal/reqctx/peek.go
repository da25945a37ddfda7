package reqctx

import (
	"io"
	"net/http"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/mcp"
)

// mcpPrefix is that of placeholders for the message of a request.
const mcpPrefix = "http.mcp."

// peekable is a request body that can be read ahead when a placeholder asks what is
// in it. It is put into the request once, and copies of the request have it too, so
// that whoever reads on reads from the beginning.
type peekable struct {
	rest  io.ReadCloser
	max   int64
	begun bool
	body  *Body // once it has been read ahead
	read  *mcp.Message
}

// SetMessage has the placeholders {http.mcp.*} be about a message that was read.
func SetMessage(r *http.Request, m *mcp.Message) { Of(r).mcp.message = m }

// ReadMessage reads the one message that a request's content must be. What a
// placeholder has read before is not read again, if the content is still what it was.
func ReadMessage(r *http.Request, content []byte) (*mcp.Message, *mcp.Error) {
	if p := Of(r).mcp.peek; p != nil && p.read != nil && p.body.is(content) {
		return p.read, nil
	}
	return mcp.Parse(content)
}

// Peek has the placeholders {http.mcp.*} of a request work before the handler that
// reads its message: for limits, which stand before. A message is read up to max
// bytes, when a placeholder asks for it.
func Peek(r *http.Request, max int64) {
	if r.Method != http.MethodPost || r.Body == nil || r.Body == http.NoBody || r.ContentLength > max {
		return
	}
	p := &peekable{rest: r.Body, max: max}
	r.Body = p
	Of(r).mcp.peek = p
}

// Read reads what has been read ahead, and then the rest.
func (p *peekable) Read(b []byte) (int, error) {
	if p.body != nil {
		return p.body.Read(b)
	}
	p.begun = true
	return p.rest.Read(b)
}

// Close closes the body of the client.
func (p *peekable) Close() error { return p.rest.Close() }

// message returns the message of the request, or nil where there is none that has
// one reading.
func (p *peekable) message() *mcp.Message {
	if p.body != nil || p.begun {
		return p.read
	}
	text, err := io.ReadAll(io.LimitReader(p.rest, p.max+1))
	whole := err == nil && int64(len(text)) <= p.max
	p.body = PutBack(text, p.rest, whole)
	if whole {
		if m, bad := mcp.Parse(text); bad == nil {
			p.read = m
		}
	}
	return p.read
}

// messagePlaceholder returns the value of {http.mcp.<name>}.
func (c *Context) messagePlaceholder(name string) (any, bool) {
	// A request without a message has empty values, and no unknown ones: Caddy
	// would leave the placeholder in the text.
	m := c.mcp.message
	if m == nil && c.mcp.peek != nil {
		m = c.mcp.peek.message()
	}
	if m == nil {
		m = new(mcp.Message)
	}
	switch name {
	case "method":
		return m.Method, true
	case "tool":
		return m.Tool(), true
	case "name":
		return m.Name(), true
	}
	return nil, false
}

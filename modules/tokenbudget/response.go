package tokenbudget

import (
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/usage"
)

// metered reads what a response has cost as it passes.
type metered struct {
	*caddyhttp.ResponseWriterWrapper
	h      *Handler
	status int
	meter  *usage.Meter // nil: nobody can tell from this body
	stream bool
}

func newMetered(h *Handler, w http.ResponseWriter) *metered {
	return &metered{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, h: h}
}

// WriteHeader notes the status and how the body is framed.
func (m *metered) WriteHeader(status int) {
	if m.status == 0 && status >= 200 {
		m.status = status
		m.begin()
	}
	m.ResponseWriterWrapper.WriteHeader(status)
}

func (m *metered) begin() {
	header := m.Header()
	if coding := header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return
	}
	media, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	switch {
	case media == "text/event-stream":
		m.meter, m.stream = m.h.reader.Meter(usage.Events), true
	case strings.Contains(media, "json") || media == "" || media == "text/plain":
		m.meter = m.h.reader.Meter(usage.JSON)
	}
}

// Write reads what passes.
func (m *metered) Write(p []byte) (int, error) {
	if m.status == 0 {
		m.WriteHeader(http.StatusOK)
	}
	// What the upstream has sent was made, whether or not the client gets it.
	if m.meter != nil {
		_, _ = m.meter.Write(p)
	}
	return m.ResponseWriterWrapper.Write(p)
}

// ReadFrom has what passes read, too.
func (m *metered) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{m}, r)
}

// How the cost of a response was found out.
const (
	byUsage    = "usage"    // the response said it
	byEstimate = "estimate" // it did not, and was estimated by its length
	byReserve  = "reserve"  // nobody can tell: it is what was reserved
	byStatus   = "status"   // it failed, and costs nothing
)

// cost returns what the response has cost, and how that was found out. Whoever
// is gone before it has ended pays at least what was reserved, unless it is a
// stream, which the upstream ends as well: it has made the rest, for all we know.
func (m *metered) cost(reserved, prompt int64, gone bool) (tokens int64, how string) {
	if m.meter != nil {
		if total, ok := m.meter.Total(); ok {
			return total, byUsage
		}
	}
	switch {
	case m.status >= 400 || m.status == 0 && !gone:
		return 0, byStatus
	case m.meter == nil:
		return reserved, byReserve
	case m.stream:
		// Most events have one token, and none of those with text has less.
		return prompt + max(m.meter.Events(), 1), byEstimate
	}
	tokens = prompt + (m.meter.Bytes()+bytesPerToken-1)/bytesPerToken
	if gone {
		tokens = max(tokens, reserved)
	}
	return tokens, byEstimate
}

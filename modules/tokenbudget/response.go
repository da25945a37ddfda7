package tokenbudget

import (
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/budget"
	"github.com/caddy-moat/caddy-moat/modules/internal/data/usage"
)

// metered reads what a response has cost as it passes.
type metered struct {
	*caddyhttp.ResponseWriterWrapper
	h      *Handler
	status int
	meter  *usage.Meter // nil: nobody can tell from this body
	stream bool
	left   int64           // bytes that are to come, below zero if nobody has said it
	settle func(gone bool) // to be called before the client has all of the response
	plain  bool            // the body may be what the model says, and nothing else
	broken bool            // the client has not got all of it
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
	m.left = -1
	if n, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64); err == nil {
		m.left = n
	}
	if coding := header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return
	}
	media, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	switch {
	case media == "text/event-stream":
		m.meter, m.stream = m.h.reader.Meter(usage.Events), true
	case strings.Contains(media, "json") || media == "" || media == "text/plain":
		m.meter, m.plain = m.h.reader.Meter(usage.JSON), media == "text/plain"
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
		// A client that sends its next request at once is to meet what this one
		// has cost, and not what it has reserved.
		whole := m.left >= 0 && int64(len(p)) >= m.left
		m.left -= int64(len(p))
		if whole || m.meter.Ended() {
			m.settle(false)
		}
	}
	n, err := m.ResponseWriterWrapper.Write(p)
	m.broken = m.broken || err != nil
	return n, err
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

// cost returns what the response has cost, and how that was found out. Who does
// not wait for its end pays at least what was reserved, whatever the request has
// said, unless it is a stream, which the upstream ends as well: it has made the
// rest, for all we know.
func (m *metered) cost(r *budget.Reservation, prompt int64, gone bool) (tokens int64, how string) {
	total, said := int64(0), false
	if m.meter != nil {
		total, said = m.meter.Total()
	}
	switch gone = gone || m.broken; {
	case said && !m.plain && (!gone || !m.stream):
		return total, byUsage
	case !said && (m.status >= 400 || m.status == 0 && !gone):
		return 0, byStatus
	case m.meter == nil:
		return r.Unproven, byReserve
	case m.stream:
		if said { // before the end, as of a prompt
			prompt = min(prompt, total)
		}
		// Most events have one token, and none of those with text has less.
		tokens = prompt + max(m.meter.Events(), perBytes(m.meter.Said()), 1)
	default:
		tokens = prompt + perBytes(m.meter.Bytes())
		if gone {
			tokens = max(tokens, r.Unproven)
		}
	}
	return max(tokens, total), byEstimate
}

// perBytes returns about how many tokens so many bytes of text have.
func perBytes(n int64) int64 { return (n + bytesPerToken - 1) / bytesPerToken }

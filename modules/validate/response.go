package validate

import (
	"bytes"
	"errors"
	"maps"
	"net/http"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/contract"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// response stands between the upstream and the client. What is blocked has not left:
// it is held until it is known to be right.
//
// Its methods may be called from several goroutines, since reverse_proxy flushes from a
// timer.
type response struct {
	h      *Responses
	w      http.ResponseWriter
	r      *http.Request
	known  *known
	before http.Header // the header as it was before the upstream
	limits contract.Limits

	mu        sync.Mutex
	expected  *contract.Expectation // nil before the header
	status    int
	committed bool // the header has left
	held      bytes.Buffer
	overflow  bool // more than is checked
	faults    []problem.Fault
	blocked   bool
}

// errBlocked ends the copying of a response of which nothing leaves.
var errBlocked = errors.New("validate_responses: the response is not as documented")

// run serves the request. A response that is blocked makes reverse_proxy panic when it
// can write no more of it, which is for finish to answer.
func (rw *response) run(next caddyhttp.Handler) (err error) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		rw.mu.Lock()
		blocked := rw.blocked
		rw.mu.Unlock()
		if !blocked || cause != http.ErrAbortHandler { //nolint:errorlint // it is panicked with as it is
			panic(cause)
		}
	}()
	return next.ServeHTTP(rw, rw.r)
}

// blocks reports whether responses that are wrong must not leave.
func (rw *response) blocks() bool { return rw.h.Action == actionBlock }

// Header returns the header that the client will get.
func (rw *response) Header() http.Header { return rw.w.Header() }

// Unwrap is for upgraded connections, which nobody looks into.
func (rw *response) Unwrap() http.ResponseWriter { return rw.w }

// WriteHeader notes the status and finds out what is expected.
func (rw *response) WriteHeader(status int) {
	rw.mu.Lock()
	defer rw.mu.Unlock()
	if status < 200 && status != http.StatusSwitchingProtocols {
		rw.w.WriteHeader(status)
		return
	}
	rw.begin(status)
}

// begin looks at status and header. Callers hold mu.
func (rw *response) begin(status int) {
	if rw.expected != nil {
		return
	}
	rw.status = status
	if reqctx.Decisions(rw.r).Refused() {
		rw.expected = new(contract.Expectation) // a response of ours
	} else {
		rw.expected = rw.known.document.Response(rw.known.operation, rw.r.Method, status, rw.w.Header(), &rw.limits)
	}
	if rw.faults = rw.expected.Faults; len(rw.faults) > 0 && rw.blocks() {
		rw.blocked = true
		return
	}
	if !rw.blocks() || !rw.expected.Reads && !rw.expected.Empty {
		rw.commit()
	}
}

// commit lets the header leave. Callers hold mu.
func (rw *response) commit() {
	if !rw.committed {
		rw.committed = true
		rw.w.WriteHeader(rw.status)
	}
}

// Write takes bytes of the content.
func (rw *response) Write(p []byte) (int, error) {
	rw.mu.Lock()
	defer rw.mu.Unlock()
	rw.begin(http.StatusOK)
	switch {
	case rw.blocked:
		return 0, errBlocked
	case rw.expected.Empty && len(p) > 0:
		rw.expected.Empty = false
		rw.faults = append(rw.faults, problem.Fault{In: "body", Keyword: "unknown_content", Expected: "no content"})
		if rw.blocks() {
			rw.blocked = true
			return 0, errBlocked
		}
	case rw.expected.Reads && !rw.overflow:
		if int64(rw.held.Len()+len(p)) > rw.h.MaxBody {
			rw.overflow = true
			rw.held = bytes.Buffer{}
			if rw.blocks() {
				rw.blocked = true
				rw.faults = append(rw.faults, problem.Fault{In: "body", Keyword: "limit", Expected: "less content"})
				return 0, errBlocked
			}
			break
		}
		rw.held.Write(p)
		if rw.blocks() {
			return len(p), nil
		}
	}
	rw.commit()
	return rw.w.Write(p) //nolint:gosec // what the server behind sends
}

// FlushError sends what may leave.
func (rw *response) FlushError() error {
	rw.mu.Lock()
	defer rw.mu.Unlock()
	rw.begin(http.StatusOK)
	if !rw.committed {
		return nil
	}
	return http.NewResponseController(rw.w).Flush() //nolint:bodyclose // of the controller's
}

// Flush implements http.Flusher.
func (rw *response) Flush() { _ = rw.FlushError() }

// finish checks what was held, and sends or blocks it.
func (rw *response) finish(err error) error {
	rw.mu.Lock()
	defer rw.mu.Unlock()
	if rw.expected == nil || err != nil && !rw.blocked {
		return err // nothing was sent, or not all
	}
	if rw.expected.Reads && !rw.overflow && !rw.blocked {
		rw.faults = append(rw.faults, rw.expected.Check(rw.held.Bytes(), &rw.limits)...)
	}
	switch {
	case len(rw.faults) > 0 && (rw.blocked || rw.blocks() && !rw.committed):
		return rw.block()
	case len(rw.faults) > 0:
		rw.h.report(rw.r, rw.known, rw.faults, false)
		return nil
	case rw.expected.Reads && !rw.overflow:
		rw.h.checked.WithLabelValues("valid").Inc()
	default:
		rw.h.checked.WithLabelValues("unchecked").Inc()
	}
	rw.h.decided.WithLabelValues(responsesLayer, decision.Allow, "").Inc()
	reqctx.Decisions(rw.r).Note(rw.h.memo.Of(decision.Decision{Layer: responsesLayer, Result: decision.Allow, Rule: rw.known.operation.ID, Policy: rw.known.document.Digest}))
	if rw.committed {
		return nil
	}
	rw.commit()
	_, err = rw.held.WriteTo(rw.w)
	return err
}

// block sends a problem instead of the response, and nothing of its header.
func (rw *response) block() error {
	rw.h.report(rw.r, rw.known, rw.faults, true)
	header := rw.w.Header()
	clear(header)
	maps.Copy(header, rw.before)
	return reqctx.Refuse(rw.w, rw.r, &problem.Problem{
		Status: http.StatusBadGateway, Code: CodeResponse, Detail: "the response of the service is not as the API documents it",
	})
}

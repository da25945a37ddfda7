package redact

import (
	"crypto/rand"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/conceal"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// hiding collects the body of an error that may have to be replaced. What is
// more than can be held is not looked at: an error as long as that is a page of
// somebody's debugger.
type hiding struct {
	rw       *responseWriter
	first    []byte
	overflow bool // there was more
}

func (e *hiding) write(p []byte) error {
	n := min(len(p), max(e.rw.h.Hold, defaultHold)-len(e.first))
	e.first = append(e.first, p[:n]...)
	if n < len(p) {
		e.overflow = true
		return errRefused
	}
	return nil
}

func (*hiding) flush() (leaves bool, err error) { return false, nil }
func (*hiding) end() error                      { return nil }
func (*hiding) alters() bool                    { return false }

// harmless decides about an error whose body has been collected: a client
// error that can be read and tells nothing of the inside goes on, through the
// rules.
func (e *hiding) harmless() bool {
	rw := e.rw
	if rw.status >= 500 || e.overflow || revealing(e.first) {
		return false
	}
	if len(e.first) == 0 {
		rw.mode = &rw.sniffing // of nothing
		return true
	}
	if rw.view == nil { // no rule concerns the caller: it may be of any kind
		rw.mode = passing{rw}
		_ = rw.mode.write(e.first)
		return true
	}
	if _, f := judge(rw.label, e.first); f.is() && !rw.h.passes(&f) {
		return false
	}
	rw.sniffing.rw = rw
	rw.mode = &rw.sniffing
	_ = rw.sniffing.decide(e.first) // a fault is noted, and found there by complete
	return true
}

// replaceError sends a problem document in place of the upstream's
// error. The two share their status, and what tells a client how to go on.
func (rw *responseWriter) replaceError() error {
	rw.restore("Retry-After", "Www-Authenticate", "Proxy-Authenticate", "Allow")
	reference := rand.Text()[:12]
	p := &problem.Problem{
		Status: rw.status,
		Code:   "upstream_error",
		Detail: "The service could not do this. Reference: " + reference,
	}
	var body []byte
	if e, ok := rw.mode.(*hiding); ok {
		body = e.first
	}
	if c := rw.h.logger.Check(zap.ErrorLevel, "hidden error"); c != nil {
		c.Write(zap.String("reference", reference), zap.Int("status", rw.status),
			zap.String("method", rw.r.Method), zap.String("path", conceal.Path(rw.r.URL.Path)),
			zap.String("media_type", rw.label.mediaType), zap.String("body", rw.h.errors.mask(body)))
	}
	rw.h.metrics.refusals.WithLabelValues(p.Code, "").Inc()
	reqctx.Decisions(rw.r).Add(decision.Decision{Layer: "redact", Result: decision.Error, Code: p.Code})
	err := reqctx.Refuse(rw.w, rw.r, p)
	if he, ok := err.(caddyhttp.HandlerError); ok {
		he.ID = reference // {http.error.id} is what the client and the log are told
		return he
	}
	return err
}

package redact

import (
	"errors"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// rewriting sends a body through the rewriter of its format. What has been
// understood is held, as far as the hold goes.
type rewriting struct {
	rw     *responseWriter
	format rewriter
	prefix int // bytes that stand before the JSON and are still to come

	json   jsonBody            // the format in the usual case, which costs no allocation
	engine *redaction.Rewriter // below the format, to be given back
}

// rewrite begins with it. Its kind is known, and first are the first bytes.
func (rw *responseWriter) rewrite(first []byte) error {
	r := &rw.rewriting
	r.rw, rw.mode = rw, r
	dst, caller := (*output)(rw), callerOf(rw.caller, rw.vault)
	switch rw.kind {
	case events:
		r.engine = rw.view.program.Get(nil)
		stream := newEventStream(dst, r.engine, rw.h, caller)
		stream.ascii = rw.label.charset == superCharset
		r.format = stream
	case multi, envelopes:
		var f fault
		if r.format, f = newFramed(rw.kind, rw.w.Header(), rw.h, rw.view, caller, dst); f.is() {
			return rw.fail(f)
		}
	default:
		r.engine = rw.view.program.Get(dst)
		r.engine.SetCaller(caller)
		if rw.kind == document && rw.sized {
			r.engine.SetLines()
		}
		r.prefix, _ = cutPrefix(rw.label.prefixes, first)
		r.json = jsonBody{Rewriter: r.engine, document: rw.kind == document, ascii: rw.label.charset == superCharset}
		r.format = &r.json
	}
	return nil
}

func (r *rewriting) write(p []byte) error {
	if n := min(r.prefix, len(p)); n > 0 {
		r.prefix -= n
		if _, err := (*output)(r.rw).Write(p[:n]); err != nil || n == len(p) {
			return r.rw.blame(err)
		}
		p = p[n:]
	}
	_, err := r.format.Write(p)
	return r.rw.blame(err)
}

// flush keeps a document a moment longer, since it may soon be complete.
func (r *rewriting) flush() (leaves bool, err error) {
	rw := r.rw
	if !rw.committed && !rw.due && rw.kind == document && !caddyhttp.IsIncremental(rw.w.Header()) {
		rw.arm(rw.h.flushDelay)
		return false, nil
	}
	return true, nil
}

func (r *rewriting) end() error {
	// Behind space that has left already, a body without a text cannot be
	// refused cleanly, and it hides nothing.
	r.json.document = r.json.document && !r.rw.committed
	return r.rw.blame(r.format.Close())
}

func (*rewriting) alters() bool { return true }

// release gives back what was borrowed, and says what was redacted.
func (r *rewriting) release() {
	if r.format != nil {
		r.rw.account(r.format.Count(), r.format.Fired)
	}
	if r.engine != nil {
		r.rw.view.program.Put(r.engine)
	}
	*r = rewriting{}
}

// blame tells a fault of the body from a client that is gone.
func (rw *responseWriter) blame(err error) error {
	if err == nil {
		return nil
	}
	var out *outputError
	if errors.As(err, &out) {
		return out.err
	}
	var f *fault
	if errors.As(err, &f) {
		return rw.fail(*f)
	}
	return rw.fail(syntaxFault(err))
}

// callerOf returns whom a body is rewritten for.
func callerOf(p *principal.Principal, vault *redaction.Vault) redaction.Caller {
	c := redaction.Caller{Vault: vault}
	if p != nil {
		c.ID = p.ID
	}
	return c
}

package audit

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/requestpath"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/conceal"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// entry is one request on its way through the handler: what it was when it
// came, and what came of it. It is one allocation, and not pooled: see
// exchange.
//
// While the request is among the flights of its trail, other goroutines may
// make a record of it. They read what is set before it is one of them, what is
// atomic, and id, which flights.mu guards.
type entry struct {
	exchange

	handler *Handler
	flight  flight
	promise trail.Promise // room for the outcome, with `sync always`
	lean    bool          // there is no room for recorded bodies

	own reqctx.Context // room for the context
	log *decision.Log  // of the context

	start   time.Time
	id      string // empty where nobody needs it before the record is made
	method  string // as it came: inner handlers may change the request
	path    string
	query   string
	host    string
	proto   string
	peer    string
	client  string
	trace   string
	tls     *tls.ConnectionState
	early   bool        // the request came in TLS early data
	headers http.Header // those that are recorded; nil where none are
	took    time.Duration

	final   int    // status of the response
	how     string // it ended
	foreign *decision.Decision
}

// begin takes down what inner handlers may change and puts the decision log
// where they find it.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request, start time.Time) *entry {
	e := &entry{
		handler: h, start: start, method: r.Method, path: requestpath.Shown(r.URL), query: r.URL.RawQuery,
		host: r.Host, proto: r.Proto, peer: r.RemoteAddr, tls: r.TLS, early: reqctx.EarlyData(r), trace: traceID(r.Header),
	}
	e.ResponseWriter = w
	e.head = r.Method == http.MethodHead
	e.hold = h.durable
	e.vars, e.repl = reqctx.Vars(r), reqctx.Replacer(r)
	e.context = reqctx.Use(r, &e.own)
	e.log = e.context.Decisions()
	e.client = clientIP(e.vars)
	for _, name := range h.headers {
		if values := r.Header[name]; len(values) > 0 {
			if e.headers == nil {
				e.headers = make(http.Header)
			}
			e.headers[name] = slices.Clone(values)
		}
	}
	if h.durable || logged(r) {
		e.identify()
	}
	if r.Body != nil && r.Body != http.NoBody {
		e.body = requestBody{ReadCloser: r.Body, x: &e.exchange}
		if h.RequestBody > 0 {
			e.body.capture = &capture{max: h.RequestBody}
			e.body.capture.describe(r.Header)
		}
		r.Body = &e.body
	}
	if h.ResponseBody > 0 {
		e.capture = &capture{max: h.ResponseBody}
	}
	return e
}

// logged reports whether the server writes an access log, in which the
// request's id is then a field.
func logged(r *http.Request) bool {
	srv, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return !ok || srv == nil || srv.Logs != nil
}

// identify gives the request the id that {http.request.uuid} is.
func (e *entry) identify() {
	if e.id == "" && e.repl != nil {
		e.id, _ = e.repl.GetString("http.request.uuid")
	}
}

// newID returns an id for a request to which nothing gave one until it was
// over. Caddy's own way costs seven allocations; a random UUID (RFC 9562 section
// 5.4) that nobody else has seen costs none. It is written to dst.
func newID(dst *[36]byte) string {
	var b [16]byte
	binary.NativeEndian.PutUint64(b[:], rand.Uint64())
	binary.NativeEndian.PutUint64(b[8:], rand.Uint64())
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	hex.Encode(dst[:8], b[:4])
	hex.Encode(dst[9:13], b[4:6])
	hex.Encode(dst[14:18], b[6:8])
	hex.Encode(dst[19:23], b[8:10])
	hex.Encode(dst[24:], b[10:])
	dst[8], dst[13], dst[18], dst[23] = '-', '-', '-', '-'
	return unsafe.String(&dst[0], len(dst)) // valid until dst is written again
}

// end notes how the request ended: by a panic, by an error, or by a response.
func (e *entry) end(r *http.Request, panicked any, err error) {
	e.took = time.Since(e.start)
	if _, asked := e.vars["uuid"]; asked || err != nil {
		e.identify() // somebody has asked, or error routes still can
	}
	e.final = e.status
	if e.final == 0 {
		e.final = statusOf(err)
	}
	switch {
	case e.upgraded || e.status == http.StatusSwitchingProtocols:
		e.how = record.EndUpgraded
	case panicked == http.ErrAbortHandler: //nolint:errorlint // it is panicked with as it is
		e.how = record.EndAborted
	case panicked != nil:
		e.how = record.EndPanic
	case errors.Is(err, context.DeadlineExceeded) || r.Context().Err() == context.DeadlineExceeded: //nolint:errorlint // as documented
		e.how = record.EndTimeout
	case errors.Is(err, context.Canceled) || r.Context().Err() != nil:
		e.how = record.EndAborted
	case err != nil && e.status != 0 && (!e.hold || e.committed):
		e.how = record.EndError
	}
	if panicked != nil && e.status == 0 {
		e.final = 0 // no response at all
	}
	if err != nil && !e.log.Refused() {
		e.foreign = foreign(r, e.repl, err)
	}
}

// statusOf returns the status that Caddy sends when a handler returns
// err and nothing was written, unless handle_errors chooses another.
func statusOf(err error) int {
	if err == nil {
		return http.StatusOK
	}
	var herr caddyhttp.HandlerError
	if errors.As(err, &herr) && herr.StatusCode != 0 {
		return herr.StatusCode
	}
	return http.StatusInternalServerError
}

// cutShort notes that the request will not have ended when the process does.
func (e *entry) cutShort() {
	e.took = time.Since(e.start)
	e.final = int(e.begun.Load())
	e.how = record.EndAborted
	if e.final == http.StatusSwitchingProtocols {
		e.how = record.EndUpgraded
	}
}

// assemble makes the record of a request, which is nil where only what the
// entry holds may be looked at. The line is valid until the space is released.
func (h *Handler) assemble(s *space, e *entry, r *http.Request, kind int) []byte {
	// The cleaned query stands in the buffer before the record.
	dst := h.appendQuery(s.line[:0], e.query)
	query := unsafe.String(unsafe.SliceData(dst), len(dst))
	id := e.id
	if id == "" && kind == kindOutcome {
		id = newID(&s.id)
	}
	rec := record.Record{
		Kind: record.Intent, Time: e.start,
		ID: id, Trace: e.trace,
		Site: h.siteName, Host: e.host, Proto: e.proto, Method: e.method, Path: h.cleanURLPath(e.path),
		Query:  query,
		Peer:   e.peer,
		TLS:    tlsVersion(e.tls),
		Early:  e.early,
		Client: e.client,
	}
	if len(h.headers) > 0 {
		rec.Headers, rec.HeaderOrder = e.headers, h.headers
		if r != nil {
			rec.Headers = r.Header
		}
		rec.Headers = h.cleanHeaders(rec.Headers)
	}
	if kind == kindOutcome {
		rec.Redacted, rec.RedactedBy = e.log.AppendRedacted(s.rules[:0])
		if c := e.log.Call(); c != nil {
			rec.MCP = *c
		}
		h.outcome(&rec, e, r, s.decisions[:0])
	}
	return rec.Append(dst)[len(dst):]
}

// outcome adds what is known once the request has been served.
func (h *Handler) outcome(rec *record.Record, e *entry, r *http.Request, space []*record.Decision) {
	rec.Kind = record.Outcome
	if r != nil {
		if path := requestpath.Shown(r.URL); r.Method != e.method || path != e.path {
			rec.Upstream = record.Upstream{Method: r.Method, Path: h.cleanURLPath(path)}
		}
	}
	p := e.caller.Load()
	if r != nil && e.begun.Load() == 0 {
		p = e.context.Principal()
	}
	if p == nil {
		p = e.log.Caller()
	}
	if p != nil {
		rec.User = record.User{ID: p.ID, Issuer: p.Issuer, Kind: p.Kind, Key: p.KeyID, Token: p.TokenID}
		rec.Roles = p.Roles
		if a := p.App; a != nil {
			rec.App = record.User{ID: a.ID, Issuer: a.Issuer, Kind: a.Kind, Key: a.KeyID, Token: a.TokenID}
		}
		if p.Kind == principal.KindOther && p.KeyID == "" && r != nil && basic(r.Header.Get("Authorization")) {
			rec.User.Kind = principal.KindBasic
		}
	}
	space = e.log.AppendTo(space)
	if e.foreign != nil {
		space = append(space, e.foreign)
	}
	rec.Decided = space
	rec.Code = e.log.Code()
	if rec.Code == "" && e.foreign != nil {
		rec.Code = e.foreign.Code
	}
	rec.Status, rec.End = e.final, e.how
	rec.Received, rec.Sent = e.received.Load(), e.sent.Load()
	rec.Micros = e.took.Microseconds()
	if (e.body.capture != nil || e.capture != nil) && (r != nil || e.begun.Load() != 0) {
		h.bodies(rec, e)
	}
}

// basic reports whether a credential is one of HTTP Basic, RFC 7617.
func basic(credential string) bool {
	return len(credential) > 6 && strings.EqualFold(credential[:6], "Basic ")
}

// bodies adds what may be recorded of the bodies.
func (h *Handler) bodies(rec *record.Record, e *entry) {
	if e.lean {
		rec.Cut = append(rec.Cut, "request_body", "response_body")
		return
	}
	if text, cut := e.body.capture.clean(h.scrub); text != nil || cut {
		rec.RequestBody = string(text)
		if cut {
			rec.Cut = append(rec.Cut, "request_body")
		}
	}
	if text, cut := e.capture.clean(h.scrub); text != nil || cut {
		rec.ResponseBody = string(text)
		if cut {
			rec.Cut = append(rec.Cut, "response_body")
		}
	}
}

// cleanHeaders returns the header with credentials masked in the fields that
// are recorded: a Referer may hold a token, an X-Forwarded-Uri too.
func (h *Handler) cleanHeaders(header http.Header) map[string][]string {
	var clean map[string][]string
	for _, name := range h.headers {
		for i, v := range header[name] {
			masked := h.text.Clean(v)
			if masked == v {
				continue
			}
			if clean == nil {
				clean = make(map[string][]string)
				for _, n := range h.headers {
					clean[n] = slices.Clone(header[n])
				}
			}
			clean[name][i] = masked
		}
	}
	if clean == nil {
		return header
	}
	return clean
}

// cleanURLPath masks tokens that stand in a path, as in links that reset
// passwords, or in the name of a parameter, and the parameters that a path may
// have itself, as in /cart;jsessionid=….
func (h *Handler) cleanURLPath(path string) string {
	if strings.IndexByte(path, '=') >= 0 {
		return h.text.Clean(path)
	}
	return h.text.Path(path)
}

// appendQuery appends what is recorded of a query to an empty dst: the names of its
// parameters, and the values of those that were named.
func (h *Handler) appendQuery(dst []byte, raw string) []byte {
	for raw != "" && len(dst) < 8192 {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		name, value, assigned := strings.Cut(pair, "=")
		if len(dst) > 0 {
			dst = append(dst, '&')
		}
		if !assigned {
			// A lone word may be a name or, as in /?token, a value.
			if h.recorded(name) == conceal.Keep {
				dst = append(dst, h.text.Encoded(name)...)
			} else {
				dst = append(dst, conceal.Masked...)
			}
			continue
		}
		plain, err := url.QueryUnescape(name)
		if err != nil {
			dst = append(dst, conceal.Masked...) // not a query at all, so not known to be a name
			continue
		}
		f := h.recorded(plain)
		if f == conceal.Remove {
			continue
		}
		dst = append(dst, h.cleanURLPath(name)...)
		dst = append(dst, '=')
		switch f {
		case conceal.Keep:
			dst = append(dst, h.text.Encoded(value)...)
		case conceal.Hash:
			if u, err := url.QueryUnescape(value); err == nil {
				value = u
			}
			dst = append(dst, h.scrub.Pseudonym([]byte(value))...)
		default:
			dst = append(dst, conceal.Masked...)
		}
	}
	return dst
}

// recorded says what becomes of a query parameter's value.
func (h *Handler) recorded(name string) conceal.Treatment {
	if h.query == nil && !h.scrub.HasRules() {
		return conceal.Mask // what nearly everybody has
	}
	if conceal.Parameter(name) {
		return conceal.Mask
	}
	if h.scrub.HasRules() {
		if f := h.scrub.ByName(name); f != conceal.Keep {
			return f
		}
	}
	if h.query != nil && (len(h.query) == 0 || h.query[name]) {
		return conceal.Keep
	}
	return conceal.Mask
}

func clientIP(vars map[string]any) string {
	ip, _ := vars[caddyhttp.ClientIPVarKey].(string)
	return ip
}

func tlsVersion(s *tls.ConnectionState) string {
	if s == nil {
		return ""
	}
	switch s.Version {
	case tls.VersionTLS13:
		return "1.3"
	case tls.VersionTLS12:
		return "1.2"
	case tls.VersionTLS11:
		return "1.1"
	case tls.VersionTLS10:
		return "1.0"
	}
	return tls.VersionName(s.Version)
}

// appendChange appends the record of a change to dst.
func appendChange(dst []byte, c lifecycle.Change) []byte {
	rec := record.Record{
		Kind: record.Change, Time: c.Time, Layer: c.Layer, What: c.What, Source: c.Source,
		By: c.By, Old: c.Old, New: c.New, Detail: c.Detail,
	}
	return rec.Append(dst)
}

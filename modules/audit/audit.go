// Package audit is the Caddy module that records every request in a
// tamper-evident trail: who asked for what, what each layer decided and by
// which rule, and what came of it.
//
// The trail itself, its format and its proofs are the work of the packages
// trail and record; this one connects them to Caddy.
package audit

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/conceal"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Values of Sync.
const (
	SyncAlways = "always"
	SyncBatch  = "batch"
	SyncOff    = "off"
)

// Values of OnFailure.
const (
	FailRefuse   = "refuse"
	FailContinue = "continue"
)

const (
	minRoll = 64 << 10

	// syncWait bounds how long a request waits for the disk with `sync
	// always`, give or take syncStep. A disk that takes longer counts as one
	// that fails.
	syncWait = 15 * time.Second
	syncStep = 5 * time.Second

	// outcomeRoom is how much longer than its intent an outcome record may be,
	// recorded bodies aside, to fit into the room that is kept for it.
	outcomeRoom = 8 << 10

	// shortKeep is the time below which `keep` is warned about: many rules
	// want logs to be kept for six months.
	shortKeep = 180 * 24 * time.Hour
)

// Handler records every request in an audit trail, including rejected, aborted and
// upgraded ones. It stands outside all layers whose decisions it records.
//
// With `sync always` a request that cannot be recorded durably is rejected with
// 503 and the code audit_unavailable before the upstream sees it, and no
// response is complete at the client before its record is on disk.
//
// Credentials are never recorded: not the values of Authorization, Cookie,
// DPoP, X-Api-Key and their like, nor the members
// of recorded queries and bodies that are named like a password, token or secret.
//
// If an error reaches the site's handle_errors, the record has the status of
// the error. A handle_errors route that sends another status is not seen: error
// routes run outside of all handlers.
type Handler struct {
	option.Placed

	// The directory of the trail, made if missing, relative to the working
	// directory if not absolute. Sites that name the same directory share
	// one trail. Required. No placeholders.
	Path string `json:"path"`

	// When records are made durable. `always`: an intent record is on disk
	// before the upstream sees the request, and an outcome record before
	// the end of the response leaves; requests share syncs. `batch`: within
	// `batch` after the response. `off`: when the operating system likes.
	// Default: batch
	Sync string `json:"sync,omitempty"`

	// How long `sync batch` may hold a record. Default: 100ms
	Batch caddy.Duration `json:"batch,omitempty"`

	// What happens to requests while records cannot be written. `refuse`
	// rejects them with 503 audit_unavailable, `continue` lets them pass and counts
	// them. Default: refuse with `sync always`, otherwise continue
	OnFailure string `json:"on_failure,omitempty"`

	// The name of the site in the records. Default: the host patterns of
	// the site's address
	Site string `json:"site,omitempty"`

	// Names of request header fields to record. Those that carry
	// credentials are refused.
	RecordHeaders []string `json:"record_headers,omitempty"`

	// Query parameters whose values are recorded; an empty list stands for
	// all. Without this option only their names are. The values of those
	// that carry credentials are never recorded.
	RecordQuery *[]string `json:"record_query,omitempty"`

	// How much of the request's and of the response's body is recorded, in
	// bytes, at most 65536. Default: 0
	RequestBody  int64 `json:"request_body,omitempty"`
	ResponseBody int64 `json:"response_body,omitempty"`

	// What is hashed (keyed, so that equal values have equal pseudonyms),
	// masked or removed in recorded bodies and query parameters: member or
	// parameter names anywhere, or JSONPaths (RFC 9535). The first that
	// selects a value decides, in the order hash, mask, remove.
	Hash   []string `json:"hash,omitempty"`
	Mask   []string `json:"mask,omitempty"`
	Remove []string `json:"remove,omitempty"`

	// Where secrets stand in paths, such as /share/{token}: what is in braces
	// is recorded as REDACTED, wherever a path or URL stands in a record. A
	// segment matches exactly, `*` matches any one, and a last /* everything
	// below; /bot{token}/* hides the part of a segment that follows "bot". In a
	// pattern without braces it is the asterisks that hide: /share/*. The
	// paths of Telegram's bots, of webhooks of Slack, Discord, Teams and
	// others, and links that reset passwords, activate accounts or invite
	// are known without this option.
	Paths []string `json:"paths,omitempty"`

	// The size in bytes and the age at which a new segment is begun.
	// Defaults: 128 MiB, 24h
	RollSize  int64          `json:"roll_size,omitempty"`
	RollEvery caddy.Duration `json:"roll_every,omitempty"`

	// How long records are kept; whole segments are then removed, and the
	// rest still verifies. Default: 180d
	Keep caddy.Duration `json:"keep,omitempty"`

	// The file of the Ed25519 key that signs checkpoints, PKCS #8 in PEM.
	// Default: a key made on first use and kept in Caddy's storage
	Sign string `json:"sign,omitempty"`

	// The name of a new trail in its checkpoints, a URL without scheme that
	// is yours, such as audit.example.com/orders. An existing trail keeps
	// the name that it has, whatever key signs. Default: the name of the key
	Origin string `json:"origin,omitempty"`

	// Who cosigns checkpoints, so that a trail rolled back to an older state
	// is detected. No request waits for them.
	Witnesses []Witness `json:"witnesses,omitempty"`

	// How many witnesses must have cosigned a checkpoint for it to be kept
	// as cosigned. Default: more than half
	Quorum int `json:"quorum,omitempty"`

	// A directory to which the trail is written at each checkpoint as C2SP
	// tlog-tiles, for a web server to serve. Its entries are the records:
	// serve it to those only who may read them. No placeholders.
	Tiles string `json:"tiles,omitempty"`

	// How often the state of the trail is signed, if it changed.
	// Default: 10s
	Checkpoint caddy.Duration `json:"checkpoint,omitempty"`

	// Where the trail's records are delivered as well.
	Deliver []Delivery `json:"deliver,omitempty"`

	app      *App
	trail    *claim
	logger   *zap.Logger
	headers  []string // canonical names
	query    map[string]bool
	text     *conceal.Text
	scrub    *conceal.Body
	refuse   bool
	durable  bool
	resolve  sync.Once
	siteName string
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.audit",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision sets up the handler.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.Locate(h)
	if err := lifecycle.CheckLayers(ctx); err != nil {
		return h.At(err)
	}
	return h.At(h.provision(ctx))
}

func (h *Handler) provision(ctx caddy.Context) error {
	h.logger = ctx.Logger(h)
	if err := h.check(); err != nil {
		return err
	}
	for _, name := range h.RecordHeaders {
		h.headers = append(h.headers, http.CanonicalHeaderKey(name))
	}
	if h.RecordQuery != nil {
		h.query = make(map[string]bool)
		for _, name := range *h.RecordQuery {
			h.query[name] = true
		}
	}
	app, err := ctx.App(lifecycle.AuditApp)
	if err != nil {
		return err
	}
	h.app = app.(*App)
	o, err := h.trailOptions()
	if err != nil {
		return err
	}
	if h.trail, err = h.app.claim(h.Path, h.Site, o); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if h.text, err = newText(nil, nil, h.Paths); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if h.scrub, err = h.newScrubber(ctx); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if h.Keep > 0 && time.Duration(h.Keep) < shortKeep {
		h.logger.Warn("records are kept for less than 180 days, which is what many rules ask for",
			zap.String("trail", h.Path), zap.Duration("keep", time.Duration(h.Keep)))
	}
	return h.announce(ctx)
}

// check refuses what the Caddyfile would have refused, in configurations that
// did not come from one.
func (h *Handler) check() error {
	if h.Path == "" {
		return errors.New("audit: path is required")
	}
	if err := cmp.Or(
		option.CheckWord("sync", h.Sync, SyncAlways, SyncBatch, SyncOff),
		option.CheckWord("on_failure", h.OnFailure, FailRefuse, FailContinue),
		bodySizes.Check("request_body", h.RequestBody), bodySizes.Check("response_body", h.ResponseBody),
		rollSizes.Check("roll_size", h.RollSize), rollEvery.Check("roll_every", h.RollEvery),
		durations.Check("keep", h.Keep), durations.Check("checkpoint", h.Checkpoint), batches.Check("batch", h.Batch),
		cosigners.Check("quorum", h.Quorum),
	); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	for _, name := range h.RecordHeaders {
		if conceal.Header(name) {
			return fmt.Errorf("audit: record headers %s: this header carries credentials, which are never recorded", name)
		}
	}
	if h.RecordQuery != nil {
		for _, name := range *h.RecordQuery {
			if conceal.Parameter(name) {
				return fmt.Errorf("audit: record query %s: this parameter carries credentials, which are never recorded", name)
			}
		}
	}
	if h.Batch != 0 && h.Sync != SyncBatch {
		return errors.New("audit: batch is for sync batch")
	}
	if len(h.Hash)+len(h.Mask)+len(h.Remove) > 0 && h.RequestBody == 0 && h.ResponseBody == 0 && h.RecordQuery == nil {
		return errors.New("audit: hash, mask and remove are for what `record request_body`, `record response_body` and `record query` record, and nothing of the kind is")
	}
	return nil
}

// trailOptions returns what the handler says about its trail.
func (h *Handler) trailOptions() (trailOptions, error) {
	o := trailOptions{
		sync: h.Sync, batch: time.Duration(h.Batch),
		rollSize: h.RollSize, rollEvery: time.Duration(h.RollEvery), keep: time.Duration(h.Keep),
		checkpoint: time.Duration(h.Checkpoint), sign: h.Sign,
		origin: h.Origin, quorum: h.Quorum, witnesses: h.Witnesses,
	}
	if h.Tiles != "" {
		tiles, err := cleanPath(h.Tiles)
		if err != nil {
			return o, fmt.Errorf("audit: tiles: %w", err)
		}
		o.tiles = tiles
	}
	for _, w := range h.Witnesses {
		if _, err := w.parse(); err != nil {
			return o, fmt.Errorf("audit: witness: %w", err)
		}
	}
	if strings.ContainsAny(h.Origin, "+ \t\r\n") || strings.Contains(h.Origin, "://") {
		return o, fmt.Errorf("audit: origin %q: write a URL without its scheme, such as audit.example.com/orders", h.Origin)
	}
	for _, d := range h.Deliver {
		if err := d.prepare(); err != nil {
			return o, fmt.Errorf("audit: deliver %s: %w", d.Sink, err)
		}
		if slices.ContainsFunc(o.deliver, func(e Delivery) bool { return e.Name == d.Name }) {
			return o, fmt.Errorf("audit: two deliver blocks are called %s: give one of them a name", d.Name)
		}
		o.deliver = append(o.deliver, d)
	}
	return o, nil
}

// newText makes what cleans texts, with further names and patterns of paths.
func newText(headers, query, paths []string) (*conceal.Text, error) {
	text := conceal.NewText(headers, query)
	for _, path := range paths {
		pattern, err := conceal.ParsePathPattern(path)
		if err != nil {
			return nil, fmt.Errorf("path %w", err)
		}
		text.AddPath(pattern)
	}
	return text, nil
}

// newScrubber compiles hash, mask and remove.
func (h *Handler) newScrubber(ctx caddy.Context) (*conceal.Body, error) {
	var key []byte
	if len(h.Hash) > 0 {
		stored, err := storedKey(ctx, ctx.Storage(), "pseudonyms", true)
		if err != nil {
			return nil, fmt.Errorf("hash: key in Caddy's storage: %w", err)
		}
		key = stored.Seed()
	}
	s := conceal.NewBody(h.text, key)
	for _, list := range []struct {
		option    string
		treatment conceal.Treatment
		selectors []string
	}{{"hash", conceal.Hash, h.Hash}, {"mask", conceal.Mask, h.Mask}, {"remove", conceal.Remove, h.Remove}} {
		for _, selector := range list.selectors {
			if err := s.Add(list.treatment, selector); err != nil {
				return nil, fmt.Errorf("%s: %w", list.option, err)
			}
		}
	}
	return s, nil
}

// settle decides what could not be decided before all sites had spoken.
func (h *Handler) settle(r *http.Request) {
	mode := h.trail.options.sync
	h.durable = mode == SyncAlways
	h.refuse = h.OnFailure == FailRefuse || h.OnFailure == "" && h.durable
	h.siteName = h.Site
	if h.siteName == "" {
		h.siteName = siteOf(r, h)
	}
}

// ServeHTTP lets the request pass and records it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	start := time.Now()
	reqctx.EndToEnd(r) // requests in a tunnel would leave no record
	h.resolve.Do(func() { h.settle(r) })
	h.trail.enter()
	defer h.trail.leave()

	t, err := h.trail.open(h.app)
	if err == nil && !h.durable && h.refuse {
		err = t.Err()
	}
	if err != nil {
		h.trail.failed(kindIntent, err)
		if h.refuse {
			return h.unavailable(w, r, err)
		}
	}
	e := h.begin(w, r, start)
	if h.durable && t != nil {
		if err := h.write(t, e, r, kindIntent); err != nil && h.refuse {
			return h.unavailable(w, r, err)
		}
		e.flight.intent = true
	}
	if !h.durable && r.Header["Upgrade"] != nil {
		// A connection may stay upgraded for days: that it has been is
		// recorded at once, and what came of it when it ends. The same goes
		// for whatever lasts long: see flights.
		e.onUpgrade = func() {
			h.trail.flights.intended(e, func() {
				e.identify()
				_ = h.note(t, e, kindIntent)
			})
		}
	}
	h.trail.flights.begin(e)
	return h.serve(t, e, r, next)
}

// serve runs the inner handlers and records what came of it, however they
// end.
func (h *Handler) serve(t *trail.Trail, e *entry, r *http.Request, next caddyhttp.Handler) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		p := recover()
		goexit := p == nil // runtime.Goexit: nobody waits for a response
		if goexit {
			p = http.ErrAbortHandler
		}
		if h.trail.flights.end(e) {
			e.end(r, p, nil)
			// A failure changes nothing here: the connection is torn down
			// in any case.
			_ = h.write(t, e, r, kindOutcome)
		}
		e.recycle()
		if !goexit {
			panic(p)
		}
	}()
	err = next.ServeHTTP(&e.exchange, r)
	returned = true

	defer e.recycle()
	werr := errCutShort
	if h.trail.flights.end(e) {
		e.end(r, nil, err)
		werr = h.write(t, e, r, kindOutcome)
	}
	if werr != nil && h.refuse && h.durable && !e.upgraded {
		if !e.discard() {
			// Part of the response has left. Without its end the client
			// knows that it has no response.
			panic(http.ErrAbortHandler)
		}
		return h.unavailable(e.ResponseWriter, r, werr)
	}
	if rerr := e.release(); rerr != nil {
		h.logger.Debug("sending the end of the response", zap.Error(rerr))
	}
	return err
}

// write records the request: its intent, or its outcome.
func (h *Handler) write(t *trail.Trail, e *entry, r *http.Request, kind int) error {
	if t == nil {
		return errNotOpen // ServeHTTP has counted it
	}
	space := spaces.Get().(*space)
	defer space.release()
	line := h.assemble(space, e, r, kind)
	if !h.durable {
		return h.trail.counted(kind, t.Append(line))
	}
	// Not the request's context: a client that hangs up must not escape the
	// record.
	ctx := h.trail.patience()
	var err error
	if kind == kindIntent {
		// A disk that fills up must not refuse the outcome of a request that
		// the upstream has seen: room for it is kept with the intent.
		room := len(line) + outcomeRoom + int(h.RequestBody+h.ResponseBody)
		e.promise, err = t.AppendPromising(ctx, line, room)
	} else if err = t.AppendPromised(ctx, line, e.promise); errors.Is(err, trail.ErrPromise) {
		e.lean = true
		err = t.AppendPromised(ctx, h.assemble(space, e, r, kind), e.promise)
	}
	return h.trail.counted(kind, err)
}

// note is write for whoever serves other requests, or none: it looks at
// nothing but what the entry holds for all, and does not wait. Callers hold
// the mutex of the trail's flights.
func (h *Handler) note(t *trail.Trail, e *entry, kind int) error {
	if t == nil {
		return errNotOpen
	}
	space := spaces.Get().(*space)
	defer space.release()
	if e.id == "" {
		// {http.request.uuid} cannot be asked for from here. What asks for
		// it later, and is not the access log, gets another.
		e.id = strings.Clone(newID(&space.id))
	}
	if kind == kindOutcome {
		t.Release(e.promise)
	}
	return h.trail.counted(kind, t.Append(h.assemble(space, e, nil, kind)))
}

var (
	errNotOpen  = errors.New("the trail could not be opened")
	errCutShort = errors.New("the process ends and has recorded the request as it was")
)

// unavailable refuses a request that cannot be recorded.
func (h *Handler) unavailable(w http.ResponseWriter, r *http.Request, cause error) error {
	h.trail.metrics.refused.Inc()
	return reqctx.Refuse(w, r, &problem.Problem{
		Status: http.StatusServiceUnavailable, Code: "audit_unavailable",
		Detail:     "The request cannot be recorded at present.",
		RetryAfter: 5 * time.Second, Cause: cause,
	})
}

// space is what making one record needs. It is used within one call of write
// and nowhere else.
type space struct {
	line      []byte
	id        [36]byte
	decisions [8]*record.Decision
	rules     [8]string
}

var spaces = sync.Pool{New: func() any { return &space{line: make([]byte, 0, 4096)} }}

// release gives the space back without what it points at. A line that did not
// fit has left it already.
func (s *space) release() {
	clear(s.decisions[:])
	clear(s.rules[:])
	spaces.Put(s)
}

// siteOf names the site that holds h: the host patterns of the routes that
// lead to it, or the name of the server.
func siteOf(r *http.Request, h *Handler) string {
	srv, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || srv == nil {
		return ""
	}
	if hosts, ok := hostsOf(srv.Routes, h); ok && len(hosts) > 0 {
		return bounded(join(hosts, " "), 200)
	}
	return bounded(join(srv.Listen, " "), 200)
}

// hostsOf looks for h below routes and returns the host patterns of the innermost
// route round it that has some.
func hostsOf(routes caddyhttp.RouteList, h *Handler) (hosts []string, found bool) {
	routetree.Walk[[]string]{
		Enter: func(route caddyhttp.Route, within []string) []string {
			if own := routetree.Hosts(route); len(own) > 0 {
				return own
			}
			return within
		},
		Handle: func(handler caddyhttp.MiddlewareHandler, within []string) []string {
			if !found && handler == caddyhttp.MiddlewareHandler(h) {
				hosts, found = within, true
			}
			return within
		},
		Leave: func(_ caddyhttp.Route, before, _ []string) []string { return before },
	}.Follow(routes, nil)
	return hosts, found
}

func join(list []string, sep string) string {
	out := ""
	for i, s := range list {
		if i > 0 {
			out += sep
		}
		out += s
	}
	return out
}

// bounded returns the beginning of s, of at most n bytes and whole characters.
func bounded(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "")
	}
	return s
}

// HeaderNames returns the header fields that are recorded.
func (h *Handler) HeaderNames() []string { return h.RecordHeaders }

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

// Package redact is the HTTP handler module http.handlers.redact: it decides
// which fields of a response a caller may see, and removes the others from the
// body as it streams.
package redact

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Defaults of the options, in bytes unless said otherwise.
const (
	defaultHold     = 64 << 10
	defaultMaxDepth = 512
	defaultMaxValue = 64 << 10
	defaultMaxEvent = 1 << 20
)

// The values of the options.
var (
	holds  = option.Sizes{Max: 64 << 20, Example: "64KiB", Off: true}
	sizes  = option.Sizes{Max: 64 << 20, Example: "64KiB"}
	depths = option.Counts{Min: 1, Max: 100_000, Of: "levels"}
)

// Handler removes, masks and replaces members of JSON responses on their way to
// the client. Bytes that no rule names are not touched; what it cannot
// understand is refused, since what it cannot read it cannot redact.
//
// It reads JSON documents (application/json, text/json, …+json, and any body
// that looks like JSON whatever its label), sequences of them (NDJSON, JSON
// Lines, RFC 7464, and streams of them that are labelled as one document)
// Server-Sent Events whose data is JSON, multipart bodies part by part, and the
// messages of the Connect protocol. Paths start at the root of each text. A rejected
// response becomes HTTP 502 with code unreadable_response if nothing of it has
// been sent yet, and an aborted connection otherwise: an incomplete body never
// looks complete.
//
// Images, audio, video, fonts and WebAssembly pass, as do the media types
// named by `pass`. Everything else (XML, CSV, HTML, forms, plain text, binary
// formats) is unreadable: such bodies can carry the fields in a form that redact
// does not parse.
//
// Towards the upstream, Accept-Encoding becomes identity and the fields that
// ask for a part or a validation of a response (Range, If-Range, and on GET and
// HEAD If-None-Match, If-Modified-Since and If-Match) are removed: nobody knows
// yet whether it will be JSON. If the response passes unread, redact itself
// evaluates them against the whole body (206, 304, 412, 416). Responses in gzip,
// deflate, br and zstd are decoded, although none was asked for, unless they
// expand more than 200 times beyond the first 16 MiB. Under any other coding, or
// more than one, a body that looks like JSON is read as it stands, and every
// other one is rejected, whatever `unreadable` and `pass` are set to. The fields
// that described the original bytes are removed from a redacted response: ETag (but see `etag`),
// Last-Modified, Digest, Content-Digest, Repr-Digest, Content-MD5,
// Accept-Ranges, and trailers. Where the response depends on the caller, it is
// marked as private and as varying with Authorization.
//
// It sets {http.redact.count} to the number of values changed in the response.
type Handler struct {
	option.Placed

	// Rules for every caller.
	Rules []Rule `json:"rules,omitempty"`

	// Rules that depend on the caller. An anonymous caller is subject to all
	// of them: it gets the strictest view there is. At most 63.
	Groups []Group `json:"groups,omitempty"`

	// Rules for request bodies, applied before the upstream sees them.
	Requests *Requests `json:"requests,omitempty"`

	// The deepest nesting of arrays and objects that is read; deeper bodies
	// are unreadable. Default: 512.
	MaxDepth int `json:"max_depth,omitempty"`

	// The longest value that is masked by what is in it, in bytes; a longer
	// one that a rule names is replaced entirely. Values that no rule names
	// may have any length. Default: 65536.
	MaxValue int `json:"max_value,omitempty"`

	// The longest Server-Sent Event, in bytes; a stream with a longer one is
	// unreadable. Default: 1048576.
	MaxEvent int `json:"max_event,omitempty"`

	// What happens to a response that cannot be read: "block" rejects it, and
	// "pass" lets it through. Broken JSON is rejected in either case. So are
	// parts of a JSON document, and bodies in an unknown content coding or
	// charset. Default: block.
	Unreadable string `json:"unreadable,omitempty"`

	// Media types that pass unread, such as text/html or text/*. A body that
	// looks like JSON is redacted even so.
	Pass []string `json:"pass,omitempty"`

	// How many bytes of a response are held until it has been read completely. A
	// fault within them is a clean HTTP 502; one that comes later aborts the
	// connection. Holding ends when the upstream flushes: at once in a stream
	// of events or lines, after 25 ms in any other body. Default: 65536;
	// -1 holds nothing.
	Hold int `json:"hold,omitempty"`

	// Replaces the bodies of 5xx responses, and of 4xx responses that have
	// frames of a stack, database errors or debug pages in them or (to callers
	// whom rules concern) are unreadable, by a problem document with code
	// upstream_error and a reference. The log has the reference and the
	// beginning of the original, without the fields that the rules name and
	// without credentials, recognized by name or by format. The status stays,
	// and so do Access-Control-*, Vary, rate limits (RateLimit-*, Retry-After),
	// request IDs and trace context, challenges and Allow.
	HideErrors bool `json:"hide_errors,omitempty"`

	// "allow" lets the upstream switch protocols (WebSocket). What passes
	// then is not redacted. Otherwise a switch is rejected with HTTP 502, code
	// upgrade_refused.
	WebSocket string `json:"websocket,omitempty"`

	// Texts that may stand before JSON, against its inclusion as a script by
	// pages of other sites, such as )]}' of Angular and Gerrit. They are copied,
	// and what follows is read as JSON. Default: none; JSON behind one is
	// unreadable.
	XSSIPrefixes []string `json:"xssi_prefixes,omitempty"`

	// "block" rejects GraphQL requests, with HTTP 400 and code graphql_name,
	// that give another name to a field which a rule names ({user{p: phone}}),
	// since the rule would not know it again, or that write a value for a name
	// in `requests` into the document instead of a variable. Bodies are read
	// as a whole for it, up to max_event; multipart is rejected. Documents that
	// the upstream has stored are not seen. Default: allow.
	GraphQLNames string `json:"graphql_names,omitempty"`

	// What happens to the ETag of redacted responses: "drop" removes it, since it
	// is often a hash of what was to be hidden, and conditions on reads with
	// it. "seal" encrypts it, with a key that is made on first use and kept in
	// Caddy's storage, and decrypts it in If-None-Match and If-Match: caching
	// and conditional writes go on working, and the tag tells nothing.
	// Default: drop.
	ETag string `json:"etag,omitempty"`

	// The key of the hash, fake, shift_dates and noise actions: at least 16 bytes, or "internal", which is
	// a random key made on first use and kept in Caddy's storage. {env.*}
	// and {file.*} are resolved when the configuration is loaded. Default:
	// internal.
	HashKey string `json:"hash_key,omitempty"`

	// The keys of the encrypt action. The first one encrypts; the others are
	// for `caddy moat decrypt`, which finds the right one by its ID. Default:
	// one that is made on first use and kept in Caddy's storage.
	EncryptKeys []EncryptKey `json:"encrypt_keys,omitempty"`

	// The keys of the encrypt action with SM4, of 16 bytes. Otherwise as
	// encrypt_keys.
	SM4Keys []EncryptKey `json:"sm4_keys,omitempty"`

	// The keys of the tokenize action. The first one is used unless a rule
	// names another; `caddy moat detokenize` must be told which one, since
	// nothing of it is in a token. Default: one that is made on first use and
	// kept in Caddy's storage.
	TokenizeKeys []EncryptKey `json:"tokenize_keys,omitempty"`

	prefixes  []string
	responses *views
	restoring *views // responses in which placeholders are replaced again, nil without any
	requests  *views
	pass      mediaTypes
	reqPass   mediaTypes
	servers   sync.Map // of bool by *caddyhttp.Server: whether a request body needs a length
	errors    *errorMasker
	metrics   metrics
	logger    *zap.Logger

	flushDelay time.Duration // see defaultFlushDelay
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.redact",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision compiles the rules and resolves the keys.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.Locate(h)
	if err := lifecycle.CheckLayers(ctx); err != nil {
		return h.At(err)
	}
	return h.At(h.provision(ctx))
}

func (h *Handler) provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	h.setDefaults()
	if err := h.Validate(); err != nil {
		return err
	}
	var err error
	if h.metrics, err = newMetrics(ctx); err != nil {
		return fmt.Errorf("redact: %w", err)
	}
	return h.compile(newKeyring(ctx, h))
}

func (h *Handler) setDefaults() {
	set := func(n *int, to int) {
		if *n == 0 {
			*n = to
		}
	}
	set(&h.MaxDepth, defaultMaxDepth)
	set(&h.MaxValue, defaultMaxValue)
	set(&h.MaxEvent, defaultMaxEvent)
	set(&h.Hold, defaultHold)
	if h.flushDelay == 0 {
		h.flushDelay = defaultFlushDelay
	}
}

// compile makes the programs of all the rules, with the keys they need.
func (h *Handler) compile(keys *keyring) error {
	h.prefixes = h.XSSIPrefixes
	opts := limits{depth: h.MaxDepth, value: h.MaxValue}
	tags, err := h.tagKey(keys)
	if err != nil {
		return err
	}
	if h.responses, err = newViews(h.Rules, h.Groups, keys, opts, tags); err != nil {
		return fmt.Errorf("redact: %w", err)
	}
	if h.pass, err = parseMediaTypes(h.Pass); err != nil {
		return fmt.Errorf("redact: pass: %w", err)
	}
	if h.HideErrors {
		if h.errors, err = newErrorMasker(h.responses); err != nil {
			return fmt.Errorf("redact: hide_errors: %w", err)
		}
	}
	if h.Requests == nil {
		return nil
	}
	if h.Requests.leavesPlaceholders() {
		restore := redaction.Rule{Name: "placeholder", Selector: everything, Action: redaction.Restore()}
		if h.restoring, err = newViews(h.Rules, h.Groups, keys, opts, tags, restore); err != nil {
			return fmt.Errorf("redact: %w", err)
		}
	}
	opts.fold = !h.Requests.MatchCase
	if h.requests, err = newViews(h.Requests.Rules, h.Requests.Groups, keys, opts, nil); err != nil {
		return fmt.Errorf("redact: requests: %w", err)
	}
	if h.reqPass, err = parseMediaTypes(h.Requests.Pass); err != nil {
		return fmt.Errorf("redact: requests: pass: %w", err)
	}
	return nil
}

// tagKey returns what entity tags are sealed with, nil if they are dropped.
func (h *Handler) tagKey(keys *keyring) (*tagKey, error) {
	if h.ETag != "seal" {
		return nil, nil
	}
	key, err := keys.internal("etag_key", keyLen)
	if err != nil {
		return nil, err
	}
	t := &tagKey{key: key}
	if h.HashKey != "" && h.HashKey != internalKey {
		secret, err := keys.hashKey() // other pseudonyms, other bytes
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(secret)
		t.salt = sum[:]
	}
	return t, nil
}

// Validate checks the options.
func (h *Handler) Validate() error {
	if len(h.Rules) == 0 && len(h.Groups) == 0 && h.Requests == nil && !h.HideErrors {
		return errors.New("redact: no rule: write at least one, such as `remove password`")
	}
	hold, requestBody := h.Hold, 0
	if hold == -1 { // off
		hold = 0
	}
	if h.Requests != nil {
		requestBody = h.Requests.MaxBody
	}
	if err := cmp.Or(
		option.CheckWord("unreadable", h.Unreadable, "block", "pass"), option.CheckWord("websocket", h.WebSocket, "block", "allow"),
		option.CheckWord("graphql_names", h.GraphQLNames, "allow", "block"), option.CheckWord("etag", h.ETag, "drop", "seal"),
		depths.Check("max_depth", h.MaxDepth), sizes.Check("max_value", int64(h.MaxValue)), sizes.Check("max_event", int64(h.MaxEvent)),
		holds.Check("hold", int64(hold)), sizes.Check("requests max_body", int64(requestBody)),
	); err != nil {
		return fmt.Errorf("redact: %w", err)
	}
	if err := checkPrefixes(h.XSSIPrefixes); err != nil {
		return fmt.Errorf("redact: %w", err)
	}
	if err := h.placeholdersInRequests(); err != nil {
		return fmt.Errorf("redact: %w", err)
	}
	if h.Requests != nil && len(h.Requests.Rules) == 0 && len(h.Requests.Groups) == 0 {
		return errors.New("redact: requests: no rule")
	}
	return nil
}

// ServeHTTP redacts the request body and then the response of next.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	c, repl := reqctx.Of(r), reqctx.Replacer(r)
	count := counterOf(c, repl)
	p := c.Principal()
	v, err := viewOf(h.responses, r, p)
	if err != nil {
		return h.refuse(w, r, internalFault(err))
	}
	if r.Method == http.MethodConnect && h.WebSocket != "allow" {
		return h.refuse(w, r, upgradeRefused())
	}
	if h.GraphQLNames == "block" {
		if err = h.checkGraphQL(r, v, p); err != nil {
			return h.refuseRequest(w, r, err)
		}
	}
	var body *requestBody
	if h.requests != nil {
		if body, err = h.redactRequest(r, p); err != nil {
			return h.refuseRequest(w, r, err)
		}
		defer body.account(h, r)
	}
	if v == nil && !h.HideErrors && !h.responses.depends && body == nil {
		h.decide(c.Decisions(), v)
		return next.ServeHTTP(w, r)
	}

	if body.places() {
		if v, err = viewOf(h.restoring, r, p); err != nil {
			return h.refuse(w, r, internalFault(err))
		}
	}
	rw := newResponseWriter(h, w, r, v, p)
	if body.places() {
		rw.vault = body.vault()
	}
	rw.log, rw.repl, rw.counter = c.Decisions(), repl, count
	defer rw.leave()
	defer func() {
		if cause := recover(); cause != nil {
			err = rw.recovered(cause, body)
		}
	}()
	err = next.ServeHTTP(rw, r)
	return rw.finish(err, body)
}

// viewOf returns what a caller may see of the response to a request.
func viewOf(of *views, r *http.Request, p *principal.Principal) (*view, error) {
	v, err := of.of(p)
	if err == nil && reqctx.CarriesCalls(r) {
		return v.ofCalls()
	}
	return v, err
}

// countKey is the placeholder of how many values were changed.
const countKey = "http.redact.count"

// counterKey is the key of the counter in the request's context.
type counterKey struct{}

// counter adds up what is changed in one request, where one redact is inside
// another, too. It is kept before the request goes on.
type counter struct{ n atomic.Int64 }

func (c *counter) add(n int, repl *caddy.Replacer) {
	sum := int(c.n.Add(int64(n)))
	if repl != nil {
		repl.Set(countKey, sum)
	}
}

// counterOf returns the counter of the request, made by the outermost redact.
func counterOf(rc *reqctx.Context, repl *caddy.Replacer) *counter {
	if c, ok := rc.Kept(counterKey{}).(*counter); ok {
		return c
	}
	c := new(counter)
	rc.Keep(counterKey{}, c)
	c.add(0, repl)
	return c
}

var (
	passed  = decision.Decision{Layer: "redact", Result: decision.Allow}
	skipped = decision.Decision{Layer: "redact", Result: decision.Skip}
)

// decide notes that a response passes, under rules or because no rule concerns
// the caller.
func (h *Handler) decide(log *decision.Log, v *view) {
	d := &passed
	if v == nil {
		d = &skipped
		h.metrics.skipped.Inc()
	} else {
		h.metrics.allowed.Inc()
	}
	log.Note(d)
}

// refuseRequest refuses a request for what err says, which may be an error of
// another handler.
func (h *Handler) refuseRequest(w http.ResponseWriter, r *http.Request, err error) error {
	var refusal *problem.Problem
	if errors.As(err, &refusal) {
		return h.refuse(w, r, refusal)
	}
	return err
}

// refuse ends a request of whose response nothing has been sent yet.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, p *problem.Problem) error {
	h.note(r, p, "refused")
	result := decision.Deny
	if p.Status >= 500 {
		result = decision.Error
	}
	h.metrics.decided.WithLabelValues("redact", result, p.Code).Inc()
	reqctx.Decisions(r).Add(decision.Decision{Layer: "redact", Result: result, Code: p.Code})
	return reqctx.Refuse(w, r, p)
}

// EncryptKey is a key of the encrypt or tokenize action.
type EncryptKey struct {
	// What the key is called, in encrypted values too: up to 64 letters, digits,
	// dots, dashes and underscores. Default: 1, or internal.
	ID string `json:"id,omitempty"`

	// 32 bytes (of SM4: 16), in base64 or hexadecimal, or "internal".
	// Placeholders as with hash_key.
	Key string `json:"key"`
}

func (k *EncryptKey) id() string {
	switch {
	case k.ID != "":
		return k.ID
	case k.Key == internalKey:
		return internalKey
	}
	return "1"
}

// Cleanup has nothing to end: no goroutine outlives its request.
func (*Handler) Cleanup() error { return nil }

// names reports whether p is one of the callers that g names.
func (g *Group) names(p *principal.Principal) bool {
	if p == nil {
		return false
	}
	for _, name := range g.Names {
		switch g.Of {
		case "role":
			if p.HasRole(name) {
				return true
			}
		case "scope":
			if p.HasScope(name) {
				return true
			}
		case "user":
			if p.ID == name && p.Source().Is(g.From) {
				return true
			}
		case "kind":
			if p.Kind == name {
				return true
			}
		}
	}
	return false
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

// Package validate is the HTTP handler module http.handlers.validate: it lets pass
// what an OpenAPI document describes, and nothing else.
package validate

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/contract"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/requestpath"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
	"github.com/caddy-moat/caddy-moat/modules/internal/watched"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// layer is the handler's name in records and metrics.
const layer = "validate"

// Defaults and largest values of the options.
const (
	defaultMaxBody    = 1 << 20
	defaultMaxDepth   = 32
	defaultMaxValues  = 100_000
	defaultMaxMembers = 1000

	maxSize   = 64 << 20
	maxDepth  = 512
	maxValues = 5_000_000
)

// codePath is the code of a path that has two readings.
const codePath = "ambiguous_path"

// Handler rejects requests that are not what an OpenAPI document (3.0, 3.1 or 3.2)
// describes: paths, methods, media types, parameters and members of JSON and forms that
// it does not name, and values that its schemas do not allow. What it lets pass it does
// not change.
//
// The document is in a file, and schemas may be in other files of the same folder. They
// are compiled once, when the configuration is loaded. What cannot be enforced is an
// error then, with file and line. The file is watched: a change takes effect at once,
// and a document with a mistake leaves in force the one before it.
//
// JSON has to have one reading: members that are there twice, or in another case, and
// numbers outside of double precision are rejected. So are requests that ask for
// another method or path in a header field, such as X-HTTP-Method-Override.
//
// A GET that is documented may be a HEAD. The path of the request is matched as it is:
// /orders/ is another path than /orders. Values of readOnly members must not be sent,
// and are not required.
//
// `{http.validate.operation}` is the operationId of the request, or its method and the
// path of the document where there is none.
//
// Rejected requests have the codes undocumented_path (404), undocumented_method (405,
// with Allow), unsupported_media_type (415), request_too_large (413), ambiguous_path
// (400) and invalid_request (400). The problem document of the latter has `errors`, at
// most ten: where (a parameter, or a JSON Pointer into the body), the keyword, and what
// is expected. It never has a value of the request.
type Handler struct {
	option.Placed

	// The file with the OpenAPI document, in YAML or JSON. Placeholders such as {env.X}
	// are expanded when the configuration is loaded. Required.
	Document string `json:"document,omitempty"`

	// Whether to let pass what the document does not name: paths, methods, media types,
	// parameters, members. What it names is still checked.
	Open bool `json:"open,omitempty"`

	// What becomes of what the document says and cannot be enforced: "" for an error
	// when the configuration is loaded, "warn" for a line in the log.
	Unenforced string `json:"unenforced,omitempty"`

	// The paths before those of the document, such as /v1. Default: those of its servers.
	Bases []string `json:"base,omitempty"`

	// Whether to let CORS preflights pass: OPTIONS with Origin and
	// Access-Control-Request-Method, without a body.
	Preflight bool `json:"preflight,omitempty"`

	// Whether to let requests pass that would be rejected. The log, the audit record
	// and the metrics have the decision.
	DryRun bool `json:"dry_run,omitempty"`

	// The largest content that is read, in bytes. At most 64 MiB. Default: 1048576
	MaxBody int64 `json:"max_body,omitempty"`

	// How deep objects and arrays can be in each other. At most 512. Default: 32
	MaxDepth int `json:"max_depth,omitempty"`

	// How many values JSON can have in all. At most 5000000. Default: 100000
	MaxValues int `json:"max_values,omitempty"`

	// How many members an object can have. At most 5000000. Default: 1000
	MaxMembers int `json:"max_members,omitempty"`

	held    lifecycle.Held
	file    *document
	limits  contract.Limits
	decided *prometheus.CounterVec
	allowed prometheus.Counter // the usual case of decided
	memo    *decision.Memo
	logger  *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.validate",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision compiles the document and begins to watch its file.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.Locate(h)
	if err := lifecycle.CheckLayers(ctx); err != nil {
		return h.At(err)
	}
	return h.At(h.provision(ctx))
}

func (h *Handler) provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	h.memo = new(decision.Memo)
	if err := h.Validate(); err != nil {
		return err
	}
	h.setDefaults()
	var err error
	if h.decided, err = lifecycle.Decided(ctx); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	h.allowed = h.decided.WithLabelValues(layer, decision.Allow, "")
	options := contract.LoadOptions{Bases: h.Bases, Unenforced: h.Unenforced == unenforcedWarn}
	variant := fmt.Sprint(options)
	h.file, err = watched.Open(ctx, &h.held, &documents, h.Document, variant, func(path string, report func(filewatch.Event)) (*document, error) {
		return open(path, options, report)
	})
	if err != nil {
		return fmt.Errorf("validate: %w", err)
	}
	for _, what := range h.file.Value().Unenforced {
		h.logger.Warn("not enforced", zap.String("what", what))
	}
	if h.DryRun {
		h.logger.Warn("dry_run: nothing is rejected")
	}
	return nil
}

// unenforcedWarn is the value of Unenforced.
const unenforcedWarn = "warn"

func (h *Handler) setDefaults() {
	set := func(n *int, value int) {
		if *n == 0 {
			*n = value
		}
	}
	set(&h.MaxDepth, defaultMaxDepth)
	set(&h.MaxValues, defaultMaxValues)
	set(&h.MaxMembers, defaultMaxMembers)
	if h.MaxBody == 0 {
		h.MaxBody = defaultMaxBody
	}
	h.limits = contract.Limits{
		Open: h.Open, MaxBody: h.MaxBody,
		JSON: strictjson.Limits{Depth: h.MaxDepth, Values: h.MaxValues, Members: h.MaxMembers},
	}
}

// Validate checks the options.
func (h *Handler) Validate() error {
	if h.Document == "" {
		return errors.New("validate: the file of the OpenAPI document is missing: write validate /etc/moat/openapi.yaml")
	}
	for _, b := range h.Bases {
		if err := checkBase(b); err != nil {
			return fmt.Errorf("validate: %w", err)
		}
	}
	return errors.Join(
		option.CheckWord("validate: unenforced", h.Unenforced, unenforcedWarn), bodies.Check("validate: max_body", h.MaxBody), depths.Check("validate: max_depth", h.MaxDepth),
		counts.Check("validate: max_values", h.MaxValues), counts.Check("validate: max_members", h.MaxMembers),
	)
}

// checkBase checks a path that stands before those of the document.
func checkBase(b string) error {
	if b != "/" && (!strings.HasPrefix(b, "/") || strings.HasSuffix(b, "/") || strings.ContainsAny(b, "{}*?#")) {
		return fmt.Errorf("base '%s': write the path before those of the document, such as /v1, or / for none", b)
	}
	return nil
}

// Secured returns an operation for which the document demands a credential, or nothing.
func (h *Handler) Secured() string {
	if h.file == nil {
		return ""
	}
	for _, op := range h.file.Value().Operations {
		if op.Secured {
			return op.ID
		}
	}
	return ""
}

// Cleanup lets go of the file.
func (h *Handler) Cleanup() error {
	h.held.Release()
	return nil
}

// ServeHTTP checks the request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	reqctx.EndToEnd(r)
	if h.Preflight && isPreflight(r) {
		return next.ServeHTTP(w, r)
	}
	doc := h.file.Value()
	v := h.check(doc, r)
	rule := "undocumented"
	if v.Operation != nil {
		rule = v.Operation.ID
		reqctx.Of(r).Keep(knownKey{}, &known{doc, v.Operation, &h.limits})
	}
	if repl := reqctx.Replacer(r); repl != nil {
		operation := ""
		if v.Operation != nil {
			operation = rule
		}
		repl.Set("http.validate.operation", operation)
	}
	if v.Problem == nil {
		h.allowed.Inc()
		reqctx.Decisions(r).Note(h.memo.Of(decision.Decision{Layer: layer, Result: decision.Allow, Rule: rule, Policy: doc.Digest}))
		return next.ServeHTTP(w, r)
	}
	detail := faultsText(v.Problem.Faults)
	if h.DryRun {
		h.decided.WithLabelValues(layer, decision.Skip, v.Problem.Code).Inc()
		h.logger.Info("dry_run: would have been rejected", zap.String("code", v.Problem.Code), zap.String("operation", rule), zap.String("faults", detail))
		reqctx.Decisions(r).Add(decision.Decision{Layer: layer, Result: decision.Skip, Rule: "dry_run: " + v.Problem.Code + " at " + rule, Policy: doc.Digest, Detail: detail})
		return next.ServeHTTP(w, r)
	}
	h.decided.WithLabelValues(layer, decision.Deny, v.Problem.Code).Inc()
	reqctx.Decisions(r).Add(decision.Decision{
		Layer: layer, Result: decision.Deny, Rule: rule, Code: v.Problem.Code, Policy: doc.Digest, Detail: detail,
	})
	if v.Allow != "" {
		w.Header().Set("Allow", v.Allow)
	}
	return reqctx.Refuse(w, r, v.Problem)
}

// check asks the document about a request.
func (h *Handler) check(doc *contract.Document, r *http.Request) contract.Verdict {
	path, err := requestpath.Of(r.Method, r.URL)
	if err != nil {
		return contract.Verdict{Problem: &problem.Problem{Status: http.StatusBadRequest, Code: codePath, Detail: err.Error()}}
	}
	return doc.Check(&contract.Request{
		Method: method(r), Path: path, RawQuery: r.URL.RawQuery, Header: r.Header, Body: content{r},
	}, &h.limits)
}

// faultsText says for the record what was wrong, without anything that the client has
// written: names of members and parameters are.
func faultsText(faults []problem.Fault) string {
	var list []string
	for _, f := range faults {
		if text := f.In + " " + f.Keyword; !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return strings.Join(list, ", ")
}

// method returns the method that the upstream will see. Caddy's reverse_proxy turns
// the extended CONNECT of a WebSocket into a GET, by these conditions.
func method(r *http.Request) string {
	if r.Method == http.MethodConnect &&
		(r.ProtoMajor == 2 && r.Header.Get(":protocol") == "websocket" || r.ProtoMajor == 3 && r.Proto == "websocket") {
		return http.MethodGet
	}
	return r.Method
}

// isPreflight reports whether a request is a CORS preflight.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && len(r.Header["Origin"]) == 1 && len(r.Header["Access-Control-Request-Method"]) == 1 && !reqctx.HasContent(r)
}

// content is the body of a request.
type content struct{ *http.Request }

// HasContent implements contract.Body.
func (c content) HasContent() bool { return reqctx.HasContent(c.Request) }

// Content implements contract.Body.
func (c content) Content(max int64) ([]byte, error) {
	text, err := reqctx.ReadContent(c.Request, max)
	if errors.Is(err, reqctx.ErrTooLarge) || err != nil && reqctx.Limited(err) {
		return nil, contract.ErrTooLarge
	}
	return text, err
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ caddyfile.Unmarshaler       = (*Handler)(nil)
)

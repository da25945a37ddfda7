// Package mcp is the HTTP handler module http.handlers.mcp: it reads the calls of
// the Model Context Protocol that requests carry, so that rbac can decide about
// them, and takes out of responses what the caller may not call.
package mcp

import (
	"crypto/sha256"
	"encoding/hex"
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

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/data/mcp"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/conceal"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// layer is the handler's name in records and metrics.
const layer = "mcp"

// Defaults and limits of the options, in bytes.
const (
	defaultMaxBody  = 1 << 20
	defaultMaxEvent = 4 << 20
	maxSize         = 64 << 20

	// hold is how much of a JSON response waits until it is wholly understood.
	hold = 64 << 10
)

// Codes of rejections.
const (
	CodeForbiddenOrigin = "forbidden_origin"
	CodeNotAllowed      = "mcp_method_not_allowed"
	CodeInvalid         = "invalid_mcp_message"
	CodeMismatch        = "mcp_header_mismatch"
	CodeTooLarge        = "mcp_message_too_large"
	CodeDenied          = "mcp_call_denied"
	CodeUnreadable      = "unreadable_response"
)

// AnyOrigin in the list of origins turns the check off.
const AnyOrigin = "any"

// Handler guards an MCP server (Model Context Protocol over HTTP, revision
// 2026-07-28 and those before it, from 2024-11-05 on).
//
// Each POST must be one JSON-RPC message that has one reading: batches, members
// that are there twice or in another case, and methods in another spelling are
// rejected. Where the header fields MCP-Protocol-Version, Mcp-Method and Mcp-Name
// are there, and from 2026-07-28 on they must be, they must agree with the body.
//
// What is called is decided by the rules for tools, resources and prompts of the
// rbac before this handler: tools/call, prompts/get, resources/read,
// resources/subscribe, completion/complete and the resources of
// subscriptions/listen. The response to a call that is not allowed is HTTP 200 with a
// JSON-RPC error, since clients take 401 and 403 for the end of the session. The
// lists of tools, resources, resource templates and prompts in responses, in
// JSON and in Server-Sent Events, show the caller what the same rules allow. No
// other byte of them changes. Without such rules, or without rbac, a caller who
// may send the request may call all names.
//
// A request that has an Origin other than those of `origins` and of the resource
// of jwt_auth is rejected with 403 forbidden_origin, as the protocol demands against
// DNS rebinding.
//
// Placeholders: `{http.mcp.method}`, `{http.mcp.tool}` (of tools/call, else
// empty) and `{http.mcp.name}` (of the tool or prompt, or the URI of the
// resource). Behind an authenticator of ours they work before this handler, too,
// in the keys of rate_limit.
//
// Rejected requests have the codes forbidden_origin (403), invalid_mcp_message and
// mcp_header_mismatch (400), mcp_message_too_large (413), mcp_method_not_allowed
// (405), mcp_call_denied (200 with a JSON-RPC error), unreadable_response (502).
type Handler struct {
	option.Placed

	// The origins of pages that may send requests, such as
	// https://app.example.com. That of the resource of jwt_auth may without
	// being listed. "any" alone turns the check off.
	Origins []string `json:"origins,omitempty"`

	// The largest message that a client may send, in bytes. At most 64 MiB.
	// Default: 1048576
	MaxBody int64 `json:"max_body,omitempty"`

	// The longest Server-Sent Event of a response, in bytes, and the longest
	// description of a tool, resource or prompt in a list. It is only looked at
	// where the rules restrict the caller. At most 64 MiB. Default: 4194304
	MaxEvent int `json:"max_event,omitempty"`

	filter  *mcp.Filter
	legacy  legacy
	decided *prometheus.CounterVec
	allowed prometheus.Counter // the usual case of decided
	hidden  prometheus.Counter
	memo    *decision.Memo
	logger  *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.mcp",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision prepares the filter of responses.
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
	if h.MaxBody == 0 {
		h.MaxBody = defaultMaxBody
	}
	if h.MaxEvent == 0 {
		h.MaxEvent = defaultMaxEvent
	}
	if err := h.Validate(); err != nil {
		return err
	}
	var err error
	if h.decided, err = lifecycle.Decided(ctx); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	h.allowed = h.decided.WithLabelValues(layer, decision.Allow, "")
	h.hidden, err = lifecycle.Register(ctx, prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "moat_mcp", Name: "hidden_total",
		Help: "Tools, resources and prompts that mcp has taken out of lists.",
	}))
	if err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	h.filter, err = mcp.NewFilter(h.MaxEvent)
	return err
}

// Validate checks the options.
func (h *Handler) Validate() error {
	if h.MaxBody < 0 || h.MaxBody > maxSize {
		return errors.New("mcp: max_body must be between 1 B and 64 MiB")
	}
	if h.MaxEvent < 0 || h.MaxEvent > maxSize {
		return errors.New("mcp: max_event must be between 1 B and 64 MiB")
	}
	if len(h.Origins) > 1 && slices.Contains(h.Origins, AnyOrigin) {
		return errors.New("mcp: origin any stands alone: remove the other origins, or any")
	}
	return nil
}

// MaxMessage returns how long a message can be.
func (h *Handler) MaxMessage() int64 { return h.MaxBody }

// ServeHTTP decides about the message of the request, and filters the response.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	reqctx.EndToEnd(r)
	reqctx.SetCarriesCalls(r)
	mcp.DropAliases(r.Header)
	if !h.originAllowed(r) {
		return h.refuse(w, r, "origin", &problem.Problem{
			Status: http.StatusForbidden, Code: CodeForbiddenOrigin, Detail: "requests from pages of this origin are not accepted",
		})
	}
	calls := reqctx.CallsOf(r)
	switch r.Method {
	case http.MethodPost:
	case http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions:
		// A stream of the older revisions, the end of a session, a preflight: none
		// has content, which a server that looks at the method later would take
		// for a message.
		if reqctx.HasContent(r) {
			return h.answer(w, r, CodeInvalid, "message", &mcp.Error{
				Status: http.StatusBadRequest, Code: mcp.CodeInvalidRequest, Message: "messages are sent with POST",
			})
		}
		return h.pass(w, r, next, nil, calls)
	default:
		w.Header().Set("Allow", "POST, GET, DELETE, OPTIONS")
		return h.refuse(w, r, "method", &problem.Problem{
			Status: http.StatusMethodNotAllowed, Code: CodeNotAllowed, Detail: "messages are sent with POST",
		})
	}
	m, fault := h.read(r)
	if fault != nil {
		return h.answer(w, r, fault.code, "message", fault.err)
	}
	reqctx.SetMessage(r, m)
	e := &exchange{m, decision.Call{Method: m.Method, Name: conceal.Tokens(m.Name()), Arguments: digest(m.Arguments)}}
	if rule, err := h.decide(r, m, calls); err != nil {
		e.call.Error = err.Code
		reqctx.Decisions(r).SetCall(&e.call)
		return h.answer(w, r, CodeDenied, rule, err)
	}
	if !m.IsResponse() {
		reqctx.Decisions(r).SetCall(&e.call)
	}
	return h.pass(w, r, next, e, calls)
}

// fault is why a message is not accepted.
type fault struct {
	code string
	err  *mcp.Error
}

// read reads the message of a request.
func (h *Handler) read(r *http.Request) (*mcp.Message, *fault) {
	refused := func(status, code int, text string) *fault {
		return &fault{CodeInvalid, &mcp.Error{Status: status, Code: code, Message: text}}
	}
	if !sentAsJSON(r.Header) {
		return nil, refused(http.StatusUnsupportedMediaType, mcp.CodeInvalidRequest, "the body must be sent as application/json in UTF-8, without a content coding")
	}
	body, err := reqctx.ReadContent(r, h.MaxBody)
	switch {
	case err == nil:
	case errors.Is(err, reqctx.ErrTooLarge), reqctx.Limited(err):
		f := refused(http.StatusRequestEntityTooLarge, mcp.CodeInvalidRequest, "the message is too large")
		f.code = CodeTooLarge
		return nil, f
	case err != nil:
		return nil, refused(http.StatusBadRequest, mcp.CodeParse, "the body cannot be read")
	}
	m, bad := reqctx.ReadMessage(r, body)
	if bad != nil {
		version, _ := mcp.CheckVersion(r.Header)
		if bad.Status == http.StatusNotFound && version < mcp.Stateless {
			bad.Status = http.StatusOK // which the older revisions know for errors of a call
		}
		return nil, &fault{CodeInvalid, bad}
	}
	if bad := m.Agree(r.Header); bad != nil {
		return nil, &fault{CodeMismatch, bad}
	}
	return m, nil
}

// digest is the SHA-256 of the arguments of a call as they are written.
func digest(arguments []byte) string {
	if arguments == nil {
		return ""
	}
	sum := sha256.Sum256(arguments)
	var text [len("sha256:") + 2*sha256.Size]byte
	return string(hex.AppendEncode(append(text[:0], "sha256:"...), sum[:]))
}

// denials are what the caller is told. They are the same for what there is and
// what there is not.
var denials = map[mcp.Kind]string{
	mcp.Tool:     "this tool is not available to this caller",
	mcp.Resource: "this resource is not available to this caller",
	mcp.Prompt:   "this prompt is not available to this caller",
}

// decide asks the policy about all that the message is about.
func (h *Handler) decide(r *http.Request, m *mcp.Message, calls reqctx.Calls) (rule string, refusal *mcp.Error) {
	if calls == nil || len(m.Refs) == 0 {
		h.note(r, decision.Decision{Layer: layer, Result: decision.Allow})
		return "", nil
	}
	for i, ref := range m.Refs {
		call := &condition.Call{Method: m.Method, Name: ref.Name, Arguments: func() (any, error) { return condition.DecodeArguments(m.Arguments) }}
		d := calls.Decide(r, policy.Call(ref.Kind), call)
		rule = d.RuleText()
		switch {
		case d.Allow && i == len(m.Refs)-1:
			h.note(r, decision.Decision{Layer: layer, Result: decision.Allow, Rule: rule, Policy: d.Policy})
		case d.Allow:
		case d.DryRun:
			h.decided.WithLabelValues(layer, decision.Skip, CodeDenied).Inc()
			reqctx.Decisions(r).Add(decision.Decision{Layer: layer, Result: decision.Skip, Rule: "dry_run: mcp_call_denied by " + rule, Policy: d.Policy})
			return rule, nil
		default:
			return rule, &mcp.Error{
				Status: http.StatusOK, Code: mcp.CodeInvalidParams, Message: denials[ref.Kind], ID: m.ID,
				Data: denialData(d.Scopes),
			}
		}
	}
	return rule, nil
}

// denialData tells a program why, and which scopes would have the call allowed.
func denialData(scopes []string) []byte {
	data := []byte(`{"code":"mcp_call_denied"`)
	if len(scopes) > 0 {
		data = append(data, `,"scope":"`...)
		data = append(data, strings.Join(scopes, " ")...) // which has nothing to be escaped
		data = append(data, '"')
	}
	return append(data, '}')
}

func (h *Handler) note(r *http.Request, d decision.Decision) {
	h.allowed.Inc()
	reqctx.Decisions(r).Note(h.memo.Of(d))
}

// refuse rejects a request as a problem.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, rule string, p *problem.Problem) error {
	h.decided.WithLabelValues(layer, decision.Deny, p.Code).Inc()
	reqctx.Decisions(r).Add(decision.Decision{Layer: layer, Result: decision.Deny, Rule: rule, Code: p.Code})
	return reqctx.Refuse(w, r, p)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ caddyfile.Unmarshaler       = (*Handler)(nil)
)

package validate

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/contract"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func init() {
	caddy.RegisterModule(new(Responses))
}

// responsesLayer is the handler's name in records and metrics.
const responsesLayer = "validate_responses"

// What becomes of responses that are not as documented.
const (
	actionReport = "report"
	actionBlock  = "block"
)

const defaultMaxResponse = 1 << 20

// CodeResponse is the code of a response that is not as documented.
const CodeResponse = "invalid_response"

// Responses checks responses against the OpenAPI document of the `validate` before it:
// status, header fields, media type, and JSON by its schema. It sees what the upstream
// has sent, before redact.
//
// Responses that are not as documented are reported, in the log, the record and the
// metrics, or blocked: then they are held until they are known to be right, and are
// otherwise HTTP 502 invalid_response.
//
// It says nothing about requests that no operation of the document is for, upgraded
// connections, content that is not JSON, and responses of layers that have rejected the
// request.
type Responses struct {
	option.Placed

	// What becomes of a response that is not as documented: report or block.
	// Default: report
	Action string `json:"action,omitempty"`

	// The largest JSON that is checked, in bytes. A larger one is not checked, or
	// blocked. At most 64 MiB. Default: 1048576
	MaxBody int64 `json:"max_body,omitempty"`

	// How many values JSON can have in all. At most 5000000. Default: 100000
	MaxValues int `json:"max_values,omitempty"`

	decided *prometheus.CounterVec
	checked *prometheus.CounterVec
	memo    *decision.Memo
	logger  *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Responses) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.validate_responses",
		New: func() caddy.Module { return new(Responses) },
	}
}

// Provision registers the metrics.
func (h *Responses) Provision(ctx caddy.Context) error {
	h.Locate(h)
	if err := lifecycle.CheckLayers(ctx); err != nil {
		return h.At(err)
	}
	return h.At(h.provision(ctx))
}

func (h *Responses) provision(ctx caddy.Context) error {
	h.logger, h.memo = ctx.Logger(), new(decision.Memo)
	if err := h.Validate(); err != nil {
		return err
	}
	if h.Action == "" {
		h.Action = actionReport
	}
	if h.MaxBody == 0 {
		h.MaxBody = defaultMaxResponse
	}
	if h.MaxValues == 0 {
		h.MaxValues = defaultMaxValues
	}
	var err error
	if h.decided, err = lifecycle.Decided(ctx); err == nil {
		h.checked, err = lifecycle.Register(ctx, prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "caddy", Subsystem: "moat", Name: "validate_responses_total",
			Help: "Responses of documented operations, by whether they are as documented: valid, invalid or unchecked.",
		}, []string{"result"}))
	}
	if err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}

// Validate checks the options.
func (h *Responses) Validate() error {
	return errors.Join(
		option.CheckWord("validate_responses: action", h.Action, actionReport, actionBlock), bodies.Check("validate_responses: max_body", h.MaxBody),
		counts.Check("validate_responses: max_values", h.MaxValues),
	)
}

// UnmarshalCaddyfile sets up the handler. Syntax:
//
//	validate_responses [<matcher>] [report|block] {
//	    max_body   <size>
//	    max_values <n>
//	}
//
// The block can be left out.
func (h *Responses) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if args := d.RemainingArgs(); len(args) > 1 || len(args) == 1 && option.CheckWord(responsesLayer, args[0], actionReport, actionBlock) != nil {
		return option.Takes(d, responsesLayer, "report, block or no argument")
	} else if len(args) == 1 {
		h.Action = args[0]
	}
	return option.Block(d, nil, func(d *caddyfile.Dispenser) error {
		switch d.Val() {
		case "max_body":
			return option.Size(d, &h.MaxBody, bodies)
		case "max_values":
			return option.Count(d, &h.MaxValues, counts)
		}
		return option.Unrecognized(d, responsesLayer, []string{"max_body", "max_values"})
	})
}

// known is what validate has found out about a request, for validate_responses.
type known struct {
	document  *contract.Document
	operation *contract.Operation
	limits    *contract.Limits
}

type knownKey struct{}

// ServeHTTP checks the response.
func (h *Responses) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	k, _ := reqctx.Of(r).Kept(knownKey{}).(*known)
	if k == nil {
		return next.ServeHTTP(w, r)
	}
	// What comes with a coding, or in part, cannot be checked.
	r.Header.Set("Accept-Encoding", "identity")
	if h.Action == actionBlock {
		r.Header.Del("Range")
		r.Header.Del("If-Range")
	}
	rw := &response{h: h, w: w, r: r, known: k, before: w.Header().Clone(), limits: *k.limits}
	rw.limits.JSON.Values, rw.limits.JSON.Members = h.MaxValues, 0
	return rw.finish(rw.run(next))
}

// report says what was wrong with a response that has left, or is blocked.
func (h *Responses) report(r *http.Request, k *known, faults []problem.Fault, blocked bool) {
	h.checked.WithLabelValues("invalid").Inc()
	text := faultsText(faults)
	h.logger.Warn("the response is not as documented", zap.String("operation", k.operation.ID), zap.String("faults", text), zap.Bool("blocked", blocked))
	d := decision.Decision{
		Layer: responsesLayer, Result: decision.Skip, Rule: "report: " + CodeResponse + " at " + k.operation.ID, Policy: k.document.Digest, Detail: text,
	}
	if blocked {
		d.Result, d.Rule, d.Code = decision.Deny, k.operation.ID, CodeResponse
	}
	h.decided.WithLabelValues(responsesLayer, d.Result, CodeResponse).Inc()
	reqctx.Decisions(r).Add(d)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Responses)(nil)
	_ caddy.Validator             = (*Responses)(nil)
	_ caddyhttp.MiddlewareHandler = (*Responses)(nil)
	_ caddyfile.Unmarshaler       = (*Responses)(nil)
)

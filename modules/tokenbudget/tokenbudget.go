// Package tokenbudget limits how many tokens of a language model a caller uses
// per minute, hour, day and month, by what the responses say.
package tokenbudget

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/budget"
	"github.com/caddy-moat/caddy-moat/modules/internal/data/usage"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Name is the name of the directive.
const Name = "token_budget"

// Handler limits the tokens of a language model that a caller may use.
//
// A request with content reserves what it is expected to cost before the
// upstream sees it, and is charged with the usage that its response reports, when
// that has ended: the number at a JSON Pointer of a JSON body, or of the last
// Server-Sent Event that has one. The first request of a caller starts while
// something is left of every limit; further ones start beside it only as far
// as the rest covers what all of them have reserved. Requests in parallel
// exceed a limit by at most one response, provided that none costs more than was
// reserved for it.
//
// A request is rejected with 429 token_budget_exceeded when a limit is used up,
// and with 429 token_budget_reserved when requests under way have reserved the
// rest of it. Retry-After says when to try again: at the end of the window, or
// in a second. Protocol upgrades are rejected with 403 upgrade_not_metered,
// since their usage cannot be read.
//
// The placeholder {http.moat.tokens} is what the request was charged with, once
// the response has ended.
type Handler struct {
	// The limits of a caller without one of Plans. At least one is required.
	Limits []Limit `json:"limits,omitempty"`

	// The limits of the callers of a plan, {http.auth.user.plan}, instead.
	Plans map[string][]Limit `json:"plans,omitempty"`

	// Who shares a budget: a text with placeholders. Requests for which it is
	// empty share one budget, too. Default: {http.moat.caller}, the verified
	// caller, and the client's address if there is none, of IPv6 its /64.
	By string `json:"by,omitempty"`

	// Where responses report their usage: sums of JSON Pointers (RFC 6901). The
	// first sum that finds a number counts. Within a sum, | separates
	// alternatives, of which the first that is present counts. Default: the
	// members of OpenAI, Anthropic, Gemini, Ollama and compatible services.
	Usage [][]string `json:"usage,omitempty"`

	// How many tokens to reserve for the first response to a caller on a day, if
	// the request does not limit the tokens of its response. Default: 4096
	Reserve int64 `json:"reserve,omitempty"`

	// Handlers with the same zone share their counts, across sites as well. Default: default
	Zone string `json:"zone,omitempty"`

	// The largest number of callers to count. Beyond it, one of those that have
	// used least is forgotten. The first handler of a zone decides. Default: 100000
	MaxCallers int `json:"max_callers,omitempty"`

	limits  []budget.Limit
	plans   map[string][]budget.Limit
	reader  *usage.Reader
	zone    *zone
	held    lifecycle.Held
	metrics metrics
	logger  *zap.Logger
	option.Placed
}

// Limit is a number of tokens in a window of time.
type Limit struct {
	// How many tokens.
	Tokens int64 `json:"tokens"`

	// minute, hour, day or month, as they begin in UTC.
	Per string `json:"per"`
}

const (
	defaultBy         = "{http.moat.caller}"
	defaultReserve    = 4096
	defaultZone       = "default"
	defaultMaxCallers = 100_000
	maxTokens         = 1 << 50
)

// callers is how many callers may be counted: some hundred bytes each.
var callers = option.Counts{Min: 1, Max: 10_000_000, Of: "callers"}

// knownUsage is where the services say what a response has cost.
var knownUsage = [][]string{
	{"/usage/total_tokens|/response/usage/total_tokens"},
	{"/usageMetadata/totalTokenCount|/-/usageMetadata/totalTokenCount"}, // a stream without alt=sse is an array
	{
		"/usage/input_tokens|/message/usage/input_tokens", "/usage/output_tokens|/message/usage/output_tokens",
		"/usage/cache_creation_input_tokens|/message/usage/cache_creation_input_tokens",
		"/usage/cache_read_input_tokens|/message/usage/cache_read_input_tokens",
	},
	{"/prompt_eval_count", "/eval_count"},
	{"/usage/inputTokens|/metadata/usage/inputTokens", "/usage/outputTokens|/metadata/usage/outputTokens"},
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.token_budget",
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
	h.logger = ctx.Logger()
	h.setDefaults()
	if err := h.compile(); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	var err error
	if h.zone, err = openZone(ctx, &h.held, h.Zone, h.MaxCallers); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	if h.metrics, err = newMetrics(ctx, h.zone); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	return nil
}

func (h *Handler) setDefaults() {
	h.By = cmp.Or(h.By, defaultBy)
	h.Reserve = cmp.Or(h.Reserve, defaultReserve)
	h.Zone = cmp.Or(h.Zone, defaultZone)
	h.MaxCallers = cmp.Or(h.MaxCallers, defaultMaxCallers)
	if h.Usage == nil {
		h.Usage = knownUsage
	}
}

// compile checks what the options say.
func (h *Handler) compile() error {
	if len(h.Limits) == 0 {
		return errors.New("no limit for callers without a plan: write limit <tokens> per minute|hour|day|month")
	}
	var err error
	if h.limits, err = compileLimits(h.Limits); err != nil {
		return err
	}
	h.plans = make(map[string][]budget.Limit, len(h.Plans))
	for plan, limits := range h.Plans {
		if len(limits) == 0 {
			return fmt.Errorf("plan %s has no limit: write limit <tokens> per minute|hour|day|month inside of it", plan)
		}
		if h.plans[plan], err = compileLimits(limits); err != nil {
			return fmt.Errorf("plan %s: %w", plan, err)
		}
	}
	if h.Reserve < 1 || h.Reserve > maxTokens {
		return errors.New("reserve is a number of tokens above zero, such as 4096")
	}
	if err := callers.Check("max_callers", h.MaxCallers); err != nil {
		return err
	}
	if !zoneName(h.Zone) {
		return fmt.Errorf("zone '%s' is not a name of at most 64 letters, digits, - and _", h.Zone)
	}
	sums := make([]usage.Sum, 0, len(h.Usage))
	for _, terms := range h.Usage {
		sum, err := usage.ParseSum(terms)
		if err != nil {
			return fmt.Errorf("usage: %w", err)
		}
		sums = append(sums, sum)
	}
	if h.reader, err = usage.NewReader(sums...); err != nil {
		return fmt.Errorf("usage: %w", err)
	}
	return nil
}

func compileLimits(limits []Limit) ([]budget.Limit, error) {
	compiled := make([]budget.Limit, 0, len(limits))
	for _, l := range limits {
		per, err := budget.ParsePeriod(l.Per)
		if err != nil {
			return nil, fmt.Errorf("limit: %w", err)
		}
		if l.Tokens < 1 || l.Tokens > maxTokens {
			return nil, errors.New("limit takes a number of tokens above zero: limit 100000 per day")
		}
		if slices.ContainsFunc(compiled, func(o budget.Limit) bool { return o.Per == per }) {
			return nil, fmt.Errorf("limit per %s already specified", per)
		}
		compiled = append(compiled, budget.Limit{Tokens: l.Tokens, Per: per})
	}
	return compiled, nil
}

// zoneName reports whether a name can be that of a file everywhere.
func zoneName(name string) bool {
	return len(name) <= 64 && name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// Cleanup gives the zone back.
func (h *Handler) Cleanup() error {
	h.held.Release()
	return nil
}

// SharedBy returns the text that says who shares a budget, for the check of the
// layers.
func (h *Handler) SharedBy() string { return h.By }

// ServeHTTP meters the request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	reqctx.Of(r)
	repl := reqctx.Replacer(r)
	if r.Method == http.MethodConnect || len(r.Header["Upgrade"]) > 0 {
		return h.reject(w, r, "", &problem.Problem{
			Status: http.StatusForbidden, Code: "upgrade_not_metered",
			Detail: "Other protocols than HTTP are not available here.",
		})
	}
	repl.Set(tokensKey, "")
	if !reqctx.HasContent(r) {
		return next.ServeHTTP(w, r)
	}
	estimate, err := h.estimate(r)
	if err != nil {
		status := http.StatusBadRequest
		if reqctx.Limited(err) {
			status = http.StatusRequestEntityTooLarge
		}
		return caddyhttp.Error(status, err)
	}
	limits := h.limits
	if len(h.plans) > 0 {
		plan, _ := repl.GetString("http.auth.user.plan")
		if of, ok := h.plans[plan]; ok {
			limits = of
		}
	}
	reservation, exceeded := h.zone.ledger.Reserve(h.payer(r), limits, estimate, time.Now())
	if exceeded != nil {
		return h.exceeded(w, r, exceeded)
	}
	h.decided(r, decision.Decision{Layer: Name, Result: decision.Allow})
	return h.serve(w, r, next, reservation, estimate)
}

// payer returns who shares the budget of a request. Whoever has one address of IPv6
// has all of its /64 (RFC 4291 section 2.5.4, RFC 6177), and would have a budget for
// each of them.
func (h *Handler) payer(r *http.Request) string {
	by := reqctx.Replacer(r).ReplaceAll(h.By, "")
	if h.By != defaultBy || reqctx.Principal(r) != nil {
		return by
	}
	if address, err := netip.ParseAddr(by); err == nil && address.Is6() {
		if network, err := address.Prefix(64); err == nil {
			return network.String()
		}
	}
	return by
}

// serve runs the rest of the site and settles what the request has cost, also where the
// handlers inside end with a panic.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, reservation *budget.Reservation, estimate budget.Estimate) error {
	m := newMetered(h, w)
	accepted, had := r.Header["Accept-Encoding"]
	// An absent field would let Go's transport ask for gzip by itself.
	r.Header["Accept-Encoding"] = []string{"identity"}
	var once sync.Once
	m.settle = func(gone bool) {
		once.Do(func() {
			tokens, how := m.cost(reservation, estimate.Prompt, gone)
			reservation.Settle(tokens, time.Now())
			h.metrics.charged(how, tokens)
			reqctx.Replacer(r).Set(tokensKey, strconv.FormatInt(tokens, 10))
		})
	}
	ended := false
	defer func() {
		if delete(r.Header, "Accept-Encoding"); had {
			r.Header["Accept-Encoding"] = accepted
		}
		m.settle(!ended || r.Context().Err() != nil)
	}()
	err := next.ServeHTTP(m, r)
	ended = true
	return err
}

const tokensKey = "http.moat.tokens"

// exceeded rejects a request whose caller has used up a limit.
func (h *Handler) exceeded(w http.ResponseWriter, r *http.Request, x *budget.Exceeded) error {
	p := &problem.Problem{
		Status: http.StatusTooManyRequests, Code: "token_budget_exceeded",
		Detail: "The budget of tokens is used up: " + x.Limit.String() + ".", RetryAfter: x.Wait,
	}
	left := max(0, x.Limit.Tokens-x.Used)
	if x.InUse {
		p.Code, p.RetryAfter = "token_budget_reserved", min(time.Second, x.Wait)
		p.Detail = "The rest of the budget of tokens is reserved by requests under way: " + x.Limit.String() + "."
	} else {
		left = 0
		if p.RetryAfter > time.Minute {
			// Clients of OpenAI that shall wait for longer try again at once,
			// unless they are told not to.
			w.Header().Set("X-Should-Retry", "false")
		}
	}
	per := x.Limit.Per.String()
	w.Header().Set("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=%d", per, x.Limit.Tokens, int64(x.Window/time.Second)))
	w.Header().Set("RateLimit", fmt.Sprintf("%q;r=%d;t=%d", per, left, int64((x.Wait+time.Second-1)/time.Second)))
	return h.reject(w, r, x.Limit.String(), p)
}

func (h *Handler) reject(w http.ResponseWriter, r *http.Request, rule string, p *problem.Problem) error {
	h.decided(r, decision.Decision{Layer: Name, Result: decision.Deny, Rule: rule, Code: p.Code})
	return reqctx.Refuse(w, r, p)
}

func (h *Handler) decided(r *http.Request, d decision.Decision) {
	h.metrics.decided.WithLabelValues(Name, d.Result, d.Code).Inc()
	reqctx.Decisions(r).Add(d)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

// Package breaker keeps requests from an upstream that fails.
package breaker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/breaker"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func init() {
	caddy.RegisterModule(Handler{})
}

const (
	// Name is the name of the directive.
	Name = "breaker"

	// CodeOpen is the code of a request that an open breaker rejects.
	CodeOpen = "upstream_open"
)

// Handler keeps requests from an upstream that fails, so that callers are told at
// once and the upstream can recover (circuit breaker). It stands right around
// reverse_proxy, whose upstreams count as one.
//
// It opens when the window has enough requests, and a large enough share of them has
// failed: with a status of 500 and above, but 501, or with no response at all. Slow
// responses open it beside failures, and never alone. A request whose client
// leaves counts for nothing. How long a response takes is measured until it
// begins, so that streams and upgrades are not slow.
//
// Open, it rejects every request. Then one request is the probe: it closes the
// breaker, or opens it for twice as long. A probe without a response in time has
// failed.
//
// Rejected requests get 503 upstream_open with Retry-After, of which a part is
// chance, so that callers do not come back at one moment.
type Handler struct {
	// The name, for metrics and records. A breaker keeps its state when the
	// configuration is reloaded with one of that name. No two in a
	// configuration may have the same. Default: default
	Name string `json:"name,omitempty"`

	// The time in which requests count. Default: 10s
	Window caddy.Duration `json:"window,omitempty"`

	// The number of requests in the window below which it does not open. Default: 20
	Volume int `json:"volume,omitempty"`

	// The share of failures, in percent, that opens it. Default: 50
	Errors int `json:"errors,omitempty"`

	// What takes longer until the response begins is slow. Default: nothing is
	Slow caddy.Duration `json:"slow,omitempty"`

	// How long it is open at first. Each time in a row is twice as long. Default: 5s
	Open caddy.Duration `json:"open,omitempty"`

	// How long it is open at most. Default: 1m
	MaxOpen caddy.Duration `json:"max_open,omitempty"`

	// How long the response to the probe may take. Default: 10s
	Probe caddy.Duration `json:"probe,omitempty"`

	breaker *breaker.Breaker
	held    lifecycle.Held
	changes func(lifecycle.Change)
	decided *prometheus.CounterVec
	allowed prometheus.Counter
	state   prometheus.Gauge
	logger  *zap.Logger
	memo    *decision.Memo
	option.Placed
}

var (
	lengths = option.Durations{Min: 100 * time.Millisecond, Max: time.Hour, Example: "10s"}
	volumes = option.Counts{Min: 1, Max: 1_000_000, Of: "requests"}
	shares  = option.Counts{Min: 1, Max: 100, Of: "percent"}
)

// breakers keep their state over reloads.
var breakers = caddy.NewUsagePool()

// written are the names of each configuration, which is known by the channel that
// ends with it.
var written = struct {
	sync.Mutex
	names map[nameOf]bool
}{names: make(map[nameOf]bool)}

type nameOf struct {
	config <-chan struct{}
	name   string
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.breaker",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision takes the breaker of that name, or makes one.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.Locate(h)
	if err := lifecycle.CheckLayers(ctx); err != nil {
		return h.At(err)
	}
	if err := h.provision(ctx); err != nil {
		return h.At(fmt.Errorf("%s: %w", Name, err))
	}
	return nil
}

func (h *Handler) provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	if err := h.check(); err != nil {
		return err
	}
	name := cmp.Or(h.Name, "default")
	if err := h.claim(ctx, name); err != nil {
		return err
	}
	settings := h.settings()
	var err error
	h.breaker, err = lifecycle.Share(&h.held, breakers, name, func() (*breaker.Breaker, func(), error) {
		return breaker.New(settings), func() {}, nil
	})
	if err != nil {
		return err
	}
	h.breaker.Configure(settings)
	if h.changes, err = lifecycle.Changes(ctx); err != nil {
		return err
	}
	return h.register(ctx, name)
}

// claim refuses a second breaker of one name: what one upstream does would count
// for another.
func (h *Handler) claim(ctx caddy.Context, name string) error {
	key := nameOf{ctx.Done(), name}
	written.Lock()
	defer written.Unlock()
	if written.names[key] {
		return fmt.Errorf("a second breaker is called %s, and would count the failures of both upstreams together: write a name of its own, as in breaker orders", name)
	}
	written.names[key] = true
	h.held.Add(func() {
		written.Lock()
		defer written.Unlock()
		delete(written.names, key)
	})
	return nil
}

func (h *Handler) register(ctx caddy.Context, name string) error {
	h.memo = new(decision.Memo)
	var err error
	if h.decided, err = lifecycle.Decided(ctx); err != nil {
		return err
	}
	h.allowed = h.decided.WithLabelValues(Name, decision.Allow, "")
	h.decided.WithLabelValues(Name, decision.Deny, CodeOpen)
	states, err := lifecycle.Register(ctx, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "caddy", Subsystem: "moat_breaker", Name: "state",
		Help: "State of the breaker: 0 closed, 1 half open, 2 open.",
	}, []string{"breaker"}))
	if err != nil {
		return err
	}
	h.state = states.WithLabelValues(name)
	h.state.Set(float64(h.breaker.State()))
	return nil
}

// check refuses what cannot be.
func (h *Handler) check() error {
	if strings.Trim(h.Name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" || len(h.Name) > 64 {
		return fmt.Errorf("'%s' is not a name of at most 64 letters, digits, ., - and _", h.Name)
	}
	err := errors.Join(volumes.Check("volume", h.Volume), shares.Check("errors", h.Errors))
	for _, d := range []struct {
		name  string
		value caddy.Duration
	}{{"window", h.Window}, {"slow", h.Slow}, {"open", h.Open}, {"max_open", h.MaxOpen}, {"probe", h.Probe}} {
		err = errors.Join(err, lengths.Check(d.name, d.value))
	}
	if s := h.settings(); err == nil && s.Open > s.MaxOpen {
		return fmt.Errorf("open %s is longer than max_open %s: write the longer one in max_open", s.Open, s.MaxOpen)
	}
	return err
}

func (h *Handler) settings() breaker.Settings {
	length := func(d caddy.Duration, otherwise time.Duration) time.Duration {
		return cmp.Or(time.Duration(d), otherwise)
	}
	return breaker.Settings{
		Window: length(h.Window, 10*time.Second), Volume: cmp.Or(h.Volume, 20), Errors: float64(cmp.Or(h.Errors, 50)) / 100,
		Slow: time.Duration(h.Slow), Slows: float64(cmp.Or(h.Errors, 50)) / 100,
		Open: length(h.Open, 5*time.Second), MaxOpen: length(h.MaxOpen, time.Minute), Probe: length(h.Probe, 10*time.Second),
	}
}

// Cleanup gives the breaker back.
func (h *Handler) Cleanup() error {
	h.held.Release()
	return nil
}

// ServeHTTP lets the request pass, or rejects it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	began := time.Now()
	call, wait, change := h.breaker.Begin(began)
	h.tell(change)
	if wait > 0 {
		h.decided.WithLabelValues(Name, decision.Deny, CodeOpen).Inc()
		reqctx.Decisions(r).Note(h.memo.Of(decision.Decision{Layer: Name, Result: decision.Deny, Rule: cmp.Or(h.Name, "default"), Code: CodeOpen}))
		return reqctx.Refuse(w, r, &problem.Problem{
			Status: http.StatusServiceUnavailable, Code: CodeOpen, RetryAfter: wait,
			Detail: "The service is not available at the moment.",
		})
	}
	h.allowed.Inc()
	seen := &response{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
	body := watch(r)
	defer body.restore(r)
	seen.begun = func(status int) {
		now := time.Now()
		end := outcome(r, status)
		if end == breaker.Failure && body.broken.Load() {
			end = breaker.Undecided // the client's fault, not the upstream's
		}
		h.tell(call.End(now, end, now.Sub(began)))
	}
	defer seen.once(http.StatusBadGateway) // a panic, or a handler that responds with nothing
	err := next.ServeHTTP(seen, r)
	seen.once(statusOf(err))
	return err
}

// statusOf returns the status that an error will have.
func statusOf(err error) int {
	var he caddyhttp.HandlerError
	switch {
	case err == nil:
		return http.StatusOK
	case errors.As(err, &he) && he.StatusCode > 0:
		return he.StatusCode
	}
	return http.StatusBadGateway
}

// clientClosed is the status of requests whose client has left, as Caddy has it.
const clientClosed = 499

// outcome says what a response means for the upstream. A client that leaves says
// nothing about it.
func outcome(r *http.Request, status int) breaker.Outcome {
	switch {
	case status == clientClosed, errors.Is(r.Context().Err(), context.Canceled) && status >= http.StatusInternalServerError:
		return breaker.Undecided
	case status >= http.StatusInternalServerError && status != http.StatusNotImplemented:
		return breaker.Failure
	}
	return breaker.Success
}

// tell says that the state has changed, to the log, the metrics and the audit trail.
func (h *Handler) tell(c *breaker.Change) {
	if c == nil {
		return
	}
	h.state.Set(float64(c.To))
	name := cmp.Or(h.Name, "default")
	fields := []zap.Field{zap.String("breaker", name), zap.Stringer("from", c.From), zap.Stringer("to", c.To), zap.String("why", c.Why)}
	if c.To == breaker.Opened {
		h.logger.Warn("the breaker is open", append(fields, zap.Duration("for", c.For))...)
	} else {
		h.logger.Info("the breaker has changed", fields...)
	}
	h.changes(lifecycle.Change{Layer: Name, What: "breaker " + c.To.String(), Source: name, Old: c.From.String(), New: c.To.String(), Detail: c.Why})
}

// response is a response whose beginning is looked at.
type response struct {
	*caddyhttp.ResponseWriterWrapper
	begun func(status int)
}

// once calls begun with the first status alone.
func (w *response) once(status int) {
	if begun := w.begun; begun != nil {
		w.begun = nil
		begun(status)
	}
}

// WriteHeader looks at the status, but not at that of an informational response.
func (w *response) WriteHeader(status int) {
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		w.once(status)
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

// Write begins a response that has no status yet.
func (w *response) Write(p []byte) (int, error) {
	w.once(http.StatusOK)
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom begins a response that has no status yet.
func (w *response) ReadFrom(from io.Reader) (int64, error) {
	w.once(http.StatusOK)
	return w.ResponseWriterWrapper.ReadFrom(from)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ io.ReaderFrom               = (*response)(nil)
)

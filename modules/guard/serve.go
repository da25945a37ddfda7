package guard

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	engine "github.com/caddy-moat/caddy-moat/modules/internal/access/guard"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// ServeHTTP rejects who is banned, and watches what comes of all others.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	reqctx.EndToEnd(r) // requests in a tunnel would not be counted
	c := reqctx.Of(r)
	if reqctx.EarlyData(r) {
		h.note(c, decision.Deny, "early_data", reqctx.CodeTooEarly)
		return reqctx.Refuse(w, r, reqctx.TooEarly())
	}
	x := &exchange{h: h, r: r, context: c}
	x.ResponseWriter = w
	q := &x.request
	q.Address, q.Proven = h.address(r)
	if c.Exempted() || q.Address.IsValid() && contains(h.allow, q.Address) {
		c.Exempt()
		return next.ServeHTTP(w, r)
	}
	q.Foreign, q.Method, q.Path, q.ID = foreign(r), r.Method, r.URL.Path, x
	if ban, ok := h.zone.bans.Address(now(), q.Address, q.Foreign); ok {
		if p := x.banned(&ban); p != nil {
			return reqctx.Refuse(w, r, p)
		}
	}
	if t := h.trapped(q.Path); t != nil {
		if p := x.trap(t); p != nil {
			return reqctx.Refuse(w, r, p)
		}
	}
	if h.zone.slowed.Any() {
		if ban, ok := h.zone.slowed.Address(now(), q.Address, q.Foreign); ok {
			if p := x.wait(&ban); p != nil {
				return reqctx.Refuse(w, r, p)
			}
		}
	}
	x.remember(w.Header())
	before := c.SetGate(x)
	defer c.SetGate(before)
	return x.serve(next)
}

// note puts a decision into the record.
func (h *Handler) note(c *reqctx.Context, result, rule, code string) {
	c.Decisions().Note(h.memo.Of(decision.Decision{Layer: Name, Result: result, Rule: rule, Code: code}))
	h.metrics.decided.WithLabelValues(Name, result, code).Inc()
}

// exchange is one request on its way through the handler, and the writer of its
// response. It is not pooled: handlers of upgraded connections may touch the writer
// after ServeHTTP has returned.
type exchange struct {
	caddyhttp.ResponseWriterWrapper

	h       *Handler
	r       *http.Request
	context *reqctx.Context
	request engine.Request

	admitted *principal.Principal // asked about already
	judged   bool
	sent     bool             // the header of the response has been passed on
	instead  *problem.Problem // of the response, which is not sent
	dropped  int64            // bytes of it
	fields   [8]string        // of the header, which were there before
	n        int
}

// remember takes down which fields of the header outer handlers have set.
func (x *exchange) remember(header http.Header) {
	for name := range header {
		if x.n < len(x.fields) {
			x.fields[x.n] = name
			x.n++
		}
	}
}

// serve runs the inner handlers and judges what came of the request.
func (x *exchange) serve(next caddyhttp.Handler) (err error) {
	returned := false
	defer func() {
		if returned || x.instead == nil {
			return // a panic goes on
		}
		// The handler has given up since the response is not sent.
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // it is panicked with as it is
			panic(p)
		}
		err = x.replace()
	}()
	err = next.ServeHTTP(x, x.r)
	returned = true
	if !x.judged {
		status := http.StatusOK
		if err != nil {
			status = statusOf(err)
		}
		x.judge(status, err)
	}
	if x.instead != nil {
		return x.replace()
	}
	x.observe(true)
	return err
}

// statusOf returns the status of an error that a handler has returned.
func statusOf(err error) int {
	var herr caddyhttp.HandlerError
	if errors.As(err, &herr) && herr.StatusCode != 0 {
		return herr.StatusCode
	}
	return http.StatusInternalServerError
}

// replace sends the rejection instead of the response that was not sent.
func (x *exchange) replace() error {
	header := x.Header()
	for name := range header {
		keep := false
		for _, f := range x.fields[:x.n] {
			keep = keep || f == name
		}
		if !keep {
			delete(header, name)
		}
	}
	x.retryNever(x.ResponseWriter)
	return reqctx.Refuse(x.ResponseWriter, x.r, x.instead)
}

// judge counts the request, whose response has this status, and decides whether it is
// sent.
func (x *exchange) judge(status int, err error) {
	x.judged = true
	q := &x.request
	q.Status, q.Principal = status, x.context.Principal()
	q.Route, q.RoutePath = x.context.Route()
	if x.context.Exempted() {
		return
	}
	log := x.context.Decisions()
	code := log.Code()
	q.Signals |= engine.OfCode(code)
	if log.Refused() {
		q.Signals |= engine.Rejected
	}
	q.Credential = x.context.RejectedCredential()
	switch {
	case q.Credential == 0 && q.Signals&engine.Credentials != 0: // of a layer that has not said which
		q.Credential = reqctx.HashCredential(x.r, nil)
	case code != "":
	case status == http.StatusTooManyRequests && err != nil:
		q.Signals |= engine.Limited
	case status == http.StatusUnauthorized && len(x.r.Header["Authorization"]) > 0:
		if err != nil { // Caddy's basic_auth, or another authenticator
			q.Signals |= engine.Foreign401
		}
		if err != nil || !reqctx.HasContent(x.r) {
			q.Credential = reqctx.HashCredential(x.r, nil)
		}
	}
	x.observe(false)
}

// observe counts the request by all rules.
func (x *exchange) observe(ended bool) {
	if x.context.Exempted() {
		return
	}
	m := now()
	for i := range x.h.rules {
		r := &x.h.rules[i]
		if a, ok := r.counter.Observe(m, &x.request, ended); ok {
			x.act(m, r, &a)
		}
	}
}

// act does what a rule says about somebody who is over its limit.
func (x *exchange) act(m engine.Moment, r *rule, a *engine.Alarm) {
	action := r.action()
	did := x.alarm(action, r.Name, a)
	switch {
	case did != action:
	case action == actionSlow:
		x.h.zone.slowed.Impose(m, engine.Ban{Subject: a.Subject, Rule: r.Name, Reason: a.Text, Delay: time.Duration(r.Slow)}, r.ladder)
	case action == actionBan:
		ban := x.impose(m, engine.Ban{Subject: a.Subject, Rule: r.Name, Reason: a.Text, Evidence: a.Evidence}, r.ladder)
		if x.replaceable() {
			x.instead = problemOf(&ban, m)
			x.h.note(x.context, decision.Deny, "rule "+r.Name+": "+a.Text, codeBanned)
			return
		}
	}
	x.h.note(x.context, decision.Skip, did+" by rule "+r.Name+": "+a.Text, "")
}

// replaceable reports whether the response may be replaced: nothing of it has been
// sent, and the client need not know of something that the upstream has done.
func (x *exchange) replaceable() bool {
	return !x.sent && (x.request.Status >= 400 || reqctx.Safe(x.request.Method))
}

// why an alarm has no more consequence than that.
const (
	notBannable = " (the address may be a proxy's, or the client's choice: nobody is banned by it)"
	onlyDryRun  = " (dry_run)"
)

// alarm tells everybody of an alarm, and returns the action that may be taken.
func (x *exchange) alarm(action, rule string, a *engine.Alarm) string {
	did, suffix := action, ""
	switch {
	case action == actionAlert:
	case x.h.DryRun:
		did, suffix = actionAlert, onlyDryRun
	case a.Subject.Kind == engine.Network && !x.request.Proven:
		did, suffix = actionAlert, notBannable
		x.h.warnUnproven(x.request.Address.String())
	}
	who := a.Subject.String()
	if a.Subject.Kind == 0 {
		who = "everybody"
	}
	x.h.metrics.alarms.WithLabelValues(rule, did).Inc()
	x.h.logger.Warn(did+suffix, zap.String("rule", rule), zap.String("who", who), zap.String("why", a.Text), zap.Strings("evidence", a.Evidence))
	e := event{"moat_" + did, map[string]any{
		"rule": rule, "who": who, "why": a.Text + suffix, "evidence": a.Evidence, "zone": x.h.Zone, "dry_run": x.h.DryRun,
		"count": a.Count, "limit": a.Limit, "window": a.In.Seconds(),
	}}
	x.h.events.emit(e)
	for _, s := range x.h.senders {
		s.emit(e)
	}
	return did
}

// warnUnproven says once what an administrator should know.
func (h *Handler) warnUnproven(address string) {
	if h.unproven.CompareAndSwap(false, true) {
		h.logger.Warn("an address was not banned, since it may be that of a proxy, or chosen by the client: "+
			"behind a proxy write trusted_proxies and trusted_proxies_strict in the global options; where clients connect from private networks, ban_private",
			zap.String("address", address))
	}
}

// impose bans somebody, and tells the audit trail.
func (x *exchange) impose(m engine.Moment, ban engine.Ban, ladder []time.Duration) engine.Ban {
	made, fresh := x.h.zone.bans.Impose(m, ban, ladder)
	if fresh {
		x.h.zone.announce(changeOf("ban", "rule "+ban.Rule, "", &made))
	}
	return made
}

// trap bans who has requested the path of a trap.
func (x *exchange) trap(t *trap) *problem.Problem {
	if !x.request.Address.IsValid() {
		return nil
	}
	m := now()
	x.request.Signals |= engine.Trapped
	subject := engine.Host(x.request.Address)
	subject.Foreign = x.request.Foreign
	a := engine.Alarm{Rule: trapRule, Subject: subject, Count: 1, Text: "requested " + t.String()}
	if id := x.RecordID(); id != ([16]byte{}) {
		a.Evidence = []string{engine.FormatID(id)}
	}
	action := actionBan
	if t.alert {
		action = actionAlert
	}
	if action == actionAlert || x.h.DryRun || !x.request.Proven {
		// Nothing ends the requests, so they raise one alarm an hour.
		if _, due := x.h.trapAlarms.Observe(m, &x.request, false); due {
			x.alarm(action, trapRule, &a)
		}
		x.h.note(x.context, decision.Skip, "alert by trap "+t.String(), "")
		return nil
	}
	x.alarm(action, trapRule, &a)
	ban := x.impose(m, engine.Ban{Subject: subject, Rule: trapRule, Reason: a.Text, Evidence: a.Evidence}, t.ladder)
	x.h.note(x.context, decision.Deny, "trap "+t.String(), codeBanned)
	x.retryNever(x.ResponseWriter)
	return problemOf(&ban, m)
}

const codeBanned = "banned"

// problemOf is the rejection of who is banned.
func problemOf(ban *engine.Ban, m engine.Moment) *problem.Problem {
	return &problem.Problem{
		Status: http.StatusForbidden, Code: codeBanned,
		Detail: "requests of this client are rejected for a time", RetryAfter: max(time.Second, ban.Left(m)),
	}
}

// retryNever tells clients of language models not to try again before: they take a
// Retry-After of more than a minute for none.
func (*exchange) retryNever(w http.ResponseWriter) { w.Header().Set("X-Should-Retry", "false") }

// banned rejects a request of who is banned already.
func (x *exchange) banned(ban *engine.Ban) *problem.Problem {
	rule := "ban of " + ban.Subject.String()
	if ban.Subject.Kind == engine.Network {
		rule = "ban" // the record has the address
	}
	if ban.Rule != "" {
		rule += " by rule " + ban.Rule
	}
	if x.h.DryRun {
		x.h.note(x.context, decision.Skip, "dry_run: "+rule, "")
		return nil
	}
	x.h.note(x.context, decision.Deny, rule, codeBanned)
	x.retryNever(x.ResponseWriter)
	return problemOf(ban, now())
}

// Admit rejects a verified caller who is banned, or whose key is (reqctx.Gate).
func (x *exchange) Admit(p *principal.Principal) *problem.Problem {
	if p == nil || p == x.admitted || x.context.Exempted() {
		return nil
	}
	x.admitted = p
	for _, one := range [...]*principal.Principal{p, p.App} {
		if ban, ok := x.h.zone.bans.Principal(now(), one, x.request.Foreign); ok {
			if refused := x.banned(&ban); refused != nil {
				x.admitted = nil
				x.judged = true // is counted by no rule
				return refused
			}
		}
		if ban, ok := x.h.zone.slowed.Principal(now(), one, x.request.Foreign); ok {
			if refused := x.wait(&ban); refused != nil {
				x.admitted = nil
				return refused
			}
		}
	}
	return nil
}

// maxWaiting is how many requests wait at most, each of which holds a connection.
const maxWaiting = 256

var waiting = make(chan struct{}, maxWaiting)

// wait slows a request down. It rejects it where too many wait already.
func (x *exchange) wait(ban *engine.Ban) *problem.Problem {
	rule := "slow by rule " + ban.Rule
	if x.h.DryRun {
		x.h.note(x.context, decision.Skip, "dry_run: "+rule, "")
		return nil
	}
	select {
	case waiting <- struct{}{}:
		defer func() { <-waiting }()
	default:
		x.h.note(x.context, decision.Deny, rule, "slowed_down")
		return &problem.Problem{
			Status: http.StatusTooManyRequests, Code: "slowed_down",
			Detail: "too many requests of this client", RetryAfter: ban.Delay,
		}
	}
	x.h.note(x.context, decision.Skip, rule, "")
	timer := time.NewTimer(ban.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.r.Context().Done():
	}
	return nil
}

// RecordID returns the ID that the record of the request has (guard.RecordID).
func (x *exchange) RecordID() [16]byte {
	if repl := reqctx.Replacer(x.r); repl != nil {
		if id, ok := repl.GetString("http.request.uuid"); ok {
			return engine.ParseID(id)
		}
	}
	return [16]byte{}
}

// WriteHeader judges the request before its response leaves.
func (x *exchange) WriteHeader(status int) {
	if !x.judged && (status >= 200 || status == http.StatusSwitchingProtocols) {
		x.judge(status, nil)
	}
	if x.instead == nil {
		x.sent = x.sent || status >= 200 || status == http.StatusSwitchingProtocols
		x.ResponseWriter.WriteHeader(status)
	}
}

// maxDropped is how much of a response is read that is not sent, before the handler that
// writes it is told so.
const maxDropped = 64 << 10

var errNotSent = errors.New("the client is banned: the response is not sent")

// Write passes the response on, and counts it.
func (x *exchange) Write(p []byte) (int, error) {
	if !x.judged {
		x.WriteHeader(http.StatusOK)
	}
	if x.instead != nil {
		if x.dropped += int64(len(p)); x.dropped > maxDropped {
			return 0, errNotSent
		}
		return len(p), nil
	}
	n, err := x.ResponseWriter.Write(p)
	x.request.Bytes += int64(n)
	return n, err
}

// ReadFrom is Write of all that there is to read.
func (x *exchange) ReadFrom(r io.Reader) (int64, error) {
	if !x.judged {
		x.WriteHeader(http.StatusOK)
	}
	if x.instead != nil {
		return io.Copy(struct{ io.Writer }{x}, r)
	}
	n, err := x.ResponseWriterWrapper.ReadFrom(r)
	x.request.Bytes += n
	return n, err
}

// FlushError sends what there is, unless it is not to be sent.
func (x *exchange) FlushError() error {
	if !x.judged {
		x.WriteHeader(http.StatusOK)
	}
	if x.instead != nil {
		return nil
	}
	return http.NewResponseController(x.ResponseWriter).Flush() //nolint:bodyclose // of the controller's
}

// Interface guards
var (
	_ reqctx.Gate         = (*exchange)(nil)
	_ engine.RecordID     = (*exchange)(nil)
	_ http.ResponseWriter = (*exchange)(nil)
)

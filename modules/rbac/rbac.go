// Package rbac decides whether a request may pass: by the roles and scopes of
// its caller, its method and path, and conditions over everything else that is
// known about it.
package rbac

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/requestpath"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/conceal"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// layer is the handler's name in records and metrics.
const layer = "rbac"

// Handler lets a request pass if its policy allows it, and rejects it
// otherwise. Nothing is allowed that no rule allows, and a rule that denies
// overrides all that allow.
//
// The caller is whom an authenticator before this handler verified: one of
// ours, or any other that sets `{http.auth.user.id}`, with roles and scopes
// in `{http.auth.user.roles}` and `{http.auth.user.scopes}`, separated by
// commas or spaces. Without an identity only the rules of anyone apply.
//
// The decision is made on the method and path that the handlers behind this
// one see, after whatever rewrote them before. A path that can be read in two
// ways (with encoded slashes or dots, dot segments, empty segments,
// backslashes, semicolons, control characters, double encoding, or what is
// not UTF-8) is rejected before any rule is evaluated: a rule is worthless if the
// upstream serves another path than the one that was decided on. Handlers behind
// this one can still change the path: a handle_path or a rewrite inside a
// handle block, and the options of reverse_proxy. Write the rules for the path
// as it is where rbac stands, or put rbac inside the block.
//
// In a site with php_fastcgi, or another fastcgi transport that splits paths,
// a path that goes on behind the name of a script, such as
// /index.php/admin/users, is a second reading of /admin/users and rejected too,
// unless a rule that allows names the script: allow GET /remote.php/*. The rest
// of the path must not be denied then. A script that is the index of its
// directory must not be denied under either name.
//
// An encoded slash (%2F) in a segment is such a second reading. A rule with
// encoded_slashes behind its path is for upstreams that are known to keep it
// whole, as GitLab, npm registries and RabbitMQ do: {id} is group%2Fproject
// then. The same path with decoded slashes must not be denied.
//
// Where a request asks for another method (X-HTTP-Method-Override,
// X-HTTP-Method, X-Method-Override, or _method in the query) or another path
// (X-Original-URL, X-Rewrite-URL), which many frameworks obey, both readings
// must be allowed. That applies to requests of a trusted proxy too: one that
// reports the client's address correctly may forward everything else that the
// client sends. What frameworks read from the body, such as _method in a form, is
// not checked: turn it off there.
//
// Fields that Connection names are for this server alone: they are removed
// before conditions see them. An Upgrade to h2c, HTTP or TLS is ignored, since
// the requests on that connection could not be checked.
//
// A WebSocket over HTTP/2 or HTTP/3, whose method is CONNECT (RFC 8441, RFC
// 9220), is decided on as the GET that it is for the upstream.
//
// A condition that reads body makes the server wait for the whole body, up to
// max_body bytes, before it decides; the upstream gets every byte of it.
//
// Rejected requests have a stable code in `{http.moat.code}`:
//
//   - 400 ambiguous_path: the path has more than one reading
//   - 400 ambiguous_object: a path variable that a condition reads is named again,
//     with another value, in the query, the content or a header field
//   - 425 too_early: what the policy allows came in TLS early data (0-RTT), and
//     it has a caller, is not safe, or was decided by client_ip (RFC 8470)
//   - 401 missing_credentials: nothing allows it without an identity. The
//     challenges are those of the authenticators that let the request pass
//     without one, or else Bearer (RFC 6750 section 3)
//   - 401 insufficient_user_authentication: a caller with a token would be
//     allowed it if the user had been authenticated in another way or more
//     recently, as a condition with acr or max_age asks. The challenge says how:
//     acr_values, max_age, and scope where the request needs one (RFC 9470)
//   - 403 forbidden: the policy does not allow it to this caller. The response
//     says nothing about the policy; where the caller has a bearer token
//     and the policy has scopes, it carries the challenge insufficient_scope
//     (RFC 6750 section 3.1) with all scopes of which any one would allow this
//     request
//
// Roles that the policy gives to a user are added to the caller for all layers
// behind this one too, and to `{http.auth.user.roles}`.
//
// `{http.rbac.rule}` is the rule that decided, or "default: deny".
type Handler struct {
	policy.Document
	option.Placed

	// A file with a policy of the same form, as JSON if its name ends in
	// .json and as YAML otherwise. What is in the file and what is written
	// here apply together, but one role cannot be in both. Placeholders
	// such as {env.X} are expanded when the configuration is loaded.
	//
	// The file is watched. A change takes effect at once and as a whole; a
	// file that cannot be read or has a mistake is reported in the log, with
	// its line, and the policy before it stays in force. When the
	// configuration is loaded, such a file is an error.
	PolicyFile string `json:"policy,omitempty"`

	// Whether to let requests pass that would be rejected. The log, the audit
	// record and {http.rbac.rule} have the decision. The
	// metric caddy_moat_rbac_dry_run_total counts by rule and code.
	DryRun bool `json:"dry_run,omitempty"`

	// Whether to let requests pass that name a path variable again with another
	// value: in the query, in a form, as a member at the top of a JSON text, or in a
	// header field. Many frameworks merge path, query and content, so that the
	// upstream may serve another object than the one that a condition has looked
	// at. Only variables that a condition reads count.
	RepeatedVariables bool `json:"repeated_variables,omitempty"`

	// The largest body in bytes that conditions can read, default 65536. A
	// larger one cannot be read: a request with one is rejected where a condition
	// reads the body;
	// other requests may have bodies of any size. Bodies that are read are
	// kept in memory until the upstream has them.
	MaxBody int64 `json:"max_body,omitempty"`

	active    atomic.Pointer[loaded]
	sources   atomic.Pointer[[]principal.Source] // who can vouch for callers here, once that is known
	file      *filewatch.Kept[loaded]            // nil without a policy file
	reloading sync.Mutex
	config    <-chan struct{} // stands for the configuration h belongs to
	sites     sync.Map        // of *caddyhttp.Server, to *scripts

	changes func(lifecycle.Change)
	decided *prometheus.CounterVec
	allowed prometheus.Counter // the usual case of decided
	memo    *decision.Memo
	dryRun  *prometheus.CounterVec
	logger  *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.rbac",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision compiles the policy and begins to watch its file.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.Locate(h)
	if err := lifecycle.CheckLayers(ctx); err != nil {
		return h.At(err)
	}
	return h.At(h.provision(ctx))
}

func (h *Handler) provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	var err error
	if h.changes, err = lifecycle.Changes(ctx); err != nil {
		return err
	}
	if h.decided, err = lifecycle.Decided(ctx); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	h.memo = new(decision.Memo)
	h.allowed = h.decided.WithLabelValues(layer, decision.Allow, "")
	if err := bodies.Check("max_body", h.MaxBody); err != nil {
		return fmt.Errorf("rbac: %w", err)
	}
	if h.PolicyFile != "" {
		if h.PolicyFile, err = option.Resolve(layer, "policy", h.PolicyFile); err != nil {
			return err
		}
	}
	// Handlers of one configuration have one channel; it is never read.
	h.config = ctx.Done()
	if err := h.open(ctx); err != nil {
		return fmt.Errorf("rbac: %w", err)
	}
	h.enlist()
	if h.DryRun {
		h.logger.Warn("dry_run: nothing is rejected")
		if h.dryRun, err = wouldRefuse(ctx); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// wouldRefuse is the counter of what dry_run lets pass. Its labels are what
// the policy says: rules as they are written, and codes.
func wouldRefuse(ctx caddy.Context) (*prometheus.CounterVec, error) {
	return lifecycle.Register(ctx, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy",
		Subsystem: "moat",
		Name:      "rbac_dry_run_total",
		Help:      "Requests that rbac let pass because of dry_run, by the rule and error code they would have been rejected with.",
	}, []string{"rule", "code"}))
}

// HasVariable reports whether the path of a rule has the variable, which stands in
// braces, for the check of the layers.
func (h *Handler) HasVariable(name string) bool {
	return slices.ContainsFunc(h.active.Load().policy.Rules(), func(r *policy.Rule) bool {
		return strings.Contains(r.Line.Path+"/", "/"+name+"/")
	})
}

// Cleanup ends the watch.
func (h *Handler) Cleanup() error {
	if h.file != nil {
		h.file.Close()
	}
	h.forget()
	return nil
}

// ServeHTTP decides on the request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	reqctx.EndToEnd(r)
	c := reqctx.Of(r)
	if refusal := c.Admit(c.Principal()); refusal != nil {
		return reqctx.Refuse(w, r, refusal)
	}
	in := h.active.Load()
	// Which fields a condition looks at may depend on the request.
	reqctx.DropTrailers(r, func(name string) bool {
		_, override := override(name)
		return override || in.policy.ReadsHeaders()
	})
	d, rejection := h.decide(r, in.policy)
	rule := d.RuleText()
	switch d.Reason {
	case reasonPath:
		rule = "path: deny what has two readings"
	case reasonObject:
		rule = "object: deny what is named twice"
	case reasonEarly:
		rule = "early_data: deny what is not safe and anonymous"
	}
	if repl := reqctx.Replacer(r); repl != nil {
		repl.Set("http.rbac.rule", rule)
	}
	if in.policy.Calls() {
		reqctx.SetCalls(r, &calls{h, in})
	}
	if rejection == nil {
		h.allowed.Inc()
		c.Decisions().Note(h.memo.Of(decision.Decision{Layer: layer, Result: decision.Allow, Rule: rule, Policy: in.digest}))
		return next.ServeHTTP(w, r)
	}
	if d.Err != nil {
		h.logger.Debug("condition failed", zap.Stringer("rule", d.Failed), zap.Error(d.Err))
	}
	if h.DryRun {
		h.decided.WithLabelValues(layer, decision.Skip, rejection.Code).Inc()
		h.dryRun.WithLabelValues(rule, rejection.Code).Inc()
		h.logger.Info("dry_run: would have been rejected",
			zap.String("code", rejection.Code), zap.String("rule", rule), zap.String("method", r.Method), zap.String("path", conceal.Path(r.URL.Path)))
		c.Decisions().Add(decision.Decision{
			Layer: layer, Result: decision.Skip, Rule: "dry_run: " + rejection.Code + " by " + rule, Policy: in.digest,
		})
		return next.ServeHTTP(w, r)
	}
	h.decided.WithLabelValues(layer, decision.Deny, rejection.Code).Inc()
	c.Decisions().Add(decision.Decision{Layer: layer, Result: decision.Deny, Rule: rule, Code: rejection.Code, Policy: in.digest})
	return reqctx.Refuse(w, r, rejection)
}

// decide asks the policy. It returns nil or the rejection.
func (h *Handler) decide(r *http.Request, pol *policy.Policy) (policy.Decision, *problem.Problem) {
	main := reading{method: method(r)}
	var others []reading
	var err error
	var script string
	if main.path, others, err = paths(r, pol); err == nil {
		whole := others
		if others, err = readings(r, main); err == nil {
			var more []reading
			more, script, err = h.scripts(r).readings(main)
			others = slices.Concat(others, more, whole)
		}
	}
	if err != nil {
		return policy.Decision{Reason: reasonPath}, &problem.Problem{
			Status: http.StatusBadRequest, Code: "ambiguous_path", Detail: err.Error(),
		}
	}
	reqctx.Of(r).Keep(policyKey{}, pol) // for the permission matcher
	p := endow(r, pol)
	var b condition.Body
	if pol.ReadsBody() {
		b = &body{r: r, max: h.maxBody()}
	}
	as := asked{pol: pol, main: main, others: others, body: b}
	d, address := ask(pol, r, p, main, b)
	if d.Rule != nil {
		reqctx.Of(r).SetRoute(d.Rule.Line.Path, main.path)
	}
	if script != "" && d.Allow && !names(pol, script) {
		return policy.Decision{Reason: reasonPath}, &problem.Problem{
			Status: http.StatusBadRequest, Code: "ambiguous_path", Detail: errScript.Error(),
		}
	}
	d, address = as.rest(r, p, d, address)
	if d.Allow && !h.RepeatedVariables {
		if err := h.repeated(r, pol, p, main); err != nil {
			return policy.Decision{Reason: reasonObject}, ambiguousObject(err)
		}
	}
	switch {
	case !d.Allow:
		refused := as // a copy, so that what is allowed allocates nothing
		return d, rejection(r, p, &refused)
	case (p != nil || address || !as.safe()) && reqctx.EarlyData(r):
		return policy.Decision{Reason: reasonEarly}, reqctx.TooEarly()
	}
	return d, nil
}

// asked is what the policy is asked about one request: all its readings.
type asked struct {
	pol    *policy.Policy
	main   reading
	others []reading
	body   condition.Body
}

// rest decides on the other readings, where the main one has been allowed.
func (as *asked) rest(r *http.Request, p *principal.Principal, d policy.Decision, address bool) (policy.Decision, bool) {
	for _, other := range as.others {
		if !d.Allow {
			break
		}
		o, a := ask(as.pol, r, p, other, as.body)
		if !o.Allow && (!other.denyOnly || o.Reason == policy.RuleDenies || o.Reason == policy.ConditionFails) {
			d = o
		}
		address = address || a
	}
	return d, address
}

// safe reports whether no reading changes anything.
func (as *asked) safe() bool {
	return reqctx.Safe(as.main.method) && !slices.ContainsFunc(as.others, func(o reading) bool { return !reqctx.Safe(o.method) })
}

// paths returns the path of the request, and what else it might be read as
// where it has encoded slashes and a rule is for such paths: nothing of that may
// be denied.
func paths(r *http.Request, pol *policy.Policy) (main string, others []reading, err error) {
	main, err = requestpath.Of(r.Method, r.URL)
	if err == nil || !requestpath.HasSlash(r.URL.EscapedPath()) {
		return main, nil, err
	}
	whole, errWhole := requestpath.Whole(r.Method, r.URL)
	switch {
	case errWhole != nil:
		return "", nil, errWhole
	case !pol.Covers(whole):
		return "", nil, err
	}
	for _, p := range slashed(whole) {
		others = append(others, reading{method(r), p, true})
	}
	return whole, others, nil
}

// slashed returns what a path with encoded slashes is where they are slashes.
func slashed(whole string) []string {
	if !requestpath.HasSlash(whole) {
		return nil
	}
	decoded := strings.ReplaceAll(whole, requestpath.Slash, "/")
	return []string{decoded, path.Clean(decoded)}
}

// endow returns the caller with the roles that the policy itself gives to it,
// and makes that the caller for the layers behind: a role counts for what may
// be seen as much as for what may be done.
func endow(r *http.Request, pol *policy.Policy) *principal.Principal {
	c := reqctx.Of(r)
	p := c.Principal()
	if p == nil {
		return nil
	}
	return c.AddRoles(p, pol.UserRoles(p.ID, p.Source()))
}

// ask makes one decision, and reports whether it looked at the client's address.
func ask(pol *policy.Policy, r *http.Request, p *principal.Principal, as reading, b condition.Body) (d policy.Decision, address bool) {
	q := question(p, as)
	// Few requests meet a rule with a condition, and the others need not
	// pay for what conditions can see.
	d = pol.Decide(&q)
	if !errors.Is(d.Err, policy.ErrNoEnv) {
		return d, false
	}
	env := environment(r, &q, p)
	env.Body = b
	defer release(env)
	d = pol.Decide(&q)
	return d, env.AddressRead
}

// Reasons where it was not a rule that decided.
const (
	reasonPath   policy.Reason = "ambiguous_path"
	reasonObject policy.Reason = "ambiguous_object"
	reasonEarly  policy.Reason = "early_data"
)

// method returns the method that the upstream will see. Caddy's reverse_proxy
// turns the extended CONNECT of a WebSocket into a GET, by these conditions.
func method(r *http.Request) string {
	if r.Method == http.MethodConnect &&
		(r.ProtoMajor == 2 && r.Header.Get(":protocol") == "websocket" || r.ProtoMajor == 3 && r.Proto == "websocket") {
		return http.MethodGet
	}
	return r.Method
}

// rejection returns the problem of a request that the policy does not allow.
func rejection(r *http.Request, p *principal.Principal, as *asked) *problem.Problem {
	if p == nil {
		// RFC 9110 section 15.5.2: a 401 has at least one challenge. RFC
		// 6750 section 3.1: without credentials, it names no error.
		challenges := reqctx.Of(r).Challenges()
		if len(challenges) == 0 {
			challenges = []string{"Bearer"}
		}
		challenges = reqctx.WithParameter(challenges, "scope", strings.Join(firstScopes(r, as.pol, as.main), " "))
		return &problem.Problem{
			Status: http.StatusUnauthorized, Code: "missing_credentials",
			Detail: "this request needs credentials", Challenges: challenges,
		}
	}
	refused := &problem.Problem{Status: http.StatusForbidden, Code: "forbidden", Detail: "this request is not allowed to this caller"}
	if !steps(p) {
		return refused
	}
	if up, ok := stepUp(r, p, as); ok {
		return challenge(r, p, up)
	}
	// The challenge is the same for every request that is refused, but for the
	// scopes that would have it allowed: a client can ask for those, and for
	// nothing else. All of them are in the one challenge, since clients that are
	// asked for one at a time lose the one before.
	if bearer(p) && len(as.pol.KnownScopes()) > 0 {
		refused.Challenges = []string{credential.Challenge(reqctx.ChallengeScheme(r), "error", credential.CodeInsufficientScope, "scope", strings.Join(neededScopes(r, p, as), " "))}
	}
	return refused
}

// neededScopes returns the scopes that would have the request allowed.
func neededScopes(r *http.Request, p *principal.Principal, as *asked) []string {
	q := question(p, as.main)
	env := environment(r, &q, p)
	defer release(env)
	env.Body = as.body
	return as.pol.NeededScopes(&q)
}

// question is what the policy is asked about one reading of a caller's request.
func question(p *principal.Principal, as reading) policy.Request {
	q := policy.Request{Method: as.method, Path: as.path}
	if p != nil {
		q.Authenticated, q.User, q.Source, q.Roles, q.Scopes = true, p.ID, p.Source(), p.Roles, p.Scopes
	}
	return q
}

// firstScopes returns the scopes that may have the request allowed of somebody
// who is not known yet. At the endpoint of an MCP server these are all that its
// tools may come to need: some clients never ask their user a second time.
func firstScopes(r *http.Request, pol *policy.Policy, as reading) []string {
	scopes := pol.PossibleScopes(as.method, as.path)
	if res := reqctx.ResourceOf(r); res != nil && pol.Calls() && res.Is(r.URL.Path) {
		scopes = append(scopes, pol.CallScopes()...)
		slices.Sort(scopes)
		scopes = slices.Compact(scopes)
	}
	return scopes
}

// FirstScopes returns the scopes that a request which has no credential yet may
// need, for the challenge of the authenticator that has rejected it before it
// came here.
func (h *Handler) FirstScopes(r *http.Request) []string {
	path, err := requestpath.Of(r.Method, r.URL)
	if err != nil {
		return nil
	}
	return firstScopes(r, h.active.Load().policy, reading{method: method(r), path: path})
}

// KnownScopes returns the scopes that the policy names.
func (h *Handler) KnownScopes() []string { return h.active.Load().policy.KnownScopes() }

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ caddyfile.Unmarshaler       = (*Handler)(nil)
)

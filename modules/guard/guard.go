// Package guard finds callers who abuse a site by what the layers have decided about
// their requests, and rejects them for a time.
package guard

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	engine "github.com/caddy-moat/caddy-moat/modules/internal/access/guard"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Name is the name of the directive.
const Name = "guard"

// Handler watches what the layers inside of it decide, counts it by address,
// network, caller or key, and raises an alarm, slows down or bans whoever is over the limit of
// a rule.
//
// A banned request is rejected with 403 banned. Retry-After says when the ban ends,
// and X-Should-Retry: false keeps clients of language models from trying before.
// A ban acts on the request that crosses the limit, whose response is replaced if
// nothing of it has been sent, and before anything else on those that follow: that
// of a caller or key as soon as the credential is verified.
//
// Nobody can have somebody else banned. Failed credentials count by address and
// never by whom they claim to be of, and the same credential again counts once.
// Requests that pages of other sites make a browser send count apart, and a ban
// that comes of them is for such requests alone. An address that may be a proxy's, or
// that the client may have chosen, is never banned. Requests in TLS early data (0-RTT) are
// rejected with 425 too_early, since their address is not proven.
//
// Bans survive a reload and a restart: they are in Caddy's storage. What is
// counted survives a reload.
type Handler struct {
	// Paths that nobody has a reason to request. Whoever does is banned at once.
	Traps []Trap `json:"traps,omitempty"`

	// What is counted, and what comes of too many. A rule or a trap is required.
	Rules []Rule `json:"rules,omitempty"`

	// Addresses and ranges that are never counted or banned: CIDR, or private_ranges.
	Allow []string `json:"allow,omitempty"`

	// Where alarms are sent.
	Webhooks []Webhook `json:"webhooks,omitempty"`

	// Handlers with the same zone share their bans, and what they count by rules that are the
	// same. Default: default
	Zone string `json:"zone,omitempty"`

	// How many keys (addresses, callers, …) each rule counts at most, about 100 to 300 bytes
	// each. Beyond it, those with the smallest counts are forgotten. Default: 65536
	MaxKeys int `json:"max_keys,omitempty"`

	// Whether private, loopback, link-local and shared (RFC 6598) addresses may be
	// banned as well. Only where no proxy, tunnel or container network stands before
	// this server that has such an address.
	BanPrivate bool `json:"ban_private,omitempty"`

	// Whether to raise alarms only. What would have been slowed down or banned is in the
	// log, the record and the events.
	DryRun bool `json:"dry_run,omitempty"`

	rules []rule
	traps []trap
	allow []netip.Prefix
	zone  *zone

	trapAlarms *engine.Counter
	held       lifecycle.Held
	metrics    metrics
	memo       *decision.Memo
	events     *events
	senders    []*sender
	changes    func(lifecycle.Change)
	logger     *zap.Logger
	unproven   *atomic.Bool // that an address was not banned was logged
	option.Placed
}

// Trap is a list of paths that nobody has a reason to request.
type Trap struct {
	// The paths, without regard to case; a last /* stands for everything below.
	Paths []string `json:"paths"`

	// How long to ban: the first time, the second time, and so on. Default: 1h, 24h, 168h
	Ban []caddy.Duration `json:"ban,omitempty"`

	// Whether to raise an alarm only.
	Alert bool `json:"alert,omitempty"`
}

// Rule is what is counted, and what comes of too many.
type Rule struct {
	// The name, for events and records. Required, and unique in the handler.
	Name string `json:"name"`

	// What to count and by what, such as "failed_credentials by address" or
	// "distinct {id} by caller". Required.
	Count string `json:"count"`

	// Patterns of paths as rbac has them, as clients send them. Other requests do not count.
	// A variable that is counted is one of each. Default: all paths, and variables of the rule of
	// rbac that decided
	Paths []string `json:"paths,omitempty"`

	// Roles and IDs of verified callers who are not counted.
	ExceptRoles []string `json:"except_roles,omitempty"`
	ExceptUsers []string `json:"except_users,omitempty"`

	// More than so many (or, of bytes, so many bytes) in a sliding window are too many.
	Over int64          `json:"over,omitempty"`
	In   caddy.Duration `json:"in,omitempty"`

	// Whether to learn what is normal: more than three times the 99th percentile of all keys
	// of the same route is too many as well, but never 20 or less. Without Over, more than 20 in 10m are too
	// many until enough is known.
	Learn bool `json:"learn,omitempty"`

	// What comes of it: an alarm, which slow and ban raise as well, ...
	Alert bool `json:"alert,omitempty"`

	// ... each request waits for so long, the first time for the first of the durations, the
	// second time for the second, and so on, ...
	Slow    caddy.Duration   `json:"slow,omitempty"`
	SlowFor []caddy.Duration `json:"slow_for,omitempty"`

	// ... or is rejected, for as long as that.
	Ban []caddy.Duration `json:"ban,omitempty"`
}

const (
	defaultZone    = "default"
	defaultMaxKeys = 1 << 16
	maxBans        = 100_000
)

var (
	keys     = option.Counts{Min: 1, Max: 10_000_000, Of: "keys"}
	banTimes = option.Durations{Min: time.Second, Max: 365 * 24 * time.Hour, Example: "10m"}
	delays   = option.Durations{Min: 10 * time.Millisecond, Max: 30 * time.Second, Example: "2s"}

	defaultTrapBan = []caddy.Duration{caddy.Duration(time.Hour), caddy.Duration(24 * time.Hour), caddy.Duration(168 * time.Hour)}
)

// rule is a rule that is in force.
type rule struct {
	*Rule
	counter *engine.Counter
	ladder  []time.Duration
}

// trap is a path that nobody has a reason to request, in lower case.
type trap struct {
	path   string
	below  bool
	alert  bool
	ladder []time.Duration
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.guard",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision sets up the handler.
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
	h.setDefaults()
	compiled, err := h.compile()
	if err != nil {
		return err
	}
	if h.zone, err = openZone(ctx, &h.held, h.Zone); err != nil {
		return err
	}
	for i := range h.Rules {
		c, err := openCounter(&h.held, h.Zone, compiled[i], h.MaxKeys)
		if err != nil {
			return err
		}
		h.rules = append(h.rules, rule{&h.Rules[i], c, durations(h.Rules[i].ladder())})
	}
	if h.metrics, err = newMetrics(ctx, h.rules); err != nil {
		return err
	}
	if h.changes, err = lifecycle.Changes(ctx); err != nil {
		return err
	}
	h.held.Add(h.zone.enlist(h.changes))
	if h.trapAlarms, err = openTrapAlarms(&h.held, h.Zone); err != nil {
		return err
	}
	h.memo, h.unproven = new(decision.Memo), new(atomic.Bool)
	if h.events, err = newEvents(ctx, h.logger); err != nil {
		return err
	}
	h.held.Add(h.events.close)
	for _, w := range h.Webhooks {
		s, err := openSender(&h.held, w)
		if err != nil {
			return err
		}
		h.senders = append(h.senders, s)
	}
	if h.DryRun {
		h.logger.Warn("dry_run: nobody is slowed down or banned")
	}
	return nil
}

func (h *Handler) setDefaults() {
	h.Zone = cmp.Or(h.Zone, defaultZone)
	h.MaxKeys = cmp.Or(h.MaxKeys, defaultMaxKeys)
}

// compile checks what the options say.
func (h *Handler) compile() ([]engine.Rule, error) {
	if len(h.Traps)+len(h.Rules) == 0 {
		return nil, errors.New("no trap and no rule, so that it watches nothing: write trap <path>... or rule <name> { … }")
	}
	if err := keys.Check("max_keys", h.MaxKeys); err != nil {
		return nil, err
	}
	if !zoneName(h.Zone) {
		return nil, fmt.Errorf("zone '%s' is not a name of at most 64 letters, digits, - and _", h.Zone)
	}
	if err := h.compileAllow(); err != nil {
		return nil, err
	}
	for i := range h.Webhooks {
		if err := h.Webhooks[i].check(); err != nil {
			return nil, err
		}
	}
	h.traps = nil
	for _, t := range h.Traps {
		if err := h.compileTrap(t); err != nil {
			return nil, fmt.Errorf("trap: %w", err)
		}
	}
	rules := make([]engine.Rule, 0, len(h.Rules))
	for i := range h.Rules {
		r := &h.Rules[i]
		if r.Name == "" || strings.ContainsFunc(r.Name, unprintable) || len(r.Name) > 64 {
			return nil, errors.New("rule takes a name of at most 64 characters without spaces")
		}
		if slices.ContainsFunc(h.Rules[:i], func(o Rule) bool { return o.Name == r.Name }) {
			return nil, fmt.Errorf("rule %s already specified", r.Name)
		}
		compiled, err := r.compile()
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.Name, err)
		}
		rules = append(rules, compiled)
	}
	return rules, nil
}

func unprintable(c rune) bool { return c <= ' ' || c == 0x7f || c == '"' }

// privateRanges are what private_ranges stands for in Caddy, and the shared addresses of
// RFC 6598.
const privateRangesWord = "private_ranges"

func (h *Handler) compileAllow() error {
	h.allow = nil
	for _, text := range h.Allow {
		if text == privateRangesWord {
			h.allow = append(h.allow, privateRanges...)
			continue
		}
		p, err := parseRange(text)
		if err != nil {
			return err
		}
		h.allow = append(h.allow, p)
	}
	return nil
}

func (h *Handler) compileTrap(t Trap) error {
	if len(t.Paths) == 0 {
		return errors.New("write the paths that nobody has a reason to request: trap /.env /wp-login.php")
	}
	if t.Alert && len(t.Ban) > 0 {
		return errors.New("alert or ban, not both: a ban raises an alarm as well")
	}
	ban := t.Ban
	if len(ban) == 0 {
		ban = defaultTrapBan
	}
	if err := checkLadder("ban", ban); err != nil {
		return err
	}
	for _, p := range t.Paths {
		made := trap{alert: t.Alert, ladder: durations(ban)}
		made.path, made.below = strings.CutSuffix(lower(p), "/*")
		if !strings.HasPrefix(p, "/") || strings.ContainsAny(p, "?#%{} \\") || strings.Contains(made.path, "*") || made.path == "" || made.path == "/" || cleaned(made.path) != made.path {
			return fmt.Errorf("'%s' must be a path such as /.env, or /wp-admin/* for everything below; / and /* would ban everybody", p)
		}
		if slices.ContainsFunc(h.traps, func(o trap) bool { return o.path == made.path && o.below == made.below }) {
			return fmt.Errorf("%s already specified", p)
		}
		h.traps = append(h.traps, made)
	}
	return nil
}

// compile makes what the engine counts.
func (r *Rule) compile() (engine.Rule, error) {
	c, err := engine.ParseCount(strings.Fields(r.Count))
	if err != nil {
		return c, err
	}
	c.Name, c.Over, c.In, c.Learn = r.Name, r.Over, time.Duration(r.In), r.Learn
	c.ExceptRoles, c.ExceptUsers = r.ExceptRoles, r.ExceptUsers
	c.Reset = r.action() != actionAlert
	for _, text := range r.Paths {
		p, err := engine.ParseTemplate(text)
		if err != nil {
			return c, err
		}
		c.Paths = append(c.Paths, p)
	}
	if err := c.Check(); err != nil {
		return c, err
	}
	return c, r.checkAction(&c)
}

func (r *Rule) checkAction(c *engine.Rule) error {
	n := 0
	for _, has := range []bool{r.Slow != 0 || len(r.SlowFor) > 0, len(r.Ban) > 0} {
		if has {
			n++
		}
	}
	switch {
	case n == 0 && !r.Alert:
		return errors.New("nothing comes of it: write alert, slow 2s for 10m or ban 10m 1h 24h")
	case n > 1:
		return errors.New("slow or ban, not both: write two rules, of which the one that bans counts to more")
	case c.By.Kind == 0 && n > 0:
		return errors.New("what is counted by site is of everybody, so that nobody can be slowed down or banned for it: write alert, or count by address")
	case len(r.Ban) > 0:
		return checkLadder("ban", r.Ban)
	case n == 0:
		return nil
	case r.Slow == 0:
		return errors.New("slow takes a delay and how long it lasts: slow 2s for 10m 1h")
	}
	if err := delays.Check("slow", r.Slow); err != nil {
		return err
	}
	return checkLadder("slow … for", r.SlowFor)
}

func checkLadder(name string, ladder []caddy.Duration) error {
	if len(ladder) == 0 {
		return fmt.Errorf("%s takes durations, the first time, the second time and so on: 10m 1h 24h", name)
	}
	for i, d := range ladder {
		if err := banTimes.Check(name, d); err != nil {
			return err
		}
		if d == 0 || i > 0 && d < ladder[i-1] {
			return fmt.Errorf("%s: the durations become longer: 10m 1h 24h", name)
		}
	}
	return nil
}

func (r *Rule) ladder() []caddy.Duration {
	if len(r.Ban) > 0 {
		return r.Ban
	}
	return r.SlowFor
}

func durations(list []caddy.Duration) []time.Duration {
	made := make([]time.Duration, len(list))
	for i, d := range list {
		made[i] = time.Duration(d)
	}
	return made
}

// zoneName reports whether a name can be that of a file everywhere.
func zoneName(name string) bool {
	return len(name) <= 64 && name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// Bans reports whether the handler bans or slows down by address, and by caller or
// key, for the check of the layers.
func (h *Handler) Bans() (addresses, callers bool) {
	addresses = slices.ContainsFunc(h.Traps, func(t Trap) bool { return !t.Alert })
	for i := range h.rules {
		if r := &h.rules[i]; r.action() != actionAlert {
			kind := r.counter.Rule().By.Kind
			addresses = addresses || kind == engine.Network
			callers = callers || kind == engine.Caller || kind == engine.Key
		}
	}
	return addresses, callers
}

// BansPrivate reports whether private addresses may be banned, for the check of the layers.
func (h *Handler) BansPrivate() bool { return h.BanPrivate || h.DryRun }

// Variables returns the variables of paths that rules count without a pattern of their
// own, for the check of the layers.
func (h *Handler) Variables() []string {
	var all []string
	for i := range h.rules {
		if r := h.rules[i].counter.Rule(); len(r.Paths) == 0 && strings.HasPrefix(r.Distinct, "{") {
			all = append(all, r.Distinct)
		}
	}
	return all
}

// Cleanup gives the zone back.
func (h *Handler) Cleanup() error {
	h.held.Release()
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

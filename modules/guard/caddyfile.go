package guard

import (
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	guard [<matcher>] {
//		trap <path>... {
//			ban <duration>...
//			alert
//		}
//		allow <range>...
//		rule <name> {
//			count  [distinct path|caller|token|{<variable>}] <signal>... by address|network|caller|key|site
//			over   <number> in <duration>
//			learn
//			path   <pattern>...
//			except role|user <name>...
//			alert
//			slow   <delay> for <duration>...
//			ban    <duration>...
//		}
//		webhook     <url> <secret>
//		zone        <name>
//		max_keys    <n>
//		ban_private
//		dry_run
//	}
//
// A trap or a rule is required. A rule has alert, slow or ban; several durations
// are those of the first time, the second time and so on. A signal is a status such as 401 or 4xx, or one of requests,
// success, failed_credentials, ambiguous_path, replay, invalid_body, rate_limited, trap and bytes, or an error
// code of the layers. A number of bytes may have a unit, such as 1GiB.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	if err := option.Block(d, []string{"trap", "allow", "rule", "webhook"}, h.unmarshalOption); err != nil {
		return err
	}
	trial := *h
	trial.setDefaults()
	if _, err := trial.compile(); err != nil {
		return d.Errf("%s: %v", Name, err)
	}
	return nil
}

func (h *Handler) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "trap":
		return h.unmarshalTrap(d)
	case "allow":
		return option.List(d, &h.Allow)
	case "rule":
		return h.unmarshalRule(d)
	case "webhook":
		return h.unmarshalWebhook(d)
	case "zone":
		return option.OneArg(d, &h.Zone)
	case "max_keys":
		return option.Count(d, &h.MaxKeys, keys)
	case "ban_private":
		return option.Flag(d, &h.BanPrivate)
	case "dry_run":
		return option.Flag(d, &h.DryRun)
	}
	return option.Unrecognized(d, Name, []string{"trap", "allow", "rule", "webhook", "zone", "max_keys", "ban_private", "dry_run"})
}

func (h *Handler) unmarshalWebhook(d *caddyfile.Dispenser) error {
	var w Webhook
	if !d.AllArgs(&w.URL, &w.Secret) {
		return option.Takes(d, "webhook", "a URL and a secret: webhook https://alarms.example.com/moat {env.ALARM_SECRET}")
	}
	if err := w.check(); err != nil {
		return d.WrapErr(err)
	}
	h.Webhooks = append(h.Webhooks, w)
	return option.NoBlock(d)
}

func (h *Handler) unmarshalTrap(d *caddyfile.Dispenser) error {
	var t Trap
	if t.Paths = d.RemainingArgs(); len(t.Paths) == 0 {
		return option.Takes(d, "trap", "the paths that nobody has a reason to request: trap /.env /wp-login.php")
	}
	err := option.Block(d, nil, func(d *caddyfile.Dispenser) error {
		switch d.Val() {
		case "ban":
			return ladder(d, &t.Ban)
		case "alert":
			return option.Flag(d, &t.Alert)
		}
		return option.Unrecognized(d, "trap", []string{"ban", "alert"})
	})
	if err != nil {
		return err
	}
	h.Traps = append(h.Traps, t)
	trial := *h
	trial.traps = nil
	for _, t := range h.Traps {
		if err := trial.compileTrap(t); err != nil {
			return d.Errf("trap: %v", err)
		}
	}
	return nil
}

// unbuilt are actions that people look for and that there are not.
var unbuilt = []string{"challenge", "step_up", "captcha"}

func (h *Handler) unmarshalRule(d *caddyfile.Dispenser) error {
	var r Rule
	if err := option.Arg(d, &r.Name); err != nil {
		return err
	}
	for _, other := range h.Rules {
		if other.Name == r.Name {
			return d.Errf("rule %s already specified", r.Name)
		}
	}
	size := false
	err := option.Block(d, nil, func(d *caddyfile.Dispenser) error {
		switch d.Val() {
		case "count":
			args := d.RemainingArgs()
			if len(args) == 0 {
				return option.Takes(d, "count", "what to count and by what: count failed_credentials by address, count distinct {id} by caller")
			}
			r.Count = strings.Join(args, " ")
			return option.NoBlock(d)
		case "over":
			return unmarshalOver(d, &r, &size)
		case "learn":
			return option.Flag(d, &r.Learn)
		case "path":
			return option.List(d, &r.Paths)
		case "except":
			return unmarshalExcept(d, &r)
		case "alert":
			return option.Flag(d, &r.Alert)
		case "slow":
			return unmarshalSlow(d, &r)
		case "ban":
			return ladder(d, &r.Ban)
		}
		for _, word := range unbuilt {
			if d.Val() == word {
				return d.Errf("there is no action '%s': what there is are alert, slow and ban; a second factor is asked for by acr() in a condition of rbac", word)
			}
		}
		return option.Unrecognized(d, "rule", []string{"count", "over", "learn", "path", "except", "alert", "slow", "ban"})
	})
	if err != nil {
		return err
	}
	if r.Count == "" {
		return d.Errf("rule %s counts nothing: write count <signal> by address inside of it, such as count failed_credentials by address", r.Name)
	}
	if size && !strings.HasPrefix(r.Count, "bytes ") {
		return d.Errf("rule %s: over takes a number without a unit, since it does not count bytes", r.Name)
	}
	if _, err := r.compile(); err != nil {
		return d.Errf("rule %s: %v", r.Name, err)
	}
	h.Rules = append(h.Rules, r)
	return nil
}

// unmarshalOver reads how many are too many; size is set where the number has a unit.
func unmarshalOver(d *caddyfile.Dispenser, r *Rule, size *bool) error {
	var number, in, window string
	if !d.AllArgs(&number, &in, &window) || in != "in" {
		return option.Takes(d, "over", "a number and a duration: over 20 in 1m, over 1GiB in 1h")
	}
	n, err := humanize.ParseBytes(number)
	if err != nil || n < 1 || n > 1<<62 {
		return d.Errf("over '%s': write a number above 0, such as 20, or for bytes a size such as 1GiB", number)
	}
	_, plain := strconv.ParseUint(number, 10, 64)
	*size = plain != nil
	r.Over = int64(n) //nolint:gosec // bounded
	length, err := caddy.ParseDuration(window)
	if err != nil || length <= 0 {
		return d.Errf("over … in '%s': write a duration, such as 1m", window)
	}
	r.In = caddy.Duration(length)
	return option.NoBlock(d)
}

func unmarshalExcept(d *caddyfile.Dispenser, r *Rule) error {
	args := d.RemainingArgs()
	if len(args) < 2 || args[0] != "role" && args[0] != "user" {
		return option.Takes(d, "except", "role or user and names: except role exporter")
	}
	if args[0] == "role" {
		r.ExceptRoles = args[1:]
	} else {
		r.ExceptUsers = args[1:]
	}
	return option.NoBlock(d)
}

func unmarshalSlow(d *caddyfile.Dispenser, r *Rule) error {
	args := d.RemainingArgs()
	if len(args) < 3 || args[1] != "for" {
		return option.Takes(d, "slow", "a delay and how long it lasts: slow 2s for 10m 1h")
	}
	delay, err := caddy.ParseDuration(args[0])
	if err == nil {
		err = delays.Check("slow", caddy.Duration(delay))
	}
	if err != nil || delay == 0 {
		return d.Errf("slow '%s': write %s", args[0], delays)
	}
	r.Slow = caddy.Duration(delay)
	return lengths(d, "slow … for", args[2:], &r.SlowFor)
}

// ladder reads how long a ban lasts, the first time, the second time and so on.
func ladder(d *caddyfile.Dispenser, to *[]caddy.Duration) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return option.Takes(d, "ban", "durations, the first time, the second time and so on: ban 10m 1h 24h")
	}
	return lengths(d, "ban", args, to)
}

func lengths(d *caddyfile.Dispenser, name string, args []string, to *[]caddy.Duration) error {
	for _, text := range args {
		n, err := caddy.ParseDuration(text)
		if err != nil || n <= 0 {
			return d.Errf("%s '%s': write %s", name, text, banTimes)
		}
		*to = append(*to, caddy.Duration(n))
	}
	if err := checkLadder(name, *to); err != nil {
		return d.WrapErr(err)
	}
	return option.NoBlock(d)
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)

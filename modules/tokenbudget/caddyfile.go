package tokenbudget

import (
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	token_budget [<matcher>] {
//		limit <tokens> per minute|hour|day|month
//		plan <name> {
//			limit <tokens> per minute|hour|day|month
//		}
//		by          <text with placeholders>
//		usage       <pointer>[|<pointer>...]...
//		reserve     <tokens>
//		zone        <name>
//		max_callers <n>
//	}
//
// A number of tokens may end with k or M, for thousands and millions. limit,
// plan and usage may be repeated, limit with another period. At least one limit
// is required.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	if err := option.Block(d, []string{"limit", "plan", "usage"}, h.unmarshalOption); err != nil {
		return err
	}
	trial := *h
	trial.setDefaults()
	if err := trial.compile(); err != nil {
		return d.Errf("%s: %v", Name, err)
	}
	return nil
}

func (h *Handler) unmarshalOption(d *caddyfile.Dispenser) error {
	switch name := d.Val(); name {
	case "limit":
		return unmarshalLimit(d, &h.Limits)
	case "plan":
		return h.unmarshalPlan(d)
	case "usage":
		terms := d.RemainingArgs()
		if len(terms) == 0 {
			return option.Takes(d, name, "JSON Pointers to the numbers that make up the cost of a response, such as /usage/total_tokens")
		}
		h.Usage = append(h.Usage, terms)
		return nil
	case "by":
		return option.OneArg(d, &h.By)
	case "zone":
		return option.OneArg(d, &h.Zone)
	case "reserve":
		var text string
		if !d.AllArgs(&text) {
			return option.Takes(d, name, "one argument: "+tokenNumber)
		}
		return tokens(d, name, text, &h.Reserve)
	case "max_callers":
		return option.Count(d, &h.MaxCallers, callers)
	}
	return option.Unrecognized(d, Name, []string{"limit", "plan", "by", "usage", "reserve", "zone", "max_callers"})
}

func (h *Handler) unmarshalPlan(d *caddyfile.Dispenser) error {
	var plan string
	if !d.AllArgs(&plan) || plan == "" {
		return option.Takes(d, "plan", "the name of a plan and a block of limits")
	}
	if _, ok := h.Plans[plan]; ok {
		return d.Errf("plan %s already specified", plan)
	}
	var limits []Limit
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if d.Val() != "limit" {
			return d.Errf("unrecognized subdirective '%s' in plan; it has limit", d.Val())
		}
		if err := unmarshalLimit(d, &limits); err != nil {
			return err
		}
	}
	if len(limits) == 0 {
		return d.Errf("plan %s has no limit: write limit <tokens> per minute|hour|day|month inside of it", plan)
	}
	if h.Plans == nil {
		h.Plans = make(map[string][]Limit)
	}
	h.Plans[plan] = limits
	return nil
}

func unmarshalLimit(d *caddyfile.Dispenser, limits *[]Limit) error {
	var number, per string
	var l Limit
	if !d.AllArgs(&number, &per, &l.Per) || per != "per" {
		return option.Takes(d, "limit", "a number of tokens and a period: limit 100000 per day")
	}
	if err := tokens(d, "limit", number, &l.Tokens); err != nil {
		return err
	}
	for _, other := range *limits {
		if other.Per == l.Per {
			return d.Errf("limit per %s already specified", l.Per)
		}
	}
	*limits = append(*limits, l)
	if _, err := compileLimits(*limits); err != nil {
		return d.WrapErr(err)
	}
	return option.NoBlock(d)
}

const tokenNumber = "a number of tokens of at least 1, such as 100000, 100k or 2M"

// tokens reads a number of tokens.
func tokens(d *caddyfile.Dispenser, name, text string, target *int64) error {
	digits, unit := text, int64(1)
	if rest, ok := strings.CutSuffix(text, "k"); ok {
		digits, unit = rest, 1000
	} else if rest, ok := strings.CutSuffix(text, "M"); ok {
		digits, unit = rest, 1_000_000
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 || n > maxTokens/unit || digits[0] == '+' {
		return d.Errf("%s '%s': write %s", name, text, tokenNumber)
	}
	*target = n * unit
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)

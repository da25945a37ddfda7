package breaker

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	breaker [<matcher>] [<name>] {
//		window   <duration>
//		volume   <requests>
//		errors   <percent>
//		slow     <duration>
//		open     <duration>
//		max_open <duration>
//		probe    <duration>
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if d.NextArg() {
		h.Name = d.Val()
	}
	if d.NextArg() || h.Name == "" && d.Val() == "" {
		return d.ArgErr()
	}
	if err := option.Block(d, nil, h.unmarshalOption); err != nil {
		return err
	}
	if err := h.check(); err != nil {
		return d.Errf("%s: %v", Name, err)
	}
	return nil
}

func (h *Handler) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "window":
		return option.Duration(d, &h.Window, lengths)
	case "volume":
		return option.Count(d, &h.Volume, volumes)
	case "errors":
		return option.Count(d, &h.Errors, shares)
	case "slow":
		return option.Duration(d, &h.Slow, lengths)
	case "open":
		return option.Duration(d, &h.Open, lengths)
	case "max_open":
		return option.Duration(d, &h.MaxOpen, lengths)
	case "probe":
		return option.Duration(d, &h.Probe, lengths)
	}
	return option.Unrecognized(d, Name, []string{"window", "volume", "errors", "slow", "open", "max_open", "probe"})
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)

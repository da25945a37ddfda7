package webhookauth

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/webhook"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// UnmarshalCaddyfile sets up the provider from Caddyfile tokens. Syntax:
//
//	webhook_auth [<matcher>] {
//		github|stripe|slack|shopify|standard|svix <{env.X} | {file.X}>... [{
//			user   <id>
//			roles  <role>...
//			scopes <scope>...
//			plan   <plan>
//		}]
//		leeway   <duration>
//		replay   <duration> | off
//		max_body <size>
//		realm    <text>
//		forward  <claim pointer> <header>
//		strip
//		optional
//		preflight
//	}
//
// At least one sender is needed; senders and forward may be repeated. Claims to
// forward are sub (the user), sender, key_id, plan, roles and scopes. The
// directive's matcher is the business of who registers the directive.
func (p *Provider) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(option.Once)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if known, err := option.UnmarshalOption(d, &p.options); err != nil {
			return err
		} else if known {
			continue
		}
		if webhook.Named(d.Val()) != nil {
			if err := p.unmarshalSender(d); err != nil {
				return err
			}
			continue
		}
		if err := seen.Check(d); err != nil {
			return err
		}
		if err := p.unmarshalOption(d); err != nil {
			return err
		}
	}
	if err := p.check(); err != nil {
		return d.Errf("%s: %v", Name, err)
	}
	return nil
}

func (p *Provider) unmarshalOption(d *caddyfile.Dispenser) error {
	switch name := d.Val(); name {
	case "leeway":
		return duration(d, &p.Leeway)
	case "replay":
		if next := d.NextArg(); next && d.Val() == "off" {
			p.ReplayOff = true
			if d.NextArg() {
				return d.ArgErr()
			}
			return option.NoBlock(d)
		} else if !next {
			return d.Err("replay takes a duration such as 24h or 7d, or off")
		}
		d.Prev()
		return duration(d, &p.Replay)
	case "max_body":
		return size(d, &p.MaxBody)
	case "realm":
		return option.OneArg(d, &p.Realm)
	case "strip":
		return option.Flag(d, &p.Strip)
	}
	return d.Errf("unrecognized subdirective '%s': senders are %s", d.Val(), names())
}

func (p *Provider) unmarshalSender(d *caddyfile.Dispenser) error {
	s := &Sender{Sender: d.Val(), Secrets: d.RemainingArgs()}
	seen := make(option.Once)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.Check(d); err != nil {
			return err
		}
		var err error
		switch d.Val() {
		case "user":
			err = option.OneArg(d, &s.User)
		case "role", "roles":
			err = list(d, &s.Roles)
		case "scope", "scopes":
			err = list(d, &s.Scopes)
		case "plan":
			err = option.OneArg(d, &s.Plan)
		default:
			err = d.Errf("unrecognized subdirective '%s' of %s: user, roles, scopes or plan is expected", d.Val(), s.Sender)
		}
		if err != nil {
			return err
		}
	}
	if err := s.check(); err != nil {
		return d.WrapErr(err)
	}
	p.Senders = append(p.Senders, s)
	return nil
}

// list reads the rest of a line, which has something in it.
func list(d *caddyfile.Dispenser, to *[]string) error {
	if *to = d.RemainingArgs(); len(*to) == 0 {
		return d.ArgErr()
	}
	return option.NoBlock(d)
}

func duration(d *caddyfile.Dispenser, to *caddy.Duration) error {
	name := d.Val()
	var text string
	if !d.AllArgs(&text) {
		return d.ArgErr()
	}
	v, err := caddy.ParseDuration(text)
	if err != nil || v <= 0 {
		return d.Errf("%s: '%s' is not a duration such as 5m or 24h", name, text)
	}
	*to = caddy.Duration(v)
	return option.NoBlock(d)
}

func size(d *caddyfile.Dispenser, to *int64) error {
	var text string
	if !d.AllArgs(&text) {
		return d.ArgErr()
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || n == 0 || n > maxMaxBody {
		return d.Errf("max_body: '%s' is not a size such as 1MiB, of at most 64MiB", text)
	}
	*to = int64(n)
	return option.NoBlock(d)
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Provider)(nil)

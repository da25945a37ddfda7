package webhookauth

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

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
	if err := option.UnmarshalBlock(d, &p.options, names(), p.unmarshalOption); err != nil {
		return err
	}
	if err := p.check(); err != nil {
		return d.Errf("%s: %v", Name, err)
	}
	return nil
}

func (p *Provider) unmarshalOption(d *caddyfile.Dispenser) error {
	if webhook.Named(d.Val()) != nil {
		return p.unmarshalSender(d)
	}
	switch d.Val() {
	case "leeway":
		return option.Duration(d, &p.Leeway, leeways)
	case "replay":
		if p.ReplayOff = option.OrOff(d); p.ReplayOff {
			return nil
		}
		return option.Duration(d, &p.Replay, replays)
	case "max_body":
		return option.Size(d, &p.MaxBody, bodies)
	case "realm":
		return option.OneArg(d, &p.Realm)
	case "strip":
		return option.Flag(d, &p.Strip)
	}
	return option.Unrecognized(d, Name, names(), []string{"leeway", "replay", "max_body", "realm", "strip"}, option.Common)
}

func (p *Provider) unmarshalSender(d *caddyfile.Dispenser) error {
	s := &Sender{Sender: d.Val(), Secrets: d.RemainingArgs()}
	if err := (option.Holder{User: &s.User, Roles: &s.Roles, Scopes: &s.Scopes, Plan: &s.Plan}).Block(d, s.Sender); err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return d.WrapErr(err)
	}
	p.Senders = append(p.Senders, s)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Provider)(nil)

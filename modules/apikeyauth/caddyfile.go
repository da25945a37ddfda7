package apikeyauth

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// UnmarshalCaddyfile sets up the provider from Caddyfile tokens. Syntax:
//
//	api_key_auth [<matcher>] {
//		store     <file>
//		pepper    {env.<name>} | {file.<path>}
//		from      header <name> [<scheme>] | query <name> | basic user|password | websocket [<subprotocol>]
//		realm     <text>
//		last_used off
//		forward   <claim pointer> <header>
//		strip
//		optional
//		preflight
//		stream_expiry keep
//		origin <origin>...|any
//	}
//
// store and pepper are required; from and forward may be repeated. Claims to
// forward are sub (the owner), key_id, plan, roles and scopes. The directive's
// matcher is the business of who registers the directive.
func (p *Provider) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if err := option.UnmarshalBlock(d, &p.options, []string{"from"}, p.unmarshalOption); err != nil {
		return err
	}
	if p.Store == "" || p.Pepper == "" {
		return d.Errf("%s needs a store and a pepper line: store /etc/moat/api.keys and pepper {env.API_KEY_PEPPER}", Name)
	}
	return nil
}

func (p *Provider) unmarshalOption(d *caddyfile.Dispenser) error {
	switch name := d.Val(); name {
	case "store":
		return option.OneArg(d, &p.Store)
	case "pepper":
		if err := option.OneArg(d, &p.Pepper); err != nil {
			return err
		}
		if !secretPlaceholder.MatchString(p.Pepper) {
			return d.WrapErr(errPepper)
		}
		return nil
	case "from":
		return p.unmarshalFrom(d)
	case "realm":
		return option.OneArg(d, &p.Realm)
	case "last_used":
		var off string
		p.NoLastUsed = true
		return option.Word(d, &off, "off")
	case "strip":
		return option.Flag(d, &p.Strip)
	case "key", "keys":
		return d.Errf("%s: keys stand in the store, make them with `caddy moat key new`", name)
	}
	return option.Unrecognized(d, Name, []string{"store", "pepper", "from", "realm", "last_used", "strip"}, option.Common)
}

func (p *Provider) unmarshalFrom(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	var s Source
	switch {
	case len(args) == 2 && args[0] == "header":
		s.Header = args[1]
	case len(args) == 3 && args[0] == "header":
		s.Header, s.Scheme = args[1], args[2]
	case len(args) == 2 && args[0] == "query":
		s.Query = args[1]
	case len(args) == 2 && args[0] == "basic":
		s.Basic = args[1]
	case len(args) > 0 && len(args) < 3 && args[0] == "websocket":
		s.WebSocket = credential.DefaultSubprotocol
		if len(args) == 2 {
			s.WebSocket = args[1]
		}
	case len(args) > 0 && args[0] == "cookie":
		return d.Err("from cookie is not supported: browsers send cookies with requests that other sites make; use a header")
	default:
		return option.Takes(d, "from", "header <name> [<scheme>], query <name>, basic user|password or websocket [<subprotocol>]")
	}
	c, err := s.compile()
	if err != nil {
		return d.Errf("from: %v", err)
	}
	for _, o := range p.From {
		if other, err := o.compile(); err == nil && other.Key() == c.Key() {
			return d.Errf("from %s already specified", c.Key())
		}
	}
	p.From = append(p.From, s)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Provider)(nil)

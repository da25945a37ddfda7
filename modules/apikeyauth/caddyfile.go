package apikeyauth

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/adapter"
)

// UnmarshalCaddyfile sets up the provider from Caddyfile tokens. Syntax:
//
//	api_key_auth [<matcher>] {
//		store     <file>
//		pepper    {env.<name>} | {file.<path>}
//		from      header <name> [<scheme>] | query <name>
//		realm     <text>
//		last_used off
//		forward   <claim pointer> <header>
//		strip
//		optional
//		preflight
//	}
//
// store and pepper are required; from and forward may be repeated. Claims to
// forward are sub (the owner), key_id, plan, roles and scopes. The directive's
// matcher is the business of who registers the directive.
func (p *Provider) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if name != "from" && name != "forward" {
			if seen[name] {
				return d.Errf("%s already specified", name)
			}
			seen[name] = true
		}
		if err := p.unmarshalOption(d, name); err != nil {
			return err
		}
		for nesting := d.Nesting(); d.NextBlock(nesting); {
			return d.Errf("a block is not expected here: '%s'", d.Val())
		}
	}
	if p.Store == "" || p.Pepper == "" {
		return d.Errf("%s needs a store and a pepper line: store /etc/moat/api.keys and pepper {env.API_KEY_PEPPER}", Name)
	}
	return nil
}

func (p *Provider) unmarshalOption(d *caddyfile.Dispenser, name string) error {
	switch name {
	case "store":
		return oneArg(d, &p.Store)
	case "pepper":
		if err := oneArg(d, &p.Pepper); err != nil {
			return err
		}
		if !secretPlaceholder.MatchString(p.Pepper) {
			return d.WrapErr(errPepper)
		}
		return nil
	case "from":
		return p.unmarshalFrom(d)
	case "realm":
		return oneArg(d, &p.Realm)
	case "last_used":
		var arg string
		if !d.AllArgs(&arg) || arg != "off" {
			return d.Err("last_used takes: off")
		}
		p.NoLastUsed = true
		return nil
	case "forward":
		f, err := adapter.UnmarshalForward(d)
		if err != nil {
			return err
		}
		for _, o := range p.options.Forward {
			if strings.EqualFold(o.Header, f.Header) {
				return d.Errf("forward: header %s already specified", f.Header)
			}
		}
		p.options.Forward = append(p.options.Forward, f)
		return nil
	case "strip":
		return flag(d, &p.Strip)
	case "optional":
		return flag(d, &p.options.Optional)
	case "preflight":
		return flag(d, &p.options.Preflight)
	case "key", "keys":
		return d.Errf("%s: keys stand in the store, make them with `caddy moat key new`", name)
	}
	return d.Errf("unrecognized subdirective '%s'", name)
}

func flag(d *caddyfile.Dispenser, target *bool) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	*target = true
	return nil
}

func oneArg(d *caddyfile.Dispenser, target *string) error {
	if !d.AllArgs(target) || *target == "" {
		return d.ArgErr()
	}
	return nil
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
	case len(args) > 0 && args[0] == "cookie":
		return d.Err("from cookie is not supported: browsers send cookies with requests that other sites make; use a header")
	default:
		return d.Err("from takes: header <name> [<scheme>] or query <name>")
	}
	c, err := s.compile()
	if err != nil {
		return d.Errf("from: %v", err)
	}
	for _, o := range p.From {
		if other, err := o.compile(); err == nil && other.key() == c.key() {
			return d.Errf("from %s already specified", c.key())
		}
	}
	p.From = append(p.From, s)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Provider)(nil)

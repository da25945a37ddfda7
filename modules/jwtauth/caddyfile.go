package jwtauth

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/issuer"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/keyset"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// UnmarshalCaddyfile sets up the provider from Caddyfile tokens. Syntax:
//
//	jwt_auth [<matcher>] [internal] {
//		issuer <iss> {
//			jwks       <url>|<file>
//			jwks       [<url>] {
//				header <name> <value>
//				ca     <file>
//			}
//			key        <alg> <pem file | base64 | {env.X} | {file.X}>
//			alb        <arn> [<url>]
//			audience   <aud>...|*
//			algorithms <alg>...
//			typ        <typ>...
//			max_age    <duration>
//			require    <claim pointer> [<value>...]
//			roles      <claim pointer>...
//			scopes     <claim pointer>...
//			subject    <claim pointer>...
//		}
//		issuer internal [{
//			name    <iss>
//			rotate  <duration>
//			publish <path>
//			# and the options of any issuer but jwks, key and alb
//		}]
//		# the options of an issuer may stand here too, as defaults of all
//
//		from        header <name> [<scheme>] | cookie <name> | query <name> | basic user|password | websocket [<subprotocol>]
//		realm       <text>
//		leeway      <duration>
//		forward     <claim pointer> <header>
//		strip
//		resource <url> [{
//			authorization_servers <url>...
//			scopes        <scope>...
//			name          <text>
//			documentation <url>
//			policy        <url>
//			terms         <url>
//			metadata      <url>
//			pass_token
//		}]
//		optional
//		preflight
//		stream_expiry keep
//		origin <origin>...|any
//		revocations <file>
//		cache       <entries>|off
//		bind        tls | dpop [nonce]
//		introspection {
//			endpoint      <url>
//			client_id     <id>
//			client_secret <secret | {env.X} | {file.X}>
//			cache         <duration>|off
//			issuer        <iss>
//			# and audience, require, roles, scopes, subject
//		}
//	}
//
// internal on the first line is short for a line `issuer internal`, so that
// `jwt_auth internal` is all it takes, as with `tls internal`.
//
// issuer, key, require, from and forward may be repeated. Without any issuer
// line there is one issuer whose `iss` is not checked. The directive's matcher
// is the business of who registers the directive.
func (p *Provider) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if d.NextArg() {
		if d.Val() != "internal" || d.CountRemainingArgs() > 0 {
			return option.Takes(d, Name, "no argument but internal")
		}
		p.Issuers = []*Issuer{{Internal: new(Internal)}}
	}
	seen := make(option.Once)
	defaults := new(Issuer)
	inDefaults := make(option.Once)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if d.Val() == "issuer" {
			i, err := unmarshalIssuer(d)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(p.Issuers, func(o *Issuer) bool { return o.name() == i.name() }) {
				return d.Errf("issuer %s already specified", i.name())
			}
			p.Issuers = append(p.Issuers, i)
			continue
		}
		known, err := defaults.unmarshalOption(d, inDefaults)
		if err != nil {
			return err
		}
		if known {
			continue
		}
		if err := p.unmarshalOption(d, seen); err != nil {
			return err
		}
	}
	return p.finish(d, defaults)
}

// unmarshalOption reads an option of the whole provider.
func (p *Provider) unmarshalOption(d *caddyfile.Dispenser, seen option.Once) error {
	if known, err := option.UnmarshalOption(d, &p.options); known || err != nil {
		return err
	}
	name := d.Val()
	if name != "from" {
		if err := seen.Check(d); err != nil {
			return err
		}
	}
	switch name {
	case "from":
		return p.unmarshalFrom(d)
	case "strip":
		return option.Flag(d, &p.Strip)
	case "realm":
		return option.OneArg(d, &p.Realm)
	case "revocations":
		return option.OneArg(d, &p.Revocations)
	case "leeway":
		p.Leeway = new(caddy.Duration)
		return option.Duration(d, p.Leeway, leeways)
	case "cache":
		if p.Cache = new(int); option.OrOff(d) {
			return option.NoBlock(d)
		}
		return option.Count(d, p.Cache, caches)
	case "bind":
		return p.unmarshalBind(d)
	case "resource":
		return p.unmarshalResource(d)
	case "introspection":
		return p.unmarshalIntrospection(d)
	case "publish", "rotate", "name":
		return d.Errf("%s belongs in the block of 'issuer internal'", name)
	}
	return option.Unrecognized(d, Name, []string{"issuer"}, ofIssuers, ofAll, option.Common)
}

func (p *Provider) unmarshalFrom(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	var s Source
	switch {
	case len(args) == 2 && args[0] == "header":
		s.Header = args[1]
	case len(args) == 3 && args[0] == "header":
		s.Header, s.Scheme = args[1], args[2]
	case len(args) == 2 && args[0] == "cookie":
		s.Cookie = args[1]
	case len(args) == 2 && args[0] == "query":
		s.Query = args[1]
	case len(args) == 2 && args[0] == "basic":
		s.Basic = args[1]
	case len(args) > 0 && len(args) < 3 && args[0] == "websocket":
		s.WebSocket = credential.DefaultSubprotocol
		if len(args) == 2 {
			s.WebSocket = args[1]
		}
	default:
		return option.Takes(d, "from", "header <name> [<scheme>], cookie <name>, query <name>, basic user|password or websocket [<subprotocol>]")
	}
	c, err := s.compile()
	if err != nil {
		return d.Errf("from: %v", err)
	}
	for _, o := range p.From {
		if other, err := o.compile(); err == nil && other.At() == c.At() {
			return d.Errf("from %s already specified", c.At())
		}
	}
	p.From = append(p.From, s)
	return option.NoBlock(d)
}

func (p *Provider) unmarshalBind(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case len(args) == 1 && (args[0] == "tls" || args[0] == "dpop"):
	case len(args) == 2 && args[0] == "dpop" && args[1] == "nonce":
		p.DPoPNonce = true
	default:
		return option.Takes(d, "bind", "tls, dpop or dpop nonce")
	}
	p.Bind = args[:1]
	return option.NoBlock(d)
}

// name is what tells issuers apart.
func (i *Issuer) name() string {
	if i.Internal != nil && i.Issuer == "" {
		return issuer.DefaultName
	}
	return i.Issuer
}

// finish gives each issuer the defaults that it does not set itself.
func (p *Provider) finish(d *caddyfile.Dispenser, defaults *Issuer) error {
	if p.Introspection != nil {
		signed := *defaults
		// What only signed tokens can have is not inherited.
		signed.Keys, signed.JWKS, signed.ALB, signed.Algorithms, signed.Type, signed.MaxAge = nil, nil, nil, nil, nil, 0
		p.Introspection.inherit(&signed)
		if len(p.Issuers) == 0 && !defaults.hasKeys() {
			if len(defaults.Algorithms) > 0 || len(defaults.Type) > 0 || defaults.MaxAge != 0 {
				return d.Err("algorithms, typ and max_age are for signed tokens, and no issuer of such is given")
			}
			return nil
		}
	}
	if len(p.Issuers) == 0 {
		if !defaults.hasKeys() {
			return d.Errf("%s needs an issuer, or a key or jwks line", Name)
		}
		p.Issuers = []*Issuer{defaults}
		return p.finishALBs(d)
	}
	for _, i := range p.Issuers {
		i.inherit(defaults)
		if i.Internal != nil || i.hasKeys() || strings.ContainsAny(i.Issuer, "{}") {
			continue
		}
		if err := (keyset.Source{Issuer: i.Issuer}).Check(); err != nil {
			return d.Errf("issuer %s: its keys cannot be discovered (%v): write jwks or key in its block", i.Issuer, err)
		}
	}
	return p.finishALBs(d)
}

// hasKeys reports whether it is written where the keys are.
func (i *Issuer) hasKeys() bool { return len(i.Keys) > 0 || len(i.JWKS) > 0 || i.ALB != nil }

// finishALBs refuses load balancers that cannot be as they are written.
func (p *Provider) finishALBs(d *caddyfile.Dispenser) error {
	if err := p.checkALBs(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (i *Issuer) inherit(from *Issuer) {
	if i.Internal == nil && !i.hasKeys() {
		i.Keys, i.JWKS, i.ALB = from.Keys, from.JWKS, from.ALB
	}
	if len(i.Audience) == 0 {
		i.Audience = from.Audience
	}
	if len(i.Algorithms) == 0 && i.Internal == nil {
		i.Algorithms = from.Algorithms
	}
	if len(i.Type) == 0 {
		i.Type = from.Type
	}
	if i.MaxAge == 0 {
		i.MaxAge = from.MaxAge
	}
	if len(i.Require) == 0 {
		i.Require = from.Require
	}
	if len(i.Roles) == 0 {
		i.Roles = from.Roles
	}
	if len(i.Scopes) == 0 {
		i.Scopes = from.Scopes
	}
	if len(i.Subject) == 0 {
		i.Subject = from.Subject
	}
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Provider)(nil)

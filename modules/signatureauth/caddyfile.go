package signatureauth

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// UnmarshalCaddyfile sets up the provider from Caddyfile tokens. Syntax:
//
//	signature_auth [<matcher>] {
//		key <keyid> <alg> <pem file | base64 | {env.X} | {file.X}> [{
//			user   <id>
//			roles  <role>...
//			scopes <scope>...
//			plan   <plan>
//		}]
//		keys       <file>
//		components <component>...
//		parameters <name>[=<value>]...
//		prohibit   <name>...
//		label      <label>
//		tag        <tag>
//		max_age    <duration>
//		leeway     <duration>
//		replay     signature | nonce | idempotency_key [<retention>] | off
//		remember   <signatures>
//		body       <size>
//		cavage     [<header>...]
//		sign_responses {
//			key        <keyid> <alg> <private key in a pem file | {env.X} | {file.X}>
//			components <component>...
//			label      <label>
//			max_body   <size>
//		}
//		realm      <text>
//		forward    <claim pointer> <header>
//		strip
//		optional
//		preflight
//		stream_expiry keep
//		origin <origin>...|any
//	}
//
// At least one key, or a file of keys, is needed; key and forward may be
// repeated. Claims to forward are sub (the user), key_id, plan, roles and
// scopes. The directive's matcher is the business of who registers the
// directive.
func (p *Provider) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if err := option.UnmarshalBlock(d, &p.options, "key", p.unmarshalOption); err != nil {
		return err
	}
	if err := p.check(); err != nil {
		return d.Errf("%s: %v", Name, err)
	}
	return nil
}

func (p *Provider) unmarshalOption(d *caddyfile.Dispenser) error {
	switch name := d.Val(); name {
	case "key":
		return p.unmarshalKey(d)
	case "keys":
		return option.OneArg(d, &p.KeysFile)
	case "components":
		return list(d, &p.Components)
	case "parameters":
		return list(d, &p.Parameters)
	case "prohibit":
		return list(d, &p.Prohibit)
	case "label":
		return option.OneArg(d, &p.Label)
	case "tag":
		return option.OneArg(d, &p.Tag)
	case "max_age":
		return duration(d, &p.MaxAge)
	case "leeway":
		p.Leeway = new(caddy.Duration)
		return duration(d, p.Leeway)
	case "replay":
		return p.unmarshalReplay(d)
	case "remember":
		var text string
		n, err := 0, error(nil)
		if d.AllArgs(&text) {
			n, err = strconv.Atoi(text)
		}
		if err != nil || n < 1 || n > maxRemember {
			return d.Errf("remember takes a number of signatures from 1 to %d", maxRemember)
		}
		p.Remember = n
		return nil
	case "body":
		return size(d, &p.Body)
	case "cavage":
		p.Cavage = &Cavage{Headers: d.RemainingArgs()}
		return nil
	case "sign_responses":
		return p.unmarshalResponses(d)
	case "realm":
		return option.OneArg(d, &p.Realm)
	case "strip":
		return option.Flag(d, &p.Strip)
	case "algorithms", "algorithm":
		return d.Errf("%s: the algorithm is that of the key: write key <keyid> <alg> <key>", name)
	}
	return option.Unrecognized(d, Name, []string{"key", "keys", "components", "parameters", "prohibit", "label", "tag", "max_age", "leeway", "replay", "remember", "body", "cavage", "sign_responses", "realm", "strip"}, option.Common)
}

func (p *Provider) unmarshalKey(d *caddyfile.Dispenser) error {
	k := new(Key)
	if !d.AllArgs(&k.ID, &k.Algorithm, &k.Value) {
		// An ArgErr would show what may be a secret.
		return d.Err("key takes: <keyid> <alg> <pem file | base64 | {env.X} | {file.X}>")
	}
	for _, other := range p.Keys {
		if other.ID == k.ID {
			return d.Errf("key %s already specified", k.ID)
		}
	}
	seen := make(option.Once)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.Check(d); err != nil {
			return err
		}
		var err error
		switch d.Val() {
		case "user":
			err = option.OneArg(d, &k.User)
		case "role", "roles":
			err = list(d, &k.Roles)
		case "scope", "scopes":
			err = list(d, &k.Scopes)
		case "plan":
			err = option.OneArg(d, &k.Plan)
		default:
			err = d.Errf("unrecognized subdirective '%s' of key: user, roles, scopes or plan is expected", d.Val())
		}
		if err != nil {
			return err
		}
	}
	p.Keys = append(p.Keys, k)
	return nil
}

func (p *Provider) unmarshalReplay(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case len(args) == 1:
	case len(args) == 2 && args[0] == ReplayIdempotencyKey:
		v, err := caddy.ParseDuration(args[1])
		if err != nil || v <= 0 {
			return d.Errf("replay: '%s' is not a duration such as 24h or 7d", args[1])
		}
		p.Retention = caddy.Duration(v)
	default:
		return d.Err("replay takes: signature, nonce, idempotency_key [<retention>] or off")
	}
	p.Replay = args[0]
	return nil
}

func (p *Provider) unmarshalResponses(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	s := new(Responses)
	p.SignResponses = s
	seen := make(option.Once)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.Check(d); err != nil {
			return err
		}
		var err error
		switch d.Val() {
		case "key":
			if !d.AllArgs(&s.KeyID, &s.Algorithm, &s.Key) {
				err = d.Err("key takes: <keyid> <alg> <private key in a pem file | {env.X} | {file.X}>")
			}
		case "components":
			err = list(d, &s.Components)
		case "label":
			err = option.OneArg(d, &s.Label)
		case "max_body":
			err = size(d, &s.MaxBody)
		default:
			err = d.Errf("unrecognized subdirective '%s' of sign_responses: key, components, label or max_body is expected", d.Val())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// list reads the rest of a line, which has something in it.
func list(d *caddyfile.Dispenser, to *[]string) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.ArgErr()
	}
	*to = args
	return nil
}

func duration(d *caddyfile.Dispenser, to *caddy.Duration) error {
	name := d.Val()
	var text string
	if !d.AllArgs(&text) {
		return d.ArgErr()
	}
	v, err := caddy.ParseDuration(text)
	if err != nil {
		return d.Errf("%s: '%s' is not a duration such as 30s, 5m or 1h", name, text)
	}
	if v < 0 || v == 0 && name != "leeway" {
		return d.Errf("%s must be positive", name)
	}
	*to = caddy.Duration(v)
	return nil
}

func size(d *caddyfile.Dispenser, to *int64) error {
	name := d.Val()
	var text string
	if !d.AllArgs(&text) {
		return d.ArgErr()
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || n == 0 || n > maxBody {
		return d.Errf("%s: '%s' is not a size such as 64KiB, of at most 64MiB", name, text)
	}
	*to = int64(n)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Provider)(nil)

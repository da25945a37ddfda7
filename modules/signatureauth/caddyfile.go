package signatureauth

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/httpsig"
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
//		directory  <url> [{
//			user   <id>
//			roles  <role>...
//			scopes <scope>...
//			plan   <plan>
//			ca     <file>
//			signed
//		}]
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
// At least one key, a file of keys or a directory is needed; key, directory and
// forward may be repeated. Claims to forward are sub (the user), key_id, plan, roles and
// scopes. The directive's matcher is the business of who registers the
// directive.
func (p *Provider) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if err := option.UnmarshalBlock(d, &p.options, []string{"key", "directory"}, p.unmarshalOption); err != nil {
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
	case "directory":
		return p.unmarshalDirectory(d)
	case "components":
		return option.List(d, &p.Components)
	case "parameters":
		return option.List(d, &p.Parameters)
	case "prohibit":
		return option.List(d, &p.Prohibit)
	case "label":
		return option.OneArg(d, &p.Label)
	case "tag":
		return option.OneArg(d, &p.Tag)
	case "max_age":
		return option.Duration(d, &p.MaxAge, maxAges)
	case "leeway":
		p.Leeway = new(caddy.Duration)
		return option.Duration(d, p.Leeway, leeways)
	case "replay":
		return p.unmarshalReplay(d)
	case "remember":
		return option.Count(d, &p.Remember, remembered)
	case "body":
		return option.Size(d, &p.Body, bodies)
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
	return option.Unrecognized(d, Name, []string{"key", "keys", "directory", "components", "parameters", "prohibit", "label", "tag", "max_age", "leeway", "replay", "remember", "body", "cavage", "sign_responses", "realm", "strip"}, option.Common)
}

func (p *Provider) unmarshalKey(d *caddyfile.Dispenser) error {
	k := new(Key)
	if !d.AllArgs(&k.ID, &k.Algorithm, &k.Value) {
		// An ArgErr would show what may be a secret.
		return option.Takes(d, "key", "<keyid> <alg> <pem file | base64 | {env.X} | {file.X}>")
	}
	for _, other := range p.Keys {
		if other.ID == k.ID {
			return d.Errf("key %s already specified", k.ID)
		}
	}
	if err := (option.Holder{User: &k.User, Roles: &k.Roles, Scopes: &k.Scopes, Plan: &k.Plan}).Block(d, "key"); err != nil {
		return err
	}
	p.Keys = append(p.Keys, k)
	return nil
}

func (p *Provider) unmarshalDirectory(d *caddyfile.Dispenser) error {
	dir := new(Directory)
	if !d.AllArgs(&dir.URL) {
		return option.Takes(d, "directory", "<url>, such as https://bot.example.com"+httpsig.WellKnown)
	}
	p.Directories = append(p.Directories, dir)
	holder := option.Holder{User: &dir.User, Roles: &dir.Roles, Scopes: &dir.Scopes, Plan: &dir.Plan}
	return option.Block(d, nil, func(d *caddyfile.Dispenser) error {
		switch d.Val() {
		case "ca":
			return option.OneArg(d, &dir.CA)
		case "signed":
			return option.Flag(d, &dir.Signed)
		}
		if known, err := holder.Option(d); known || err != nil {
			return err
		}
		return option.Unrecognized(d, "directory", option.HolderOptions, []string{"ca", "signed"})
	})
}

func (p *Provider) unmarshalReplay(d *caddyfile.Dispenser) error {
	if d.CountRemainingArgs() == 2 && d.NextArg() {
		if p.Replay = d.Val(); p.Replay == ReplayIdempotencyKey {
			return option.Duration(d, &p.Retention, retentions)
		}
		return option.Takes(d, "replay", "signature, nonce, idempotency_key [<retention>] or off")
	}
	return option.Word(d, &p.Replay, ReplaySignature, ReplayNonce, ReplayIdempotencyKey, ReplayOff)
}

func (p *Provider) unmarshalResponses(d *caddyfile.Dispenser) error {
	if err := option.NoArgs(d); err != nil {
		return err
	}
	s := new(Responses)
	p.SignResponses = s
	return option.Block(d, nil, func(d *caddyfile.Dispenser) error {
		switch d.Val() {
		case "key":
			if !d.AllArgs(&s.KeyID, &s.Algorithm, &s.Key) {
				return option.Takes(d, "key", "<keyid> <alg> <private key in a pem file | {env.X} | {file.X}>")
			}
			return nil
		case "components":
			return option.List(d, &s.Components)
		case "label":
			return option.OneArg(d, &s.Label)
		case "max_body":
			return option.Size(d, &s.MaxBody, bodies)
		}
		return option.Unrecognized(d, "sign_responses", []string{"key", "components", "label", "max_body"})
	})
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Provider)(nil)

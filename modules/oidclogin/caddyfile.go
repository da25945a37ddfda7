package oidclogin

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// UnmarshalCaddyfile sets up the provider from Caddyfile tokens. Syntax:
//
//	oidc_login [<matcher>] <issuer> {
//		client_id     <id>
//		client_secret <secret | {env.X} | {file.X}>
//		scopes        <scope>...
//		roles         <claim pointer>...
//		userinfo
//		path          <path>
//		idle          <duration>
//		lifetime      <duration>
//		acr_values    <value>...
//		after_logout  <path>
//		ca            <file>
//		realm         <text>
//		forward       <claim pointer> <header>
//		optional
//		preflight
//		stream_expiry keep
//		origin        <origin>...|any
//	}
//
// The issuer and client_id are required. forward may be repeated. The directive's
// matcher is the business of who registers the directive.
func (p *Provider) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if args := d.RemainingArgs(); len(args) != 1 || args[0] == "" {
		return option.Takes(d, Name, "one argument, the issuer: oidc_login https://id.example.com { … }")
	} else {
		p.Issuer = args[0]
	}
	err := option.Block(d, option.Common, func(d *caddyfile.Dispenser) error {
		if known, err := option.UnmarshalOption(d, &p.options); known || err != nil {
			return err
		}
		return p.unmarshalOption(d)
	})
	if err != nil {
		return err
	}
	if err := p.compile(); err != nil {
		return d.Errf("%s: %v", Name, err)
	}
	return nil
}

var options = []string{
	"client_id", "client_secret", "scopes", "roles", "userinfo", "path", "idle", "lifetime", "acr_values", "after_logout", "ca", "realm",
}

func (p *Provider) unmarshalOption(d *caddyfile.Dispenser) error {
	switch name := d.Val(); name {
	case "client_id":
		return option.OneArg(d, &p.ClientID)
	case "client_secret":
		err := option.OneArg(d, &p.ClientSecret)
		if p.ClientSecret == "" {
			err = option.Takes(d, name, "one argument: {env.X}, {file.X} or the secret, in quotes if it has spaces")
		}
		return err
	case "scopes":
		return option.List(d, &p.Scopes)
	case "roles":
		return option.List(d, &p.Roles)
	case "userinfo":
		return option.Flag(d, &p.Userinfo)
	case "path":
		return option.OneArg(d, &p.Path)
	case "idle":
		return option.Duration(d, &p.Idle, idles)
	case "lifetime":
		return option.Duration(d, &p.Lifetime, lifetimes)
	case "acr_values":
		return option.List(d, &p.ACRValues)
	case "after_logout":
		return option.OneArg(d, &p.AfterLogout)
	case "ca":
		return option.OneArg(d, &p.CA)
	case "realm":
		return option.OneArg(d, &p.Realm)
	case "callback", "redirect_uri":
		return d.Errf("%s: the callback is below path: register https://<this host>%s/callback with the provider", name, p.base())
	case "audience":
		return d.Err("audience: the tokens of a login are for its client_id")
	}
	return option.Unrecognized(d, Name, options, option.Common)
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Provider)(nil)

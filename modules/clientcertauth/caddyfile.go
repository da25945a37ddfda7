package clientcertauth

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// UnmarshalCaddyfile sets up the provider from Caddyfile tokens. Syntax:
//
//	client_cert_auth [<matcher>] {
//		identity           uri|dns|email|subject|cn|spiffe|spki ...
//		trust_domain       <domain>...
//		map                <file>
//		allow_unmapped
//		pin                <spki>...
//		roles              <role>...
//		client_cert_header from <cidr>...
//		trust              <ca file>...
//		realm              <text>
//		forward            <claim pointer> <header>
//		optional
//		preflight
//		stream_expiry keep
//		origin <origin>...|any
//	}
//
// All of it is optional, but the site needs `tls { client_auth { … } }` with a
// mode that verifies and a trust_pool, or client_cert_header and trust. pin
// and forward may be repeated. The directive's matcher is the business of who
// registers the directive.
func (p *Provider) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if err := option.UnmarshalBlock(d, &p.options, "pin", p.unmarshalOption); err != nil {
		return err
	}
	if err := p.check(); err != nil {
		return d.Errf("%s: %v", Name, err)
	}
	return nil
}

func (p *Provider) unmarshalOption(d *caddyfile.Dispenser) error {
	switch name := d.Val(); name {
	case "identity":
		return list(d, &p.Identity)
	case "trust_domain":
		return list(d, &p.TrustDomains)
	case "map":
		return option.OneArg(d, &p.Map)
	case "allow_unmapped":
		return option.Flag(d, &p.AllowUnmapped)
	case "pin":
		return list(d, &p.Pins)
	case "roles":
		return list(d, &p.Roles)
	case "client_cert_header":
		if !d.NextArg() || d.Val() != "from" {
			return d.Err("client_cert_header takes: from <cidr>..., the addresses of the proxies that send Client-Cert")
		}
		return list(d, &p.Proxies)
	case "trust":
		return list(d, &p.Trust)
	case "realm":
		return option.OneArg(d, &p.Realm)
	case "strip":
		return d.Err("strip: there is nothing to strip: Client-Cert never reaches the upstream, and a certificate is not in the request; forward hands on what it says")
	case "ca", "client_auth", "trust_pool":
		return d.Errf("%s: who is trusted for connections is said in the site: tls { client_auth { mode require_and_verify; trust_pool file <ca.pem> } }, one option a line", name)
	}
	return option.Unrecognized(d, Name, []string{"identity", "trust_domain", "map", "allow_unmapped", "pin", "roles", "client_cert_header", "trust", "realm"}, option.Common)
}

// list reads the rest of a line, which has something in it.
func list(d *caddyfile.Dispenser, to *[]string) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.ArgErr()
	}
	*to = append(*to, args...)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Provider)(nil)

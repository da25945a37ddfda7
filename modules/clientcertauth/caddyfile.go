package clientcertauth

import (
	"slices"
	"strings"

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
//		client_cert_header [<header> pem_escaped|der_base64|xfcc] from <cidr>...
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
	if err := option.UnmarshalBlock(d, &p.options, []string{"pin"}, p.unmarshalOption); err != nil {
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
		return option.List(d, &p.Identity)
	case "trust_domain":
		return option.List(d, &p.TrustDomains)
	case "map":
		return option.OneArg(d, &p.Map)
	case "allow_unmapped":
		return option.Flag(d, &p.AllowUnmapped)
	case "pin":
		return option.List(d, &p.Pins)
	case "roles":
		return option.List(d, &p.Roles)
	case "client_cert_header":
		return p.unmarshalHeader(d)
	case "trust":
		return option.List(d, &p.Trust)
	case "realm":
		return option.OneArg(d, &p.Realm)
	case "strip":
		return d.Err("strip: there is nothing to strip: Client-Cert never reaches the upstream, and a certificate is not part of the request; forward passes its fields on")
	case "ca", "client_auth", "trust_pool":
		return d.Errf("%s: who is trusted for connections is said in the site: tls { client_auth { mode require_and_verify; trust_pool file <ca.pem> } }, one option a line", name)
	}
	return option.Unrecognized(d, Name, []string{"identity", "trust_domain", "map", "allow_unmapped", "pin", "roles", "client_cert_header", "trust", "realm"}, option.Common)
}

// unmarshalHeader reads the rest of a line client_cert_header.
func (p *Provider) unmarshalHeader(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	from := slices.Index(args, "from")
	if from < 0 || from == len(args)-1 {
		return option.Takes(d, "client_cert_header", "from <cidr>..., the addresses of the proxies that send Client-Cert (RFC 9440); for other fields, their name and form come first: client_cert_header X-SSL-Cert pem_escaped from <cidr>...")
	}
	switch from {
	case 0:
	case 1:
		if form := usual(args[0]); form != "" {
			return d.Errf("client_cert_header %s: the form is missing: write client_cert_header %s %s from %s", args[0], args[0], form, strings.Join(args[2:], " "))
		}
		return d.Errf("client_cert_header %s: the form is missing: write one of %s before from", args[0], forms())
	case 2:
		p.Header, p.HeaderForm = args[0], args[1]
	default:
		return d.Errf("client_cert_header takes one header and its form before from, not '%s'", strings.Join(args[:from], " "))
	}
	p.Proxies = args[from+1:]
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Provider)(nil)

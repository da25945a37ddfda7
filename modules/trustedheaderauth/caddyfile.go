package trustedheaderauth

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// UnmarshalCaddyfile sets up the provider from Caddyfile tokens. Syntax:
//
//	trusted_header_auth [<matcher>] {
//		user      <field>
//		groups    <field> [<separator>]
//		claim     <name> <field>
//		issuer    <name>
//		realm     <text>
//		forward   <claim pointer> <header>
//		optional
//		preflight
//		origin <origin>...|any
//	}
//
// user is required. A field is written as in copy_headers of forward_auth: one
// name, or <from>><to> where it is copied under another. The separator is a
// comma by default. claim and forward may be repeated. The directive's matcher
// is the business of who registers the directive.
func (p *Provider) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if err := option.UnmarshalBlock(d, &p.options, []string{"claim"}, p.unmarshalOption); err != nil {
		return err
	}
	if p.options.KeepStreams {
		return d.Errf("%s: stream_expiry is for credentials that expire: how long a session of the service lasts is not known here, and streams do not end with it", Name)
	}
	if err := p.compile(); err != nil {
		return d.Errf("%s: %v", Name, err)
	}
	return nil
}

func (p *Provider) unmarshalOption(d *caddyfile.Dispenser) error {
	switch name := d.Val(); name {
	case "user":
		return option.OneArg(d, &p.User)
	case "groups":
		args := d.RemainingArgs()
		if len(args) < 1 || len(args) > 2 || slices.Contains(args, "") {
			return option.Takes(d, "groups", "the name of a field and, unless it is a comma, the separator, such as X-Authentik-Groups |")
		}
		p.Groups, p.Separator = args[0], strings.Join(args[1:], "")
		return nil
	case "claim":
		var claim, field string
		if !d.AllArgs(&claim, &field) {
			return option.Takes(d, "claim", "the name of a claim and the name of a field, such as email Remote-Email")
		}
		if _, ok := p.Claims[claim]; ok {
			return d.Errf("claim %s already specified", claim)
		}
		if p.Claims == nil {
			p.Claims = make(map[string]string)
		}
		p.Claims[claim] = field
		return nil
	case "issuer":
		return option.OneArg(d, &p.Issuer)
	case "realm":
		return option.OneArg(d, &p.Realm)
	case "uri", "copy_headers":
		return d.Errf("%s is an option of forward_auth: write forward_auth <service> { … } beside %s, and here which of the copied fields are the user and the groups", name, Name)
	case "strip":
		return d.Err("strip: what clients send under these names is removed in any case; request_header -<name> keeps what forward_auth has copied from the upstream")
	}
	return option.Unrecognized(d, Name, []string{"user", "groups", "claim", "issuer", "realm"}, option.Common)
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Provider)(nil)

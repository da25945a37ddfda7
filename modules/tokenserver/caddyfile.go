package tokenserver

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	token_server [<matcher>] {
//		issuer           <url>
//		clients          <file>
//		users            <file>
//		token_lifetime   <duration>
//		refresh_lifetime <duration>
//		rotate           <duration>
//	}
//
// clients is required. issuer may be left out where the site has one name and
// listens on port 443.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if err := option.NoArgs(d); err != nil {
		return err
	}
	if err := option.Block(d, nil, h.unmarshalOption); err != nil {
		return err
	}
	if err := h.check(); err != nil {
		return d.Errf("%s: %v", Name, err)
	}
	return nil
}

func (h *Handler) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "issuer":
		if err := option.OneArg(d, &h.Issuer); err != nil {
			return err
		}
		if strings.ContainsAny(h.Issuer, "{}") {
			return nil // known at load
		}
		if _, err := parseIssuer(h.Issuer); err != nil {
			return d.WrapErr(err)
		}
		return nil
	case "clients":
		return option.OneArg(d, &h.Clients)
	case "users":
		return option.OneArg(d, &h.Users)
	case "refresh_lifetime":
		return option.Duration(d, &h.RefreshLifetime, refreshes)
	case "token_lifetime":
		return option.Duration(d, &h.TokenLifetime, lifetimes)
	case "rotate":
		return option.Duration(d, &h.Rotate, rotations)
	}
	return option.Unrecognized(d, Name, []string{"issuer", "clients", "users", "token_lifetime", "refresh_lifetime", "rotate"})
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)

package adapter

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/principal"
)

// UnmarshalForward reads the rest of a line `forward <claim pointer> <header>`.
func UnmarshalForward(d *caddyfile.Dispenser) (credential.Forward, error) {
	var f credential.Forward
	if !d.AllArgs(&f.Claim, &f.Header) {
		return f, d.Err("forward takes a claim pointer and the name of a header: forward /email X-User-Email")
	}
	if _, err := principal.ParsePointer(f.Claim); err != nil {
		return f, d.WrapErr(err)
	}
	if err := credential.ForwardableHeader(f.Header); err != nil {
		return f, d.WrapErr(err)
	}
	return f, nil
}

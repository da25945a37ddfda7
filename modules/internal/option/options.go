// Package option reads what an administrator writes: the options of a
// Caddyfile block, placeholders and keys in them, and the place in the file
// that an error names.
package option

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// UnmarshalOption reads an option that every authentication method has and
// that is not the method's to do but the handler's that holds it: forward,
// optional and preflight. known is false where the option is another one, of
// which nothing has been read then.
func UnmarshalOption(d *caddyfile.Dispenser, o *credential.Options) (known bool, err error) {
	switch d.Val() {
	case "forward":
		f, err := UnmarshalForward(d)
		if err != nil {
			return true, err
		}
		for _, other := range o.Forward {
			if strings.EqualFold(other.Header, f.Header) {
				return true, d.Errf("forward: header %s already specified", f.Header)
			}
		}
		o.Forward = append(o.Forward, f)
		return true, NoBlock(d)
	case "optional":
		return true, Flag(d, &o.Optional)
	case "preflight":
		return true, Flag(d, &o.Preflight)
	}
	return false, nil
}

// UnmarshalBlock reads the directive of an authentication method that has no
// arguments: its block, with the options that every method has and those that
// option reads. Each of the latter may stand once, unless it is repeatable, and
// has no block that option leaves unread.
func UnmarshalBlock(d *caddyfile.Dispenser, o *credential.Options, repeatable string, option func(*caddyfile.Dispenser) error) error {
	d.Next() // consume directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(Once)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if known, err := UnmarshalOption(d, o); err != nil {
			return err
		} else if known {
			continue
		}
		if d.Val() != repeatable {
			if err := seen.Check(d); err != nil {
				return err
			}
		}
		if err := option(d); err != nil {
			return err
		}
		if err := NoBlock(d); err != nil {
			return err
		}
	}
	return nil
}

// UnmarshalForward reads the rest of a line `forward <claim pointer> <header>`.
func UnmarshalForward(d *caddyfile.Dispenser) (credential.Forward, error) {
	var f credential.Forward
	if !d.AllArgs(&f.Claim, &f.Header) {
		return f, d.Err("forward takes a claim pointer and the name of a header: forward /email X-User-Email")
	}
	if _, err := principal.ParseSingle(f.Claim); err != nil {
		return f, d.WrapErr(err)
	}
	if err := credential.ForwardableHeader(f.Header); err != nil {
		return f, d.WrapErr(err)
	}
	return f, nil
}

// Flag sets an option that takes no arguments and may stand once.
func Flag(d *caddyfile.Dispenser, target *bool) error {
	if *target {
		return d.Errf("%s already specified", d.Val())
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	*target = true
	return NoBlock(d)
}

// OneArg reads an option that takes one argument, which is not empty, and no
// block. That it stands once is for the caller to see to.
func OneArg(d *caddyfile.Dispenser, target *string) error {
	if !d.AllArgs(target) || *target == "" {
		return d.ArgErr()
	}
	return NoBlock(d)
}

// NoBlock refuses a block after an option that has none.
func NoBlock(d *caddyfile.Dispenser) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		return d.Errf("a block is not expected here: '%s'", d.Val())
	}
	return nil
}

// Once remembers which options of a block have been written.
type Once map[string]bool

// Check refuses an option that has been written before.
func (o Once) Check(d *caddyfile.Dispenser) error {
	if o[d.Val()] {
		return d.Errf("%s already specified", d.Val())
	}
	o[d.Val()] = true
	return nil
}

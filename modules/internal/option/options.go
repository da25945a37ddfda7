// Package option reads what an administrator writes: the options of a
// Caddyfile block, placeholders and keys in them, and the position in the file
// that an error names.
package option

import (
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/suggest"
)

// UnmarshalOption reads an option that every authentication method has and
// that is not the method's to do but the handler's that holds it: forward,
// optional, preflight, origin and stream_expiry. known is false where the option is another one, of
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
	case "origin":
		return true, Origin(d, &o.Origins)
	case "stream_expiry":
		return true, StreamExpiry(d, &o.KeepStreams)
	}
	return false, nil
}

// UnmarshalBlock reads the directive of an authentication method that has no
// arguments: its block, with the options that every method has and those that
// option reads. Each of the latter may stand once, unless it is repeatable, and
// has no block that option leaves unread.
func UnmarshalBlock(d *caddyfile.Dispenser, o *credential.Options, repeatable []string, option func(*caddyfile.Dispenser) error) error {
	d.Next() // consume directive name
	if err := NoArgs(d); err != nil {
		return err
	}
	return Block(d, slices.Concat(repeatable, Common), func(d *caddyfile.Dispenser) error {
		if known, err := UnmarshalOption(d, o); known || err != nil {
			return err
		}
		return option(d)
	})
}

// Origin reads the rest of a line origin <origin>...|any.
func Origin(d *caddyfile.Dispenser, list *[]string) error {
	if len(*list) > 0 {
		return d.Errf("%s already specified", d.Val())
	}
	args := d.RemainingArgs()
	for _, arg := range args {
		u, err := url.Parse(arg)
		if any := arg == "any" && len(args) == 1; !any && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" || u.RawQuery != "") {
			return d.Errf("origin: '%s' is not an origin: write https://app.example.com, without a path, or any alone", arg)
		}
	}
	if len(args) == 0 {
		return Takes(d, "origin", "one or more arguments, which must not be empty")
	}
	*list = args
	return NoBlock(d)
}

// StreamExpiry reads the rest of a line stream_expiry keep.
func StreamExpiry(d *caddyfile.Dispenser, keep *bool) error {
	var word string
	if *keep {
		return d.Errf("%s already specified", d.Val())
	}
	if !d.AllArgs(&word) || word != "keep" {
		return d.Err("stream_expiry takes keep: streams then go on when the credential has expired or was revoked; leave it out to end them")
	}
	*keep = true
	return NoBlock(d)
}

// UnmarshalForward reads the rest of a line `forward <claim pointer> <header>`.
func UnmarshalForward(d *caddyfile.Dispenser) (credential.Forward, error) {
	var f credential.Forward
	if !d.AllArgs(&f.Claim, &f.Header) {
		return f, Takes(d, "forward", "a claim pointer and the name of a header, such as /email X-User-Email")
	}
	if _, err := principal.ParseSingle(f.Claim); err != nil {
		return f, d.WrapErr(err)
	}
	if err := credential.ForwardableHeader(f.Header); err != nil {
		return f, d.WrapErr(err)
	}
	return f, nil
}

// Common are the options that every authentication directive has.
var Common = []string{"forward", "optional", "preflight", "stream_expiry", "origin"}

// Unrecognized refuses the word that the dispenser stands at as an option, and
// says which options there are in the block of what.
func Unrecognized(d *caddyfile.Dispenser, what string, lists ...[]string) error {
	known := slices.Concat(lists...)
	has := "; it has "
	if near := suggest.DidYouMean(d.Val(), known); near != "" {
		has = near + " It has "
	}
	last := len(known) - 1
	return d.Errf("unrecognized subdirective '%s' in %s%s%s and %s", d.Val(), what, has, strings.Join(known[:last], ", "), known[last])
}

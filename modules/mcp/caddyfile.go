package mcp

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// UnmarshalCaddyfile sets up the handler. Syntax:
//
//	mcp [<matcher>] {
//	    origin    <origin>...|any
//	    max_body  <size>
//	    max_event <size>
//	}
//
// The block can be left out.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if d.NextArg() {
		return d.Errf("mcp: unexpected '%s'; options are written in a block: mcp { … }", d.Val())
	}
	seen := make(option.Once)
	for d.NextBlock(0) {
		if err := seen.Check(d); err != nil {
			return err
		}
		var err error
		switch d.Val() {
		case "origin":
			err = option.Origin(d, &h.Origins)
		case "max_body":
			h.MaxBody, err = size(d)
		case "max_event":
			var n int64
			n, err = size(d)
			h.MaxEvent = int(n)
		default:
			return option.Unrecognized(d, layer, []string{"origin", "max_body", "max_event"})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// size reads an option that is a number of bytes.
func size(d *caddyfile.Dispenser) (int64, error) {
	name := d.Val()
	var text string
	if err := option.OneArg(d, &text); err != nil {
		return 0, err
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || n == 0 || n > maxSize {
		return 0, d.Errf("%s '%s': write a size of at most 64MiB, such as 1MiB", name, text)
	}
	return int64(n), nil
}

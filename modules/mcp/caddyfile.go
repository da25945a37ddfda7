package mcp

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// sizes are those that messages and events can have at most.
var sizes = option.Sizes{Max: maxSize, Example: "1MiB"}

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
			err = option.Size(d, &h.MaxBody, sizes)
		case "max_event":
			err = option.Size(d, &h.MaxEvent, sizes)
		default:
			return option.Unrecognized(d, layer, []string{"origin", "max_body", "max_event"})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

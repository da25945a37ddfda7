package validate

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// What the options take.
var (
	bodies = option.Sizes{Max: maxSize, Example: "1MiB"}
	depths = option.Counts{Min: 1, Max: maxDepth}
	counts = option.Counts{Min: 1, Max: maxValues}
)

// options are those of the block.
var options = []string{"open", "unenforced", "base", "preflight", "dry_run", "max_body", "max_depth", "max_values", "max_members"}

// UnmarshalCaddyfile sets up the handler. Syntax:
//
//	validate [<matcher>] <file> {
//	    open
//	    unenforced  warn
//	    base        <path>...
//	    preflight
//	    dry_run
//	    max_body    <size>
//	    max_depth   <n>
//	    max_values  <n>
//	    max_members <n>
//	}
//
// The block can be left out.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	args := d.RemainingArgs()
	if len(args) != 1 || args[0] == "" {
		return option.Takes(d, layer, "one argument: the file of an OpenAPI document, such as /etc/moat/openapi.yaml")
	}
	h.Document = args[0]
	return option.Block(d, nil, h.unmarshalOption)
}

func (h *Handler) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "open":
		return option.Flag(d, &h.Open)
	case "preflight":
		return option.Flag(d, &h.Preflight)
	case "dry_run":
		return option.Flag(d, &h.DryRun)
	case "unenforced":
		return option.Word(d, &h.Unenforced, unenforcedWarn)
	case "base":
		if err := option.List(d, &h.Bases); err != nil {
			return err
		}
		for _, b := range h.Bases {
			if err := checkBase(b); err != nil {
				return d.WrapErr(err)
			}
		}
		return nil
	case "max_body":
		return option.Size(d, &h.MaxBody, bodies)
	case "max_depth":
		return option.Count(d, &h.MaxDepth, depths)
	case "max_values":
		return option.Count(d, &h.MaxValues, counts)
	case "max_members":
		return option.Count(d, &h.MaxMembers, counts)
	}
	return option.Unrecognized(d, layer, options)
}

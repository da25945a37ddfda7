package earlydata

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/option"
)

// CheckFloodLimit rejects in a flood_limit directive what caddy-ratelimit's own parser would pass over:
// unknown and repeated options.
func CheckFloodLimit(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	if err := option.NoArgs(d); err != nil {
		return err
	}
	zones := map[string]bool{}
	err := option.Block(d, []string{"zone"}, func(d *caddyfile.Dispenser) error {
		switch d.Val() {
		case "zone":
			var name string
			if err := option.Arg(d, &name); err != nil {
				return err
			}
			if zones[name] {
				return d.Errf("flood_limit: zone '%s' already specified", name)
			}
			zones[name] = true
			return option.Block(d, []string{"match"}, checkFloodZone)
		case "jitter":
			return option.OneArg(d, new(string))
		case "sweep_interval":
			return interval(d)
		case "log_key":
			return option.Flag(d, new(bool))
		case "distributed":
			if err := option.NoArgs(d); err != nil {
				return err
			}
			return option.Block(d, nil, checkDistributed)
		case "storage": // which is read by a module
			d.RemainingArgs()
			for nesting := d.Nesting(); d.NextBlock(nesting); {
				d.RemainingArgs()
			}
			return nil
		}
		return option.Unrecognized(d, "flood_limit", []string{"zone", "distributed", "storage", "jitter", "sweep_interval", "log_key"})
	})
	if err == nil && len(zones) == 0 {
		err = d.Err("flood_limit: no zone: write zone <name> { key {client_ip}; events <n>; window <duration> }, one option a line")
	}
	return err
}

func checkFloodZone(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "key":
		var key string
		if err := option.OneArg(d, &key); err != nil {
			return err
		}
		if strings.Contains(key, "{http.auth.") {
			return d.Errf("flood_limit: key %s: nobody is authenticated yet where flood_limit stands: use {client_ip} here, or rate_limit for a limit per user", key)
		}
		return nil
	case "window":
		return interval(d)
	case "events":
		return option.Count(d, new(int), option.Counts{Min: 1, Of: "requests"})
	case "match":
		for nesting := d.Nesting(); d.NextBlock(nesting); {
			d.RemainingArgs()
		}
		return nil
	}
	return option.Unrecognized(d, "zone", []string{"key", "window", "events", "match"})
}

func checkDistributed(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "read_interval", "write_interval", "purge_age":
		return interval(d)
	}
	return option.Unrecognized(d, "distributed", []string{"read_interval", "write_interval", "purge_age"})
}

func interval(d *caddyfile.Dispenser) error {
	return option.Duration(d, new(caddy.Duration), option.Durations{Min: 1, Example: "1m"})
}

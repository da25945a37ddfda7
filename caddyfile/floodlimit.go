package caddyfile

import (
	"encoding/json"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	caddyrl "github.com/mholt/caddy-ratelimit"

	"github.com/caddy-moat/caddy-moat/modules/earlydata"
)

// floodZonePrefix keeps the zones of flood_limit apart from those of
// rate_limit: caddy-ratelimit keeps all zones of a process by name, and two
// of one name would share their buckets.
const floodZonePrefix = "flood:"

// floodLimit sets up flood_limit: the handler of rate_limit, with its own
// syntax, placed before authentication. Syntax:
//
//	flood_limit [<matcher>] {
//	    zone <name> {
//	        key    <string>
//	        window <duration>
//	        events <max_events>
//	        match { … }
//	    }
//	    distributed { … }
//	    storage <module...>
//	    jitter  <percent>
//	    sweep_interval <duration>
//	    log_key
//	}
//
// The name of a zone appears as "flood:<name>" in
// {http.rate_limit.exceeded.name}. A key that names {http.auth.…} is refused,
// since nobody is authenticated here yet. Requests in TLS early data (0-RTT) get
// 425 too_early: their address proves nothing before the handshake is complete.
func floodLimit(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	matcher, err := matcherOf(h)
	if err != nil {
		return nil, err
	}
	h.Next()
	if err := checkFloodLimit(h.NewFromNextSegment()); err != nil {
		return nil, err
	}
	h.Reset()
	var handler caddyrl.Handler
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	zones := make(map[string]*caddyrl.RateLimit, len(handler.RateLimits))
	for name, zone := range handler.RateLimits {
		zones[floodZonePrefix+name] = zone
	}
	handler.RateLimits = zones
	// An address in TLS early data is anybody's: it would count against others.
	early := caddyconfig.JSONModuleObject(earlydata.Handler{}, "handler", "moat_early_data", nil)
	values := routes(h, matcher, handler)
	for i, value := range values {
		if route, ok := value.Value.(caddyhttp.Route); ok {
			route.HandlersRaw = append([]json.RawMessage{early}, route.HandlersRaw...)
			values[i].Value = route
		}
	}
	return values, nil
}

// checkFloodLimit refuses what caddy-ratelimit's own parser would pass over:
// unknown and repeated options.
func checkFloodLimit(d *caddyfile.Dispenser) error {
	d.Next() // directive name
	zones := map[string]bool{}
	for d.NextBlock(0) {
		switch option := d.Val(); option {
		case "zone":
			if !d.NextArg() {
				return d.ArgErr()
			}
			name := d.Val()
			if zones[name] {
				return d.Errf("flood_limit: zone '%s' already specified", name)
			}
			zones[name] = true
			if err := checkFloodZone(d); err != nil {
				return err
			}
		case "distributed", "storage", "jitter", "sweep_interval", "log_key":
			d.RemainingArgs()
			for nesting := d.Nesting(); d.NextBlock(nesting); {
				d.RemainingArgs()
			}
		default:
			return d.Errf("flood_limit: unrecognized subdirective '%s': write zone, distributed, storage, jitter, sweep_interval or log_key", option)
		}
	}
	if len(zones) == 0 {
		return d.Err("flood_limit: no zone: write zone <name> { key {client_ip}; events <n>; window <duration> }, one option a line")
	}
	return nil
}

func checkFloodZone(d *caddyfile.Dispenser) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch option := d.Val(); option {
		case "key":
			if !d.NextArg() {
				return d.ArgErr()
			}
			if strings.Contains(d.Val(), "{http.auth.") {
				return d.Errf("flood_limit: key %s: nobody is authenticated yet where flood_limit stands: use {client_ip} here, or rate_limit for a limit per user", d.Val())
			}
			if d.NextArg() {
				return d.ArgErr()
			}
		case "window", "events":
			if len(d.RemainingArgs()) != 1 {
				return d.ArgErr()
			}
		case "match":
			for nesting := d.Nesting(); d.NextBlock(nesting); {
				d.RemainingArgs()
			}
		default:
			return d.Errf("flood_limit: zone: unrecognized subdirective '%s': write key, window, events or match", option)
		}
	}
	return nil
}

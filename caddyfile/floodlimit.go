package caddyfile

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2/caddyconfig"
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
	if err := earlydata.CheckFloodLimit(h.NewFromNextSegment()); err != nil {
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

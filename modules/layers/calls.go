package layers

import (
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	caddyrl "github.com/mholt/caddy-ratelimit"

	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
)

// callDecider is a handler whose policy may have rules for the tools, resources
// and prompts of MCP servers.
type callDecider interface {
	DecidesCalls() bool
	String() string
}

// calls looks whether what rules for calls are about is read, behind the policy
// that has them.
func (e *examination) calls(routes caddyhttp.RouteList) {
	var deciders, read []callDecider
	routetree.Walk[[]callDecider]{
		Handle: func(h caddyhttp.MiddlewareHandler, met []callDecider) []callDecider {
			if d, ok := h.(callDecider); ok {
				if d.DecidesCalls() && !slices.Contains(deciders, d) {
					deciders = append(deciders, d)
				}
				return append(slices.Clip(met), d)
			}
			if m, ok := h.(caddy.Module); !ok || m.CaddyModule().ID != "http.handlers.mcp" {
				return met
			}
			read = append(read, met...)
			if len(met) > 0 && !slices.ContainsFunc(met, callDecider.DecidesCalls) {
				e.add(Finding{
					ID: "mcp_without_rules", Severity: Warning, Place: placeOf(h),
					Text: "no rbac before this mcp has a rule for tools, resources or prompts, so that whoever may send the request may call all of them: write tool, resource and prompt lines in its roles and scopes, or tool * in authenticated",
				})
			}
			return met
		},
		Leave: func(route caddyhttp.Route, before, inside []callDecider) []callDecider {
			if route.Terminal {
				return before
			}
			return inside
		},
		Alternatives: true,
	}.Follow(routes, nil)
	for _, d := range deciders {
		if slices.Contains(read, d) {
			continue
		}
		e.add(Finding{
			ID: "mcp_rules_unread", Severity: Refused, Place: placeOf(d.(caddyhttp.MiddlewareHandler)),
			Text: "rbac (" + d.String() + ") has rules for tools, resources or prompts, and no mcp behind it reads what a request calls: every caller could call everything. Write mcp in the same site, without a matcher that leaves requests out",
		})
	}
}

// discovery looks for limits that count every message to an MCP server: a client that
// asks server/discover and gets 429 takes the server for one of an older revision,
// and stays with that for the session.
func (e *examination) discovery(routes caddyhttp.RouteList) {
	told := make(map[string]bool)
	routetree.Walk[[]string]{
		Handle: func(h caddyhttp.MiddlewareHandler, zones []string) []string {
			if limit, ok := h.(*caddyrl.Handler); ok {
				zones = slices.Clip(zones)
				for name, zone := range limit.RateLimits {
					// Floods are of no protocol.
					if !strings.HasPrefix(name, "flood:") && countsAll(zone) {
						zones = append(zones, name)
					}
				}
				return zones
			}
			if m, ok := h.(caddy.Module); !ok || m.CaddyModule().ID != "http.handlers.mcp" {
				return zones
			}
			for _, name := range zones {
				if told[name] {
					continue
				}
				told[name] = true
				e.add(Finding{
					ID: "rate_limit_counts_discovery", Severity: Warning,
					Text: "this limit counts every message to the MCP server, server/discover too, after whose 429 clients stay with an older revision of the protocol: write match { vars {http.mcp.method} tools/call } in the zone",
				}, "zone", name)
			}
			return zones
		},
		Leave: func(route caddyhttp.Route, before, inside []string) []string {
			if route.Terminal || !meetsAll(route) {
				return before // a matcher may leave the messages out
			}
			return inside
		},
	}.Follow(routes, nil)
}

// countsAll reports whether a zone has no matcher. What was written is gone once it
// is loaded, and what was loaded is not exported.
func countsAll(zone *caddyrl.RateLimit) bool {
	sets := reflect.ValueOf(zone).Elem().FieldByName("matcherSets")
	return sets.IsValid() && sets.Kind() == reflect.Slice && sets.Len() == 0 && len(zone.MatcherSetsRaw) == 0
}

package layers

import (
	"encoding/json"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"

	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
)

// filesBehindRedact returns the first file_server whose pages a redact around it
// would reject, nil if there is none: the usual layout of a single-page
// application, with its API behind handle /api/*.
func filesBehindRedact(routes caddyhttp.RouteList) (found *fileserver.FileServer) {
	routetree.Walk[bool]{
		Handle: func(h caddyhttp.MiddlewareHandler, behind bool) bool {
			if files, ok := h.(*fileserver.FileServer); ok && behind && found == nil {
				found = files
			}
			return behind || rejectsPages(h)
		},
		Leave: func(route caddyhttp.Route, before, inside bool) bool {
			if len(route.MatcherSets) == 0 { // else there are requests that go round it
				return inside
			}
			return before
		},
	}.Follow(routes, false)
	return found
}

// rejectsPages reports whether h is a redact to which HTML is unreadable.
func rejectsPages(h caddyhttp.MiddlewareHandler) bool {
	m, ok := h.(caddy.Module)
	if !ok || m.CaddyModule().ID != "http.handlers.redact" {
		return false
	}
	var config struct {
		Unreadable string            `json:"unreadable"`
		Pass       []string          `json:"pass"`
		Rules      []json.RawMessage `json:"rules"`
		Groups     []json.RawMessage `json:"groups"`
	}
	text, err := json.Marshal(h)
	return err == nil && json.Unmarshal(text, &config) == nil && len(config.Rules)+len(config.Groups) > 0 &&
		config.Unreadable != "pass" && !slices.Contains(config.Pass, "text/html") && !slices.Contains(config.Pass, "text/*")
}

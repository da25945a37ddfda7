package layers

import (
	"encoding/json"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
)

// filesBehindRedact returns the first file_server whose pages a redact around it
// would reject, nil if there is none: the usual layout of a single-page
// application, with its API behind handle /api/*.
func filesBehindRedact(routes caddyhttp.RouteList) *fileserver.FileServer {
	found, _ := findFiles(routes, false)
	return found
}

// findFiles also reports whether requests that go on behind routes are behind a
// redact.
func findFiles(routes caddyhttp.RouteList, behind bool) (*fileserver.FileServer, bool) {
	for _, route := range routes {
		inside := behind
		for _, h := range route.Handlers {
			switch h := h.(type) {
			case *caddyhttp.Subroute:
				var found *fileserver.FileServer
				if found, inside = findFiles(h.Routes, inside); found != nil {
					return found, true
				}
			case *fileserver.FileServer:
				if inside {
					return h, true
				}
			default:
				inside = inside || rejectsPages(h)
			}
		}
		if len(route.MatcherSets) == 0 { // else there are requests that go round it
			behind = inside
		}
	}
	return nil, behind
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

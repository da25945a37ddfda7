package layers

import (
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// roundErrors returns the layers of a server's sites that a request comes round
// by being refused: error routes stand outside of them, and one that hands the
// request to an upstream as it came gets it the answer that it was refused, or
// the answer unredacted.
//
// A rewrite before the upstream makes an error page of it, which is usual and
// harmless. So is an error route for some errors alone, as for a stand-in when
// the upstream is down, where nothing is redacted.
func roundErrors(routes caddyhttp.RouteList, errors *caddyhttp.HTTPErrorConfig) []string {
	if errors == nil {
		return nil
	}
	var found []string
	for _, route := range errors.Routes {
		reached, always := passesOn(caddyhttp.RouteList{route}, true)
		if !reached {
			continue
		}
		for _, site := range routes {
			// The adapter gives a site's error routes the hosts of the site.
			if !slices.Equal(hostsOf(site), hostsOf(route)) {
				continue
			}
			for _, layer := range layersOf(caddyhttp.RouteList{site}) {
				if (always || layer == "redact") && !slices.Contains(found, layer) {
					found = append(found, layer)
				}
			}
		}
	}
	slices.Sort(found)
	return found
}

// passesOn reports whether error routes hand the request to an upstream as it
// came, and whether they do so for all errors.
func passesOn(routes caddyhttp.RouteList, site bool) (reached, always bool) {
	for _, route := range routes {
		conditional := !site && !meetsAll(route) // those of a site are its hosts
		for _, h := range route.Handlers {
			switch h := h.(type) {
			case *caddyhttp.Subroute:
				r, a := passesOn(h.Routes, false)
				reached, always = reached || r, always || a && !conditional
			case *reverseproxy.Handler:
				if h.Rewrite == nil || h.Rewrite.URI == "" {
					reached, always = true, always || !conditional
				}
			case caddy.Module:
				switch h.CaddyModule().ID {
				case "http.handlers.rewrite", "http.handlers.redact", "http.handlers.rbac":
					return reached, always
				}
			}
		}
	}
	return reached, always
}

// layersOf returns those of our layers in routes that a request must not come
// round.
func layersOf(routes caddyhttp.RouteList) (names []string) {
	for _, route := range routes {
		for _, h := range route.Handlers {
			if sub, ok := h.(*caddyhttp.Subroute); ok {
				names = append(names, layersOf(sub.Routes)...)
				continue
			}
			if m, ok := h.(caddy.Module); ok {
				switch id := m.CaddyModule().ID; id {
				case "http.handlers.auth", "http.handlers.authentication", "http.handlers.rbac", "http.handlers.redact":
					names = append(names, id.Name())
				}
			}
		}
	}
	return names
}

package layers

import (
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
)

// identityRuler is a decider that can say whether it has rules for callers
// whose identity is known.
type identityRuler interface{ ServesIdentified() bool }

// unheard is an rbac before which forward_auth alone asks who is calling. What
// it copies are header fields, and no identity: all are anonymous to rbac.
type unheard struct {
	gate   caddyhttp.MiddlewareHandler
	copied []credential.Copied // in their order
}

// unheardServices returns those in routes.
func unheardServices(routes caddyhttp.RouteList) []unheard {
	var found []unheard
	asked, known := false, false
	copied := make(map[credential.Copied]bool)
	meet(routes, func(h caddyhttp.MiddlewareHandler, _ bool) {
		if proxy, ok := h.(*reverseproxy.Handler); ok {
			if continues(proxy) {
				asked = true
				maps.Copy(copied, copiedBy(proxy))
			}
			return
		}
		if d, ok := h.(identityRuler); ok && asked && !known && d.ServesIdentified() {
			fields := slices.SortedFunc(maps.Keys(copied), func(a, b credential.Copied) int { return strings.Compare(a.String(), b.String()) })
			found = append(found, unheard{h, fields})
		}
		if i, ok := h.(identifier); ok {
			known = known || i.Authenticates()
			return
		}
		known = known || identifies(h)
	}, nil)
	return found
}

func (e *examination) unheard(u unheard) {
	user, groups := "<field of the user>", ""
	for _, f := range slices.Backward(u.copied) {
		switch name := strings.ToLower(f.To); {
		case strings.Contains(name, "user") || strings.Contains(name, "uid"):
			user = f.String()
		case strings.Contains(name, "group") || strings.Contains(name, "role"):
			groups = "; groups " + f.String()
		}
	}
	text := "rbac has rules for callers that are known, but the forward_auth before it makes nobody known: it copies header fields, and to rbac every caller is anonymous; write trusted_header_auth { user " + user + groups + " }, one option a line"
	if len(u.copied) == 0 {
		text += ", and copy_headers with these fields into forward_auth"
	}
	e.add(Finding{ID: "forward_auth_unheard", Severity: Warning, Place: placeOf(u.gate), Text: text})
}

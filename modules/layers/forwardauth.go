package layers

import (
	"maps"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
)

// uncopied is an authenticator that reads fields which no forward_auth before
// it copies.
type uncopied struct {
	handler caddyhttp.MiddlewareHandler
	fields  []credential.Copied
	// some forward_auth stands before it.
	behind bool
}

// uncopiedFields returns the authenticators that wait for fields in vain: all
// their requests are anonymous. It is not proof of the contrary, since routes
// have matchers; each request is looked at when it comes.
func uncopiedFields(routes caddyhttp.RouteList) []uncopied {
	var found []uncopied
	copied := map[credential.Copied]bool{}
	for h := range routetree.Way(routes) {
		if proxy, ok := h.(*reverseproxy.Handler); ok {
			maps.Copy(copied, copiedBy(proxy))
			continue
		}
		u := uncopied{handler: h, behind: len(copied) > 0}
		for _, f := range awaited(h) {
			if !copied[f] {
				u.fields = append(u.fields, f)
			}
		}
		if len(u.fields) > 0 {
			found = append(found, u)
		}
	}
	return found
}

// awaited returns the fields that an authenticator expects to be copied.
func awaited(h caddyhttp.MiddlewareHandler) []credential.Copied {
	switch h := h.(type) {
	case interface{ CopiedFields() []credential.Copied }:
		return h.CopiedFields()
	case *caddyauth.Authentication:
		var all []credential.Copied
		for _, p := range h.Providers {
			if m, ok := p.(credential.Method); ok {
				all = append(all, m.Traits().Copied...)
			}
		}
		return all
	}
	return nil
}

// copiedBy returns the fields that a proxy copies to the request from a response
// with a status 2xx, which is what copy_headers of forward_auth adapts to. A
// field that is not deleted first could be the client's, and does not count.
func copiedBy(proxy *reverseproxy.Handler) map[credential.Copied]bool {
	copied := make(map[credential.Copied]bool)
	for _, response := range proxy.HandleResponse {
		if response.Match == nil || !good(response.Match.StatusCode) {
			continue
		}
		deleted := make(map[string]bool)
		for _, route := range response.Routes {
			for _, h := range route.Handlers {
				ops, ok := h.(*headers.Handler)
				if !ok || ops.Request == nil {
					continue
				}
				if len(route.MatcherSets) == 0 {
					for _, name := range ops.Request.Delete {
						deleted[name] = true
					}
				}
				for to, values := range ops.Request.Set {
					if len(values) != 1 || !deleted[to] {
						continue
					}
					from, isHeader := strings.CutPrefix(values[0], "{http.reverse_proxy.header.")
					if from, closed := strings.CutSuffix(from, "}"); isHeader && closed {
						copied[credential.Copied{From: from, To: to}] = true
					}
				}
			}
		}
	}
	return copied
}

// good reports whether statuses are all 2xx.
func good(statuses []int) bool {
	for _, s := range statuses {
		if s != 2 && (s < 200 || s > 299) {
			return false
		}
	}
	return len(statuses) > 0
}

func (e *examination) uncopied(u uncopied) {
	names := make([]string, len(u.fields))
	for i, f := range u.fields {
		names[i] = f.String()
	}
	list := strings.Join(names, " ")
	text := "no forward_auth stands before it, so that nobody can be known by what it copies: write forward_auth <service> { … } with copy_headers " + list +
		"; where it is in auth { … }, also the global option order forward_auth before auth, or a route block"
	if u.behind {
		text = "the forward_auth before it does not copy these fields: write copy_headers " + list + " into its block"
	}
	e.add(Finding{ID: "forward_auth_missing", Severity: Refused, Place: placeOf(u.handler), Text: nameOf(u.handler) + ": " + text})
}

package layers

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
)

// chosen is a handler behind rbac that makes of a request another one, which
// the client names in a part of the request that no rule reads.
type chosen struct {
	handler caddyhttp.MiddlewareHandler
	text    string // the placeholder
}

// clients are the placeholders for what a client may write beside its path.
var clients = regexp.MustCompile(`\{http\.request\.(?:uri\.query|orig_uri\.query|header|cookie|body)[^}]*\}`)

// chosenByClients returns the handlers in routes whose new path or method is
// the client's choice, where an rbac has decided on those before.
func chosenByClients(routes caddyhttp.RouteList) []chosen {
	var found []chosen
	decided := false
	meet(routes, func(h caddyhttp.MiddlewareHandler, _ bool) {
		if _, ok := h.(decider); ok {
			decided = true
		}
		var to *rewrite.Rewrite
		switch h := h.(type) {
		case *rewrite.Rewrite:
			to = h
		case rewrite.Rewrite:
			to = &h
		case *reverseproxy.Handler:
			to = h.Rewrite
		}
		if !decided || to == nil {
			return
		}
		if p := clients.FindString(target(to)); p != "" {
			found = append(found, chosen{h, p})
		}
	}, nil)
	return found
}

// target is what a rewrite makes of method and path. The query is for nobody
// to decide on.
func target(to *rewrite.Rewrite) string {
	path, _, _ := strings.Cut(to.URI, "?")
	without := *to
	without.URI, without.Method, without.Query = "", "", nil
	rest, err := json.Marshal(without)
	if err != nil {
		rest = nil
	}
	return to.Method + " " + path + " " + string(rest)
}

func (e *examination) chosen(c chosen) {
	e.add(Finding{
		ID: "rewrite_behind_rbac", Severity: Warning, Place: placeOf(c.handler),
		Text: nameOf(c.handler) + " stands behind rbac and makes another request of the one that was decided on, which the client names in " + c.text +
			": write the rewrite before rbac, outside of handle and route blocks, so that its result is decided on, or a fixed path",
	})
}

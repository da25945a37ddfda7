package layers

import (
	"net/http"
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

type next struct{}

func (next) ServeHTTP(http.ResponseWriter, *http.Request, caddyhttp.Handler) error { return nil }

// gate stands for rbac.
type gate struct {
	next
	anonymous, dry bool
	roles          []string
}

func (gate) CaddyModule() caddy.ModuleInfo     { return caddy.ModuleInfo{ID: "http.handlers.rbac"} }
func (g gate) ServesAnonymous() bool           { return g.anonymous }
func (g gate) DecidesOnly() bool               { return g.dry }
func (g gate) Names() (roles, scopes []string) { return g.roles, []string{"read"} }
func (g gate) String() string                  { return "gate" }

// module is any other handler.
type module struct {
	next
	id     caddy.ModuleID
	Groups []map[string]any `json:"groups"`
}

func (m module) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ID: m.id} }

// who is a matcher for identities.
type who struct{}

func (who) CaddyModule() caddy.ModuleInfo              { return caddy.ModuleInfo{ID: "http.matchers.role"} }
func (who) MatchesIdentity() bool                      { return true }
func (who) MatchWithError(*http.Request) (bool, error) { return true, nil }

func route(handlers ...caddyhttp.MiddlewareHandler) caddyhttp.Route {
	return caddyhttp.Route{Handlers: handlers}
}

func sub(routes ...caddyhttp.Route) caddyhttp.MiddlewareHandler {
	return &caddyhttp.Subroute{Routes: routes}
}

func TestGatesThatNobodyCanPassAreFound(t *testing.T) {
	ours, basic := module{id: "http.handlers.auth"}, new(caddyauth.Authentication)
	for name, tc := range map[string]struct {
		site caddyhttp.Route
		want int
	}{
		"nothing before":        {route(sub(route(gate{}))), 1},
		"harmless ones":         {route(sub(route(new(headers.Handler)), route(module{id: "http.handlers.rate_limit"}), route(gate{}))), 1},
		"behind it":             {route(sub(route(gate{}), route(ours))), 1},
		"ours before":           {route(sub(route(ours), route(gate{}))), 0},
		"Caddy's before":        {route(sub(route(basic), route(gate{}))), 0},
		"in one of its handles": {route(sub(route(sub(route(ours))), route(gate{}))), 0},
		"forward_auth":          {route(sub(route(new(reverseproxy.Handler)), route(gate{}))), 0},
		"map":                   {route(sub(route(module{id: "http.handlers.map"}), route(gate{}))), 0},
		"another plugin":        {route(sub(route(module{id: "http.handlers.authenticator"}), route(gate{}))), 0},
		"no module at all":      {route(sub(route(next{}), route(gate{}))), 0},
		"for anyone":            {route(sub(route(gate{anonymous: true}))), 0},
		"two":                   {route(sub(route(gate{}), route(gate{}))), 2},
	} {
		if got := closed(caddyhttp.RouteList{tc.site}); len(got) != tc.want {
			t.Errorf("%s: got %v, want %d", name, got, tc.want)
		}
	}
}

func TestMatchersThatCannotKnowAreFound(t *testing.T) {
	ours := module{id: "http.handlers.auth"}
	matched := caddyhttp.Route{MatcherSets: caddyhttp.MatcherSets{{who{}}}}
	negated := caddyhttp.Route{MatcherSets: caddyhttp.MatcherSets{{&caddyhttp.MatchNot{MatcherSets: caddyhttp.MatcherSets{{who{}}}}}}}
	for name, tc := range map[string]struct {
		site caddyhttp.Route
		want []string
	}{
		"before":         {route(sub(matched, route(ours))), []string{"role"}},
		"negated before": {route(sub(negated, route(ours))), []string{"role"}},
		"behind":         {route(sub(route(ours), matched, negated)), nil},
		"none":           {route(sub(route(ours))), nil},
	} {
		if got := blind(caddyhttp.RouteList{tc.site}); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

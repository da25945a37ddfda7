package layers

import (
	"net/http"
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// carrier is an authenticator that forwards, as far as it matters here.
type carrier []string

func (c carrier) ForwardedHeaders() []string { return c }

func (carrier) ServeHTTP(http.ResponseWriter, *http.Request, caddyhttp.Handler) error { return nil }

func TestHeadersThatClientsCanSendRoundTheAuthenticatorAreFound(t *testing.T) {
	route := func(handlers ...caddyhttp.MiddlewareHandler) caddyhttp.Route {
		return caddyhttp.Route{Handlers: handlers}
	}
	matched := func(r caddyhttp.Route) caddyhttp.Route {
		r.MatcherSets = caddyhttp.MatcherSets{{}}
		return r
	}
	grouped := func(r caddyhttp.Route) caddyhttp.Route {
		r.Group = "group"
		return r
	}
	sub := func(routes ...caddyhttp.Route) caddyhttp.MiddlewareHandler {
		return &caddyhttp.Subroute{Routes: routes}
	}
	auth, proxy := carrier{"x-user", "X-Mail"}, new(reverseproxy.Handler)
	drops := func(names ...string) *headers.HeaderOps { return &headers.HeaderOps{Delete: names} }
	for name, tc := range map[string]struct {
		site caddyhttp.Route
		want []string
	}{
		"in order":                {route(sub(route(auth), route(proxy))), nil},
		"nothing carries":         {route(sub(route(carrier{}), route(proxy))), nil},
		"no upstream besides":     {route(sub(grouped(matched(route(sub(route(auth), route(proxy))))), grouped(route(sub())))), nil},
		"another handle":          {route(sub(grouped(matched(route(sub(route(auth), route(proxy))))), grouped(route(sub(route(proxy)))))), []string{"X-Mail", "X-User"}},
		"a handle, then the rest": {route(sub(grouped(matched(route(sub(route(auth))))), route(proxy))), []string{"X-Mail", "X-User"}},
		"an upstream before":      {route(sub(matched(route(proxy)), route(auth), route(proxy))), []string{"X-Mail", "X-User"}},
		"with the stripper":       {route(sub(matched(route(auth)), route(auth), route(proxy))), nil},
		"in a route block":        {route(sub(route(sub(route(auth))), route(proxy))), nil},
		"removed by a header":     {route(sub(route(&headers.Handler{Request: drops("X-User", "x-mail")}), grouped(matched(route(sub(route(auth))))), route(proxy))), nil},
		"one removed":             {route(sub(route(&headers.Handler{Request: drops("X-User")}), grouped(matched(route(sub(route(auth))))), route(proxy))), []string{"X-Mail"}},
		"removed by the proxy": {route(sub(matched(route(auth)), route(&reverseproxy.Handler{Headers: &headers.Handler{
			Request: &headers.HeaderOps{Delete: []string{"X-User"}, Set: http.Header{"X-Mail": {"-"}}},
		}}))), nil},
	} {
		if got := spoofable(caddyhttp.RouteList{tc.site}); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

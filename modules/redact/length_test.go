package redact

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// counting is a transport that must be told the length of a body.
type counting struct{ http.RoundTripper }

func (counting) RequiresContentLength() bool { return true }

func TestUpstreamThatNeedsALengthIsFoundWhereverItStands(t *testing.T) {
	routes := func(handlers ...caddyhttp.MiddlewareHandler) caddyhttp.RouteList {
		return caddyhttp.RouteList{{Handlers: handlers}}
	}
	needy := &reverseproxy.Handler{Transport: counting{}}
	plain := &reverseproxy.Handler{Transport: &http.Transport{}}
	for title, c := range map[string]struct {
		server *caddyhttp.Server
		want   bool
	}{
		"none":            {&caddyhttp.Server{Routes: routes(plain)}, false},
		"a route":         {&caddyhttp.Server{Routes: routes(plain, needy)}, true},
		"a subroute":      {&caddyhttp.Server{Routes: routes(&caddyhttp.Subroute{Routes: routes(needy)})}, true},
		"a named route":   {&caddyhttp.Server{NamedRoutes: map[string]*caddyhttp.Route{"x": {Handlers: routes(needy)[0].Handlers}}}, true},
		"handle_errors":   {&caddyhttp.Server{Errors: &caddyhttp.HTTPErrorConfig{Routes: routes(needy)}}, true},
		"handle_response": {&caddyhttp.Server{Routes: routes(&reverseproxy.Handler{HandleResponse: []caddyhttp.ResponseHandler{{Routes: routes(needy)}}})}, true},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r = r.WithContext(context.WithValue(r.Context(), caddyhttp.ServerCtxKey, c.server))
		if got := new(Handler).needsLength(r); got != c.want {
			t.Errorf("%s: got %v, want %v", title, got, c.want)
		}
	}
}

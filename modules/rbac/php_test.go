package rbac

import (
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy/fastcgi"
)

// TestScriptsAreFoundWhereverTheyStand: a script that is not known of is a
// second reading of a path that nobody decides about.
func TestScriptsAreFoundWhereverTheyStand(t *testing.T) {
	routes := func(handlers ...caddyhttp.MiddlewareHandler) caddyhttp.RouteList {
		return caddyhttp.RouteList{{Handlers: handlers}}
	}
	php := caddyhttp.Route{
		MatcherSets: caddyhttp.MatcherSets{{&fileserver.MatchFile{TryFiles: []string{"{http.request.uri.path}", "{http.request.uri.path}/index.php"}}}},
		Handlers:    routes(&reverseproxy.Handler{Transport: &fastcgi.Transport{SplitPath: []string{".PHP"}}})[0].Handlers,
	}
	behind := caddyhttp.RouteList{php}
	failing := &caddyhttp.Subroute{Errors: &caddyhttp.HTTPErrorConfig{Routes: behind}}
	for title, h := range map[string]caddyhttp.MiddlewareHandler{
		"a subroute":      &caddyhttp.Subroute{Routes: behind},
		"a named route":   &caddyhttp.Invoke{Name: "app"},
		"its errors":      failing,
		"handle_response": &reverseproxy.Handler{HandleResponse: []caddyhttp.ResponseHandler{{Routes: behind}}},
		"intercept":       &intercept.Intercept{HandleResponse: []caddyhttp.ResponseHandler{{Routes: behind}}},
	} {
		ours := new(Handler)
		server := &caddyhttp.Server{
			Routes:      caddyhttp.RouteList{routes(new(Handler))[0], routes(ours, h)[0]},
			NamedRoutes: map[string]*caddyhttp.Route{"app": &php},
		}
		s := ours.findScripts(server)
		if !slices.Equal(s.endings, []string{".php"}) || !slices.Equal(s.indexes, []string{"index.php"}) {
			t.Errorf("%s: found %q and %q", title, s.endings, s.indexes)
		}
	}
	other := new(Handler)
	server := &caddyhttp.Server{Routes: caddyhttp.RouteList{php, routes(other)[0]}}
	if s := other.findScripts(server); len(s.endings)+len(s.indexes) > 0 {
		t.Errorf("a site without scripts has those of another: %q and %q", s.endings, s.indexes)
	}
}

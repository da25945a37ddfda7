package layers

import (
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy/fastcgi"

	"github.com/caddy-moat/caddy-moat/modules/internal/routetree"
)

func matched(r caddyhttp.Route) caddyhttp.Route {
	r.MatcherSets = caddyhttp.MatcherSets{{caddyhttp.MatchPath{"/a"}}}
	return r
}

func grouped(r caddyhttp.Route) caddyhttp.Route {
	r.Group = "group"
	return r
}

func terminal(r caddyhttp.Route) caddyhttp.Route {
	r.Terminal = true
	return r
}

func TestLayersThatNoRequestReachesAreFound(t *testing.T) {
	page, hello := new(fileserver.FileServer), new(caddyhttp.StaticResponse)
	passing := &fileserver.FileServer{PassThru: true}
	response := func(status int, routes ...caddyhttp.Route) []caddyhttp.ResponseHandler {
		return []caddyhttp.ResponseHandler{{Match: &caddyhttp.ResponseMatcher{StatusCode: []int{status}}, Routes: routes}}
	}
	scripts := caddyhttp.Route{
		MatcherSets: caddyhttp.MatcherSets{{caddyhttp.MatchPath{"*.php"}}},
		Handlers:    []caddyhttp.MiddlewareHandler{&reverseproxy.Handler{Transport: new(fastcgi.Transport)}},
	}
	all := caddyhttp.Route{MatcherSets: caddyhttp.MatcherSets{{}}, Handlers: []caddyhttp.MiddlewareHandler{hello}}
	layer := route(gate{})
	for name, tc := range map[string]struct {
		routes caddyhttp.RouteList
		want   string
	}{
		"in order":                        {caddyhttp.RouteList{layer, route(hello)}, ""},
		"behind":                          {caddyhttp.RouteList{route(hello), layer}, "respond"},
		"behind in one route":             {caddyhttp.RouteList{route(page, gate{})}, "file_server"},
		"behind what passes":              {caddyhttp.RouteList{route(passing), layer}, ""},
		"behind a part":                   {caddyhttp.RouteList{matched(route(hello)), layer}, ""},
		"behind an empty matcher":         {caddyhttp.RouteList{all, layer}, "respond"},
		"behind a subroute":               {caddyhttp.RouteList{route(sub(route(page))), layer}, "file_server"},
		"behind a part of a subroute":     {caddyhttp.RouteList{route(sub(matched(route(page)))), layer}, ""},
		"within a part":                   {caddyhttp.RouteList{matched(route(sub(route(hello), layer)))}, "respond"},
		"behind a terminal route":         {caddyhttp.RouteList{terminal(route(passing)), layer}, "a route that is terminal"},
		"behind a terminal part":          {caddyhttp.RouteList{terminal(matched(route(hello))), layer}, ""},
		"behind a group":                  {caddyhttp.RouteList{grouped(matched(route(hello))), grouped(route(page)), layer}, "file_server"},
		"behind a group that passes":      {caddyhttp.RouteList{grouped(matched(route(passing))), grouped(route(page)), layer}, ""},
		"behind the last of a group":      {caddyhttp.RouteList{grouped(route(passing)), grouped(layer)}, "a handle block for all requests"},
		"behind a proxy":                  {caddyhttp.RouteList{route(new(reverseproxy.Handler)), layer}, "reverse_proxy"},
		"behind forward_auth":             {caddyhttp.RouteList{route(&reverseproxy.Handler{HandleResponse: response(2, route(passing))}), layer}, ""},
		"behind a proxy of error pages":   {caddyhttp.RouteList{route(&reverseproxy.Handler{HandleResponse: response(5, route(passing))}), layer}, "reverse_proxy"},
		"behind a proxy that copies":      {caddyhttp.RouteList{route(&reverseproxy.Handler{HandleResponse: response(200, route(hello))}), layer}, "reverse_proxy"},
		"behind scripts":                  {caddyhttp.RouteList{scripts, layer}, "php_fastcgi"},
		"behind some scripts":             {caddyhttp.RouteList{matched(route(sub(scripts))), layer}, ""},
		"in the responses of a proxy":     {caddyhttp.RouteList{route(&reverseproxy.Handler{HandleResponse: response(5, route(hello), layer)})}, "respond"},
		"in the responses of intercept":   {caddyhttp.RouteList{route(&intercept.Intercept{HandleResponse: response(5, route(hello, gate{}))})}, "respond"},
		"behind a module without answers": {caddyhttp.RouteList{route(module{id: "http.handlers.headers"}), layer}, ""},
		"behind metrics":                  {caddyhttp.RouteList{route(module{id: "http.handlers.metrics"}), layer}, "metrics"},
	} {
		got := ""
		if found := unreachables(tc.routes); len(found) > 0 {
			got = found[0].behind
		}
		if got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

func TestNamedRoutesAreExpanded(t *testing.T) {
	named := map[string]*caddyhttp.Route{}
	add := func(name string, r caddyhttp.Route) { named[name] = &r }
	add("app", route(new(caddyhttp.StaticResponse)))
	add("layer", route(gate{}))
	add("both", route(sub(route(&caddyhttp.Invoke{Name: "app"}), route(&caddyhttp.Invoke{Name: "layer"}))))
	add("itself", route(&caddyhttp.Invoke{Name: "itself"}))
	for name, want := range map[string]int{"app": 0, "layer": 0, "both": 1, "itself": 0, "none": 0} {
		routes := caddyhttp.RouteList{route(&caddyhttp.Invoke{Name: name})}
		if got := len(unreachables(routetree.Expand(routes, named))); got != want {
			t.Errorf("%s: %d layers are unreachable, want %d", name, got, want)
		}
		if _, ok := routes[0].Handlers[0].(*caddyhttp.Invoke); !ok {
			t.Errorf("%s: the routes of the server were changed", name)
		}
	}
	server := &caddyhttp.Server{NamedRoutes: named, Routes: caddyhttp.RouteList{route(&caddyhttp.Invoke{Name: "both"})}}
	if got := uninvoked(server); len(got) != 1 || got[0] != "itself" {
		t.Errorf("not invoked: got %q", got)
	}
}

func TestSitesAreToldApart(t *testing.T) {
	loose := caddyhttp.RouteList{route(gate{}), matched(route(gate{}))}
	if got := sites(loose); len(got) != 1 || len(got[0]) != 2 {
		t.Errorf("the routes of one site: got %d sites", len(got))
	}
	if got := sites(caddyhttp.RouteList{terminal(loose[1]), terminal(loose[0])}); len(got) != 2 {
		t.Errorf("two sites: got %d", len(got))
	}
}

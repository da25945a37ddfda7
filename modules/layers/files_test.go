package layers

import (
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
)

// redactor is a redact as far as its configuration goes.
type redactor struct {
	harmlessHandler
	Rules []string `json:"rules"`
	Pass  []string `json:"pass,omitempty"`
}

type harmlessHandler struct{}

func (harmlessHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	return next.ServeHTTP(w, r)
}

func (redactor) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ID: "http.handlers.redact"} }

func TestFilesBehindRedactAreFound(t *testing.T) {
	files := new(fileserver.FileServer)
	redact, passes := redactor{Rules: []string{"x"}}, redactor{Rules: []string{"x"}, Pass: []string{"text/html"}}
	handled := func(h ...caddyhttp.MiddlewareHandler) caddyhttp.Route {
		return caddyhttp.Route{
			MatcherSets: caddyhttp.MatcherSets{{caddyhttp.MatchPath{"/api/*"}}},
			Handlers:    []caddyhttp.MiddlewareHandler{&caddyhttp.Subroute{Routes: caddyhttp.RouteList{route(h...)}}},
		}
	}
	sub := func(h ...caddyhttp.MiddlewareHandler) caddyhttp.MiddlewareHandler {
		return &caddyhttp.Subroute{Routes: caddyhttp.RouteList{route(h...)}}
	}
	for name, c := range map[string]struct {
		site caddyhttp.RouteList
		want bool
	}{
		"over it":        {caddyhttp.RouteList{route(redact), route(files)}, true},
		"in one route":   {caddyhttp.RouteList{route(redact, files)}, true},
		"in handle":      {caddyhttp.RouteList{route(redact), handled(files)}, true},
		"in route":       {caddyhttp.RouteList{route(sub(redact)), route(sub(files))}, true},
		"in its own":     {caddyhttp.RouteList{handled(redact), route(files)}, false},
		"which passes":   {caddyhttp.RouteList{route(passes), route(files)}, false},
		"without a rule": {caddyhttp.RouteList{route(redactor{}), route(files)}, false},
		"behind it":      {caddyhttp.RouteList{route(files), route(redact)}, false},
		"without redact": {caddyhttp.RouteList{route(files)}, false},
	} {
		if got := filesBehindRedact(c.site) != nil; got != c.want {
			t.Errorf("%s: found %v, want %v", name, got, c.want)
		}
	}
}

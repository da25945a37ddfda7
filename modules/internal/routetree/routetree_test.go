package routetree

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// leaf is a handler with a name.
type leaf string

func (leaf) ServeHTTP(http.ResponseWriter, *http.Request, caddyhttp.Handler) error { return nil }

func route(handlers ...caddyhttp.MiddlewareHandler) caddyhttp.Route {
	return caddyhttp.Route{Handlers: handlers}
}

func list(handlers ...caddyhttp.MiddlewareHandler) caddyhttp.RouteList {
	return caddyhttp.RouteList{route(handlers...)}
}

func sub(routes ...caddyhttp.Route) *caddyhttp.Subroute { return &caddyhttp.Subroute{Routes: routes} }

func invoke(name string) *caddyhttp.Invoke { return &caddyhttp.Invoke{Name: name} }

func answers(routes ...caddyhttp.RouteList) []caddyhttp.ResponseHandler {
	var all []caddyhttp.ResponseHandler
	for _, r := range routes {
		all = append(all, caddyhttp.ResponseHandler{Routes: r})
	}
	return all
}

// named are the routes of the tables: loop and swing lead back to themselves,
// loop on the way of requests and swing beside it.
func named() map[string]*caddyhttp.Route {
	n := map[string]*caddyhttp.Route{}
	for name, r := range map[string]caddyhttp.Route{
		"plain": route(leaf("p"), leaf("q")),
		"outer": route(leaf("o"), invoke("plain")),
		"loop":  route(leaf("l"), sub(route(invoke("loop")))),
		"swing": route(leaf("s"), &reverseproxy.Handler{HandleResponse: answers(list(invoke("swing")))}),
	} {
		n[name] = &r
	}
	return n
}

// name is how the tables write a handler.
func name(h caddyhttp.MiddlewareHandler) string {
	switch h := h.(type) {
	case leaf:
		return string(h)
	case *caddyhttp.Invoke:
		return "invoke:" + h.Name
	case *reverseproxy.Handler:
		return "proxy"
	case *intercept.Intercept:
		return "intercept"
	}
	return "?"
}

func TestWalkMeetsWhatRequestsMeet(t *testing.T) {
	failing := sub(route(leaf("a")))
	failing.Errors = &caddyhttp.HTTPErrorConfig{Routes: list(leaf("e"), invoke("plain"))}
	proxy := &reverseproxy.Handler{HandleResponse: answers(list(leaf("r1")), nil, list(sub(route(leaf("r2"))), invoke("plain")))}
	for _, c := range []struct {
		title    string
		routes   caddyhttp.RouteList
		way, all string // without and with what is beside the way and in named routes
	}{
		{"nothing", nil, "", ""},
		{"in order", caddyhttp.RouteList{route(leaf("a"), leaf("b")), route(leaf("c"))}, "a b c", "a b c"},
		{"subroutes in their place", list(leaf("a"), sub(route(leaf("b")), route(sub(route(leaf("c"))))), leaf("d")), "a b c d", "a b c d"},
		{"named routes where they are invoked", list(leaf("a"), invoke("outer"), leaf("b")), "a invoke:outer b", "a o p q b"},
		{"twice invoked, met twice", list(invoke("plain"), invoke("plain")), "invoke:plain invoke:plain", "p q p q"},
		{"a name that nobody has", list(invoke("gone")), "invoke:gone", "invoke:gone"},
		{"a named route in itself", list(invoke("loop")), "invoke:loop", "l invoke:loop"},
		{"errors of a subroute", list(failing, leaf("b")), "a b", "e p q a b"},
		{"handle_response", list(proxy), "proxy", "r1 r2 p q proxy"},
		{"intercept", list(&intercept.Intercept{HandleResponse: answers(list(leaf("r")))}, leaf("b")), "intercept b", "r intercept b"},
		{"a named route in its own handle_response", list(invoke("swing")), "invoke:swing", "s s proxy proxy"},
	} {
		for _, side := range []struct {
			what, want string
			got        []string
		}{
			{"way", c.way, names(slices.Collect(Way(c.routes)))},
			{"all", c.all, names(slices.Collect(All(c.routes, named())))},
		} {
			if got := strings.Join(side.got, " "); got != side.want {
				t.Errorf("%s, %s: got %q, want %q", c.title, side.what, got, side.want)
			}
		}
	}
}

func names(handlers []caddyhttp.MiddlewareHandler) []string {
	var all []string
	for _, h := range handlers {
		all = append(all, name(h))
	}
	return all
}

func TestWalkEndsWhenItsCallerHasEnough(t *testing.T) {
	var met []string
	for h := range Way(list(leaf("a"), sub(route(leaf("b")), route(leaf("c"))), leaf("d"))) {
		if met = append(met, name(h)); len(met) == 2 {
			break
		}
	}
	if got := strings.Join(met, " "); got != "a b" {
		t.Errorf("met %q", got)
	}
}

func TestServerIsAllItsRoutes(t *testing.T) {
	server := &caddyhttp.Server{
		Routes:      list(leaf("a"), invoke("plain"), sub(route(&reverseproxy.Handler{HandleResponse: answers(list(leaf("r")))}))),
		Errors:      &caddyhttp.HTTPErrorConfig{Routes: list(leaf("e"))},
		NamedRoutes: map[string]*caddyhttp.Route{"plain": named()["plain"], "unused": named()["loop"], "none": nil},
	}
	got := names(slices.Collect(OfServer(server)))
	slices.Sort(got)
	if want := "a e invoke:loop invoke:plain l p proxy q r"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(server.Routes) != 1 {
		t.Error("the routes of the server were changed")
	}
}

// TestWalkKnowsWhatCameBefore writes, before each handler, the handlers that
// requests have met on their way to it.
func TestWalkKnowsWhatCameBefore(t *testing.T) {
	grouped := func(group string, handlers ...caddyhttp.MiddlewareHandler) caddyhttp.Route {
		return caddyhttp.Route{Group: group, Handlers: handlers}
	}
	keep := func(_ caddyhttp.Route, before, _ string) string { return before }
	fresh := func(caddyhttp.Route, string) string { return "" }
	follow := func(a Aside, s string) (string, bool) {
		return s + [...]string{"!", "?"}[a.Kind], a.Kind == Response || s != ""
	}
	failing := sub(route(leaf("b")))
	failing.Errors = &caddyhttp.HTTPErrorConfig{Routes: list(leaf("e"))}
	for _, c := range []struct {
		title  string
		walk   Walk[string]
		routes caddyhttp.RouteList
		met    string
		end    string
	}{
		{"everything", Walk[string]{}, caddyhttp.RouteList{route(leaf("a"), sub(route(leaf("b")))), route(leaf("c"))}, "-a a-b ab-c", "abc"},
		{"routes that some requests go round", Walk[string]{Leave: keep}, caddyhttp.RouteList{route(leaf("a"), sub(route(leaf("b"))), leaf("c")), route(leaf("d"))}, "-a a-b a-c -d", ""},
		{"routes that begin anew", Walk[string]{Enter: fresh}, caddyhttp.RouteList{route(leaf("a"), leaf("b")), route(leaf("c"))}, "-a a-b -c", "c"},
		{"groups, met in a row", Walk[string]{}, caddyhttp.RouteList{grouped("g", leaf("a")), grouped("g", leaf("b"))}, "-a a-b", "ab"},
		{
			"groups, of which one is met",
			Walk[string]{Alternatives: true},
			caddyhttp.RouteList{route(leaf("a")), grouped("g", leaf("b")), grouped("g", leaf("c")), grouped("h", leaf("d")), route(leaf("e"))},
			"-a a-b a-c ac-d acd-e", "acde",
		},
		{"errors know what came before the subroute", Walk[string]{Aside: follow}, list(leaf("a"), failing), "-a a!-e a-b", "ab"},
		{"an aside may be left out", Walk[string]{Aside: follow}, list(failing), "-b", "b"},
		{"responses", Walk[string]{Aside: follow}, list(leaf("a"), &reverseproxy.Handler{HandleResponse: answers(list(leaf("r")))}), "-a a?-r a-proxy", "aproxy"},
		{"named routes", Walk[string]{Named: named()}, list(leaf("a"), invoke("plain")), "-a a-p ap-q", "apq"},
	} {
		var met []string
		c.walk.Handle = func(h caddyhttp.MiddlewareHandler, s string) string {
			met = append(met, s+"-"+name(h))
			return s + name(h)
		}
		end := c.walk.Follow(c.routes, "")
		if got := strings.Join(met, " "); got != c.met || end != c.end {
			t.Errorf("%s: met %q and ended with %q, want %q and %q", c.title, got, end, c.met, c.end)
		}
	}
}

func TestHostsAreThoseOfAllMatchers(t *testing.T) {
	pointer := caddyhttp.MatchHost{"c"}
	r := caddyhttp.Route{MatcherSets: caddyhttp.MatcherSets{{caddyhttp.MatchHost{"a", "b"}}, {&pointer, new(caddyhttp.MatchPath)}}}
	if got := strings.Join(Hosts(r), " "); got != "a b c" || Hosts(route()) != nil {
		t.Errorf("got %q and %q", got, Hosts(route()))
	}
}

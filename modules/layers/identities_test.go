package layers

import (
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
)

// knower is an authenticator of ours, as far as it matters here.
type knower struct {
	next
	idle bool
	name string
}

func (k knower) Authenticates() bool { return !k.idle }

func TestTwoIdentitiesOnOneRequestAreFound(t *testing.T) {
	a, b, strip := knower{name: "a"}, knower{name: "b"}, knower{idle: true}
	basic, page := new(caddyauth.Authentication), new(caddyhttp.StaticResponse)
	for name, tc := range map[string]struct {
		routes caddyhttp.RouteList
		want   int
	}{
		"one":                        {caddyhttp.RouteList{route(a)}, 0},
		"two":                        {caddyhttp.RouteList{route(a), route(b)}, 1},
		"three":                      {caddyhttp.RouteList{route(a, b), route(basic)}, 3},
		"the same one twice":         {caddyhttp.RouteList{route(a), route(a)}, 0},
		"one that only removes":      {caddyhttp.RouteList{route(strip), route(a), route(strip)}, 0},
		"Caddy's":                    {caddyhttp.RouteList{route(a), route(basic)}, 1},
		"two of Caddy's":             {caddyhttp.RouteList{route(basic), route(new(caddyauth.Authentication))}, 0},
		"the second for a part":      {caddyhttp.RouteList{route(a), matched(route(b))}, 1},
		"the first for a part":       {caddyhttp.RouteList{matched(route(a)), route(b)}, 1},
		"each for a part":            {caddyhttp.RouteList{matched(route(a)), matched(route(b))}, 0},
		"in one part":                {caddyhttp.RouteList{matched(route(sub(route(a), matched(route(b)))))}, 1},
		"a part that answers":        {caddyhttp.RouteList{matched(route(sub(route(a), route(page)))), route(b)}, 0},
		"a part of a part":           {caddyhttp.RouteList{matched(route(sub(matched(route(a))))), route(b)}, 1},
		"alternatives":               {caddyhttp.RouteList{grouped(matched(route(a))), grouped(route(b))}, 0},
		"alternatives, and then":     {caddyhttp.RouteList{grouped(matched(route(a))), grouped(route(page)), route(b)}, 1},
		"before alternatives":        {caddyhttp.RouteList{route(a), grouped(matched(route(b))), grouped(route(page))}, 1},
		"sites":                      {caddyhttp.RouteList{terminal(matched(route(a))), terminal(route(b))}, 0},
		"an alternative that passes": {caddyhttp.RouteList{grouped(matched(route(a))), grouped(matched(route(page))), matched(route(b))}, 0},
	} {
		if got := twice(tc.routes); len(got) != tc.want {
			t.Errorf("%s: got %v, want %d", name, got, tc.want)
		}
	}
}

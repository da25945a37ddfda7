package layers

import (
	"net/http"
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
)

// waiting stands for a handler that reads copied fields.
type waiting struct {
	next
	fields []credential.Copied
}

func (w waiting) CopiedFields() []credential.Copied { return w.fields }

// copied is a provider that reads them, in Caddy's own handler.
type copied struct {
	caddyauth.Authenticator
	credential.Method
	fields []credential.Copied
}

func (c copied) Traits() credential.Traits { return credential.Traits{Copied: c.fields} }

func TestFieldsThatNobodyCopiesAreFound(t *testing.T) {
	user := credential.Copied{From: "Remote-User", To: "X-User"}
	reads := waiting{fields: []credential.Copied{user}}
	inCaddys := &caddyauth.Authentication{Providers: map[string]caddyauth.Authenticator{"a": copied{fields: reads.fields}, "b": nil}}
	remove := &headers.Handler{Request: &headers.HeaderOps{Delete: []string{"X-User"}}}
	set := func(value string) *headers.Handler {
		return &headers.Handler{Request: &headers.HeaderOps{Set: http.Header{"X-User": {value}}}}
	}
	copies := set("{http.reverse_proxy.header.Remote-User}")
	proxy := func(status []int, routes ...caddyhttp.Route) *reverseproxy.Handler {
		return &reverseproxy.Handler{HandleResponse: []caddyhttp.ResponseHandler{
			{Match: &caddyhttp.ResponseMatcher{StatusCode: status}, Routes: routes},
		}}
	}
	asks := proxy([]int{2}, route(remove), matched(route(copies)))
	for name, test := range map[string]struct {
		routes caddyhttp.RouteList
		want   bool // found
	}{
		"as it should be":       {caddyhttp.RouteList{route(asks), route(reads)}, false},
		"with a matcher":        {caddyhttp.RouteList{matched(route(sub(route(asks)))), route(sub(route(reads)))}, false},
		"in Caddy's own":        {caddyhttp.RouteList{route(asks), route(inCaddys)}, false},
		"nobody asks":           {caddyhttp.RouteList{route(reads)}, true},
		"nobody asks, Caddy's":  {caddyhttp.RouteList{route(inCaddys)}, true},
		"behind":                {caddyhttp.RouteList{route(reads), route(asks)}, true},
		"an ordinary proxy":     {caddyhttp.RouteList{route(new(reverseproxy.Handler)), route(reads)}, true},
		"any status":            {caddyhttp.RouteList{route(proxy(nil, route(remove), route(copies))), route(reads)}, true},
		"another status":        {caddyhttp.RouteList{route(proxy([]int{2, 4}, route(remove), route(copies))), route(reads)}, true},
		"one status":            {caddyhttp.RouteList{route(proxy([]int{202}, route(remove), route(copies))), route(reads)}, false},
		"not deleted":           {caddyhttp.RouteList{route(proxy([]int{2}, route(copies))), route(reads)}, true},
		"deleted now and then":  {caddyhttp.RouteList{route(proxy([]int{2}, matched(route(remove)), route(copies))), route(reads)}, true},
		"deleted after":         {caddyhttp.RouteList{route(proxy([]int{2}, route(copies), route(remove))), route(reads)}, true},
		"of another field":      {caddyhttp.RouteList{route(proxy([]int{2}, route(remove), route(set("{http.reverse_proxy.header.Remote-Name}")))), route(reads)}, true},
		"of the client's":       {caddyhttp.RouteList{route(proxy([]int{2}, route(remove), route(set("{http.request.header.Remote-User}")))), route(reads)}, true},
		"with something else":   {caddyhttp.RouteList{route(proxy([]int{2}, route(remove), route(set("a{http.reverse_proxy.header.Remote-User}")))), route(reads)}, true},
		"nothing is waited for": {caddyhttp.RouteList{route(waiting{})}, false},
	} {
		found := uncopiedFields(test.routes)
		if got := len(found) == 1 && slices.Equal(found[0].fields, reads.fields); got != test.want || !test.want && len(found) > 0 {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

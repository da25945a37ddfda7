package reqctx

import (
	"net/http"
	"reflect"
	"testing"
)

func TestEndToEnd(t *testing.T) {
	for name, tc := range map[string]struct{ in, want http.Header }{
		"nothing":            {http.Header{"X-User": {"a"}}, http.Header{"X-User": {"a"}}},
		"keep-alive":         {http.Header{"Connection": {"keep-alive"}, "X-User": {"a"}}, http.Header{"Connection": {"keep-alive"}, "X-User": {"a"}}},
		"a field":            {http.Header{"Connection": {"x-user"}, "X-User": {"a"}}, http.Header{}},
		"among others":       {http.Header{"Connection": {"close, X-User ,", "\tX-B"}, "X-User": {"a"}, "X-B": {"b"}, "X-C": {"c"}}, http.Header{"Connection": {"close"}, "X-C": {"c"}}},
		"itself":             {http.Header{"Connection": {"connection, x-user"}, "X-User": {"a"}}, http.Header{}},
		"websocket":          {http.Header{"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"websocket"}}, http.Header{"Connection": {"keep-alive, Upgrade"}, "Upgrade": {"websocket"}}},
		"a protocol of them": {http.Header{"Connection": {"Upgrade"}, "Upgrade": {"echo/1"}}, http.Header{"Connection": {"Upgrade"}, "Upgrade": {"echo/1"}}},
		"h2c":                {http.Header{"Connection": {"Upgrade, HTTP2-Settings"}, "Upgrade": {"h2c"}, "Http2-Settings": {"AA"}}, http.Header{"Connection": {"Upgrade"}}},
		"h2c unannounced":    {http.Header{"Connection": {"Upgrade"}, "Upgrade": {"h2c"}, "Http2-Settings": {"AA"}}, http.Header{"Connection": {"Upgrade"}}},
		"one of several":     {http.Header{"Upgrade": {"websocket", "echo , HTTP/2.0"}}, http.Header{}},
	} {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{Header: tc.in}
			EndToEnd(r)
			if !reflect.DeepEqual(r.Header, tc.want) {
				t.Errorf("got %v, want %v", r.Header, tc.want)
			}
		})
	}
}

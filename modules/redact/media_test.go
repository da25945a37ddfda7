package redact

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestBodiesThatLookLikeJSON(t *testing.T) {
	space := strings.Repeat(" \n", 4000)
	for _, yes := range []string{
		`{"a":1}`, `{}`, ` { "`, "\ufeff{\"", "[]", "[1", "[-1", `["a"`, "[[", "[{", "[true]", "[t", "[null,", "\x1e{\"", "{", "[ ",
		space + `{"a"`, "{" + space + `"a"`,
	} {
		if !looksLikeJSON([]byte(yes)) {
			t.Errorf("%.40q does not", yes)
		}
	}
	for _, no := range []string{
		"", " ", "a", `"a"`, "1", "true", "<p>", "{a", "{{", "{'", "[info]", "[trace]", "[/a]", "{% if", "body{", "]", "//{", "[x", space,
	} {
		if looksLikeJSON([]byte(no)) {
			t.Errorf("%.40q does", no)
		}
	}
}

// TestSpaceDoesNotHideJSON: a listed type passes unless it is JSON, and that
// must be seen however much space comes first, and in whatever encoding.
func TestSpaceDoesNotHideJSON(t *testing.T) {
	h := provision(t, "remove ssn\npass text/html\nrequests {\n remove ssn\n pass text/html\n}")
	for _, n := range []int{1, 100, 511, 512, 513, 5000, 16000, 20000, 100000} {
		space := strings.Repeat(" ", n)
		for name, in := range map[string]string{
			"before": space + body, "inside": body[:1] + space + body[1:], "array": "[" + space + body + "]",
			"UTF-16": wide(space+body, 2), "UTF-32": wide(space+body, 4),
			"UTF-16, big endian": "\x00" + strings.TrimSuffix(wide(space+body, 2), "\x00"), "marked": "\ufeff" + space + body,
		} {
			next := answers(200, "text/html", in)
			if a := serve(t, h, next).get(); leaked(a.body) {
				t.Errorf("%s, %d: %d %.100q", name, n, a.status, a.body)
			}
			up, got := echoes(t)
			if a := serve(t, h, up).get(post("text/html", in)); a.status == 200 {
				if e := <-got; leaked([]byte(e.body)) || strings.Contains(strings.ReplaceAll(e.body, "\x00", ""), secret) {
					t.Errorf("%s, %d in a request: %.100q", name, n, e.body)
				}
			}
		}
	}
	text := strings.Repeat("\n", 5000) + strings.Repeat("<p>hello", 10000)
	serve(t, h, answers(200, "text/html", text)).get().is(t, 200, text)
}

func TestLabels(t *testing.T) {
	for contentType, want := range map[string]label{
		"":                                {},
		"application/json":                {kind: document, mediaType: "application/json"},
		"Application/JSON ; Charset=UTF8": {kind: document, mediaType: "application/json"},
		"application/geo+json-seq":        {kind: sequence, mediaType: "application/geo+json-seq"},
		"application/stream+json":         {kind: sequence, mediaType: "application/stream+json"},
		"text/event-stream;charset=utf-8": {kind: events, mediaType: "text/event-stream"},
		"image/png":                       {kind: media, mediaType: "image/png"},
		"image/svg+xml":                   {kind: opaque, mediaType: "image/svg+xml"},
		"image/x+json":                    {kind: document, mediaType: "image/x+json"},
		"audio/x+xml":                     {kind: opaque, mediaType: "audio/x+xml"},
		"text/html":                       {kind: listed, mediaType: "text/html"},
		"text/css":                        {kind: opaque, mediaType: "text/css"},
		"application/json; charset=utf-7": {kind: document, mediaType: "application/json", charset: otherCharset},
		"application/json, text/html":     {kind: opaque, mediaType: "a malformed Content-Type"},
	} {
		h := http.Header{"Content-Type": {contentType}}
		if got := readLabel(h, mediaTypes{"text/html"}); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v", contentType, got, want)
		}
	}
}

func TestCacheControlIsMadePrivate(t *testing.T) {
	for _, c := range []struct {
		in   []string
		want string
	}{
		{nil, "private"},
		{[]string{"public, max-age=60"}, "private, max-age=60"},
		{[]string{"max-age=60", "s-maxage=9, PUBLIC"}, "private, max-age=60"},
		{[]string{"private"}, "private"},
		{[]string{`private="x-a", must-revalidate`}, "private, must-revalidate"},
		{[]string{"no-cache, no-store"}, "no-store"},
		{[]string{"no-transform"}, "private, no-transform"},
	} {
		got := private(c.in)
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

// TestHeaderValuesAreNotShared: Caddy's header directive replaces parts of
// values where they stand.
func TestHeaderValuesAreNotShared(t *testing.T) {
	h := provision(t, "except role x {\n remove ssn\n}")
	for range 2 {
		w, err := direct(t, h, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			if got := r.Header["Accept-Encoding"]; len(got) != 1 || got[0] != "identity" {
				t.Errorf("Accept-Encoding %q", got)
			}
			r.Header["Accept-Encoding"][0] = "changed"
			return answers(200, "application/json", "{}").ServeHTTP(w, r)
		}))
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"Cache-Control": "private", "Vary": "Authorization"} {
			if got := w.Header()[name]; len(got) != 1 || got[0] != want {
				t.Errorf("%s %q", name, got)
			} else {
				got[0] = "changed"
			}
		}
	}
}

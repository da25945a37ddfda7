package requestpath

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"
	"unicode/utf8"
)

// request reads a request target as net/http does.
func request(t testing.TB, target string) *url.URL {
	t.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatalf("%q: %v", target, err)
	}
	return u
}

func TestPathsWithTwoReadingsAreRefused(t *testing.T) {
	for _, tc := range []struct {
		target string
		want   error
	}{
		{"/a%2fb", ErrSeparator},
		{"/a%2Fb", ErrSeparator},
		{"/a%5cb", ErrBackslash},
		{"/a%5C", ErrBackslash},
		{`/a\b`, ErrBackslash},
		{`/a/..\b`, ErrBackslash},
		{"/%2e/a", ErrDot},
		{"/a/%2e%2e/b", ErrDot},
		{"/a/.%2E/b", ErrDot},
		{"/a%2ejson", ErrDot},
		{"/a/./b", ErrDot},
		{"/a/../b", ErrDot},
		{"/a/..", ErrDot},
		{"/..", ErrDot},
		{"/.", ErrDot},
		{"/a/.", ErrDot},
		{"//", ErrEmpty},
		{"//a", ErrEmpty},
		{"/a//b", ErrEmpty},
		{"/a//", ErrEmpty},
		{"/a;v=1", ErrParameter},
		{"/a/;/b", ErrParameter},
		{"/..;/b", ErrParameter},
		{"/a%3Bb", ErrParameter},
		{"/a%00", ErrControl},
		{"/a%0d%0ab", ErrControl},
		{"/a%09b", ErrControl},
		{"/a%7f", ErrControl},
		{"/a%c2%85", ErrControl},
		{"/%252e%252e/a", ErrTwice},
		{"/a%252fb", ErrTwice},
		{"/%2541", ErrTwice},
		{"/%25%32%65", ErrTwice},
		{"/%25u002e", ErrTwice},
		{"/%25U002F", ErrTwice},
		{"/%25252e", ErrTwice},
		{"/%c0%af", ErrUTF8},
		{"/%c0%ae%c0%ae/a", ErrUTF8},
		{"/%ff", ErrUTF8},
		{"/%e0%80%af", ErrUTF8},
		{"/%ed%a0%80", ErrUTF8},
		{"/a%ef%bc%8fb", ErrLookalike},
		{"/%ef%bc%8e%ef%bc%8e/a", ErrLookalike},
		{"/%e2%80%a5/a", ErrLookalike},
		{"/a%cd%bev", ErrLookalike},
		{"*", ErrForm},
		{"http:a", ErrForm},
		{"mailto:a@b", ErrForm},
	} {
		p, err := Of(http.MethodGet, request(t, tc.target))
		if !errors.Is(err, tc.want) || p != "" {
			t.Errorf("%s: got %q, %v; want %v", tc.target, p, err, tc.want)
		}
	}
}

func TestPathsWithOneReadingAreDecodedOnce(t *testing.T) {
	for target, want := range map[string]string{
		"/":                            "/",
		"/a":                           "/a",
		"/a/":                          "/a/",
		"/a/b.json":                    "/a/b.json",
		"/.well-known/x":               "/.well-known/x",
		"/...":                         "/...",
		"/a/..b":                       "/a/..b",
		"/a%20b":                       "/a b",
		"/caf%C3%A9":                   "/café",
		"/%E8%AE%A2%E5%8D%95":          "/订单",
		"/%E8%AE%A2%EF%BC%9B":          "/订；",
		"/%61dmin":                     "/admin",
		"/100%25":                      "/100%",
		"/100%25-wool":                 "/100%-wool",
		"/a%3Fb":                       "/a?b",
		"/a%23b":                       "/a#b",
		"/a,b=c:d@e!f$g&h'i(j)k*l+m~n": "/a,b=c:d@e!f$g&h'i(j)k*l+m~n",
		"http://host/a":                "/a",
		"http://host":                  "/",
		"/a?b=//../%2f;":               "/a",
		"/%E2%80%A6":                   "/…",
	} {
		got, err := Of(http.MethodGet, request(t, target))
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", target, got, err, want)
		}
	}
}

func TestConnectTargetIsRefused(t *testing.T) {
	if p, err := Of(http.MethodConnect, &url.URL{Host: "host:80"}); !errors.Is(err, ErrForm) {
		t.Errorf("got %q, %v; want %v", p, err, ErrForm)
	}
	// The extended CONNECT of RFC 8441 has a path like any request.
	if p, err := Of(http.MethodConnect, &url.URL{Host: "host", Path: "/ws"}); p != "/ws" || err != nil {
		t.Errorf("got %q, %v; want /ws", p, err)
	}
}

func TestRewrittenPathsAreReadAsTheyAreSent(t *testing.T) {
	for _, tc := range []struct {
		u    url.URL
		want string
		err  error
	}{
		// A rewrite may leave a path without the slash, or a raw path
		// that no longer belongs to it: then the path is what is sent.
		{url.URL{Path: "a"}, "", ErrForm},
		{url.URL{Path: "/a", RawPath: "/b%2fc"}, "/a", nil},
		{url.URL{Path: "/a/b", RawPath: "/a%2fb"}, "", ErrSeparator},
		{url.URL{Path: "/a.b", RawPath: "/a%2eb"}, "", ErrDot},
		{url.URL{Path: "/a%2eb"}, "", ErrTwice},
	} {
		got, err := Of(http.MethodGet, &tc.u)
		if got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%+v: got %q, %v; want %q, %v", tc.u, got, err, tc.want, tc.err)
		}
	}
}

// lenient decodes every %XX and leaves the rest, as careless servers do.
func lenient(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && hex(s[i+1]) && hex(s[i+2]) {
			v, _ := url.PathUnescape(s[i : i+3])
			b.WriteString(v)
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// checkLaw holds what an accepted path promises to whoever reads it next.
func checkLaw(t *testing.T, u *url.URL, p string) {
	t.Helper()
	escaped := u.EscapedPath()
	if escaped == "" {
		escaped = "/"
	}
	switch once := lenient(escaped); {
	case once != p:
		t.Errorf("%q: sent as %q, which decodes to %q", p, escaped, once)
	case lenient(once) != once:
		t.Errorf("%q: decoding twice gives %q", p, lenient(once))
	case strings.Count(escaped, "/") != strings.Count(p, "/"):
		t.Errorf("%q: sent as %q with other segments", p, escaped)
	}
	cleaned := path.Clean(p)
	if cleaned != "/" && strings.HasSuffix(p, "/") {
		cleaned += "/"
	}
	if cleaned != p || path.Clean(strings.ReplaceAll(p, `\`, "/")) != path.Clean(p) {
		t.Errorf("%q: cleaning gives %q", p, cleaned)
	}
	if !utf8.ValidString(p) || strings.ContainsFunc(p, func(c rune) bool { return c < ' ' || c == 0x7f || c == ';' || c == '\\' }) {
		t.Errorf("%q: accepted", p)
	}
	again, err := url.ParseRequestURI(escaped)
	if err != nil {
		t.Fatalf("%q: sent as %q: %v", p, escaped, err)
	}
	if q, err := Of(http.MethodGet, again); q != p || err != nil {
		t.Errorf("%q: sent as %q, read as %q, %v", p, escaped, q, err)
	}
}

// FuzzOf: an accepted path decodes once, cleans to itself, and is read the
// same by the next one that asks.
func FuzzOf(f *testing.F) {
	for _, s := range []string{"/", "/a/b", "/a%2fb", "/%252e", "/a%20b/", "/100%25", "/%25u002e", "http:a", "/a;b", "/%c0%af", "*", "//a", "/订单/%E8%AE%A2", "/a%3f%23"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		if p, err := Of(http.MethodGet, u); err == nil {
			checkLaw(t, u, p)
		}
		// What a rewrite could have made of it.
		v := &url.URL{Path: target}
		if p, err := Of(http.MethodGet, v); err == nil {
			checkLaw(t, v, p)
		}
	})
}

// TestEveryShortPathKeepsTheLaw tries all strings over the bytes that matter.
func TestEveryShortPathKeepsTheLaw(t *testing.T) {
	const alphabet = "/.%2eF5c;a"
	longest := 6
	if testing.Short() {
		longest = 4
	}
	accepted := 0
	var walk func(s string)
	walk = func(s string) {
		if u, err := url.ParseRequestURI(s); err == nil {
			if p, err := Of(http.MethodGet, u); err == nil {
				accepted++
				checkLaw(t, u, p)
			}
		}
		if len(s) == longest || t.Failed() {
			return
		}
		for _, c := range alphabet {
			walk(s + string(c))
		}
	}
	walk("/")
	if accepted == 0 {
		t.Error("no path was accepted")
	}
}

// BenchmarkOf: go test -bench Of ./modules/internal/requestpath
func BenchmarkOf(b *testing.B) {
	for _, target := range []string{"/teams/red/report", "/caf%C3%A9/a%20b"} {
		b.Run(target[:6], func(b *testing.B) {
			u := request(b, target)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Of(http.MethodGet, u); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

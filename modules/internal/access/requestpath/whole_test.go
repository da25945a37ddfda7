package requestpath

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestEncodedSlashesStayWhole(t *testing.T) {
	for raw, want := range map[string]struct {
		path string
		err  error
	}{
		"/a/b":                           {"/a/b", nil},
		"/projects/group%2Fproject":      {"/projects/group%2Fproject", nil},
		"/projects/group%2fproject/x":    {"/projects/group%2Fproject/x", nil},
		"/a%2Fb%20c/d":                   {"/a%2Fb c/d", nil},
		"/queues/%2F/q":                  {"/queues/%2F/q", nil},
		"/@scope%2Fname":                 {"/@scope%2Fname", nil},
		"/repos/https%3A%2F%2Fh%2Fa.git": {"/repos/https:%2F%2Fh%2Fa.git", nil},
		"/a%2F":                          {"/a%2F", nil},
		"/a%2F..%2Fb":                    {"", ErrDot},
		"/a%2F../b":                      {"", ErrDot},
		"/..%2Fb":                        {"", ErrDot},
		"/a%2F.":                         {"", ErrDot},
		"/a%2F%2e%2e":                    {"", ErrDot},
		"/a%2Fb%2ejson":                  {"", ErrDot},
		"/a%252Fb":                       {"", ErrTwice},
		"/a%2Fb%252Fc":                   {"", ErrTwice},
		"/a%2Fb//c":                      {"", ErrEmpty},
		"/a%2Fb%5Cc":                     {"", ErrBackslash},
		"/a%2Fb;c":                       {"", ErrParameter},
		"/a%2Fb%00":                      {"", ErrControl},
		"/a%2F%c0%af":                    {"", ErrUTF8},
		"/a%2F%ef%bc%8f":                 {"", ErrLookalike},
	} {
		u, err := url.ParseRequestURI(raw)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Whole("GET", u)
		if got != want.path || !errors.Is(err, want.err) {
			t.Errorf("%s: got %q, %v; want %q, %v", raw, got, err, want.path, want.err)
		}
	}
}

// FuzzWhole holds that what Whole accepts is decoded once and nothing more, and
// that Of accepts nothing with an encoded slash.
func FuzzWhole(f *testing.F) {
	f.Add("/a%2Fb/c%20d")
	f.Add("/%2F%252F")
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.ParseRequestURI(raw)
		if err != nil || !strings.HasPrefix(raw, "/") {
			return
		}
		whole, err := Whole("GET", u)
		if err != nil {
			return
		}
		if strings.ReplaceAll(whole, Slash, "/") != u.Path {
			t.Fatalf("%q: got %q, and the path is %q", raw, whole, u.Path)
		}
		for segment := range strings.SplitSeq(u.Path, "/") {
			if segment == "." || segment == ".." {
				t.Fatalf("%q: a dot segment was accepted", raw)
			}
		}
		if of, err := Of("GET", u); err == nil && of != whole {
			t.Fatalf("%q: Of has %q, Whole %q", raw, of, whole)
		}
	})
}

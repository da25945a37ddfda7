package guard

import (
	"strings"
	"testing"
)

// FuzzSubject: what is read is printed so that it is read again as the same.
func FuzzSubject(f *testing.F) {
	for _, text := range []string{"203.0.113.7", "::ffff:192.0.2.1", "2001:db8::1/48", "fe80::1%eth0", "caller:a||b", "key:api_key|k", "10.0.0.0/8 from other sites", "caller: from other sites"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSubject(text)
		if err != nil {
			return
		}
		if again, err := ParseSubject(s.String()); err != nil || again != s {
			t.Errorf("%q is %+v, printed %q and read as %+v: %v", text, s, s, again, err)
		}
	})
}

// FuzzTemplate: the value that a pattern finds stands in the path at its place.
func FuzzTemplate(f *testing.F) {
	f.Add("/orders/{id}", "/orders/7")
	f.Add("/a/*/{id}/*", "/a/b/c/d/e")
	f.Add("/*", "/")
	f.Fuzz(func(t *testing.T, pattern, path string) {
		p, err := ParseTemplate(pattern)
		if err != nil {
			return
		}
		v, ok := p.Match(path, "{id}")
		if !ok || !p.Has("{id}") {
			return
		}
		if v == "" || strings.Contains(v, "/") || !strings.Contains(path+"/", "/"+v+"/") {
			t.Errorf("%s of %q: %q", pattern, path, v)
		}
	})
}

// FuzzCount: a rule is refused or can be counted by.
func FuzzCount(f *testing.F) {
	f.Add("distinct {id} 404 4xx by network /24 /48")
	f.Add("failed_credentials forbidden by caller")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseCount(strings.Fields(text))
		if err != nil {
			return
		}
		if r.Over, r.In = 1, MinWindow; r.Check() != nil {
			return
		}
		c := NewCounter(r, 1)
		for range 4 {
			_, _ = c.Observe(at(0), &Request{Address: addr("192.0.2.1"), Status: 404, Path: "/a"}, r.Bytes)
		}
	})
}

package credential

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/query"
)

// FuzzRemovedParameterIsGone has the law of removeParameter: nobody finds the
// parameter in what is left, however it is spelled, and everybody finds the
// others as they were.
func FuzzRemovedParameterIsGone(f *testing.F) {
	for _, q := range []string{"", "token=x", "a=1&token=x&b", "%74oken=x&token", "a=%zz&token=1", "&&=&token=&", "to+ken=1&token=2", "token=a=b&token%3D=c"} {
		f.Add(q, "token")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		before, err := url.ParseQuery(text)
		left := removeParameter(text, name)
		after, err2 := url.ParseQuery(left)
		if err == nil && err2 != nil {
			t.Fatalf("%q without %q is %q, which cannot be parsed", text, name, left)
		}
		if _, ok := after[name]; ok {
			t.Fatalf("%q without %q is %q", text, name, left)
		}
		if err != nil {
			return
		}
		for spelled := range before {
			if query.CanMean(spelled, name) {
				delete(before, spelled)
			}
		}
		if name == "" {
			return // url.ParseQuery passes over empty pairs
		}
		if !reflect.DeepEqual(before, after) {
			t.Fatalf("%q without %q is %q: %v, want %v", text, name, left, after, before)
		}
	})
}

// FuzzRemovedCookieIsGone has the same law of removeCookie.
func FuzzRemovedCookieIsGone(f *testing.F) {
	for _, c := range []string{"", "id=x", "a=b; id=x;c=d", "id=x; id=y", " id =x", "id", "\tid=x;;", "xid=1; idx=2", `a="b; id=x"`, "\fid=x", "a=b,id=x"} {
		f.Add(c, "id")
	}
	f.Fuzz(func(t *testing.T, line, name string) {
		if (&Source{Cookie: name}).Check() != nil {
			return
		}
		after := &http.Request{Header: http.Header{"Cookie": {line}}}
		removeCookie(after.Header, name)
		if left := after.CookiesNamed(name); len(left) > 0 {
			t.Fatalf("%q without %q is %q", line, name, after.Header["Cookie"])
		}
		// A pair with a comma may be two to somebody, and the space behind a name
		// that has no value is a part of it to PHP.
		var want []*http.Cookie
		for pair := range strings.SplitSeq(line, ";") {
			for _, c := range (&http.Request{Header: http.Header{"Cookie": {pair}}}).Cookies() {
				if c.Name != name && !isCookieOf(pair, name) {
					want = append(want, c)
				}
			}
		}
		if got := after.Cookies(); len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q without %q is %q", line, name, after.Header["Cookie"])
		}
	})
}

// FuzzReadNeverTakesTwo has the law of reading: a credential that is read has
// none of the letters that could separate it from a second one, it is in one
// place, and it is gone when it has been removed.
func FuzzReadNeverTakesTwo(f *testing.F) {
	for _, h := range []string{"Bearer x", "bearer  x", "Bearer", "Bearer\tx", "Bearer x y", "Bearer x,Bearer y", "Basic x", "Bearer=x", "ApiKey k_1", "Bearer k_1", "Bearer \"k_1"} {
		f.Add(h, "id=y", "token=z")
	}
	ours := func(text string) bool { return strings.HasPrefix(text, "k_") }
	places := [][]Source{
		{{Header: "Authorization", Scheme: Bearer}, {Cookie: "id"}, {Query: "token"}},
		{{Header: "Authorization", Scheme: "ApiKey"}, {Header: "Authorization", Scheme: Bearer, Ours: ours}, {Query: "token"}},
		{{Header: "Authorization"}, {Query: "id"}},
	}
	var all []*Sources
	for _, list := range places {
		for i := range list {
			if err := list[i].Check(); err != nil {
				f.Fatal(err)
			}
		}
		all = append(all, NewSources("token", list))
	}
	f.Fuzz(func(t *testing.T, header, cookie, query string) {
		for _, l := range all {
			r := &http.Request{Header: http.Header{"Authorization": {header}, "Cookie": {cookie}}, URL: &url.URL{RawQuery: query}}
			raw, err := l.Read(r)
			if err != nil {
				continue
			}
			if raw == "" || strings.ContainsAny(raw, " \t,;") {
				t.Fatalf("read %q", raw)
			}
			if len(l.Places(r)) != 1 {
				t.Fatalf("read %q of %v", raw, l.Places(r))
			}
			l.Remove(r)
			if raw, err := l.Read(r); err == nil {
				t.Fatalf("%q is still there after it was removed", raw)
			}
		}
	})
}

package credential

import (
	"net/http"
	"net/url"
	"testing"
)

// TestNamesThatServersFoldTogetherAreNotTwoFields: what is not the field itself
// but would be read for it behind us makes the request unreadable, whichever of
// the spellings was configured.
func TestNamesThatServersFoldTogetherAreNotTwoFields(t *testing.T) {
	for _, c := range []struct {
		name, other string
		refused     bool
	}{
		{"X-Key", "X_Key", true},
		{"X-Key", "X.KEY", true},
		{"X_Key", "X-Key", true},
		{"X.Key", "X_key", true},
		{"X-Key", "X-Kez", false},
		{"X-Key", "XX-Key", false},
		{"Key", "Kez", false},
		{"X-Key", "X+Key", false},
	} {
		s := Source{Header: c.name}
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		l := NewSources("key", []Source{s})
		for _, own := range []bool{true, false} {
			r := &http.Request{Header: http.Header{c.other: {"other"}}, URL: new(url.URL)}
			if own {
				r.Header[s.Header] = []string{"own"}
			}
			raw, err := l.Read(r)
			var want error
			switch {
			case c.refused:
				want = l.errUnread
			case !own:
				want = ErrMissing
			}
			if err != want || err == nil && raw != "own" {
				t.Errorf("%s beside %s: got %q, %v, want %v", c.name, c.other, raw, err, want)
			}
		}
	}
}

func TestSourcesThatCannotBeAreRefused(t *testing.T) {
	for _, s := range []Source{
		{},
		{Header: "X", Query: "x"},
		{Cookie: "x", Query: "x"},
		{Header: "X", Cookie: "x"},
		{Query: "x", Scheme: "S"},
		{Cookie: "x", Scheme: "S"},
		{Header: "X Y"},
		{Header: "X:"},
		{Header: "X", Scheme: "a b"},
		{Header: "cookie"},
		{Header: "Host"},
		{Cookie: "a=b"},
		{Cookie: "a;"},
	} {
		if err := s.Check(); err == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
}

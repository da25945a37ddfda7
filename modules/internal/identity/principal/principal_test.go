package principal

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestListsOfNamesAreRead(t *testing.T) {
	for _, c := range []struct {
		in    string
		words []string // where a text is a list, as in scope
		one   []string // where it is one name
		ok    bool
	}{
		{`"a b  c"`, []string{"a", "b", "c"}, []string{"a b  c"}, true},
		{`"Sales lead"`, []string{"Sales", "lead"}, []string{"Sales lead"}, true},
		{`"a\u00a0b"`, []string{"a\u00a0b"}, []string{"a\u00a0b"}, true},
		{`""`, nil, nil, true},
		{`["a b","c",""]`, []string{"a b", "c"}, []string{"a b", "c"}, true},
		{`[]`, nil, nil, true},
		{`null`, nil, nil, true},
		{`{"b":{"org":"x"},"a":true,"no":false,"none":null}`, []string{"a", "b"}, []string{"a", "b"}, true},
		{`["a",1]`, nil, nil, false},
		{`["a",null]`, nil, nil, false},
		{`[["a"]]`, nil, nil, false},
		{`true`, nil, nil, false},
		{`7`, nil, nil, false},
	} {
		claims := NewClaims([]byte(`{"in":` + c.in + `}`))
		for words, want := range map[bool][]string{true: c.words, false: c.one} {
			got, ok := claims.Names(Pointer{"in"}, Form{Words: words, Objects: true})
			if ok != c.ok || !slices.Equal(got, want) {
				t.Errorf("%s, words %v: got %q, %v, want %q, %v", c.in, words, got, ok, want, c.ok)
			}
		}
	}
}

func TestObjectIsAListOnlyWhereSomebodyAsksForIt(t *testing.T) {
	claims := NewClaims([]byte(`{"roles":{"admin":{"org":"x"}}}`))
	if got, ok := claims.Names(Pointer{"roles"}, Form{}); ok {
		t.Errorf("got %q", got)
	}
}

func TestWildcardReadsNamesOfEveryElement(t *testing.T) {
	claims := NewClaims([]byte(`{"roles":[{"name":"a"},{"name":"b c"},{"id":1},"x"],"by":{"o":{"name":"d"},"p":{"name":["e","f"]}},"*":{"name":"star"},"bad":[{"name":1}],"text":"x"}`))
	for path, want := range map[string][]string{
		"/roles/*/name": {"a", "b c"}, "/by/*/name": {"d", "e", "f"}, "/text/*/name": nil, "/none/*/name": nil, "/text/*": nil,
	} {
		p, err := ParsePointer(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := claims.Names(p, Form{}); !ok || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v, want %q", path, got, ok, want)
		}
	}
	if got, ok := claims.Names(Pointer{"bad", "*", "name"}, Form{}); ok {
		t.Errorf("a name that is a number: got %q", got)
	}
	if _, ok := claims.Lookup(Pointer{"roles", "*", "name"}); ok {
		t.Error("a wildcard found something where it means nothing")
	}
}

func TestClaimsArePrintedWithoutLoss(t *testing.T) {
	for _, c := range []struct {
		in   any
		want string
	}{
		{"a<b>\n", "a<b>\n"},
		{int64(9007199254740993), "9007199254740993"},
		{json.Number("123456789012345678901234567890"), "123456789012345678901234567890"},
		{1.5, "1.5"},
		{true, "true"},
		{nil, ""},
		{[]any{"a", int64(1)}, `["a",1]`},
		{map[string]any{"k": "<&>"}, `{"k":"<&>"}`},
	} {
		if got := Text(c.in); got != c.want {
			t.Errorf("%v: got %q, want %q", c.in, got, c.want)
		}
	}
}

func TestPrincipalOfARequest(t *testing.T) {
	ours := &Principal{ID: "alice", Roles: []string{"clerk"}, Scopes: []string{"read"}}
	get := func(set map[string]any) func(string) (any, bool) {
		return func(key string) (any, bool) { v, ok := set[key]; return v, ok }
	}
	if !ours.HasRole("clerk") || ours.HasRole("Clerk") || !ours.HasScope("read") || ours.HasScope("") {
		t.Error("roles or scopes are not what they are")
	}
	p := Of(get(map[string]any{"http.auth.user.id": "bob", "http.auth.user.roles": "a,b, a", "http.auth.user.scopes": " x  y "}))
	if p == nil || p.ID != "bob" || p.Kind != KindOther || !slices.Equal(p.Roles, []string{"a", "b"}) || !slices.Equal(p.Scopes, []string{"x", "y"}) {
		t.Errorf("got %+v", p)
	}
	var nobody *Principal
	if nobody.HasRole("a") || nobody.HasScope("a") {
		t.Error("nobody has roles")
	}
	for _, set := range []map[string]any{nil, {"http.auth.user.id": ""}, {"http.auth.user.id": 7}, {"http.auth.user.roles": "admin"}} {
		if p := Of(get(set)); p != nil {
			t.Errorf("%v: got %+v", set, p)
		}
	}
	if p := Of(nil); p != nil {
		t.Errorf("got %+v", p)
	}
}

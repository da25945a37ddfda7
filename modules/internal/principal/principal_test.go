package principal

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestListsOfNamesAreRead(t *testing.T) {
	for _, c := range []struct {
		in   any
		want []string
		ok   bool
	}{
		{"a b  c", []string{"a", "b", "c"}, true},
		{"", nil, true},
		{[]any{"a b", "c"}, []string{"a b", "c"}, true},
		{[]any{}, nil, true},
		{[]any{"a", int64(1)}, nil, false},
		{[]any{"a", nil}, nil, false},
		{[]any{[]any{"a"}}, nil, false},
		{nil, nil, false},
		{true, nil, false},
		{int64(7), nil, false},
		{map[string]any{"a": true}, nil, false},
	} {
		got, ok := Strings(c.in)
		if ok != c.ok || !slices.Equal(got, c.want) {
			t.Errorf("%v: got %q, %v, want %q, %v", c.in, got, ok, c.want, c.ok)
		}
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
	if p := Of(map[string]any{Var: ours}, get(map[string]any{"http.auth.user.id": "mallory"})); p != ours {
		t.Errorf("got %+v", p)
	}
	if !ours.HasRole("clerk") || ours.HasRole("Clerk") || !ours.HasScope("read") || ours.HasScope("") {
		t.Error("roles or scopes are not what they are")
	}
	p := Of(nil, get(map[string]any{"http.auth.user.id": "bob", "http.auth.user.roles": "a,b a", "http.auth.user.scopes": " x  y "}))
	if p == nil || p.ID != "bob" || p.Kind != KindOther || !slices.Equal(p.Roles, []string{"a", "b"}) || !slices.Equal(p.Scopes, []string{"x", "y"}) {
		t.Errorf("got %+v", p)
	}
	var nobody *Principal
	if nobody.HasRole("a") || nobody.HasScope("a") {
		t.Error("nobody has roles")
	}
	for _, set := range []map[string]any{nil, {"http.auth.user.id": ""}, {"http.auth.user.id": 7}, {"http.auth.user.roles": "admin"}} {
		if p := Of(nil, get(set)); p != nil {
			t.Errorf("%v: got %+v", set, p)
		}
	}
	if p := Of(nil, nil); p != nil {
		t.Errorf("got %+v", p)
	}
}

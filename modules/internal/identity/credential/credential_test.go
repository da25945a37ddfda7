package credential

import (
	"net/http"
	"strings"
	"testing"
)

func TestChallengeCannotBeBrokenOutOf(t *testing.T) {
	for _, test := range []struct{ value, want string }{
		{`plain`, `Bearer realm="plain"`},
		{`a"b`, `Bearer realm="a\"b"`},
		{`a\b`, `Bearer realm="a\\b"`},
		{"a\r\nX-Evil: 1", `Bearer realm="aX-Evil: 1"`},
		{"tab\tnul\x00del\x7f", `Bearer realm="tabnuldel"`},
		{`x", error="none`, `Bearer realm="x\", error=\"none"`},
		{"é", `Bearer realm=""`},
	} {
		if got := Challenge("Bearer", "realm", test.value); got != test.want {
			t.Errorf("%q: got %s, want %s", test.value, got, test.want)
		}
	}
}

func TestChallengeLeavesOutEmptyParameters(t *testing.T) {
	got := Challenge("Bearer", "realm", "r", "error", "", "scope", "a b")
	if want := `Bearer realm="r", scope="a b"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEveryKindOfRefusalHasItsStatus(t *testing.T) {
	for kind, want := range map[Kind]int{
		Missing: http.StatusUnauthorized, Malformed: http.StatusBadRequest, Bad: http.StatusUnauthorized,
		Insufficient: http.StatusForbidden, Unavailable: http.StatusServiceUnavailable,
	} {
		if got := (&Error{Kind: kind}).Status(); got != want {
			t.Errorf("kind %d: got %d, want %d", kind, got, want)
		}
	}
}

func TestErrorShowsNoCause(t *testing.T) {
	e := &Error{Code: "c", Detail: "d", Cause: http.ErrNoCookie}
	if strings.Contains(e.Error(), http.ErrNoCookie.Error()) {
		t.Errorf("the text %q holds the cause", e)
	}
}

package suggest

import "testing"

func TestNearestIsWhatWasMeant(t *testing.T) {
	words := []string{"issuer", "audience", "jwks", "DELETE", "GET", "PUT", "manager", "角色管理员"}
	for word, want := range map[string]string{
		"isuer": "issuer", "isseur": "issuer", "DELTE": "DELETE", "DEL": "", "GTE": "GET", "POT": "PUT", "manger": "manager",
		"issuer": "", "": "", "x": "", "audiense": "audience", "nothing": "", "角色管理": "角色管理员", "jwk": "jwks", "xyz": "",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	if got := DidYouMean("isuer", words); got != "; did you mean 'issuer'?" {
		t.Errorf("got %q", got)
	}
}

func TestDistanceIsSymmetric(t *testing.T) {
	for _, p := range [][2]string{{"ab", "ba"}, {"abc", "cab"}, {"", "ab"}, {"kitten", "sitting"}} {
		a, b := []rune(p[0]), []rune(p[1])
		if x, y := distance(a, b, 9), distance(b, a, 9); x != y {
			t.Errorf("%q: %d and %d", p, x, y)
		}
	}
	if got := distance([]rune("kitten"), []rune("sitting"), 9); got != 3 {
		t.Errorf("got %d", got)
	}
}

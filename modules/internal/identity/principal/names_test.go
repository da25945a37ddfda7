package principal

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestNoNameBecomesTwo(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  string
	}{
		{nil, ""},
		{[]string{"clerk", "Domain Users"}, "clerk,Domain Users"},
		{[]string{"x,admin"}, "x%2Cadmin"},
		{[]string{"x%2Cadmin"}, "x%252Cadmin"},
		{[]string{"x", " admin "}, "x,%20admin%20"},
		{[]string{"x\r\nadmin"}, "x%0D%0Aadmin"},
		{[]string{"x\u2028admin", "\u00a0admin"}, "x%E2%80%A8admin,%C2%A0admin"},
		{[]string{"李 明", "Müller"}, "李 明,Müller"},
		{[]string{"a\xffb"}, "a%FFb"},
	} {
		if got := JoinNames(c.names); got != c.want {
			t.Errorf("%q: got %q, want %q", c.names, got, c.want)
		}
	}
}

// FuzzJoinNames holds that whoever splits a list at its commas, trims the
// elements as HTTP does and decodes them has the names, as many as there were.
func FuzzJoinNames(f *testing.F) {
	f.Add("a", "b,c")
	f.Add(" a", "%2C")
	f.Add("\x00", "\xff\xc2\xa0")
	f.Fuzz(func(t *testing.T, a, b string) {
		if a == "" || b == "" {
			return
		}
		text := JoinNames([]string{a, b})
		if !Printable(text) || Padded(text) {
			t.Fatalf("%q does not survive a header field", text)
		}
		var back []string
		for part := range strings.SplitSeq(text, ",") {
			name, err := url.PathUnescape(strings.TrimSpace(part))
			if err != nil {
				t.Fatal(err)
			}
			back = append(back, name)
		}
		if !slices.Equal(back, []string{a, b}) {
			t.Fatalf("%q and %q became %q", a, b, back)
		}
	})
}

func TestNamesThatWouldArriveAsOthersAreNone(t *testing.T) {
	for _, id := range []string{"", " alice", "alice ", "alice\t", "\u00a0alice", "ali\x00ce", "ali\nce", "alice\u2029", "alice\x85", "a\xffb", "\u0085"} {
		if CheckID(id) == nil {
			t.Errorf("%q is somebody", id)
		}
	}
	for _, id := range []string{"alice", "Łukasz Müller 😀", "a,b", "{env.HOME}", "CN=a b, O=c"} {
		if err := CheckID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for name, ok := range map[string]bool{
		"clerk": true, "Domain Users": true, "CN=Users": true, "": false, "a,b": false, "a\tb": false, " a": false, "a\u00a0": false, "a\x00": false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestListsOfOthersAreSplit(t *testing.T) {
	for list, want := range map[string][]string{
		"":               nil,
		"a b  a":         {"a", "b"},
		"a,b, c d ,":     {"a", "b", "c d"},
		"Domain Users,x": {"Domain Users", "x"},
	} {
		if got := SplitNames(list); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", list, got, want)
		}
	}
}

func TestNamesAreQuotedAsCaddyfilesWantThem(t *testing.T) {
	if got := QuoteAll([]string{"clerk", "Domain Users", `a"b`, ""}); got != `clerk "Domain Users" "a\"b" ""` {
		t.Errorf("got %s", got)
	}
}

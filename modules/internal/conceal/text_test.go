package conceal

import (
	"strings"
	"testing"
)

const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"

func TestTextIsCleanedAndOtherwiseLeftAlone(t *testing.T) {
	m := NewText([]string{"X-Private"}, []string{"ssn"})
	for in, want := range map[string]string{
		"":                                  "",
		"handled request":                   "handled request",
		"/a?page=2&q=x%20y":                 "/a?page=2&q=x%20y",
		"/a?access_token=abc&page=2":        "/a?access_token=REDACTED&page=2",
		"/a?page=2&access%5Ftoken=abc#frag": "/a?page=2&access%5Ftoken=REDACTED#frag",
		"/cb?code=4/P7q7W91&state=xyz":      "/cb?code=REDACTED&state=REDACTED",
		"/a?SSN=1234":                       "/a?SSN=REDACTED",
		"/a?token=":                         "/a?token=",
		"exit code=1, state=running":        "exit code=1, state=running",
		"dial: password=hunter2 refused":    "dial: password=REDACTED refused",
		"code=abc&state=def":                "code=REDACTED&state=REDACTED",
		"Bearer " + jwt:                     "Bearer REDACTED",
		"invalid bearer token":              "invalid bearer token",
		"Basic authentication failed.":      "Basic authentication failed.",
		"basic YWxpY2U6aHVudGVyMg==":        "basic REDACTED",
		"Basic dXNlcjpwYXNz":                "Basic REDACTED",
		"got " + jwt + ", sorry":            "got REDACTED, sorry",
		"eyJ and friends":                   "eyJ and friends",
		"http://u@h/?sig=a&sig=b;sig=c":     "http://u@h/?sig=REDACTED&sig=REDACTED;sig=REDACTED",
		"/a?next=https%3A%2F%2Fx%2Fcb%3Faccess_token%3Dabc%26b%3Dc&d=e": "/a?next=REDACTED&d=e",
		"/a?next=%2Fcb%3Fu%3D%252Fx%253Ftoken%253Dabc":                  "/a?next=REDACTED",
		"/a?h=Bearer%20YWxpY2U6aHVudGVyMg":                              "/a?h=REDACTED",
		"/a?q=100%25&r=a%3Db":                                           "/a?q=100%25&r=a%3Db",
		"/a?password=ab)c,d'e(f&x=1":                                    "/a?password=REDACTED&x=1",
		"/a?password=ab;cd&x=1":                                         "/a?password=REDACTED&x=1",
		"/a?x=a=token=b":                                                "/a?x=a=token=REDACTED",
		"(see 'token=abc', please)":                                     "(see 'token=REDACTED', please)",
		"客户=张三":                                                         "客户=张三",
	} {
		if got := m.Clean(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// The law: a token is found wherever it stands in whatever text, and what is
// clean already stays as it is.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "a=b&c=d", "Bearer x", "?token=", "==&;#,", "bearer bearer bearer"} {
		f.Add(s, " "+s)
	}
	m := NewText(nil, nil)
	f.Fuzz(func(t *testing.T, before, after string) {
		out := m.Clean(before + " " + jwt + " " + after)
		if strings.Contains(out, jwt) {
			t.Fatalf("%q", out)
		}
		if again := m.Clean(out); again != out {
			t.Fatalf("%q became %q", out, again)
		}
		if out := m.Clean(before + "?token=Hunter2Hunter2&" + after); strings.Contains(out, "Hunter2") && !strings.Contains(before+after, "Hunter2") {
			t.Fatalf("%q", out)
		}
	})
}

// Whatever a client writes into a URL, to log it takes no longer than its
// length warrants. Where it did, this does not end.
func TestLongTextsAreCleanedInLinearTime(t *testing.T) {
	m := NewText(nil, nil)
	for _, unit := range []string{"=", "a=%,", "?a=%2525", "%25", "token=a;", ";a", "bearer abc1 ", "eyJhbGciOiJIUzI1NiJ9.a ", "&token=x;b"} {
		text := strings.Repeat(unit, 1<<18/len(unit))
		for _, s := range []string{text, "?token=" + text, "a=" + text} {
			if out := m.Clean(s); len(out) > 2*len(s) {
				t.Errorf("%q became %d bytes", unit, len(out))
			}
		}
	}
}

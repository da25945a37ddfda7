package guard

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

var began = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// at is a moment so long after the beginning.
func at(d time.Duration) Moment { return Moment{Since: d, Wall: began.Add(d)} }

// counter makes a counter of a rule as it is written.
func counter(t testing.TB, count string, over int64, in time.Duration, more ...func(*Rule)) *Counter {
	t.Helper()
	r, err := ParseCount(strings.Fields(count))
	if err != nil {
		t.Fatal(err)
	}
	r.Name, r.Over, r.In = "test", over, in
	for _, f := range more {
		f(&r)
	}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	return NewCounter(r, 1<<16)
}

func paths(t testing.TB, texts ...string) func(*Rule) {
	return func(r *Rule) {
		for _, text := range texts {
			p, err := ParseTemplate(text)
			if err != nil {
				t.Fatal(err)
			}
			r.Paths = append(r.Paths, p)
		}
	}
}

func addr(text string) netip.Addr { return Normal(netip.MustParseAddr(text)) }

func rejected(address string, credential uint64) *Request {
	return &Request{Address: addr(address), Proven: true, Status: 401, Signals: OfCode("invalid_token") | Rejected, Credential: credential}
}

func TestCodesAreSortedAndFit(t *testing.T) {
	if !slices.IsSorted(codes) || len(codes) > 58 {
		t.Fatalf("%d codes, sorted %t", len(codes), slices.IsSorted(codes))
	}
	for name, s := range words {
		if s == 0 {
			t.Errorf("%s stands for nothing", name)
		}
	}
}

func TestTheSameCredentialAgainCountsOnce(t *testing.T) {
	c := counter(t, "failed_credentials by address", 20, time.Minute)
	for i := range 500 { // an honest client whose token has expired
		if a, ok := c.Observe(at(time.Duration(i)*time.Second), rejected("192.0.2.1", 7), false); ok {
			t.Fatalf("request %d: %s", i, a.Text)
		}
	}
	for i := range uint64(21) {
		a, ok := c.Observe(at(10*time.Minute), rejected("192.0.2.2", 100+i), false)
		if ok != (i == 20) {
			t.Fatalf("credential %d: %t", i+1, ok)
		}
		if ok && (a.Subject.String() != "192.0.2.2" || a.Text != "21 failed_credentials in 1m, more than 20") {
			t.Fatalf("%s: %s", a.Subject, a.Text)
		}
	}
}

// TestRequestsWithoutCredentialAreNoGuesses: a client of the Model Context Protocol
// sends two for each connection, and pages poll.
func TestRequestsWithoutCredentialAreNoGuesses(t *testing.T) {
	failed := counter(t, "failed_credentials by address", 5, time.Minute)
	plain := counter(t, "401 by address", 5, time.Minute)
	q := &Request{Address: addr("192.0.2.1"), Status: 401, Path: "/mcp", Signals: OfCode("missing_credentials") | Rejected}
	for i := range 100 {
		for _, c := range []*Counter{failed, plain} {
			if a, ok := c.Observe(at(time.Duration(i)*100*time.Millisecond), q, false); ok {
				t.Fatalf("%d: %s", i, a.Text)
			}
		}
	}
	alarms := 0
	for i := range 20 { // while a scan is one
		q.Path = fmt.Sprintf("/scan/%d", i)
		if _, ok := plain.Observe(at(10*time.Second), q, false); ok {
			alarms++
		}
	}
	if alarms != 1 {
		t.Errorf("%d alarms", alarms)
	}
}

func TestWindowSlides(t *testing.T) {
	c := counter(t, "404 by address", 10, time.Minute)
	q := &Request{Address: addr("192.0.2.1"), Status: 404}
	for i := range 1000 { // 9 in each minute
		if a, ok := c.Observe(at(time.Duration(i)*7*time.Second), q, false); ok {
			t.Fatalf("%d: %s", i, a.Text)
		}
	}
	for i := range 20 {
		a, ok := c.Observe(at(3*time.Hour+time.Duration(i)*time.Second), q, false)
		if ok != (i == 10) {
			t.Fatalf("%d: %t %s", i, ok, a.Text)
		}
	}
}

func TestBytesAreCountedWhenTheResponseEnds(t *testing.T) {
	c := counter(t, "bytes by address", 1<<20, time.Hour)
	q := &Request{Address: addr("192.0.2.1"), Status: 200, Bytes: 300 << 10}
	for i := range 4 {
		if _, ok := c.Observe(at(0), q, false); ok {
			t.Fatal("counted at the beginning")
		}
		if _, ok := c.Observe(at(0), q, true); ok != (i == 3) {
			t.Fatalf("%d: %t", i, ok)
		}
	}
}

func TestWhoIsCounted(t *testing.T) {
	alice := &principal.Principal{ID: "alice", Issuer: "https://id.example", Kind: principal.KindJWT, KeyID: "the issuer's"}
	key := &principal.Principal{ID: "alice", Kind: principal.KindAPIKey, KeyID: "k1"}
	for _, test := range []struct {
		by   string
		q    Request
		want string
	}{
		{"address", Request{Address: addr("192.0.2.77")}, "192.0.2.77"},
		{"address", Request{Address: addr("::ffff:192.0.2.77")}, "192.0.2.77"},
		{"address", Request{Address: addr("2001:db8:1:2:3:4:5:6")}, "2001:db8:1:2::/64"},
		{"address", Request{Address: addr("fe80::1%eth0")}, "fe80::/64"},
		{"network", Request{Address: addr("192.0.2.77")}, "192.0.2.0/24"},
		{"network", Request{Address: addr("2001:db8:1:2::6")}, "2001:db8:1:2::/64"},
		{"network /20 /48", Request{Address: addr("2001:db8:1:2::6")}, "2001:db8:1::/48"},
		{"address", Request{Address: addr("192.0.2.77"), Foreign: true}, "192.0.2.77 from other sites"},
		{"caller", Request{Principal: alice}, "caller:https://id.example|alice"},
		{"caller", Request{Address: addr("192.0.2.77")}, "192.0.2.77"},
		{"key", Request{Principal: key}, "key:api_key|k1"},
		{"key", Request{Principal: alice}, ""},
		{"key", Request{}, ""},
		{"address", Request{}, ""},
	} {
		by, err := ParseBy(strings.Fields(test.by))
		if err != nil {
			t.Fatal(err)
		}
		s, ok := by.Subject(&test.q)
		if ok != (test.want != "") || ok && s.String() != test.want {
			t.Errorf("%s of %+v: %s %t, want %s", test.by, test.q, s, ok, test.want)
		}
		tab := newTable(1, 1000, false)
		if _, ok := tab.key(by, &test.q, ""); ok != (test.want != "") {
			t.Errorf("%s of %+v has a key: %t", test.by, test.q, ok)
		}
		if !ok {
			continue
		}
		if again, err := ParseSubject(s.String()); err != nil || again != s {
			t.Errorf("%s is read as %s: %v", s, again, err)
		}
	}
}

func TestSubjectsThatAreNone(t *testing.T) {
	for _, text := range []string{"", "x", "caller:", "key:", "0.0.0.0/0", "10.0.0.0/7", "::/0", "2000::/15", "::ffff:0:0/90", "192.0.2.1/33"} {
		if s, err := ParseSubject(text); err == nil {
			t.Errorf("%q is %s", text, s)
		}
	}
	for text, want := range map[string]string{"::ffff:192.0.2.1": "192.0.2.1", "::ffff:192.0.2.0/120": "192.0.2.0/24", "192.0.2.9/24": "192.0.2.0/24", "2001:db8::1": "2001:db8::/64"} {
		if s, err := ParseSubject(text); err != nil || s.String() != want {
			t.Errorf("%q is %s, want %s: %v", text, s, want, err)
		}
	}
}

func TestCountsThatCannotBe(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "by what",
		"401":                             "by what",
		"401 by":                          "by what",
		"by address":                      "by what",
		"401 by subject":                  "by address",
		"401 by network /7 /64":           "by address",
		"401 by network 24 64":            "by address",
		"40x by address":                  "no signal",
		"104 by address":                  "no signal",
		"invalid_tokens by address":       "no signal",
		"distinct by caller":              "count distinct takes",
		"distinct id by caller":           "count distinct takes",
		"bytes 404 by caller":             "bytes counts nothing else",
		"distinct path bytes by address":  "bytes counts nothing else",
		"distinct {id} 2zz by caller":     "no signal",
		"impossible_travel by caller":     "no signal",
		"distinct {} by caller":           "count distinct takes",
		"failed_credentials by the_issue": "by address",
	} {
		if _, err := ParseCount(strings.Fields(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestTemplates(t *testing.T) {
	for _, test := range []struct {
		pattern, path, want string
		ok                  bool
	}{
		{"/orders/{id}", "/orders/7", "7", true},
		{"/orders/{id}", "/orders/", "", false},
		{"/orders/{id}", "/orders/7/", "", false},
		{"/orders/{id}", "/orders/7/items", "", false},
		{"/orders/{id}/*", "/orders/7/items/3", "7", true},
		{"/orders/{id}/*", "/orders/7", "", false},
		{"/*", "/a/b", "", true},
		{"/", "/", "", true},
		{"/", "/a", "", false},
		{"/a/*/{id}", "/a/b/c", "c", true},
		{"/a/*/{id}", "/a//c", "", false},
		{"/orders/{id}", "orders/7", "", false},
	} {
		p, err := ParseTemplate(test.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if v, ok := p.Match(test.path, "{id}"); ok != test.ok || ok && v != test.want {
			t.Errorf("%s of %s: %q %t", test.pattern, test.path, v, ok)
		}
	}
	for _, text := range []string{"", "a", "/a?b", "/a b", "/%41", "/{", "/a{id}", "/{id", "/a//b", "/a/../b", "/**", "/{}"} {
		if p, err := ParseTemplate(text); err == nil {
			t.Errorf("%q is read as %s", text, p)
		}
	}
}

func TestWalkOfIDsIsFoundWithin20(t *testing.T) {
	for name, c := range map[string]*Counter{
		"from the first minute": counter(t, "distinct {id} by caller", 15, 10*time.Minute, paths(t, "/orders/{id}")),
		"of a route":            counter(t, "distinct {id} by caller", 15, 10*time.Minute),
	} {
		found := 0
		for i := range 200 {
			q := &Request{
				Address: addr("192.0.2.1"), Status: 200, Path: fmt.Sprintf("/orders/%d", 1000+i),
				Route: "/orders/{id}", RoutePath: fmt.Sprintf("/orders/%d", 1000+i),
				Principal: &principal.Principal{ID: "mallory", Kind: principal.KindAPIKey, KeyID: "k"},
			}
			if a, ok := c.Observe(at(time.Duration(i)*time.Second), q, false); ok && found == 0 {
				found = i + 1
				if want := "16 distinct {id} of /orders/{id} in 10m, more than 15"; a.Text != want {
					t.Errorf("%s: %s, want %s", name, a.Text, want)
				}
			}
		}
		if found == 0 || found > 20 {
			t.Errorf("%s: found at %d", name, found)
		}
	}
}

func TestExceptedCallersAreNotCounted(t *testing.T) {
	c := counter(t, "distinct {id} by caller", 5, time.Minute, paths(t, "/orders/{id}"), func(r *Rule) { r.ExceptRoles, r.ExceptUsers = []string{"exporter"}, []string{"batch"} })
	for i := range 100 {
		for _, p := range []*principal.Principal{{ID: "a", Roles: []string{"exporter"}}, {ID: "batch"}} {
			if _, ok := c.Observe(at(0), &Request{Status: 200, Path: fmt.Sprintf("/orders/%d", i), Principal: p}, false); ok {
				t.Fatal("an alarm")
			}
		}
	}
}

func TestAlarmIsRaisedOnceAWindow(t *testing.T) {
	c := counter(t, "404 by address", 10, time.Minute)
	q := &Request{Address: addr("192.0.2.1"), Status: 404}
	n := 0
	for i := range 600 {
		if _, ok := c.Observe(at(time.Duration(i)*500*time.Millisecond), q, false); ok {
			n++
		}
	}
	if n != 5 {
		t.Errorf("%d alarms in five minutes", n)
	}
	c = counter(t, "404 by address", 10, time.Minute, func(r *Rule) { r.Reset = true })
	n = 0
	for range 110 {
		if _, ok := c.Observe(at(0), q, false); ok {
			n++
		}
	}
	if n != 10 {
		t.Errorf("%d alarms, want one for each eleven", n)
	}
}

// TestCodesAreThoseOfTheManual: a signal that no layer gives would never be counted.
func TestCodesAreThoseOfTheManual(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/reference.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range codes {
		if !strings.Contains(string(text), "\n| `"+code+"` | ") {
			t.Errorf("docs/reference.md has no code %s", code)
		}
	}
}

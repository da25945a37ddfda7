package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/report"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
)

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"/a", "/a", true},
		{"/a", "/ab", false},
		{"/a/*", "/a/b", true},
		{"/a/*", "/a/", true},
		{"/a/*", "/a/b/c", false},
		{"/a/**", "/a/b/c", true},
		{"/*/c", "/a/c", true},
		{"/*/c", "/a/b/c", false},
		{"**", "", true},
		{"**/c", "/a/b/c", true},
		{"/a*b*c", "/axxbyyc", true},
		{"/a*b*c", "/axxbyy", false},
		{"", "", true},
		{"", "/", false},
		{"/客户/*", "/客户/1", true},
	} {
		if got := glob(c.pattern, c.path); got != c.want {
			t.Errorf("glob(%q, %q) is %t", c.pattern, c.path, got)
		}
	}
}

func TestTimesAreMeantWhereTheReaderIs(t *testing.T) {
	beijing := time.FixedZone("", 8*3600)
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	utc := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		text     string
		now      time.Time
		from, to string // empty: refused
	}{
		{"2026-11-01", utc, "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"},
		{"2026-11-01T10:00:00Z", utc, "2026-11-01T10:00:00Z", "2026-11-01T10:00:00Z"},
		{"2026-11-01T10:00:00+08:00", utc, "2026-11-01T02:00:00Z", "2026-11-01T02:00:00Z"},
		{"2026-11-01 10:00", utc, "2026-11-01T10:00:00Z", "2026-11-01T10:00:00Z"},
		{"2h", utc, "2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"},
		{"1.5d", utc, "2026-11-21T00:00:00Z", "2026-11-21T00:00:00Z"},
		{"2026-11-30", utc.In(beijing), "2026-11-29T16:00:00Z", "2026-11-30T16:00:00Z"},
		{"2026-11-30 22:00", utc.In(beijing), "2026-11-30T14:00:00Z", "2026-11-30T14:00:00Z"},
		{"yesterday", utc.In(beijing), "2026-11-20T16:00:00Z", "2026-11-21T16:00:00Z"},
		{"Today", utc.In(beijing), "2026-11-21T16:00:00Z", "2026-11-22T16:00:00Z"},
		{"now", utc, "2026-11-22T12:00:00Z", "2026-11-22T12:00:00Z"},
		// A day of 25 hours, and one of 23.
		{"yesterday", time.Date(2026, 10, 26, 9, 0, 0, 0, berlin), "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{"2026-03-29", time.Date(2026, 10, 26, 9, 0, 0, 0, berlin), "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		// What the text form prints can be given back.
		{"2026-11-22 20:00:00.500 +08:00", utc, "2026-11-22T12:00:00Z", "2026-11-22T12:00:00Z"},
		{"-1h", utc, "", ""},
		{"", utc, "", ""},
		{"tomorrow", utc, "", ""},
		{"2026-02-30", utc, "", ""},
		{"1e30d", utc, "", ""},
	} {
		from, to, err := parseTime(test.text, test.now)
		if (err != nil) != (test.from == "") || err == nil && (from.UTC().Format(time.RFC3339) != test.from || to.UTC().Format(time.RFC3339) != test.to) {
			t.Errorf("%q: %v to %v, %v; want %s to %s", test.text, from.UTC(), to.UTC(), err, test.from, test.to)
		}
	}
	f := filter{since: "2026-11-22", until: "2026-11-22"}
	if err := f.compile(utc); err != nil || !f.match(&record.Record{Kind: record.Outcome, Time: utc}) {
		t.Errorf("a day from its beginning to its end: %v", err)
	}
	if err := (&filter{since: "today", until: "yesterday"}).compile(utc); err == nil {
		t.Error("a span that ends before it begins is accepted")
	}
}

func TestTextSaysWhereAndWhen(t *testing.T) {
	t.Setenv("TZ", "")
	line := textLine(7, &record.Record{
		Kind: record.Outcome, Time: time.Date(2026, 11, 30, 14, 42, 0, 0, time.UTC), Site: "billing.example.com", Method: "GET", Path: "/customers/42",
		Status: 401, Client: "127.0.0.1", Code: "invalid_token",
		Decisions: []record.Decision{{Layer: "jwt_auth", Result: "deny", Rule: "jwt_auth", Code: "invalid_token", Detail: "token has expired"}},
	})
	for _, want := range []string{time.Date(2026, 11, 30, 14, 42, 0, 0, time.UTC).Local().Format("2006-01-02 15:04:05.000 -07:00"), "billing.example.com", "token has expired"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q is not in %q", want, line)
		}
	}
}

// fill makes a trail of n records, in which every hundredth was refused.
func fill(tb testing.TB, n int) string {
	tb.Helper()
	h := handlerOn(tb, trail.Off)
	tr := h.trail.trail.Load()
	var buf []byte
	for i := range n {
		r := record.Record{
			Kind: record.Outcome, Time: time.Date(2026, 11, 22, 10, 0, i, 0, time.UTC), ID: fmt.Sprintf("6f1c0b9e-1d1b-4b1e-9c52-%012d", i),
			Site: "api.example.com", Host: "api.example.com", Proto: "HTTP/2.0", Method: "GET", Path: fmt.Sprintf("/orders/%d", i%1000), Client: fmt.Sprintf("192.0.2.%d", i%200), Peer: "10.0.0.1:40000", TLS: "1.3",
			User: record.User{ID: fmt.Sprintf("user%d", i%500), Issuer: "https://id.example.com", Kind: "jwt", Key: "k1", Token: fmt.Sprint(i)}, Roles: []string{"clerk"},
			Decisions: []record.Decision{{Layer: "jwt_auth", Result: "allow"}, {Layer: "rbac", Result: "allow", Rule: "role clerk: allow GET /orders/*"}}, Status: 200, Sent: 500, Micros: 1500, Redacted: 2, RedactedBy: []string{"mask mobile $..phone"},
		}
		if i%100 == 0 {
			r.Status, r.Code = 403, "forbidden"
			r.Decisions[1] = record.Decision{Layer: "rbac", Result: "deny", Rule: "default", Code: "forbidden"}
		}
		switch i % 50 {
		case 7:
			r.MCP = record.Call{Method: "tools/call", Name: fmt.Sprintf("order_%d", i)}
		case 8:
			r.MCP = record.Call{Method: "tools/list"}
		case 9:
			r.MCP = record.Call{Method: "resources/read", Name: "file:///docs/a.md"}
		}
		buf = r.Append(buf[:0])
		for tr.Append(buf) != nil { // the queue is full
			time.Sleep(time.Millisecond)
		}
	}
	if err := tr.Close(); err != nil {
		tb.Fatal(err)
	}
	return h.Path
}

// The law: what the literals let pass over unread would not have matched.
func TestLiteralsChangeNothingButSpeed(t *testing.T) {
	dir := fill(t, 1000)
	for _, f := range []filter{
		{},
		{user: "user7"},
		{user: "-"},
		{role: "clerk"},
		{status: "403"},
		{status: "4xx"},
		{decision: "deny"},
		{decision: "rbac=deny"},
		{decision: "jwt_auth=deny"},
		{path: "/orders/1*"},
		{path: "**/7"},
		{method: "GET"},
		{method: "POST"},
		{address: "192.0.2.7"},
		{address: "192.0.2.0/29"},
		{id: "6f1c0b9e-1d1b-4b1e-9c52-000000000007"},
		{site: "api.example.com"},
		{code: "forbidden"},
		{call: "tools/call"},
		{call: "GET"},
		{called: "order_*"},
		{called: "file:///docs/*"},
		{called: "**"},
		{tool: "order_7"},
		{tool: "*"},
		{tool: "file:///docs/a.md"},
		{rule: "default"},
		{kind: "outcome"},
		{kind: "intent"},
		{since: "2026-11-22T10:05:00Z", until: "2026-11-22T10:06:00Z"},
		{user: "user0", status: "403", path: "/orders/*", address: "192.0.2.0"},
	} {
		f.kind = strings.TrimSpace(f.kind)
		if err := f.compile(time.Now()); err != nil {
			t.Fatal(err)
		}
		var fast, slow []int64
		collect := func(to *[]int64) func(int64, []byte, *record.Record) error {
			return func(i int64, _ []byte, _ *record.Record) error { *to = append(*to, i); return nil }
		}
		if err := f.walk(context.Background(), dir, trail.ScanOptions{}, collect(&fast)); err != nil {
			t.Fatal(err)
		}
		all := filter{}
		if err := all.walk(context.Background(), dir, trail.ScanOptions{}, func(i int64, line []byte, r *record.Record) error {
			if f.match(r) {
				slow = append(slow, i)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(fast, slow) {
			t.Errorf("%+v: %d found, %d match", f, len(fast), len(slow))
		}
	}
}

func TestCallsOfMCPServersAreFound(t *testing.T) {
	dir := fill(t, 100)
	for args, want := range map[string]string{
		"--tool order_7": "1", "--tool order_*": "2", "--tool *": "2", "--tool search": "0",
		"--mcp-method tools/list": "2", "--mcp-method resources/read --mcp-name file:///docs/*": "2", "--mcp-name **": "4",
	} {
		got, err := run(append(append([]string{"search", "--count"}, strings.Fields(args)...), dir)...)
		if err != nil || strings.TrimSpace(got) != want {
			t.Errorf("%s: %v, %s; want %s", args, err, got, want)
		}
	}
	got, err := run("search", "--tool", "order_7", "--format", "text", dir)
	if err != nil || !strings.Contains(got, "  tools/call order_7") {
		t.Errorf("%v: %s", err, got)
	}
}

func TestTailPrintsTheLast(t *testing.T) {
	dir := fill(t, 95)
	for _, n := range []int{0, 1, 7, 94, 95, 96, 200} {
		var got []int64
		f := filter{}
		if err := tail(context.Background(), dir, &f, n, false, func(i int64, _ []byte, r *record.Record) error {
			if r.ID == "" {
				t.Error("an empty record")
			}
			got = append(got, i)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		want := min(n, 95)
		if len(got) != want || want > 0 && (got[0] != int64(95-want) || got[want-1] != 94 || !slices.IsSorted(got)) {
			t.Errorf("tail of %d: %v", n, got)
		}
	}
}

// go test -run '^$' -bench 'Search|Summary' -cpu 1 ./modules/audit
func BenchmarkSearch(b *testing.B) {
	dir := fill(b, 100_000)
	for name, f := range map[string]filter{"id": {id: "6f1c0b9e-1d1b-4b1e-9c52-000000099999"}, "user": {user: "user7"}, "deny": {decision: "rbac=deny"}} {
		b.Run(name, func(b *testing.B) {
			var bytes int64
			for b.Loop() {
				if err := f.walk(context.Background(), dir, trail.ScanOptions{Progress: func(n int64) { bytes = n }}, func(int64, []byte, *record.Record) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(bytes)
		})
	}
}

func BenchmarkSummary(b *testing.B) {
	dir := fill(b, 100_000)
	var bytes int64
	for b.Loop() {
		c := report.NewCounter()
		f := filter{}
		if err := f.walk(context.Background(), dir, trail.ScanOptions{Progress: func(n int64) { bytes = n }}, func(i int64, _ []byte, r *record.Record) error {
			c.Add(i, r)
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(bytes)
}

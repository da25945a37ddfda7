package report

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
)

var start = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func outcome(at time.Duration, user, path string, status int) *record.Record {
	r := &record.Record{Kind: record.Outcome, Time: start.Add(at), ID: fmt.Sprint(at), Method: "GET", Path: path, Status: status, Client: "192.0.2.1", Micros: 1000, User: record.User{ID: user}}
	if status == 403 {
		r.Code = "forbidden"
		r.Decisions = []record.Decision{{Layer: "rbac", Result: "deny", Rule: "deny " + path, Code: "forbidden"}}
	}
	return r
}

func TestCounterCounts(t *testing.T) {
	c := NewCounter()
	c.Add(0, &record.Record{Kind: record.Change, Time: start, Layer: "rbac", What: "policy loaded", Detail: "+ x"})
	c.Add(1, &record.Record{Kind: record.Intent, Time: start, ID: "lost"})
	c.Add(2, &record.Record{Kind: record.Intent, Time: start, ID: "1s"})
	for i := range 100 {
		status := 200
		switch {
		case i%10 == 0:
			status = 403
		case i%25 == 1:
			status = 502
		}
		user := "alice"
		if i%2 == 1 {
			user = ""
		}
		r := outcome(time.Duration(i)*time.Second, user, fmt.Sprintf("/orders/%d/lines", i*7), status)
		r.Redacted = i % 3
		if r.Redacted > 0 {
			r.RedactedBy = []string{"mask $..phone"}
		}
		c.Add(int64(i+3), r)
	}
	s := c.Summary()
	if s.Requests != 100 || s.Refused != 10 || s.Errors != 4 || s.Anonymous != 50 || s.Redacted != 99 || s.Unfinished != 1 || s.UserCount != 1 || len(s.Changes) != 1 {
		t.Errorf("%+v", s)
	}
	var total int64
	for _, b := range s.Buckets {
		total += b.Total
	}
	if total != 100 || len(s.Buckets) > maxBuckets || s.P50 < 800*time.Microsecond || s.P50 > 1300*time.Microsecond {
		t.Errorf("timeline of %d, %d buckets, p50 %v", total, len(s.Buckets), s.P50)
	}
	if r := s.Tables[6].Rows; len(r) != 1 || r[0] != (Row{"GET /orders/{id}/lines", 100, 0}) {
		t.Errorf("routes: %+v", r)
	}
	if r := s.Tables[3].Rows; len(r) != 1 || r[0].Count != 66 {
		t.Errorf("masked: %+v", r)
	}
}

func TestCallsOfMCPServersAreCounted(t *testing.T) {
	c := NewCounter()
	c.List = true
	call := func(name string, denied bool) {
		r := outcome(0, "alice", "/mcp", 200)
		r.MCP = record.Call{Method: "tools/call", Name: name}
		if denied {
			r.MCP.Error, r.Code = -32602, "mcp_call_denied"
			r.Decisions = []record.Decision{{Layer: "mcp", Result: "deny", Rule: "default: deny", Code: "mcp_call_denied"}}
		}
		c.Add(0, r)
	}
	call("search", false)
	call("search", false)
	call("refund", true)
	call("refund", true)
	call("refund", false)
	call(`=cmd()<script>alert(1)</script>`, true)
	s := c.Summary()
	last := s.Tables[len(s.Tables)-1]
	want := []Row{{"tools/call refund", 3, 2}, {"tools/call search", 2, 0}, {`tools/call =cmd()<script>alert(1)</script>`, 1, 1}}
	if last.Title != "Calls of MCP servers" || last.Second != "denied" || !slices.Equal(last.Rows, want) {
		t.Errorf("got %+v", last)
	}
	if len(s.Matches) == 0 || s.Matches[0].Route != "GET /mcp tools/call search" {
		t.Errorf("the list of requests: %+v", s.Matches)
	}
	var page, figures bytes.Buffer
	if err := errors.Join(s.WriteHTML(&page), s.WriteCSV(&figures)); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(page.String(), "<script") || !strings.Contains(page.String(), "tools/call =cmd()&lt;script&gt;") {
		t.Error("the page has the name as it is, or not at all")
	}
	if !strings.Contains(figures.String(), "Calls of MCP servers,tools/call refund,3,2\n") {
		t.Errorf("the figures lack the calls:\n%s", figures.String())
	}
	c = NewCounter()
	c.Add(0, outcome(0, "alice", "/", 200))
	for _, table := range c.Summary().Tables {
		if table.Title == last.Title {
			t.Error("a trail without calls has a table of them")
		}
	}
}

// TestTheLastChangesAreShown: a change does not disappear behind many others
// before it, and what is left out is said to be.
func TestTheLastChangesAreShown(t *testing.T) {
	c := NewCounter()
	for i := range maxChanges + 50 {
		c.Add(int64(i), &record.Record{
			Kind: record.Change, Time: start.Add(time.Duration(i) * time.Second), Layer: "rbac", What: fmt.Sprint("change ", i),
			Source: "policy.yaml", By: "10.0.0.1:99", Detail: "+ first line\n- second <line>\n" + strings.Repeat("x\n", 100),
		})
	}
	s := c.Summary()
	if len(s.Changes) != maxChanges || s.ChangesLeftOut != 50 || s.Changes[0].What != "change 50" || s.Changes[maxChanges-1].What != fmt.Sprint("change ", maxChanges+49) {
		t.Errorf("%d changes from %q, %d left out", len(s.Changes), s.Changes[0].What, s.ChangesLeftOut)
	}
	var page, csv bytes.Buffer
	if err := errors.Join(s.WriteHTML(&page), s.WriteCSV(&csv)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<div>&#43; first line</div><div>- second &lt;line&gt;</div>", "<td>10.0.0.1:99</td>", "50 earlier ones are left out", "<td>change 249</td>"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if n := strings.Count(page.String(), "<div>x</div>"); n > maxChanges*maxLines {
		t.Errorf("%d lines of details", n)
	}
	for _, want := range []string{`change,"earlier ones, left out",50,`, "rbac: change 249 by 10.0.0.1:99,policy.yaml,"} {
		if !strings.Contains(csv.String(), want) {
			t.Errorf("the table has no %s", want)
		}
	}
}

func TestMemoryIsBoundedAndTheFrequentSurvive(t *testing.T) {
	c := NewCounter()
	for i := range 60_000 {
		user := fmt.Sprintf("user%d", i)
		if i%10 == 0 {
			user = "frequent"
		}
		r := outcome(time.Duration(i)*time.Minute, user, fmt.Sprintf("/%x/%s", i*7919, strings.Repeat("y", i%5)), 200)
		c.Add(int64(i), r)
	}
	for name, n := range map[string]int{"users": len(c.users.counts), "routes": len(c.paths.counts)} {
		if n > maxTracked {
			t.Errorf("%d %s tracked", n, name)
		}
	}
	if len(c.walks.callers) > maxCallers || len(c.walks.order) > maxCallers {
		t.Errorf("%d callers, %d in order", len(c.walks.callers), len(c.walks.order))
	}
	s := c.Summary()
	if r := s.Tables[0].Rows[0]; r.Name != "frequent" || r.Count != 6000 || !s.Tables[0].Capped || len(s.Buckets) > maxBuckets {
		t.Errorf("most frequent: %+v", r)
	}
}

func TestAnomaliesAreFoundAndUsualTrafficIsNot(t *testing.T) {
	kinds := func(f func(c *Counter)) string {
		c := NewCounter()
		f(c)
		var out []string
		for _, a := range c.Summary().Anomalies {
			out = append(out, a.Kind+" "+a.Who)
		}
		return strings.Join(out, ", ")
	}
	second := func(i int) time.Duration { return time.Duration(i) * time.Second }
	for name, c := range map[string]struct {
		f    func(c *Counter)
		want string
	}{
		"one user walks ids": {func(c *Counter) {
			for i := range 25 {
				c.Add(int64(i), outcome(second(i), "eve", fmt.Sprintf("/orders/%d", 1000+i), 200))
			}
		}, "walking ids eve"},
		"backwards, with other requests between": {func(c *Counter) {
			for i := range 25 {
				c.Add(int64(2*i), outcome(second(i), "eve", fmt.Sprintf("/orders/%d/lines", 1000-i), 404))
				c.Add(int64(2*i+1), outcome(second(i), "eve", "/health", 200))
			}
		}, "walking ids eve"},
		"many different ids": {func(c *Counter) {
			for i := range 250 {
				c.Add(int64(i), outcome(second(i), "eve", fmt.Sprintf("/orders/%d", i*7919%100_003), 200))
			}
		}, "many ids eve"},
		"many rejected requests": {func(c *Counter) {
			for i := range 40 {
				c.Add(int64(i), outcome(second(i), "", "/admin", 403))
			}
		}, "many rejected requests anonymous 192.0.2.1"},
		"a large share of rejected requests": {func(c *Counter) {
			for i := range 10 {
				status := 403
				if i < 2 {
					status = 200
				}
				c.Add(int64(i), outcome(second(i), "xi", "/orders", status))
			}
		}, "share of rejected requests xi"},
		"many callers refused": {func(c *Counter) {
			for i := range 100 {
				status := 200
				if i%9 < 4 {
					status = 403
				}
				c.Add(int64(i), outcome(second(i), fmt.Sprintf("user%d", i%20), "/orders", status))
			}
		}, "share of rejected requests all callers"},
		"refused policies": {func(c *Counter) {
			for i := range 10 {
				c.Add(int64(i), &record.Record{Kind: record.Change, Time: start, Layer: "rbac", What: "policy refused", Source: "p.yaml", Detail: "line 3"})
			}
		}, "policy refused p.yaml"},
		"looking for paths": {func(c *Counter) {
			for i := range 60 {
				c.Add(int64(i), outcome(second(i), "", "/"+strings.Repeat("w", i+1), 404))
			}
		}, "looking for paths anonymous 192.0.2.1"},
		"one user everywhere": {func(c *Counter) {
			for i := range 10 {
				r := outcome(second(i), "eve", "/", 200)
				r.Client = fmt.Sprintf("192.0.2.%d", i)
				c.Add(int64(i), r)
			}
		}, "many addresses eve"},
		"usual": {func(c *Counter) {
			for i := range 2000 {
				c.Add(int64(i), outcome(second(i*5), fmt.Sprintf("user%d", i%7), fmt.Sprintf("/orders/%d", i*7919%97), 200))
			}
		}, ""},
		"the same id again and again": {func(c *Counter) {
			for i := range 300 {
				c.Add(int64(i), outcome(second(i), "bob", "/orders/7", 200))
			}
		}, ""},
		"slowly over days": {func(c *Counter) {
			for i := range 25 {
				c.Add(int64(i), outcome(time.Duration(i)*time.Hour, "bob", fmt.Sprintf("/orders/%d", i), 200))
			}
		}, ""},
	} {
		if got := kinds(c.f); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestFilteredReportListsItsRequestsAndHidesNoChange(t *testing.T) {
	c := NewCounter()
	c.List = true
	for i := range 300 {
		r := outcome(time.Duration(i)*time.Second, "lena", fmt.Sprintf("/customers/%d", i), 200)
		r.Site = "billing.example.com"
		c.Add(int64(1000+i), r)
	}
	c.AddChange(&record.Record{Kind: record.Change, Time: start, Layer: "rbac", What: "policy loaded", Source: "p.yaml"})
	page := func(s *Summary) string {
		t.Helper()
		var b strings.Builder
		if err := s.WriteHTML(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	s := c.Summary()
	html := page(s)
	if len(s.Matches) != maxMatches || s.Matches[0].Index != 1000 || !strings.Contains(html, "GET /customers/199<") || strings.Contains(html, "GET /customers/200<") {
		t.Errorf("%d requests are listed", len(s.Matches))
	}
	for _, want := range []string{"the first 200 of 300", "billing.example.com", "policy loaded", "lena"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	none := NewCounter().Summary()
	none.Filter, none.ChangesHidden = "kind outcome", true
	if html := page(none); strings.Contains(html, "None recorded") || !strings.Contains(html, "Not shown with this filter") {
		t.Error("the page says that there were no changes, which were not looked for")
	}
}

// hostile is what a client may send as a user's name or a path.
const hostile = "</td></table><script>alert(1)</script><img src=x onerror=alert(1)>\"'`\x00\x1b[31m\u202e=cmd|' /C calc'!A0"

func hostileSummary() *Summary {
	c := NewCounter()
	for i := range 40 {
		r := outcome(time.Duration(i)*time.Second, hostile, "/"+hostile, 403)
		r.Client, r.Method, r.Code, r.RedactedBy, r.Redacted = hostile, hostile, hostile, []string{hostile}, 1
		c.Add(int64(i), r)
	}
	c.Add(40, &record.Record{Kind: record.Change, Time: start, Layer: hostile, What: hostile, Source: hostile, Detail: hostile})
	s := c.Summary()
	s.Title, s.Filter, s.Integrity, s.Problem = hostile, hostile, hostile, hostile
	return s
}

func TestPageIsSafeWhateverWasSent(t *testing.T) {
	var b bytes.Buffer
	if err := hostileSummary().WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, bad := range []string{"<script", "<img", "onerror=alert(1)>", "\x00", "\x1b", "\u202e", "http://", "https://", "url(", "@import"} {
		if strings.Contains(page, bad) {
			i := strings.Index(page, bad)
			t.Errorf("the page contains %q: …%s…", bad, page[max(0, i-60):min(len(page), i+60)])
		}
	}
	if !strings.Contains(page, "&lt;script&gt;") {
		t.Error("the names are not there at all, so the test shows nothing")
	}
	// What is not text is what the template wrote: known elements only.
	d := xml.NewDecoder(strings.NewReader(strings.Replace(page, "<!DOCTYPE html>", "", 1)))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := tok.(xml.StartElement); ok {
			if !strings.Contains(" html head meta title style body header h1 h2 p div dl dt dd section table tr th td tbody svg rect line text g span strong code ", " "+e.Name.Local+" ") {
				t.Errorf("element <%s>", e.Name.Local)
			}
			for _, a := range e.Attr {
				if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "href" || a.Name.Local == "src" {
					t.Errorf("<%s %s=%q>", e.Name.Local, a.Name.Local, a.Value)
				}
			}
		}
	}
}

func TestCSVHoldsNoFormulaAndReadsBack(t *testing.T) {
	var b bytes.Buffer
	c := NewCounter()
	for _, user := range []string{"=1+1", "+1", "-cmd", "@SUM(A1)", "plain", "a,\"b\"\nc"} {
		c.Add(0, outcome(0, user, "/", 200))
	}
	s := c.Summary()
	s.Title = "=HYPERLINK()"
	if err := s.WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	users := 0
	for _, row := range rows {
		if row[0] == "Users" {
			users++
		}
		for _, cell := range row {
			if cell != "" && strings.ContainsAny(cell[:1], "=@+-") && cell != "+1" {
				t.Errorf("cell %q", cell)
			}
		}
	}
	if users != 6 {
		t.Errorf("%d users", users)
	}
}

func TestEmptyTrailMakesAPageToo(t *testing.T) {
	var b bytes.Buffer
	s := NewCounter().Summary()
	if err := s.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteText(&b); err != nil {
		t.Fatal(err)
	}
}

func TestRoute(t *testing.T) {
	for path, want := range map[string]string{
		"/":            "/",
		"/orders/17":   "/orders/{id}",
		"/v1/orders":   "/v1/orders",
		"/users/alice": "/users/alice",
		"/x/6f1c0b9e-1d1b-4b1e-9c52-0f7a4b1c2d3e/y": "/x/{id}/y",
		"/blob/" + strings.Repeat("a", 50):          "/blob/{id}",
		"/a/b/c/d/e/f/g/h/i":                        "/a/b/c/d/e/f/g/…",
	} {
		if got := Route(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

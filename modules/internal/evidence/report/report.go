// Package report counts what an audit trail says and shows it: as a page of
// HTML that needs nothing else, as CSV, and as text.
//
// However many users, paths and rules there are, memory is bounded: what is
// counted one by one is capped, and the least frequent make room for the new
// (the Space-Saving algorithm of Metwally, Agrawal and El Abbadi, 2005), so that
// whatever is frequent is in the tables and no count is too low.
package report

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
)

const (
	maxTracked = 4096 // of users, paths, rules, …, each
	maxRows    = 15   // of a table
	maxBuckets = 120
	maxChanges = 200
	maxMatches = 200
)

// Summary is what a trail says.
type Summary struct {
	Title     string    `json:"trail"`
	Filter    string    `json:"filter,omitempty"`
	Made      time.Time `json:"made"`
	Integrity string    `json:"integrity,omitempty"` // in a sentence, if checked and good
	Problem   string    `json:"problem,omitempty"`   // if checked and not good

	First, Last           time.Time
	FirstIndex, LastIndex int64

	Requests    int64 `json:"requests"`
	Refused     int64 `json:"refused"`    // by a layer
	Errors      int64 `json:"errors"`     // 5xx that no layer refused with
	Anonymous   int64 `json:"anonymous"`  // without identity
	Redacted    int64 `json:"redacted"`   // values
	Unfinished  int64 `json:"unfinished"` // intents without outcome
	UserCount   int64 `json:"users"`
	UsersCapped bool  `json:"users_capped,omitempty"`
	P50, P99    time.Duration

	Width     string    `json:"bucket"` // of time
	Buckets   []Bucket  `json:"timeline"`
	Tables    []Table   `json:"tables"`
	Anomalies []Anomaly `json:"anomalies"`
	Changes   []Change  `json:"changes"` // the last ones

	// ChangesLeftOut is how many there were before them.
	ChangesLeftOut int64 `json:"changes_left_out,omitempty"`

	// ChangesHidden says that changes were not asked for.
	ChangesHidden bool `json:"changes_hidden,omitempty"`

	// Matches are the first requests, if they were to be listed.
	Matches []Match `json:"matches,omitempty"`
}

// Match is one request that a filter selects.
type Match struct {
	Index                          int64
	Time                           time.Time
	User, Client, Site, Route, Why string
	Status                         int
}

// Bucket is one stretch of time.
type Bucket struct {
	Start                  time.Time
	Total, Refused, Errors int64
}

// Table is a list of what was most frequent.
type Table struct {
	Title, Name, Unit string
	Second            string `json:",omitempty"` // name of another figure
	Rows              []Row
	Capped            bool `json:",omitempty"`
}

// Row is one line of a table.
type Row struct {
	Name   string
	Count  int64
	Second int64 `json:",omitempty"`
}

// Most is the largest count.
func (t Table) Most() int64 {
	var most int64
	for _, r := range t.Rows {
		most = max(most, r.Count)
	}
	return most
}

// Change is a change of policy or configuration.
type Change struct {
	Time                            time.Time
	Layer, What, Source, By, Detail string
}

// Counter reads records in the order of the trail.
type Counter struct {
	// List has the first requests listed one by one.
	List bool

	s       Summary
	sites   *top
	users   *top // by userKey, as are those of refused and apps
	apps    *top // that sent requests for their users
	refused *top // users and addresses that were refused
	rules   *top
	codes   *top
	status  *top
	paths   *top
	slow    *top
	fields  *top
	calls   *top              // of MCP servers
	seconds map[int64]*Bucket // by start, all of one width
	width   int64             // of a bucket in seconds
	times   histogram
	open    map[string]bool // ids of intents without outcome
	walks   *walks
	begun   bool
}

// NewCounter returns a counter of nothing.
func NewCounter() *Counter {
	return &Counter{
		users: newTop(), apps: newTop(), sites: newTop(), refused: newTop(), rules: newTop(), codes: newTop(), status: newTop(), paths: newTop(), slow: newTop(), fields: newTop(), calls: newTop(),
		seconds: make(map[int64]*Bucket), width: 1, open: make(map[string]bool), walks: newWalks(),
	}
}

// maxOpen bounds the intents that wait for their outcome: more requests are
// never in flight at once on one server.
const maxOpen = 100_000

// Add counts one record.
func (c *Counter) Add(index int64, r *record.Record) {
	s := &c.s
	if !c.begun {
		c.begun, s.FirstIndex = true, index
	}
	s.LastIndex = index
	switch r.Kind {
	case record.Change:
		c.AddChange(r)
	case record.Intent:
		if len(c.open) < maxOpen {
			c.open[r.ID] = true
		}
	case record.Outcome:
		delete(c.open, r.ID)
		c.request(r)
		if c.List && len(s.Matches) < maxMatches {
			s.Matches = append(s.Matches, match(index, r))
		}
	}
}

// AddChange counts a change alone.
func (c *Counter) AddChange(r *record.Record) {
	s := &c.s
	if len(s.Changes) == maxChanges { // the latest are those that people ask about
		s.Changes = append(s.Changes[:0], s.Changes[1:]...)
		s.ChangesLeftOut++
	}
	s.Changes = append(s.Changes, Change{r.Time, r.Layer, r.What, r.Source, r.By, r.Detail})
	if strings.HasSuffix(r.What, "refused") {
		c.walks.refusedChange(r)
	}
}

// match is a request for the list.
func match(index int64, r *record.Record) Match {
	m := Match{Index: index, Time: r.Time, User: userKey(&r.User), Client: r.Client, Site: r.Site, Route: r.Method + " " + r.Path, Status: r.Status, Why: r.End}
	if r.MCP.Method != "" {
		m.Route += " " + called(r)
	}
	if d, ok := r.Refused(); ok {
		m.Why = d.Layer + ": " + r.Code
		if d.Rule != "" {
			m.Why += " (" + d.Rule + ")"
		}
	}
	return m
}

func (c *Counter) request(r *record.Record) {
	s := &c.s
	if s.Requests == 0 || r.Time.Before(s.First) {
		s.First = r.Time
	}
	if r.Time.After(s.Last) {
		s.Last = r.Time
	}
	s.Requests++
	b := c.bucket(r.Time.Unix())
	b.Total++
	who := userKey(&r.User)
	if who == "" {
		s.Anonymous++
		who = "anonymous " + r.Client
	} else {
		c.users.add(who, 1, int64(r.Redacted))
	}
	if r.App.ID != "" {
		c.apps.add(userKey(&r.App), 1, 0)
	}
	if d, ok := r.Refused(); ok {
		s.Refused++
		b.Refused++
		c.refused.add(who, 1, 0)
		rule := d.Layer
		if d.Rule != "" {
			rule += ": " + d.Rule
		}
		c.rules.add(rule, 1, 0)
	} else if r.Status >= 500 {
		s.Errors++
		b.Errors++
	}
	if r.Site != "" {
		c.sites.add(r.Site, 1, 0)
	}
	c.walks.share(who, r)
	if r.Code != "" {
		c.codes.add(r.Code, 1, 0)
	}
	status := strconv.Itoa(r.Status)
	if r.Status == 0 {
		status = "no response"
	}
	c.status.add(status, 1, 0)
	route := r.Method + " " + Route(r.Path)
	c.paths.add(route, 1, 0)
	c.slow.add(route, r.Micros/1000, 1)
	if r.MCP.Method != "" {
		c.call(r)
	}
	s.Redacted += int64(r.Redacted)
	if r.Redacted > 0 {
		// How many values each rule changed is not recorded, only by
		// which rules it was: responses are what can be counted.
		for _, rule := range r.RedactedBy {
			c.fields.add(rule, 1, 0)
		}
	}
	c.times.add(r.Micros)
	c.walks.add(who, r)
}

// call counts what a request to an MCP server has called.
func (c *Counter) call(r *record.Record) {
	denied := int64(0)
	if d, ok := r.Refused(); ok && d.Layer == "mcp" {
		denied = 1
	}
	c.calls.add(called(r), 1, denied)
}

// called names what was called: tools/call refund.
func called(r *record.Record) string { return strings.TrimSpace(r.MCP.Method + " " + r.MCP.Name) }

// bucket returns the bucket of a time. When there are too many, neighbours
// are joined.
func (c *Counter) bucket(unix int64) *Bucket {
	start := unix - mod(unix, c.width)
	b, ok := c.seconds[start]
	if ok {
		return b
	}
	if len(c.seconds) == maxBuckets {
		c.widen()
		return c.bucket(unix)
	}
	b = &Bucket{Start: time.Unix(start, 0).UTC()}
	c.seconds[start] = b
	return b
}

// widths are the stretches of time that people read well, in seconds.
var widths = []int64{1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400, 28 * 86400}

func (c *Counter) widen() {
	i := slices.Index(widths, c.width)
	next := c.width * 2
	if i >= 0 && i+1 < len(widths) {
		next = widths[i+1]
	}
	old := c.seconds
	c.width, c.seconds = next, make(map[int64]*Bucket)
	for start, b := range old {
		at := start - mod(start, next)
		to, ok := c.seconds[at]
		if !ok {
			to = &Bucket{Start: time.Unix(at, 0).UTC()}
			c.seconds[at] = to
		}
		to.Total += b.Total
		to.Refused += b.Refused
		to.Errors += b.Errors
	}
}

func mod(a, b int64) int64 { return ((a % b) + b) % b }

// Summary returns what has been counted.
func (c *Counter) Summary() *Summary {
	s := c.s
	s.Unfinished = int64(len(c.open))
	s.UserCount, s.UsersCapped = int64(len(c.users.counts)), c.users.capped
	s.P50, s.P99 = c.times.quantile(.5), c.times.quantile(.99)
	s.Buckets, s.Width = c.timeline()
	shown := namesOf(c.users)
	s.Tables = []Table{
		shown.table(c.users.table("Users", "user", "requests", "values masked")),
		shown.table(c.refused.table("Most rejected", "user or address", "rejections", "")),
		c.rules.table("Rules that refused", "layer and rule", "requests", ""),
		c.fields.table("Masked fields served", "rule", "responses", ""),
		c.codes.table("Error codes", "code", "requests", ""),
		c.status.table("Status", "status", "requests", ""),
		c.paths.table("Routes", "method and path", "requests", ""),
		c.slow.table("Time spent", "method and path", "ms", "requests"),
		c.sites.table("Sites", "site", "requests", ""),
		namesOf(c.apps).table(c.apps.table("Applications", "application", "requests", "")),
	}
	if len(c.calls.counts) > 0 {
		s.Tables = append(s.Tables, c.calls.table("Calls of MCP servers", "method and name", "calls", "denied"))
	}
	s.Matches = slices.Clone(s.Matches)
	for i := range s.Matches {
		s.Matches[i].User = shown.name(s.Matches[i].User)
	}
	s.Anomalies = c.walks.found()
	for i := range s.Anomalies {
		s.Anomalies[i].Who = shown.name(s.Anomalies[i].Who)
	}
	if c.refused.capped {
		s.Tables[1].Capped = true
	}
	return &s
}

// timeline fills in the stretches of time in which nothing happened.
func (c *Counter) timeline() ([]Bucket, string) {
	if len(c.seconds) == 0 {
		return nil, ""
	}
	for {
		first, last := int64(1<<62), int64(-1<<62)
		for start := range c.seconds {
			first, last = min(first, start), max(last, start)
		}
		if n := (last-first)/c.width + 1; n > maxBuckets {
			c.widen()
			continue
		}
		var out []Bucket
		for at := first; at <= last; at += c.width {
			if b, ok := c.seconds[at]; ok {
				out = append(out, *b)
			} else {
				out = append(out, Bucket{Start: time.Unix(at, 0).UTC()})
			}
		}
		return out, stretch(c.width)
	}
}

// stretch names a number of seconds.
func stretch(seconds int64) string {
	for _, unit := range []struct {
		seconds int64
		name    string
	}{{86400, "d"}, {3600, "h"}, {60, "min"}} {
		if seconds%unit.seconds == 0 {
			return fmt.Sprintf("%d %s", seconds/unit.seconds, unit.name)
		}
	}
	return fmt.Sprintf("%d s", seconds)
}

// Route turns a path into the route it probably belongs to: segments that look
// like identifiers become {id}.
func Route(path string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if isID(s) {
			segments[i] = "{id}"
		}
	}
	if len(segments) > 8 {
		segments = append(segments[:8], "…")
	}
	return strings.Join(segments, "/")
}

// isID reports whether a segment looks like an identifier: a number, a UUID, a
// long text with digits.
func isID(s string) bool {
	digits, other := 0, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'f', c >= 'A' && c <= 'F', c == '-':
		default:
			other++
		}
	}
	if digits == 0 {
		return len(s) > 40
	}
	return digits == len(s) || other == 0 && len(s) >= 8 || len(s) > 40 || digits >= 4 && len(s) >= 16
}

// WriteCSV writes all figures in one table: section, name, figure, second
// figure.
func (s *Summary) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	put := func(cells ...string) {
		for i := range cells {
			cells[i] = harmless(cells[i])
		}
		_ = out.Write(cells) // csv.Writer keeps its first error
	}
	put("section", "name", "count", "second")
	for _, f := range s.figures() {
		put("summary", f.name, f.text, "")
	}
	for _, b := range s.Buckets {
		put("timeline", b.Start.Format(time.RFC3339)+" total", strconv.FormatInt(b.Total, 10), "")
		put("timeline", b.Start.Format(time.RFC3339)+" refused", strconv.FormatInt(b.Refused, 10), "")
		put("timeline", b.Start.Format(time.RFC3339)+" errors", strconv.FormatInt(b.Errors, 10), "")
	}
	for _, t := range s.Tables {
		for _, r := range t.Rows {
			second := ""
			if t.Second != "" {
				second = strconv.FormatInt(r.Second, 10)
			}
			put(t.Title, r.Name, strconv.FormatInt(r.Count, 10), second)
		}
	}
	for _, m := range s.Matches {
		put("request", fmt.Sprintf("#%d %s %s", m.Index, m.Time.Format(time.RFC3339), m.Route), strconv.Itoa(m.Status), m.User)
	}
	for _, a := range s.Anomalies {
		put("anomaly", a.Kind+": "+a.Who, a.Detail, a.At.Format(time.RFC3339))
	}
	if s.ChangesLeftOut > 0 {
		put("change", "earlier ones, left out", strconv.FormatInt(s.ChangesLeftOut, 10), "")
	}
	for _, c := range s.Changes {
		by := c.By
		if by != "" {
			by = " by " + by
		}
		put("change", c.Time.Format(time.RFC3339)+" "+c.Layer+": "+c.What+by, c.Source, c.Detail)
	}
	out.Flush()
	return out.Error()
}

// harmless keeps a spreadsheet from taking a cell for a formula.
func harmless(s string) string {
	s = visible(s)
	if s != "" && strings.IndexByte("=+-@", s[0]) >= 0 {
		if _, err := strconv.ParseFloat(s, 64); err != nil {
			return "'" + s
		}
	}
	return s
}

// when prints a time where the reader is, with the offset from UTC.
func when(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 -07:00") }

type figure struct{ name, text string }

func (s *Summary) figures() []figure {
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	list := []figure{
		{"trail", s.Title},
		{"records", fmt.Sprintf("%d to %d", s.FirstIndex, s.LastIndex)},
		{"requests", n(s.Requests)},
		{"refused", n(s.Refused)},
		{"server errors", n(s.Errors)},
		{"anonymous", n(s.Anonymous)},
		{"users", n(s.UserCount)},
		{"values masked or removed", n(s.Redacted)},
		{"without outcome", n(s.Unfinished)},
		{"duration p50", s.P50.String()},
		{"duration p99", s.P99.String()},
	}
	if s.Requests > 0 {
		list = slices.Insert(list, 2, figure{"from", when(s.First)}, figure{"to", when(s.Last)})
	}
	if s.Integrity != "" {
		list = append(list, figure{"integrity", s.Integrity})
	}
	if s.Problem != "" {
		list = append(list, figure{"integrity", s.Problem})
	}
	return list
}

// WriteText writes the summary for a terminal.
func (s *Summary) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, f := range s.figures() {
		fmt.Fprintf(&b, "%-26s %s\n", f.name, visible(f.text))
	}
	for _, t := range s.Tables {
		if len(t.Rows) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s\n", t.Title)
		for _, r := range t.Rows {
			fmt.Fprintf(&b, "%10d  %s\n", r.Count, visible(r.Name))
		}
	}
	if len(s.Anomalies) > 0 {
		b.WriteString("\nWorth a look\n")
		for _, a := range s.Anomalies {
			fmt.Fprintf(&b, "  %s  %s: %s: %s\n", when(a.At), visible(a.Kind), visible(a.Who), visible(a.Detail))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// top counts texts and keeps the frequent ones.
type top struct {
	counts map[string]*count
	capped bool
}

type count struct{ n, second int64 }

func newTop() *top { return &top{counts: make(map[string]*count)} }

func (t *top) add(name string, n, second int64) {
	if c, ok := t.counts[name]; ok {
		c.n += n
		c.second += second
		return
	}
	if len(t.counts) < maxTracked {
		t.counts[strings.Clone(name)] = &count{n, second}
		return
	}
	t.capped = true
	t.halve()
	t.counts[strings.Clone(name)] = &count{n, second}
}

// halve forgets the rarer half at once, which is Space-Saving with the work
// shared out: one walk for thousands of additions.
func (t *top) halve() {
	all := make([]int64, 0, len(t.counts))
	for _, c := range t.counts {
		all = append(all, c.n)
	}
	slices.Sort(all)
	bar := all[len(all)/2]
	for name, c := range t.counts {
		if c.n <= bar && len(t.counts) > maxTracked/2 {
			delete(t.counts, name)
		}
	}
}

func (t *top) table(title, name, unit, second string) Table {
	out := Table{Title: title, Name: name, Unit: unit, Second: second, Capped: t.capped}
	for name, c := range t.counts {
		out.Rows = append(out.Rows, Row{name, c.n, c.second})
	}
	slices.SortFunc(out.Rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name))
	})
	if len(out.Rows) > maxRows {
		out.Rows = out.Rows[:maxRows]
	}
	return out
}

// histogram counts durations by powers of the fourth root of two, so that a
// quantile is right to within a fifth.
type histogram struct {
	n      int64
	counts [160]int64
}

func (h *histogram) add(micros int64) {
	i, bound := 0, 1.0
	for bound < float64(micros) && i < len(h.counts)-1 {
		bound *= 1.189207115
		i++
	}
	h.counts[i]++
	h.n++
}

func (h *histogram) quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank, sum, bound := int64(q*float64(h.n)), int64(0), 1.0
	for _, c := range h.counts {
		if sum += c; sum > rank {
			break
		}
		bound *= 1.189207115
	}
	return time.Duration(bound * float64(time.Microsecond))
}

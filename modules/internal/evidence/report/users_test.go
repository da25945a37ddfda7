package report

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/record"
)

// TestUsersAreCountedByIssuerAndID: the same id from elsewhere is somebody else.
func TestUsersAreCountedByIssuerAndID(t *testing.T) {
	c := NewCounter()
	c.List = true
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for i, u := range []record.User{
		{ID: "alice", Issuer: "https://a.example", Kind: "jwt"},
		{ID: "alice", Issuer: "https://a.example", Kind: "jwt"},
		{ID: "alice", Issuer: "https://b.example", Kind: "jwt"},
		{ID: "alice", Kind: "api_key"},
		{ID: "bob", Issuer: "https://a.example", Kind: "jwt"},
		{},
	} {
		r := &record.Record{
			Kind: record.Outcome, Time: at, Method: "GET", Path: "/a", Client: "192.0.2.1", User: u, Status: 403, Code: "forbidden",
			Decisions: []record.Decision{{Layer: "rbac", Result: "deny", Code: "forbidden"}},
		}
		if i < 2 {
			r.App = record.User{ID: "shop", Kind: "api_key"}
		}
		for range 10 {
			c.Add(int64(i), r)
		}
	}
	s := c.Summary()
	s = c.Summary() // asking twice changes nothing
	if s.UserCount != 4 {
		t.Errorf("%d users", s.UserCount)
	}
	want := map[string]string{
		"Users":        "alice from https://a.example 20, alice from api_key 10, alice from https://b.example 10, bob 10",
		"Applications": "shop 20",
	}
	var text strings.Builder
	if err := s.WriteText(&text); err != nil || strings.Contains(text.String(), "\x00") {
		t.Errorf("%v: %q", err, text.String())
	}
	for _, table := range s.Tables {
		var rows []string
		for _, r := range table.Rows {
			rows = append(rows, r.Name+" "+strconv.FormatInt(r.Count, 10))
		}
		if w := want[table.Title]; w != "" {
			expected := strings.Split(w, ", ")
			slices.Sort(expected)
			slices.Sort(rows)
			if !slices.Equal(rows, expected) {
				t.Errorf("%s: got %q, want %q", table.Title, rows, expected)
			}
		}
	}
	if got := s.Matches[0].User; got != "alice from https://a.example" {
		t.Errorf("match of %q", got)
	}
	if !slices.ContainsFunc(s.Anomalies, func(a Anomaly) bool { return a.Who == "alice from https://b.example" }) {
		t.Errorf("anomalies: %+v", s.Anomalies)
	}
}

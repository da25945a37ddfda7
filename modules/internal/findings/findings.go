// Package findings holds what a check of a configuration has found: the rules
// with their IDs, the findings with their locations, and the forms in which
// they are printed. It knows nothing of what is checked.
package findings

import (
	"cmp"
	"fmt"
	"slices"
)

// Severity says how bad a finding is.
type Severity string

// The severities, from the worst.
const (
	Error   Severity = "error"   // the server refuses to start with it
	Warning Severity = "warning" // probably a mistake, or a weakness
	Note    Severity = "note"    // worth knowing; may well be meant
)

// Severities lists all of them, from the worst.
var Severities = []Severity{Error, Warning, Note}

// AtLeast reports whether a severity is as bad as another.
func (s Severity) AtLeast(other Severity) bool {
	return slices.Index(Severities, s) <= slices.Index(Severities, other)
}

// Rule is one thing that is looked for.
type Rule struct {
	ID       string   `json:"id"`              // such as MOAT-112; it never changes its meaning
	Name     string   `json:"name"`            // such as audience_missing
	Severity Severity `json:"severity"`        // of its findings, unless they say otherwise
	Summary  string   `json:"summary"`         // one sentence: what is wrong
	Write    []string `json:"write,omitempty"` // lines to write instead
}

// Finding is a rule that a configuration does not meet.
type Finding struct {
	Rule     string   `json:"rule"`
	Name     string   `json:"name"`
	Severity Severity `json:"severity"`
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line,omitempty"`
	Site     string   `json:"site,omitempty"`
	Text     string   `json:"text"`
	Write    []string `json:"write,omitempty"`

	// Code is the text of the line, from which a baseline recognizes it when
	// lines are added above.
	Code string `json:"-"`
}

// At returns the location as text, "" if it is not known.
func (f Finding) At() string {
	if f.File == "" {
		return ""
	}
	if f.Line == 0 {
		return f.File
	}
	return fmt.Sprintf("%s:%d", f.File, f.Line)
}

// Sort puts findings in the order of their locations, and removes those that
// are there twice.
func Sort(all []Finding) []Finding {
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Text, b.Text), cmp.Compare(a.Site, b.Site))
	})
	return slices.CompactFunc(all, func(a, b Finding) bool {
		return a.Rule == b.Rule && a.File == b.File && a.Line == b.Line && a.Text == b.Text && (a.Line > 0 || a.Site == b.Site)
	})
}

// Result is what a check has found.
type Result struct {
	Findings []Finding `json:"findings"`

	// How many were left out, since a comment or the baseline names them.
	Ignored  int `json:"ignored"`
	Baseline int `json:"baseline"`
}

// Count returns how many findings are at least that bad.
func (r Result) Count(least Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity.AtLeast(least) {
			n++
		}
	}
	return n
}

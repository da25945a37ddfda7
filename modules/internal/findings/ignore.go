package findings

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Ignore is a comment that says that findings of some rules are meant:
//
//	# moat:ignore MOAT-112 [MOAT-…] reason [until=2027-01-31]
//
// On a line of its own it is for the directive below, with its block; behind a
// directive, for that one.
type Ignore struct {
	File  string
	Line  int // where the comment is
	Rules []string
	Until time.Time // when it ends; zero for never
	Fault string    // what is wrong with the comment, "" if nothing is

	// The lines that it is for.
	From, To int

	used bool
}

var ruleID = regexp.MustCompile(`^MOAT-[0-9]{3}$`)

// ParseIgnore reads what stands behind "moat:ignore". It is read strictly: one
// that is not understood ignores nothing.
func ParseIgnore(text string, known func(rule string) bool, in *time.Location) Ignore {
	var c Ignore
	words := strings.Fields(text)
	for len(words) > 0 && ruleID.MatchString(strings.TrimSuffix(words[0], ",")) {
		c.Rules = append(c.Rules, strings.TrimSuffix(words[0], ","))
		words = words[1:]
	}
	reason := 0
	for _, word := range words {
		date, ok := strings.CutPrefix(word, "until=")
		if !ok {
			reason++
			continue
		}
		until, err := time.ParseInLocation(time.DateOnly, date, in)
		if err != nil || !c.Until.IsZero() {
			c.Fault = "until must be one date, such as until=2027-01-31"
			return c
		}
		c.Until = until
	}
	unknown := slices.IndexFunc(c.Rules, func(rule string) bool { return !known(rule) })
	switch {
	case len(c.Rules) == 0:
		c.Fault = "it names no rule"
	case unknown >= 0:
		c.Fault = c.Rules[unknown] + " is not a rule"
	case reason == 0:
		c.Fault = "it gives no reason"
	}
	return c
}

// Apply removes the findings that comments are for. Findings of rules that the
// server itself refuses stay: no comment makes it start. It returns what is
// left, and how many it removed; see Unused.
func Apply(all []Finding, comments []Ignore, now time.Time) (left []Finding, removed int) {
	for _, f := range all {
		if f.Severity != Error && ignored(f, comments, now) {
			removed++
			continue
		}
		left = append(left, f)
	}
	return left, removed
}

func ignored(f Finding, comments []Ignore, now time.Time) bool {
	found := false
	for i := range comments {
		c := &comments[i]
		if c.File != f.File || f.Line < c.From || f.Line > c.To || !slices.Contains(c.Rules, f.Rule) {
			continue
		}
		c.used = true
		if c.Fault == "" && (c.Until.IsZero() || now.Before(c.Until)) {
			found = true
		}
	}
	return found
}

// Problem is what is wrong with a comment, once Apply has seen all findings.
type Problem string

// The problems of comments.
const (
	Invalid Problem = "invalid"
	Expired Problem = "expired"
	Unused  Problem = "unused"
)

// Problem returns what is wrong with the comment, with a sentence, or "".
func (c Ignore) Problem(now time.Time) (Problem, string) {
	switch {
	case c.Fault != "":
		return Invalid, "this comment ignores nothing: " + c.Fault
	case !c.Until.IsZero() && !now.Before(c.Until):
		return Expired, fmt.Sprintf("this comment has ended on %s and ignores nothing any more", c.Until.Format(time.DateOnly))
	case !c.used:
		return Unused, "nothing that " + strings.Join(c.Rules, ", ") + " looks for is found here, so that this comment ignores nothing"
	}
	return "", ""
}

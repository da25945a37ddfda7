// Package jsonpath reads the selectors of RFC 9535 (JSONPath) that can be
// decided from the position of a value alone: names, indices, wildcards, slices,
// unions of these, and descendants. Filters look at the value itself and are
// refused by [Parse] with a message that says so.
//
// The package only reads. What a path selects is decided by whoever walks the
// document; [Selector.MatchIndex] is the one piece of arithmetic that every
// walker needs.
package jsonpath

import (
	"fmt"
	"strconv"
	"strings"
)

// Kind says what a Selector selects.
type Kind uint8

const (
	Name     Kind = iota // the member with that name
	Wildcard             // every member, every element
	Index                // the element at that index, from the end if negative
	Slice                // the elements of start:end:step
)

// Path is a query: the segments after the root identifier. A path without
// segments selects the whole document.
type Path []Segment

// Segment selects among the children of a node, or among all its descendants.
type Segment struct {
	Descendant bool
	Selectors  []Selector // at least one; together they are a union
}

// Selector selects children of one node.
type Selector struct {
	Kind Kind

	Name string // of Name, decoded

	// Start of Index and Slice, End and Step of Slice. The Has fields tell
	// what was written: without them RFC 9535 section 2.3.4.2.1 chooses
	// by the sign of Step, which is 1 if not written.
	Start, End, Step int64
	HasStart, HasEnd bool
}

// Error is a text that is not a path, or not one that is supported.
type Error struct {
	Text   string // what was to be read
	Offset int    // where reading stopped, in bytes
	Reason string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%q is not a JSONPath: %s (at byte %d)", e.Text, e.Reason, e.Offset)
}

// MatchIndex reports whether s selects the element i of an array of n
// elements, 0 <= i < n.
func (s *Selector) MatchIndex(i, n int64) bool {
	switch s.Kind {
	case Wildcard:
		return true
	case Index:
		if s.Start < 0 {
			return i == n+s.Start
		}
		return i == s.Start
	case Slice:
		return s.matchSlice(i, n)
	}
	return false
}

// matchSlice is RFC 9535 section 2.3.4.2.2, turned from "which indices" into
// "this index?".
func (s *Selector) matchSlice(i, n int64) bool {
	if s.Step == 0 {
		return false
	}
	start, end := s.bounds(n)
	if s.Step > 0 {
		lower, upper := clamp(start, 0, n), clamp(end, 0, n)
		return lower <= i && i < upper && (i-lower)%s.Step == 0
	}
	upper, lower := clamp(start, -1, n-1), clamp(end, -1, n-1)
	return lower < i && i <= upper && (upper-i)%-s.Step == 0
}

// bounds returns start and end with the defaults filled in and negative
// values counted from the end.
func (s *Selector) bounds(n int64) (start, end int64) {
	start, end = s.Start, s.End
	if start < 0 {
		start += n
	}
	if end < 0 {
		end += n
	}
	if !s.HasStart {
		start = 0
		if s.Step < 0 {
			start = n - 1
		}
	}
	if !s.HasEnd {
		end = n
		if s.Step < 0 {
			end = -1
		}
	}
	return start, end
}

func clamp(v, low, high int64) int64 { return max(low, min(v, high)) }

// Lookahead says how many further elements of an array must be known before
// it is certain whether s selects an element: 0 if the index is enough, k if
// it takes the next k elements or the end of the array. It reports false if
// no number of elements is enough, since the result depends on the length.
func (s *Selector) Lookahead() (k int64, ok bool) {
	switch s.Kind {
	case Index:
		return max(0, -s.Start), true
	case Slice:
		return s.sliceLookahead()
	}
	return 0, true
}

func (s *Selector) sliceLookahead() (int64, bool) {
	back := int64(0)
	if s.HasStart && s.Start < 0 {
		back = -s.Start
	}
	if s.HasEnd && s.End < 0 {
		back = max(back, -s.End)
	}
	switch {
	case s.Step >= 0:
		return back, true
	case s.Step == -1:
		// Every index between two bounds: their order does not matter.
		return back, true
	case s.HasStart && s.Start >= 0:
		// Counts down from start, or from the last element if the array
		// ends before it.
		return max(back, s.Start+1), true
	}
	return 0, false
}

// String writes p in the normal form of its segments: brackets, and single
// quotes as in normalized paths. Parse reads it back.
func (p Path) String() string {
	var b strings.Builder
	b.WriteByte('$')
	for _, seg := range p {
		if seg.Descendant {
			b.WriteString("..")
		}
		b.WriteByte('[')
		for i := range seg.Selectors {
			if i > 0 {
				b.WriteByte(',')
			}
			seg.Selectors[i].write(&b)
		}
		b.WriteByte(']')
	}
	return b.String()
}

func (s *Selector) write(b *strings.Builder) {
	switch s.Kind {
	case Name:
		quote(b, s.Name)
	case Wildcard:
		b.WriteByte('*')
	case Index:
		b.WriteString(strconv.FormatInt(s.Start, 10))
	case Slice:
		if s.HasStart {
			b.WriteString(strconv.FormatInt(s.Start, 10))
		}
		b.WriteByte(':')
		if s.HasEnd {
			b.WriteString(strconv.FormatInt(s.End, 10))
		}
		b.WriteByte(':')
		b.WriteString(strconv.FormatInt(s.Step, 10))
	}
}

// quote writes a name as in normalized paths, RFC 9535 section 2.7.
func quote(b *strings.Builder, name string) {
	b.WriteByte('\'')
	for _, r := range name {
		switch {
		case r == '\'' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('\'')
}

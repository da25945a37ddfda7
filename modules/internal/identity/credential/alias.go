package credential

import (
	"fmt"
	"net/http"
)

// Aliases are names of header fields with all that servers may take for them,
// by length: the spellings of one name differ in case, and in `_` or `.` for
// `-` (CGI's HTTP_X_USER is all of them). All have the same length, so that
// most fields of a request cost one look-up. The zero Aliases are none.
type Aliases struct {
	byLength map[int][]string
}

// NewAliases returns the spellings of names that may carry identity to the
// upstream.
func NewAliases(names []string) (Aliases, error) {
	for _, n := range names {
		if err := ForwardableHeader(n); err != nil {
			return Aliases{}, fmt.Errorf("header to remove: %w", err)
		}
	}
	return Spellings(names), nil
}

// Spellings is NewAliases of any names.
func Spellings(names []string) Aliases {
	a := Aliases{}
	for _, n := range names {
		if a.byLength == nil {
			a.byLength = make(map[int][]string)
		}
		a.byLength[len(n)] = append(a.byLength[len(n)], Spelled(n))
	}
	return a
}

// None reports whether there is no name.
func (a Aliases) None() bool { return a.byLength == nil }

// Match reports whether name is one of the names or another spelling of one.
func (a Aliases) Match(name string) bool {
	for _, n := range a.byLength[len(name)] {
		if isAlias(n, name) {
			return true
		}
	}
	return false
}

// Remove takes the fields out of the header.
func (a Aliases) Remove(h http.Header) {
	for name := range h {
		if a.Match(name) {
			delete(h, name)
		}
	}
}

// Spelled is the spelling that all aliases of a header name have in common.
func Spelled(name string) string {
	b := []byte(name)
	for i, c := range b {
		b[i] = spelledByte(c)
	}
	return string(b)
}

func spelledByte(c byte) byte {
	switch {
	case c == '_' || c == '.':
		return '-'
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	}
	return c
}

// isAlias reports whether name is a spelling of the spelled name.
func isAlias(spelled, name string) bool {
	for i := 0; i < len(name); i++ {
		if spelled[i] != spelledByte(name[i]) {
			return false
		}
	}
	return true
}

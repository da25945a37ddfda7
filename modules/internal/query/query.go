// Package query reads the query of a URL as the programs behind could read it.
//
// Programs do not agree on what the name of a parameter is. For tenant=a&…
// these are, to one or another, the same parameter again, and which of the two
// values counts is different everywhere:
//
//	tenant=b                   first, last, or a list of both
//	tenant[]=b  tenant[0]=b    Express, Rails, Rack, PHP: a list
//	tenant[x]=b  tenant.x=b    an object with a member x
//	[tenant]=b  tenant]=b      Rack and qs drop brackets round a name
//	TENANT=b                   ASP.NET and others: case does not count
//	%20tenant=b  tenant%20=b   white space is trimmed, or becomes "_"
//	a.b=…  a%20b=…  a[b=…      PHP reads all of these as a_b
//	tenantId=…                 protobuf's JSON mapping: also tenant_id
//	tenant%00x=b               PHP: a name ends at the first NUL
//
// A parameter has a value where there is exactly one that anybody could take
// for it, and it is spelled as asked for.
package query

import (
	"errors"
	"net/url"
	"strings"
	"unicode"
)

// MaxParameters is how many parameters a query may have. PHP
// (max_input_vars) and qs (parameterLimit) ignore what comes behind 1000.
const MaxParameters = 1000

// Errors of Parse.
var (
	ErrMalformed = errors.New("the query is malformed")
	ErrTooMany   = errors.New("the query has too many parameters")
)

// Query is a query that has been read. The zero Query has no parameters.
type Query struct {
	pairs []pair
}

type pair struct {
	name, value string
	readings    readings
}

// Count says how many parameters could be taken for one.
type Count uint8

// What Get can find.
const (
	None Count = iota // nobody finds a parameter of that name
	One               // everybody finds the same value
	Many              // programs can find different values, or only some find one
)

// Parse reads a raw query.
func Parse(raw string) (*Query, error) {
	q := new(Query)
	if raw == "" {
		return q, nil
	}
	if strings.Count(raw, "&") >= MaxParameters {
		return nil, ErrTooMany
	}
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		// A semicolon separates parameters for some, and not for others.
		if strings.Contains(part, ";") {
			return nil, ErrMalformed
		}
		name, value, _ := strings.Cut(part, "=")
		n, err1 := url.QueryUnescape(name)
		v, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil {
			return nil, ErrMalformed
		}
		q.pairs = append(q.pairs, pair{name: n, value: v, readings: readingsOf(n)})
	}
	return q, nil
}

// Get returns the value of a parameter.
func (q *Query) Get(name string) (string, Count) {
	want := readingsOf(name)
	value, count := "", None
	for i := range q.pairs {
		p := &q.pairs[i]
		switch {
		case p.name != name && !want.meet(&p.readings) && want.squashed != p.readings.squashed:
		case p.name != name || count != None:
			return "", Many
		default:
			value, count = p.value, One
		}
	}
	return value, count
}

// Names returns the names of the parameters as they were sent, each once.
func (q *Query) Names() []string {
	seen := make(map[string]bool, len(q.pairs))
	names := make([]string, 0, len(q.pairs))
	for i := range q.pairs {
		if name := q.pairs[i].name; !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

// CanMean reports whether a program could take the parameter sent, a decoded
// name, for the one it asks for by name. The word order of tenantId and
// tenant_id counts here: only few programs take the one for the other.
func CanMean(sent, name string) bool {
	a, b := readingsOf(sent), readingsOf(name)
	return sent == name || a.meet(&b)
}

// readings are the forms in which names are compared.
type readings struct {
	flat     string   // one name: a_b
	nested   []string // a name and those of its members: a, b
	squashed string   // flat without the underscores inside: ab
}

func readingsOf(name string) readings {
	if i := strings.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	name = Fold(strings.TrimLeft(strings.TrimFunc(name, blank), "[]"))
	name = strings.TrimLeftFunc(name, blank)
	flat := strings.Map(func(c rune) rune {
		if c == '.' || c == '[' || blank(c) {
			return '_'
		}
		return c
	}, name)
	inner := strings.TrimLeft(flat, "_")
	r := readings{flat: flat, squashed: flat[:len(flat)-len(inner)] + strings.ReplaceAll(inner, "_", "")}
	for i, member := range strings.FieldsFunc(name, func(c rune) bool { return c == '.' || c == '[' || c == ']' }) {
		// An index is whatever the program counts.
		if i == 0 || strings.Trim(member, "0123456789") != "" {
			r.nested = append(r.nested, strings.TrimFunc(member, blank))
		}
	}
	return r
}

// meet reports whether two names can be those of one parameter, or the one
// that of a list or object that the other belongs to.
func (r *readings) meet(o *readings) bool {
	a, b := r.nested, o.nested
	if r.flat == o.flat || len(a) == 0 || len(b) == 0 {
		return r.flat == o.flat
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// blank reports whether a program may pass over a character at the ends of a
// name: JavaScript's trim takes a byte order mark off, and what is not seen
// (zero-width spaces, soft hyphens) is taken out before names are compared.
func blank(c rune) bool {
	return unicode.IsSpace(c) || unicode.IsControl(c) || unicode.Is(unicode.Cf, c)
}

// Fold returns a name in the form in which names that differ in case are the
// same, whether a program compares small letters or capitals.
func Fold(name string) string {
	return strings.ToLower(strings.ToUpper(name))
}

// Squash is Fold without the underscores inside a name, for programs to which
// tenant_id and tenantId are the same.
func Squash(name string) string {
	name = Fold(name)
	inner := strings.TrimLeft(name, "_")
	return name[:len(name)-len(inner)] + strings.ReplaceAll(inner, "_", "")
}

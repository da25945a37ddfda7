// Package policy decides who may do what: rules for roles, scopes, everybody
// and anybody known, over methods and paths, compiled once into a structure
// whose cost to ask does not grow with the number of rules.
//
// # Rules
//
// A rule is one line:
//
//	GET /orders/*
//	GET,POST /orders
//	* /teams/{team}/report when team in claims.teams
//
// Methods are a list with commas, or * for every method. They are
// case-sensitive (RFC 9110 section 9.1) and written in capitals. A rule for
// GET is one for HEAD too, as everywhere HEAD is GET without the body. A rule
// that denies a method also denies it in other letters, since a server behind
// may not care about case.
//
// A path begins with a slash. Its segments are compared with those of the
// request's path, decoded once, with regard to case unless ignore_case is set:
//
//	/orders/*    everything below /orders/, and /orders/ itself, not /orders
//	/*           every path
//	/a/*/b       * inside a path is exactly one segment, not empty
//	/a/{id}      {id} is exactly one segment, and a variable in conditions
//
// In a path, characters other than wildcards may be percent-encoded, such as
// %20 for a space and %2A for an asterisk. A rule that denies /orders/7
// denies /orders/7/ as well, since many servers take them for the same.
//
// What stands behind `when` is a condition, see package condition.
//
// # Decisions
//
// Nothing is allowed that no rule allows, and a rule that denies beats all
// that allow, wherever they stand. A caller has the rules of anyone; if it is
// known, those of authenticated; and those of each of its roles and scopes,
// which include what they inherit. A condition that fails on a request does
// not allow, where its rule would allow, and denies, where it would deny.
//
// Of several rules that lead to the same decision the first is named, rules
// without a condition before those with one, in the order anyone,
// authenticated, roles by name, scopes by name, deny before allow, and then
// as written.
package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Document is a policy as it is written, in Caddy's JSON as in a policy file.
type Document struct {
	// The rules of each role, by its name.
	Roles map[string]*Block `json:"roles,omitempty"`

	// The rules of each OAuth 2.0 scope, by its name.
	Scopes map[string]*Block `json:"scopes,omitempty"`

	// Rules for every request, with or without an identity.
	Anyone *Block `json:"anyone,omitempty"`

	// Rules for every request with an identity.
	Authenticated *Block `json:"authenticated,omitempty"`

	// Roles given to users by their id, beside those that the credential
	// grants. An id is what {http.auth.user.id} says. It means somebody only
	// together with who vouches for it: where several issuers or kinds of
	// credential can, each entry must say from which, or the policy is refused.
	Users map[string]Grants `json:"users,omitempty"`

	// Whether paths are compared without regard to case, for servers that
	// do not care about it. Path variables keep the case of the request.
	IgnoreCase bool `json:"ignore_case,omitempty"`

	places map[string]string
}

// Block is the rules of one role or scope, or of everybody.
type Block struct {
	// Names of roles (in a role) or scopes (in a scope) whose rules this
	// one has as well.
	Inherits []string `json:"inherits,omitempty"`

	// Rules that allow, one line each, such as "GET /orders/*".
	Allow []string `json:"allow,omitempty"`

	// Rules that deny, one line each. They beat every rule that allows.
	Deny []string `json:"deny,omitempty"`
}

// Error is a mistake in a policy.
type Error struct {
	Place string // where it stands, such as a file and line; may be empty
	Where string // what it stands in: "role clerk", "role clerk: allow"
	Rule  string // the rule's line, if it concerns one
	Err   error
}

// Error returns place, where and what.
func (e *Error) Error() string {
	s := e.Err.Error()
	if e.Where != "" {
		s = e.Where + ": " + s
	}
	if e.Place != "" {
		s = e.Place + ": " + s
	}
	return s
}

// Unwrap returns the mistake itself.
func (e *Error) Unwrap() error { return e.Err }

// Mark notes where something stands, so that errors about it can say so:
// where is as in [Error], rule is the rule's line or empty.
func (d *Document) Mark(where, rule, place string) {
	if d.places == nil {
		d.places = make(map[string]string)
	}
	key := where + "\n" + rule
	if _, ok := d.places[key]; !ok {
		d.places[key] = place
	}
}

// place returns what was marked for a rule, or else for what it stands in.
func (d *Document) place(where, rule string) string {
	if p, ok := d.places[where+"\n"+rule]; ok {
		return p
	}
	for _, effect := range []string{": allow", ": deny"} {
		where = strings.TrimSuffix(where, effect)
	}
	return d.places[where+"\n"]
}

// fault makes an Error with its place.
func (d *Document) fault(where, rule, format string, args ...any) *Error {
	return &Error{Place: d.place(where, rule), Where: where, Rule: rule, Err: fmt.Errorf(format, args...)}
}

// Empty reports whether d has nothing in it at all.
func (d *Document) Empty() bool {
	return len(d.Roles) == 0 && len(d.Scopes) == 0 && len(d.Users) == 0 && d.Anyone == nil && d.Authenticated == nil
}

// Merge returns what both documents say. What is written in both is an
// error: of two lists of rules for one role, one is likely out of date.
func Merge(a, b *Document) (*Document, error) {
	m := &Document{
		Roles: maps.Clone(a.Roles), Scopes: maps.Clone(a.Scopes),
		Anyone: a.Anyone, Authenticated: a.Authenticated,
		Users: maps.Clone(a.Users), IgnoreCase: a.IgnoreCase || b.IgnoreCase, places: maps.Clone(a.places),
	}
	if m.places == nil {
		m.places = make(map[string]string)
	}
	maps.Copy(m.places, b.places)
	twice := func(where string) error {
		return b.fault(where, "", "it has rules in two places; keep one of them")
	}
	if err := mergeMaps(&m.Roles, b.Roles, "role", twice); err != nil {
		return nil, err
	}
	if err := mergeMaps(&m.Scopes, b.Scopes, "scope", twice); err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(b.Users)) {
		for _, g := range b.Users[id] {
			if slices.ContainsFunc(m.Users[id], func(o Grant) bool { return o.From == g.From }) {
				return nil, twice(Who("user", id))
			}
		}
		if m.Users == nil {
			m.Users = make(map[string]Grants)
		}
		m.Users[id] = slices.Concat(m.Users[id], b.Users[id])
	}
	if err := mergeBlocks(&m.Anyone, b.Anyone, "anyone", twice); err != nil {
		return nil, err
	}
	if err := mergeBlocks(&m.Authenticated, b.Authenticated, "authenticated", twice); err != nil {
		return nil, err
	}
	return m, nil
}

func mergeMaps[V any](into *map[string]V, from map[string]V, kind string, twice func(string) error) error {
	for _, name := range slices.Sorted(maps.Keys(from)) {
		if _, ok := (*into)[name]; ok {
			return twice(Who(kind, name))
		}
		if *into == nil {
			*into = make(map[string]V)
		}
		(*into)[name] = from[name]
	}
	return nil
}

func mergeBlocks(into **Block, from *Block, where string, twice func(string) error) error {
	if from == nil {
		return nil
	}
	if *into != nil {
		return twice(where)
	}
	*into = from
	return nil
}

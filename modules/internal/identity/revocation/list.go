// Package revocation knows which tokens are not accepted any longer although
// they have not expired: single ones by their jti, all of a subject that were
// issued before some time, and all that a key has verified.
//
// A list is text, one JSON object a line:
//
//	# a comment
//	{"jti":"c2f1…"}
//	{"sub":"alice","issued_before":"2026-11-22T10:00:00Z"}
//	{"iss":"https://id.example.com","sub":"bob","issued_before":"2026-11-22T10:00:00Z"}
//	{"kid":"key-2025"}
//
// "iss" restricts an entry to the tokens of one issuer: ids of tokens, subjects
// and keys mean something only together with who has given them. Without it an
// entry is for those of every issuer.
//
// Each object may have a member "expires", a time after which the entry no
// longer counts, since the tokens it covers have expired too. Anything else
// is an error: a list that is half understood revokes half.
package revocation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// Bounds of a list.
const (
	MaxSize    = 64 << 20 // bytes
	MaxEntries = 500_000
	maxLine    = 4 << 10
)

// Entry is one revocation. Exactly one of JTI, Subject and KeyID is set.
type Entry struct {
	Issuer       string // empty: any
	JTI          string
	Subject      string
	IssuedBefore time.Time // with Subject
	KeyID        string

	// Expires is when the entry no longer counts. Zero means never.
	Expires time.Time
}

// Append prints the entry as a line of a list, without the end of the line.
func (e Entry) Append(b []byte) []byte {
	member := func(name, value string) {
		text, _ := json.Marshal(value) // a string: cannot fail
		b = append(b, '"')
		b = append(b, name...)
		b = append(b, `":`...)
		b = append(b, text...)
	}
	b = append(b, '{')
	if e.Issuer != "" {
		member("iss", e.Issuer)
		b = append(b, ',')
	}
	switch {
	case e.JTI != "":
		member("jti", e.JTI)
	case e.Subject != "":
		member("sub", e.Subject)
		b = append(b, ',')
		member("issued_before", e.IssuedBefore.UTC().Format(time.RFC3339Nano))
	default:
		member("kid", e.KeyID)
	}
	if !e.Expires.IsZero() {
		b = append(b, ',')
		member("expires", e.Expires.UTC().Format(time.RFC3339Nano))
	}
	return append(b, '}')
}

// parseEntry reads one line of a list.
func parseEntry(s *strictjson.Scanner, line []byte) (Entry, error) {
	var e Entry
	members, err := readMembers(s, line)
	if err != nil {
		return e, err
	}
	kinds := 0
	for name, text := range members {
		switch name {
		case "iss":
			e.Issuer = text
		case "jti":
			e.JTI = text
			kinds++
		case "sub":
			e.Subject = text
			kinds++
		case "kid":
			e.KeyID = text
			kinds++
		case "issued_before", "expires":
			t, err := time.Parse(time.RFC3339Nano, text)
			if t = t.UTC(); err != nil || t.Year() < 1970 || t.Year() > 9998 {
				return e, fmt.Errorf("%s is not a time such as 2026-11-22T10:00:00Z", name)
			}
			if name == "expires" {
				e.Expires = t
			} else {
				e.IssuedBefore = t
			}
		default:
			return e, errors.New("it has a member other than iss, jti, sub with issued_before, kid and expires")
		}
	}
	switch {
	case kinds != 1:
		return e, errors.New("exactly one of jti, sub and kid is needed")
	case e.IssuedBefore.IsZero() == (e.Subject != ""):
		return e, errors.New("sub and issued_before belong together")
	}
	return e, nil
}

// readMembers reads a JSON object whose values are all strings.
func readMembers(s *strictjson.Scanner, line []byte) (map[string]string, error) {
	errSyntax := errors.New("not a JSON object whose values are strings")
	switch err := s.Object(line); {
	case errors.Is(err, strictjson.ErrDuplicate):
		return nil, errors.New("a member is given twice")
	case err != nil:
		return nil, errSyntax
	}
	members := make(map[string]string, s.Len())
	for i := range s.Len() {
		m := s.Member(i)
		value, ok := strictjson.Text(m.Value)
		// U+FFFD is what other readers make of a lone surrogate.
		if !ok || len(value) == 0 || bytes.ContainsRune(value, utf8.RuneError) {
			return nil, errSyntax
		}
		members[string(m.Name)] = string(value)
	}
	return members, nil
}

// List is a set of entries. It is immutable once it is in use.
type List struct {
	entries map[Entry]struct{}
	jti     map[named]int64 // when it expires, see until
	kid     map[named]int64
	sub     map[named][]subject
	issuers bool // an entry names its issuer
}

// named is a name that an issuer has given; or any, if it is empty.
type named struct{ issuer, name string }

type subject struct {
	before time.Time
	until  int64
}

// until is the end of an entry in unix seconds; for ever if it has none.
func (e Entry) until() int64 {
	if e.Expires.IsZero() {
		return math.MaxInt64
	}
	return e.Expires.Unix()
}

// NewList returns the list of those entries.
func NewList(entries ...Entry) *List {
	l := &List{
		entries: make(map[Entry]struct{}, len(entries)),
		jti:     make(map[named]int64), kid: make(map[named]int64), sub: make(map[named][]subject),
	}
	for _, e := range entries {
		l.add(e)
	}
	return l
}

func (l *List) add(e Entry) {
	if _, ok := l.entries[e]; ok {
		return
	}
	l.entries[e] = struct{}{}
	l.issuers = l.issuers || e.Issuer != ""
	switch at := (named{e.Issuer, ""}); {
	case e.JTI != "":
		at.name = e.JTI
		l.jti[at] = max(l.jti[at], e.until())
	case e.Subject != "":
		at.name = e.Subject
		l.sub[at] = append(l.sub[at], subject{e.IssuedBefore, e.until()})
	default:
		at.name = e.KeyID
		l.kid[at] = max(l.kid[at], e.until())
	}
}

// Parse reads a list. The error says which line is wrong.
func Parse(text []byte) (*List, error) {
	l := NewList()
	lines := strictjson.Lines{Size: MaxSize, Line: maxLine, Count: MaxEntries, Of: "entries", Comments: true}
	err := lines.Each(text, func(s *strictjson.Scanner, line []byte) error {
		e, err := parseEntry(s, line)
		if err == nil {
			l.add(e)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Len returns the number of entries.
func (l *List) Len() int { return len(l.entries) }

// NamesKeys reports whether there is an entry about a key.
func (l *List) NamesKeys() bool { return len(l.kid) > 0 }

// Entries returns the entries, in a fixed order.
func (l *List) Entries() []Entry {
	return slices.SortedFunc(maps.Keys(l.entries), func(a, b Entry) int {
		return bytes.Compare(a.Append(nil), b.Append(nil))
	})
}

// Append prints the list. Parse reads it back.
func (l *List) Append(b []byte) []byte {
	for _, e := range l.Entries() {
		b = append(e.Append(b), '\n')
	}
	return b
}

// Token is what a list knows tokens by. What a token does not have is empty.
type Token struct {
	Issuer   string // who vouches for it
	Claimed  string // the issuer that it claims to have, where that differs
	ID       string
	Subject  string
	KeyID    string    // of the key that has verified it
	KeyPrint string    // the thumbprint of a key without an ID, which it goes by
	IssuedAt time.Time // the zero time counts as before any
}

// Revoked reports whether the token is on the list at the time now.
func (l *List) Revoked(t *Token, now time.Time) bool {
	if len(l.entries) == 0 {
		return false
	}
	if l.revoked(t, "", now) {
		return true
	}
	return l.issuers && (t.Issuer != "" && l.revoked(t, t.Issuer, now) || t.Claimed != "" && l.revoked(t, t.Claimed, now))
}

// revoked looks at the entries about one issuer, or any.
func (l *List) revoked(t *Token, issuer string, now time.Time) bool {
	sec := now.Unix()
	if t.ID != "" && sec < l.jti[named{issuer, t.ID}] {
		return true
	}
	if t.KeyID != "" && sec < l.kid[named{issuer, t.KeyID}] || t.KeyPrint != "" && sec < l.kid[named{issuer, t.KeyPrint}] {
		return true
	}
	for _, s := range l.sub[named{issuer, t.Subject}] {
		if sec < s.until && t.IssuedAt.Before(s.before) {
			return true
		}
	}
	return false
}

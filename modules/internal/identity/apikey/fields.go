package apikey

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

const (
	maxText = 256
	maxList = 256
)

var errUnknown = errors.New("unknown member")

// members calls f with each member of an object and puts the member's name
// before the error.
func members(s *strictjson.Scanner, object []byte, f func(name string, value []byte) error) error {
	if err := s.Object(object); err != nil {
		return err
	}
	for i := range s.Len() {
		m := s.Member(i)
		if err := f(string(m.Name), m.Value); err != nil {
			return fmt.Errorf("%.40q: %w", m.Name, err)
		}
	}
	return nil
}

func text(value []byte) (string, error) {
	b, ok := strictjson.Text(value)
	if !ok {
		return "", errors.New("a text is expected")
	}
	return string(b), nil
}

// list reads a list of texts that all differ and that read understands.
func list[T comparable](value []byte, read func(string) (T, error)) ([]T, error) {
	elements, ok := strictjson.Array(value)
	if !ok {
		return nil, errors.New("a list is expected")
	}
	var out []T
	for v, ok := elements.Next(); ok; v, ok = elements.Next() {
		s, err := text(v)
		if err != nil {
			return nil, err
		}
		item, err := read(s)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out, item) {
			return nil, errors.New("an element is given twice")
		}
		if out = append(out, item); len(out) > maxList {
			return nil, fmt.Errorf("more than %d elements", maxList)
		}
	}
	// An empty list of what is allowed could be read as nothing or as all.
	if len(out) == 0 {
		return nil, errors.New("the list is empty: leave the member out")
	}
	return out, nil
}

// moment reads a time of RFC 3339 in whole seconds and UTC.
func moment(value []byte) (time.Time, error) {
	s, err := text(value)
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 1970 || t.Year() > 9998 || t.UTC().Format(time.RFC3339) != s {
		return time.Time{}, errors.New("not a time such as 2026-11-22T10:00:00Z")
	}
	return t.UTC(), nil
}

// CheckName says why a text cannot be an owner, nil if it can. Owners stand in
// placeholders, records and perhaps in header fields.
func CheckName(s string) error {
	switch {
	case s == "" || len(s) > maxText || !utf8.ValidString(s):
		return fmt.Errorf("1 to %d bytes of UTF-8 are expected", maxText)
	case strings.TrimSpace(s) != s:
		return errors.New("it begins or ends with space")
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("it has a character that cannot be printed")
	}
	return nil
}

// CheckRole says why a text cannot be a role, nil if it can. It may have
// spaces: directories call groups "Domain Users".
func CheckRole(s string) error {
	if err := CheckName(s); err != nil {
		return err
	}
	if strings.Contains(s, ",") {
		return errors.New("it has a comma")
	}
	return nil
}

// CheckWord says why a text cannot be a scope or a plan, nil if it can. Lists
// of them are separated by commas and spaces elsewhere.
func CheckWord(s string) error {
	if err := CheckName(s); err != nil {
		return err
	}
	if strings.ContainsAny(s, ", ") {
		return errors.New("it has a comma or a space")
	}
	return nil
}

func word(s string) (string, error) { return s, CheckWord(s) }

func role(s string) (string, error) { return s, CheckRole(s) }

// ParseRange reads an address or a range of addresses in CIDR form (RFC 4632).
func ParseRange(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" && !a.Is4In6() {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || p.Addr().Is4In6():
		return p, errors.New("not an address or a range such as 203.0.113.0/24")
	case p != p.Masked():
		return p, fmt.Errorf("the range is written %s", p.Masked())
	}
	return p, nil
}

// ParseMethod reads a method name (RFC 9110 section 9.1), which is
// case-sensitive. Only those in capitals are known.
func ParseMethod(s string) (string, error) {
	if s == "" || len(s) > 32 {
		return "", errors.New("not the name of a method")
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c-'A' > 'Z'-'A' && (c != '-' || i == 0) {
			return "", errors.New("not the name of a method in capitals")
		}
	}
	return s, nil
}

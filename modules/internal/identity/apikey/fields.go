package apikey

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

const maxText = 256

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

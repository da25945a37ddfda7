package clientcert

import (
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// attributes are the types of RFC 4514 section 3 and, after them, those that
// openssl and Java print by name.
var attributes = []struct{ name, oid string }{
	{"CN", "2.5.4.3"},
	{"L", "2.5.4.7"},
	{"ST", "2.5.4.8"},
	{"O", "2.5.4.10"},
	{"OU", "2.5.4.11"},
	{"C", "2.5.4.6"},
	{"STREET", "2.5.4.9"},
	{"DC", "0.9.2342.19200300.100.1.25"},
	{"UID", "0.9.2342.19200300.100.1.1"},
	{"serialNumber", "2.5.4.5"},
	{"postalCode", "2.5.4.17"},
	{"emailAddress", "1.2.840.113549.1.9.1"},
}

const maxDN = 4096

// readDN prints the encoded Name as RFC 4514 has it, and returns its common
// names. Names that print alike are the same name: the values of a set are in
// the order of their text, and what cannot be printed is an error.
func readDN(der []byte) (text string, commonNames []string, err error) {
	in := cryptobyte.String(der)
	var sequence cryptobyte.String
	if !in.ReadASN1(&sequence, cbasn1.SEQUENCE) || !in.Empty() {
		return "", nil, errDN
	}
	var sets []string
	for !sequence.Empty() {
		var set cryptobyte.String
		if !sequence.ReadASN1(&set, cbasn1.SET) || set.Empty() {
			return "", nil, errDN
		}
		var members []string
		for !set.Empty() {
			name, value, err := readAttribute(&set)
			if err != nil {
				return "", nil, err
			}
			if name == "CN" {
				commonNames = append(commonNames, value)
			}
			if name[0] >= 'A' {
				value = escapeDN(value)
			}
			members = append(members, name+"="+value)
		}
		slices.Sort(members)
		sets = append(sets, strings.Join(members, "+"))
	}
	slices.Reverse(sets) // RFC 4514 section 2.1
	text = strings.Join(sets, ",")
	if len(text) > maxDN {
		return "", nil, errors.New("it is too long")
	}
	return text, commonNames, nil
}

var errDN = errors.New("not a distinguished name")

// readAttribute reads one type and value. A type without a name of its own is
// printed in digits, and its value encoded (RFC 4514 sections 2.3 and 2.4).
func readAttribute(set *cryptobyte.String) (name, value string, err error) {
	var member, encoded, content cryptobyte.String
	var oid asn1.ObjectIdentifier
	var tag cbasn1.Tag
	if !set.ReadASN1(&member, cbasn1.SEQUENCE) || !member.ReadASN1ObjectIdentifier(&oid) ||
		!member.ReadAnyASN1Element(&encoded, &tag) || !member.Empty() {
		return "", "", errDN
	}
	digits := oid.String()
	for _, a := range attributes {
		if a.oid != digits {
			continue
		}
		inner := encoded
		if !inner.ReadAnyASN1(&content, &tag) {
			return "", "", errDN
		}
		value, err := directoryString(tag, content)
		return a.name, value, err
	}
	return digits, "#" + hex.EncodeToString(encoded), nil
}

const (
	tagNumericString = cbasn1.Tag(18)
	tagBMPString     = cbasn1.Tag(30)
)

// directoryString returns a text in its one spelling.
func directoryString(tag cbasn1.Tag, content []byte) (string, error) {
	var s string
	switch tag {
	case cbasn1.UTF8String:
		s = string(content)
	case cbasn1.PrintableString, cbasn1.IA5String, cbasn1.T61String, tagNumericString:
		// Nobody agrees on what T61String is beyond ASCII.
		if slices.ContainsFunc(content, func(b byte) bool { return b >= 0x80 }) {
			return "", errors.New("a text has other characters than its type allows")
		}
		s = string(content)
	case tagBMPString:
		if len(content)%2 != 0 {
			return "", errDN
		}
		units := make([]uint16, 0, len(content)/2)
		for i := 0; i < len(content); i += 2 {
			units = append(units, uint16(content[i])<<8|uint16(content[i+1]))
		}
		s = string(utf16.Decode(units))
	default:
		return "", errors.New("a text is of a type that is not known")
	}
	return s, checkText(s)
}

// checkText refuses what could be taken for another text: characters that
// do not show, that reorder others, or that are no characters.
func checkText(s string) error {
	if s == "" || !utf8.ValidString(s) || strings.ContainsRune(s, utf8.RuneError) {
		return errors.New("a text is empty or no UTF-8")
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return errors.New("a text has a character that cannot be printed")
	}
	return nil
}

// escapeDN escapes a value, RFC 4514 section 2.4.
func escapeDN(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if strings.IndexByte(`"+,;<>\`, c) >= 0 || i == 0 && (c == ' ' || c == '#') || i == len(s)-1 && c == ' ' {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// NormalDN returns a distinguished name, written as RFC 4514 has it, in the
// spelling that is compared: the types as attributes lists them, the values
// of a set sorted, no space round commas. It is in the order that openssl
// prints with -nameopt RFC2253, the most specific name first.
func NormalDN(s string) (string, error) {
	if s == "" || len(s) > maxDN {
		return "", fmt.Errorf("a distinguished name has 1 to %d bytes", maxDN)
	}
	var sets []string
	var members []string
	for rest, more := s, true; more; {
		name, value, after, err := parseAttribute(rest)
		if err != nil {
			return "", err
		}
		if name[0] >= 'A' {
			value = escapeDN(value)
		}
		members = append(members, name+"="+value)
		if after == "" || after[0] == ',' {
			slices.Sort(members)
			sets = append(sets, strings.Join(members, "+"))
			members = nil
		}
		if more = after != ""; more {
			rest = strings.TrimLeft(after[1:], " ")
		}
	}
	return strings.Join(sets, ","), nil
}

// parseAttribute reads `type=value` and returns it with what comes after,
// which is empty or begins with a comma or plus sign.
func parseAttribute(s string) (name, value, after string, err error) {
	kind, rest, ok := strings.Cut(s, "=")
	if !ok {
		return "", "", "", errors.New("a distinguished name is written as in CN=orders,O=Example,C=DE")
	}
	kind, rest = strings.Trim(kind, " "), strings.TrimLeft(rest, " ")
	for _, a := range attributes {
		if !strings.EqualFold(a.name, kind) {
			continue
		}
		if value, after, err = parseValue(rest); err == nil {
			err = checkText(value)
		}
		return a.name, value, after, err
	}
	end := strings.IndexAny(rest, ",+")
	if end < 0 {
		end = len(rest)
	}
	value, after = strings.Trim(rest[:end], " "), rest[end:]
	if err := checkEncoded(kind, value); err != nil {
		return "", "", "", err
	}
	return kind, strings.ToLower(value), after, nil
}

// checkEncoded checks the type and the value of an attribute that has no name.
func checkEncoded(kind, value string) error {
	known := make([]string, 0, len(attributes))
	for _, a := range attributes {
		if a.oid == kind {
			return fmt.Errorf("%s is written %s", kind, a.name)
		}
		known = append(known, a.name)
	}
	b, err := hex.DecodeString(strings.TrimPrefix(value, "#"))
	element := cryptobyte.String(b)
	var content cryptobyte.String
	var tag cbasn1.Tag
	if err != nil || !strings.HasPrefix(value, "#") || !isOID(kind) || !element.ReadAnyASN1(&content, &tag) || !element.Empty() {
		return fmt.Errorf("%.40q is not one of %s, and not digits with a value in # and hexadecimal digits (RFC 4514 section 2.4)", kind, strings.Join(known, ", "))
	}
	return nil
}

// isOID reports whether s is an object identifier as readAttribute prints it.
func isOID(s string) bool {
	var oid asn1.ObjectIdentifier
	for part := range strings.SplitSeq(s, ".") {
		n := 0
		if part == "" || len(part) > 9 || part[0] == '0' && part != "0" {
			return false
		}
		for i := range len(part) {
			if part[i]-'0' > 9 {
				return false
			}
			n = 10*n + int(part[i]-'0')
		}
		oid = append(oid, n)
	}
	_, err := asn1.Marshal(oid)
	return err == nil
}

// parseValue reads a value with escapes up to a comma or plus sign.
func parseValue(s string) (value, after string, err error) {
	var b []byte
	kept := 0 // length of b without spaces at its end that are not escaped
	i := 0
	for ; i < len(s) && s[i] != ',' && s[i] != '+'; i++ {
		c := s[i]
		switch {
		case c == '\\':
			var n int
			if c, n, err = unescapeDN(s[i+1:]); err != nil {
				return "", "", err
			}
			i += n
			b = append(b, c)
			kept = len(b)
			continue
		case strings.IndexByte(`";<>`, c) >= 0 || c == '#' && i == 0:
			return "", "", fmt.Errorf(`%q in a distinguished name is written \%s`, c, string(c))
		}
		if b = append(b, c); c != ' ' {
			kept = len(b)
		}
	}
	return string(b[:kept]), s[i:], nil
}

// unescapeDN reads what follows a backslash: a special character, or two
// hexadecimal digits. n is how long it is.
func unescapeDN(s string) (c byte, n int, err error) {
	if s != "" && strings.IndexByte(` "#+,;<=>\`, s[0]) >= 0 {
		return s[0], 1, nil
	}
	if len(s) >= 2 {
		if b, err := hex.DecodeString(s[:2]); err == nil {
			return b[0], 2, nil
		}
	}
	return 0, 0, errors.New("a backslash in a distinguished name stands before a special character or two hexadecimal digits")
}

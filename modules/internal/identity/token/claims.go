package token

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// claims are the claims of a token: the members of its payload, and the
// registered ones of RFC 7519 section 4.1 read. They stand in the memory of a
// work.
type claims struct {
	members          *strictjson.Scanner
	iss, sub, jti    []byte // nil if there is none
	aud              []byte // the text of the value, nil if there is none
	exp, nbf, issued time.Time
}

// readClaims reads t.payload. A registered claim of the wrong type makes the
// token malformed: what a date or a name is must not be a matter of taste.
func (w *work) readClaims(t *jws) (c claims, ok bool) {
	if w.payload.Object(t.payload) != nil {
		return c, false
	}
	c.members = &w.payload
	for i := range w.payload.Len() {
		m, ok := w.payload.Member(i), true
		switch string(m.Name) {
		case "iss":
			c.iss, ok = strictjson.Text(m.Value)
		case "sub":
			c.sub, ok = strictjson.Text(m.Value)
		case "jti":
			c.jti, ok = strictjson.Text(m.Value)
		case "exp":
			c.exp, ok = numericDate(m.Value)
		case "nbf":
			c.nbf, ok = numericDate(m.Value)
		case "iat":
			c.issued, ok = numericDate(m.Value)
		case "aud":
			c.aud, ok = m.Value, isAudience(m.Value)
		}
		if !ok {
			return c, false
		}
	}
	return c, true
}

// maxDate is the end of the year 9999.
const maxDate = 253402300799

// numericDate reads a NumericDate, RFC 7519 section 2: seconds since 1970,
// perhaps with a fraction. Dates before 1970 and after 9999 are refused.
func numericDate(value []byte) (time.Time, bool) {
	if !strictjson.IsNumber(value) {
		return time.Time{}, false
	}
	var sec int64
	for _, c := range value {
		if c-'0' > 9 {
			return fractionalDate(value)
		}
		if sec = sec*10 + int64(c-'0'); sec > maxDate {
			return time.Time{}, false
		}
	}
	return time.Unix(sec, 0), true
}

func fractionalDate(value []byte) (time.Time, bool) {
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil || !(f >= 0 && f <= maxDate) {
		return time.Time{}, false
	}
	sec, frac := math.Modf(f)
	return time.Unix(int64(sec), int64(frac*1e9)), true
}

// isAudience reports whether value is a string or an array of strings.
func isAudience(value []byte) bool {
	if list, ok := strictjson.Array(value); ok {
		for e, ok := list.Next(); ok; e, ok = list.Next() {
			if e[0] != '"' {
				return false
			}
		}
		return true
	}
	return value[0] == '"'
}

func isEmptyList(value []byte) bool {
	list, ok := strictjson.Array(value)
	if !ok {
		return false
	}
	_, more := list.Next()
	return !more
}

// hasText reports whether value is one of the accepted strings or an array
// that holds one of them. Numbers and booleans are compared as they are
// written.
func hasText(value []byte, accepted []string) bool {
	if list, ok := strictjson.Array(value); ok {
		for e, ok := list.Next(); ok; e, ok = list.Next() {
			if e[0] != '[' && hasText(e, accepted) {
				return true
			}
		}
		return false
	}
	text, ok := strictjson.Text(value)
	if !ok {
		text = value
	}
	for _, a := range accepted {
		if string(text) == a {
			return true
		}
	}
	return false
}

// lookup returns the value p points at.
func (c *claims) lookup(p principal.Pointer) ([]byte, bool) {
	value, ok := c.members.Find(p[0])
	for _, name := range p[1:] {
		if !ok {
			return nil, false
		}
		value, ok = strictjson.Lookup(value, name)
	}
	return value, ok
}

// times checks the dates of RFC 7519 sections 4.1.4 to 4.1.6.
func (c *claims) times(iss *issuer, now time.Time) *Error {
	if err := c.expiry(iss, now); err != nil {
		return err
	}
	// A token from the future is as wrong as one for the future: its
	// issuer's clock, or somebody else's hand.
	latest := now.Add(iss.leeway)
	if c.nbf.After(latest) || c.issued.After(latest) {
		return errEarly
	}
	if iss.MaxAge > 0 {
		if c.issued.IsZero() {
			return errNoIssued
		}
		if !now.Before(c.issued.Add(iss.MaxAge + iss.leeway)) {
			return errTooOld
		}
	}
	return nil
}

// expiry is the part of times that is worth asking before the signature is
// checked: expired tokens come from clients that mean well and do not stop,
// and the rejection tells nothing that the token does not.
func (c *claims) expiry(iss *issuer, now time.Time) *Error {
	if c.exp.IsZero() {
		if iss.needExp {
			return errNoExpiry
		}
		return nil
	}
	if !now.Before(c.exp.Add(iss.leeway)) {
		return errExpired.because("exp was %s", c.exp.UTC().Format(time.RFC3339))
	}
	return nil
}

// accept checks the claims of a verified token against what its issuer's
// configuration asks.
func (c *claims) accept(iss *issuer) *Error {
	switch {
	case iss.AnyAudience:
	case len(iss.Audience) > 0:
		if c.aud == nil || !hasText(c.aud, iss.Audience) {
			return errAudience.because("aud is %s, and must be or hold %s", orMissing(c.aud), listed(iss.Audience))
		}
	case c.aud != nil && isEmptyList(c.aud):
		return errEmptyAudience
	case c.aud != nil:
		return errNoAudience // RFC 7519 section 4.1.3
	}
	for i, r := range iss.Require {
		value, ok := c.lookup(r.Claim)
		if !ok || strictjson.IsNull(value) || len(r.Values) > 0 && !hasText(value, r.Values) {
			return iss.missing[i]
		}
	}
	return nil
}

// subject finds the subject of the token.
func (c *claims) subject(iss *issuer) ([]byte, bool) {
	text, ok := c.subjectAt(iss.Subject)
	if !ok || len(text) > 0 {
		return text, ok && !slices.ContainsFunc(iss.labels, func(label string) bool { return bytes.HasPrefix(text, []byte(label)) })
	}
	for i, p := range iss.OtherSubjects {
		if text, ok = c.subjectAt(p); !ok || len(text) > 0 {
			return append([]byte(iss.labels[i]), text...), ok
		}
	}
	return nil, false
}

// subjectAt returns the id that a pointer finds, nothing if it finds none. It
// is false if what it finds cannot be one.
func (c *claims) subjectAt(p principal.Pointer) ([]byte, bool) {
	value, ok := c.lookup(p)
	if !ok || strictjson.IsNull(value) {
		return nil, true
	}
	text, ok := strictjson.Text(value)
	if !ok {
		// RFC 7519 section 4.1.2 wants a string in sub, and readClaims has seen
		// to that; elsewhere identities are often numbers.
		if !strictjson.IsNumber(value) || bytes.ContainsAny(value, ".eE") {
			return nil, false
		}
		text = value
	}
	return text, printable(text) && !padded(text)
}

// padded reports whether text begins or ends with white space, which HTTP
// strips: see principal.CheckID.
func padded(text []byte) bool {
	return len(bytes.TrimSpace(text)) < len(text)
}

// confirmation reads cnf. It is false if that is something else than keys.
func (c *claims) confirmation() (*Confirmation, bool) {
	value, ok := c.members.Find("cnf")
	if !ok {
		return nil, true
	}
	if value[0] != '{' {
		return nil, false
	}
	cnf := new(Confirmation)
	cnf.Certificate, ok = keyName(value, "x5t#S256")
	if !ok {
		return nil, false
	}
	if cnf.Key, ok = keyName(value, "jkt"); !ok {
		return nil, false
	}
	known := 0
	for _, name := range []string{cnf.Certificate, cnf.Key} {
		if name != "" {
			known++
		}
	}
	members := strictjson.Count(value)
	cnf.Other = members > known
	return cnf, members > 0
}

// keyName returns the name of a key in cnf, or nothing if there is none.
func keyName(cnf []byte, member string) (string, bool) {
	value, ok := strictjson.Lookup(cnf, member)
	if !ok {
		return "", true
	}
	return textOf(value)
}

// list appends to dst the names that the claims hold that from points at, each
// once. Claims that are missing are passed over. Claims that are no lists of
// names are not, unless nobody has asked for them.
func (c *claims) list(dst [][]byte, from *nameList) ([][]byte, bool) {
	start := len(dst)
	for i, p := range from.pointers {
		before, ok := len(dst), true
		if value, found := c.members.Find(p[0]); found {
			dst, ok = namesAt(dst, value, p[1:], from.forms[i])
		} else if p[0] == principal.Wildcard {
			dst, ok = c.namesBelow(dst, p[1:], from.forms[i])
		}
		switch {
		case ok:
		case from.lenient:
			dst = dst[:before] // RFC 7519 section 4: not understood, so ignored
		default:
			return nil, false
		}
	}
	return dst[:start+len(unique(dst[start:]))], true
}

// namesBelow is for a pointer that begins with a wildcard.
func (c *claims) namesBelow(dst [][]byte, rest principal.Pointer, f principal.Form) ([][]byte, bool) {
	for i := range c.members.Len() {
		var ok bool
		if dst, ok = namesAt(dst, c.members.Member(i).Value, rest, f); !ok {
			return dst, false
		}
	}
	return dst, true
}

// namesAt appends to dst the names that p points at below value, as
// [principal.Claims.Names] reads them. On false, dst has some of them.
func namesAt(dst [][]byte, value []byte, p principal.Pointer, f principal.Form) ([][]byte, bool) {
	for len(p) > 0 {
		if p[0] == principal.Wildcard {
			return namesInEach(dst, value, p[1:], f)
		}
		var ok bool
		if value, ok = strictjson.Lookup(value, p[0]); !ok {
			return dst, true
		}
		p = p[1:]
	}
	return names(dst, value, f)
}

func namesInEach(dst [][]byte, value []byte, rest principal.Pointer, f principal.Form) ([][]byte, bool) {
	done := true
	if list, ok := strictjson.Array(value); ok {
		for e, ok := list.Next(); ok && done; e, ok = list.Next() {
			dst, done = namesAt(dst, e, rest, f)
		}
	} else if object, ok := strictjson.Object(value); ok {
		for _, v, ok := object.Next(); ok && done; _, v, ok = object.Next() {
			dst, done = namesAt(dst, v, rest, f)
		}
	}
	return dst, done
}

// names appends to dst the names in value.
func names(dst [][]byte, value []byte, f principal.Form) ([][]byte, bool) {
	if strictjson.IsNull(value) {
		return dst, true
	}
	if list, ok := strictjson.Array(value); ok {
		for e, ok := list.Next(); ok; e, ok = list.Next() {
			name, ok := strictjson.Text(e)
			if !ok || !printable(name) {
				return dst, false
			}
			if len(name) > 0 {
				dst = append(dst, name)
			}
		}
		return dst, true
	}
	if object, ok := strictjson.Object(value); ok && f.Objects {
		for name, v, ok := object.Next(); ok; name, v, ok = object.Next() {
			if strictjson.IsNull(v) || strictjson.IsFalse(v) || len(name) == 0 {
				continue
			}
			if !printable(name) {
				return dst, false
			}
			dst = append(dst, name)
		}
		return dst, true
	}
	text, ok := strictjson.Text(value)
	if !ok || !printable(text) {
		return dst, false
	}
	for f.Words {
		end := bytes.IndexByte(text, ' ')
		if end < 0 {
			break
		}
		if end > 0 {
			dst = append(dst, text[:end:end])
		}
		text = text[end+1:]
	}
	if len(text) > 0 {
		dst = append(dst, text)
	}
	return dst, true
}

// manyNames is how many names are compared with each other to find those
// given twice. More are found by a map.
const manyNames = 32

// unique moves the first of each name to the front and returns these.
func unique(list [][]byte) [][]byte {
	n := 0
	if len(list) > manyNames {
		seen := make(map[string]bool, len(list))
		for _, name := range list {
			if !seen[string(name)] {
				seen[string(name)] = true
				list[n] = name
				n++
			}
		}
		return list[:n]
	}
next:
	for _, name := range list {
		for _, have := range list[:n] {
			if bytes.Equal(have, name) {
				continue next
			}
		}
		list[n] = name
		n++
	}
	return list[:n]
}

// printable reports whether text is free of control characters and line
// separators. Identities and roles end up in header fields, logs and lists;
// none that is real has a line break in it.
func printable(text []byte) bool {
	for i, c := range text {
		if c < ' ' || c == 0x7f {
			return false
		}
		if c >= utf8.RuneSelf {
			return bytes.IndexFunc(text[i:], unprintable) < 0
		}
	}
	return true
}

func unprintable(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
}

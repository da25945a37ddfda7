package httpsig

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The fields are read here and not with github.com/dunglas/httpsfv, which the
// tests compare this reader with: it hands out values and not the bytes that
// they were written as, which a signature base is made of (RFC 9421 section
// 2.3), and of two members of one name it keeps the last (RFC 9651 section
// 4.2.2), where two readers of a signature may disagree.

// Limits of what is read. They are far above what signatures need.
const (
	maxField      = 16 << 10 // bytes of Signature-Input or Signature
	maxSignatures = 8
	maxComponents = 64
	maxParams     = 16
)

// param is a parameter of a component or a signature. Its value is a string,
// an int64, a bool (always true), a token, or other.
type param struct {
	name  string
	value any
}

type token string

// other is a value of a type that no registered parameter has: a decimal, a byte
// sequence, a boolean that is false, a date or a display string (RFC 9651
// sections 3.3.2 and 3.3.5 to 3.3.8), as it was received.
type other string

// item is an item of an inner list: a component identifier as it stands in the
// field.
type item struct {
	name   string
	params []param
	text   string // canonical, which is how it was received
}

func (i *item) param(name string) (any, bool) { return find(i.params, name) }

func find(params []param, name string) (any, bool) {
	for i := range params {
		if params[i].name == name {
			return params[i].value, true
		}
	}
	return nil, false
}

// input is a member of Signature-Input: what a signature covers and its
// parameters.
type input struct {
	label  string
	items  []item
	params []param
	text   string // without the label: the value of @signature-params
}

// cursor reads a structured field in the one form in which RFC 9651 section 4.1
// writes it.
type cursor struct {
	s   string
	i   int
	bad bool
}

func (c *cursor) fail() { c.bad, c.i = true, len(c.s) }

func (c *cursor) peek() byte {
	if c.i < len(c.s) {
		return c.s[c.i]
	}
	return 0
}

// take reads b if it is next.
func (c *cursor) take(b byte) bool {
	if c.i < len(c.s) && c.s[c.i] == b {
		c.i++
		return true
	}
	return false
}

func (c *cursor) expect(b byte) {
	if !c.take(b) {
		c.fail()
	}
}

// joined is the value of a field whose lines may be several (RFC 9110 section
// 5.3). ok is false if it is too long.
func joined(lines []string) (s string, ok bool) {
	n := 0
	for _, l := range lines {
		n += len(l) + 2
	}
	switch {
	case n > maxField:
		return "", false
	case len(lines) == 1:
		return strings.Trim(lines[0], " \t"), true
	}
	return strings.Trim(strings.Join(lines, ", "), " \t"), true
}

// next goes on to another member of a dictionary, and reports whether there is
// one. White space round the comma is what is not written in one way only.
func (c *cursor) next() bool {
	if c.i == len(c.s) {
		return false
	}
	c.space()
	c.expect(',')
	c.space()
	return !c.bad // after a comma in the end, the key is missing
}

func (c *cursor) space() {
	for c.peek() == ' ' || c.peek() == '\t' {
		c.i++
	}
}

// key reads a key (RFC 9651 section 3.1.2).
func (c *cursor) key() string {
	start := c.i
	for c.i < len(c.s) {
		b := c.s[c.i]
		lower := b >= 'a' && b <= 'z' || b == '*'
		if !lower && (c.i == start || (b < '0' || b > '9') && b != '_' && b != '-' && b != '.') {
			break
		}
		c.i++
	}
	if c.i == start {
		c.fail()
	}
	return c.s[start:c.i]
}

// str reads a string (RFC 9651 section 3.3.3).
func (c *cursor) str() string {
	c.expect('"')
	start := c.i
	escaped := false
	for c.i < len(c.s) {
		switch b := c.s[c.i]; {
		case b == '"':
			text := c.s[start:c.i]
			c.i++
			if escaped {
				text = unescape(text)
			}
			return text
		case b == '\\':
			escaped = true
			c.i++
			if n := c.peek(); n != '"' && n != '\\' {
				c.fail()
				return ""
			}
		case b < ' ' || b > '~':
			c.fail()
			return ""
		}
		c.i++
	}
	c.fail()
	return ""
}

func unescape(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		}
		out = append(out, s[i])
	}
	return string(out)
}

// number reads an integer (RFC 9651 section 3.3.1) of up to 15 digits, without
// zeros before it. A decimal is not one.
func (c *cursor) number() int64 {
	start := c.i
	c.take('-')
	digits := c.i
	for c.peek() >= '0' && c.peek() <= '9' {
		c.i++
	}
	n := c.i - digits
	if n == 0 || n > 15 || c.peek() == '.' || c.s[digits] == '0' && (n > 1 || digits > start) {
		c.fail()
		return 0
	}
	v, err := strconv.ParseInt(c.s[start:c.i], 10, 64)
	if err != nil {
		c.fail()
	}
	return v
}

// tok reads a token (RFC 9651 section 3.3.4).
func (c *cursor) tok() token {
	start := c.i
	for c.i < len(c.s) {
		b := c.s[c.i]
		alpha := b|0x20 >= 'a' && b|0x20 <= 'z' || b == '*'
		if !alpha && (c.i == start || (b < '0' || b > '9') && strings.IndexByte("!#$%&'+-.^_`|~:/", b) < 0) {
			break
		}
		c.i++
	}
	if c.i == start {
		c.fail()
	}
	return token(c.s[start:c.i])
}

// bytes reads a byte sequence (RFC 9651 section 3.3.5), padded and without
// spare bits.
func (c *cursor) bytes() []byte {
	c.expect(':')
	end := strings.IndexByte(c.s[c.i:], ':')
	if end < 0 {
		c.fail()
		return nil
	}
	// The decoder passes over line breaks, which no field value has.
	b, err := base64.StdEncoding.Strict().DecodeString(c.s[c.i : c.i+end])
	if err != nil || strings.ContainsAny(c.s[c.i:c.i+end], "\r\n") {
		c.fail()
		return nil
	}
	c.i += end + 1
	return b
}

// params reads the parameters after an item or a list, none of them twice.
func (c *cursor) params() []param {
	var list []param
	for c.take(';') {
		p := param{name: c.key(), value: true}
		if c.take('=') {
			p.value = c.bare()
		}
		if _, twice := find(list, p.name); twice || len(list) == maxParams {
			c.fail()
		}
		if c.bad {
			return nil
		}
		list = append(list, p)
	}
	return list
}

// bare reads a bare item (RFC 9651 section 3.3) in the one form in which it is
// written. true has none: a parameter that is true has no value.
func (c *cursor) bare() any {
	start := c.i
	switch b := c.peek(); {
	case b == '"':
		return c.str()
	case b == '-' || b >= '0' && b <= '9':
		if c.decimal() {
			return other(c.s[start:c.i])
		}
		return c.number()
	case b == ':':
		c.bytes()
	case b == '?':
		c.i++
		c.expect('0')
	case b == '@':
		c.i++
		c.number()
	case b == '%':
		c.i++
		c.display()
	default:
		return c.tok()
	}
	if c.bad {
		return nil
	}
	return other(c.s[start:c.i])
}

// decimal reads a decimal, if that is next: up to 12 digits, a point and up to 3,
// without zeros that need not be there.
func (c *cursor) decimal() bool {
	n := strings.IndexFunc(c.s[c.i:], func(r rune) bool { return r != '-' && r != '.' && (r < '0' || r > '9') })
	text := c.s[c.i:]
	if n >= 0 {
		text = text[:n]
	}
	whole, fraction, ok := strings.Cut(text, ".")
	if !ok {
		return false
	}
	digits := strings.TrimPrefix(whole, "-")
	zero := strings.Trim(digits+fraction, "0") == ""
	switch {
	case digits == "" || len(digits) > 12 || strings.Contains(digits, "-") || len(digits) > 1 && digits[0] == '0',
		fraction == "" || len(fraction) > 3 || strings.ContainsAny(fraction, "-.") || len(fraction) > 1 && strings.HasSuffix(fraction, "0"),
		zero && digits != whole:
		c.fail()
		return true
	}
	c.i += len(text)
	return true
}

// display reads a display string after its percent sign (RFC 9651 section
// 3.3.8): what need not be percent-encoded is not.
func (c *cursor) display() {
	c.expect('"')
	var text []byte
	for c.i < len(c.s) {
		b := c.s[c.i]
		c.i++
		switch {
		case b == '"':
			if !utf8.Valid(text) {
				c.fail()
			}
			return
		case b == '%':
			if c.i+2 > len(c.s) || strings.ToLower(c.s[c.i:c.i+2]) != c.s[c.i:c.i+2] {
				c.fail()
				return
			}
			v, err := strconv.ParseUint(c.s[c.i:c.i+2], 16, 8)
			if b = byte(v); err != nil || b >= ' ' && b <= '~' && b != '%' && b != '"' {
				c.fail()
				return
			}
			c.i += 2
		case b < ' ' || b > '~':
			c.fail()
			return
		}
		text = append(text, b)
	}
	c.fail()
}

// list reads an inner list of strings (RFC 9651 section 3.1.1).
func (c *cursor) list() []item {
	c.expect('(')
	items := make([]item, 0, 8)
	for !c.bad && !c.take(')') {
		if len(items) > 0 {
			c.expect(' ')
		}
		start := c.i
		i := item{name: c.str()}
		i.params = c.params()
		i.text = c.s[start:c.i]
		if len(items) == maxComponents {
			c.fail()
			break
		}
		items = append(items, i)
	}
	return items
}

// parseInputs reads Signature-Input.
func parseInputs(lines []string) ([]input, *Error) {
	s, ok := joined(lines)
	if !ok {
		return nil, malformed("Signature-Input is too long")
	}
	c := cursor{s: s}
	var all []input
	for more := true; more && !c.bad; more = c.next() {
		in := input{label: c.key()}
		c.expect('=')
		start := c.i
		in.items = c.list()
		in.params = c.params()
		in.text = c.s[min(start, c.i):c.i]
		if slices.ContainsFunc(all, func(o input) bool { return o.label == in.label }) {
			return nil, malformed("Signature-Input has a label twice")
		}
		if len(all) == maxSignatures {
			return nil, malformed("too many signatures")
		}
		all = append(all, in)
	}
	if c.bad || len(all) == 0 {
		return nil, malformed("Signature-Input is not written as RFC 9421 section 4.1 has it")
	}
	return all, nil
}

// signature is a member of Signature.
type signature struct {
	label string
	bytes []byte
}

// parseSignatures reads Signature.
func parseSignatures(lines []string) ([]signature, *Error) {
	s, ok := joined(lines)
	if !ok {
		return nil, malformed("Signature is too long")
	}
	all, ok := parseByteDictionary(s, maxSignatures)
	if !ok {
		return nil, malformed("Signature is not written as RFC 9421 section 4.2 has it")
	}
	return all, nil
}

// parseByteDictionary reads a dictionary of byte sequences without parameters,
// at least one and none of them twice.
func parseByteDictionary(s string, limit int) ([]signature, bool) {
	c := cursor{s: s}
	var all []signature
	for more := true; more && !c.bad; more = c.next() {
		sig := signature{label: c.key()}
		c.expect('=')
		sig.bytes = c.bytes()
		if slices.ContainsFunc(all, func(o signature) bool { return o.label == sig.label }) || len(all) == limit {
			return nil, false
		}
		all = append(all, sig)
	}
	return all, !c.bad && len(all) > 0
}

// appendString writes a string as RFC 9651 section 4.1.6 has it. The caller has
// made sure that it is printable.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

// appendParams writes parameters (RFC 9651 section 4.1.1.2).
func appendParams(dst []byte, params []param) []byte {
	for _, p := range params {
		dst = append(append(dst, ';'), p.name...)
		switch v := p.value.(type) {
		case string:
			dst = appendString(append(dst, '='), v)
		case int64:
			dst = strconv.AppendInt(append(dst, '='), v, 10)
		case token:
			dst = append(append(dst, '='), v...)
		case other:
			dst = append(append(dst, '='), v...)
		}
	}
	return dst
}

// appendInput writes an inner list with its parameters.
func appendInput(dst []byte, items []item, params []param) []byte {
	dst = append(dst, '(')
	for i := range items {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = appendParams(appendString(dst, items[i].name), items[i].params)
	}
	return appendParams(append(dst, ')'), params)
}

package httpsig

import (
	"encoding/base64"
	"fmt"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/dunglas/httpsfv"
)

// appendBase appends the signature base of RFC 9421 section 2.5. params is the
// value of @signature-params.
func appendBase(dst []byte, m *Message, items []item, params string) ([]byte, *Error) {
	left := maxWork
	for i := range items {
		it := &items[i]
		for j := range i {
			if sameComponent(&items[j], it) {
				return nil, malformed("a component is covered twice")
			}
		}
		dst = append(append(dst, it.text...), ": "...)
		start := len(dst)
		var err *Error
		if dst, err = appendComponent(dst, m, it, &left); err != nil {
			return nil, err
		}
		if !oneLine(dst[start:]) {
			return nil, refused("a covered component holds control characters") // it could be taken for two lines of the base
		}
		dst = append(dst, '\n')
	}
	dst = append(dst, `"@signature-params": `...)
	return append(dst, params...), nil
}

// maxWork is how many bytes of a message are read for one signature. A
// component of a few bytes can have a whole query or field read through, and
// nobody has been authenticated yet.
const maxWork = 128 << 10

func oneLine(text []byte) bool {
	for _, b := range text {
		if b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return true
}

// sameComponent reports whether two identifiers are the same: name and
// parameters, whatever their order (RFC 9421 section 2).
func sameComponent(a, b *item) bool {
	if a.name != b.name || len(a.params) != len(b.params) {
		return false
	}
	for _, p := range a.params {
		if v, ok := b.param(p.name); !ok || v != p.value {
			return false
		}
	}
	return true
}

// appendComponent appends the value of one component. It takes off left what
// it has read.
func appendComponent(dst []byte, m *Message, it *item, left *int) ([]byte, *Error) {
	if err := checkParams(m, it); err != nil {
		return nil, err
	}
	if _, ok := it.param("req"); ok {
		m = m.Request
	}
	if *left -= m.size(it); *left < 0 {
		return nil, refused("what is covered is too long")
	}
	if isField(it.name) {
		return appendField(dst, m, it)
	}
	return appendDerived(dst, m, it)
}

// parseCost is how many bytes a byte counts for that has to be understood, not
// only copied: a field of 120 KiB that is written anew takes 30 ms.
const parseCost = 8

// size is at least how many bytes are read for a component, as maxWork counts
// them.
func (m *Message) size(it *item) int {
	if !isField(it.name) {
		return len(m.Authority) + len(m.Path) + len(m.Query)
	}
	n := 0
	lines, _ := m.lines(it.name)
	for _, l := range lines {
		n += len(l)
	}
	_, sf := it.param("sf")
	if _, key := it.param("key"); sf || key {
		n *= parseCost
	}
	return n
}

// checkParams refuses parameters that a component does not have, that do not
// go together, or that are not supported.
func checkParams(m *Message, it *item) *Error {
	for _, p := range it.params {
		ok := false
		switch p.name {
		case "req":
			ok = p.value == true && m.Request != nil
		case "name":
			_, ok = p.value.(string)
			ok = ok && it.name == "@query-param"
		case "key":
			_, ok = p.value.(string)
			ok = ok && isField(it.name)
		case "sf", "bs":
			ok = p.value == true && isField(it.name)
		case "tr":
			return refused("trailers cannot be covered: they come after what they would have to decide about")
		}
		if !ok {
			return malformed("a component has a parameter that it cannot have")
		}
	}
	_, bs := it.param("bs")
	_, sf := it.param("sf")
	_, key := it.param("key")
	if bs && (sf || key) {
		return malformed("a component has parameters that exclude each other") // RFC 9421 section 2.1
	}
	return nil
}

func isField(name string) bool { return !strings.HasPrefix(name, "@") }

// appendDerived appends the value of a derived component (RFC 9421 section
// 2.2).
func appendDerived(dst []byte, m *Message, it *item) ([]byte, *Error) {
	if it.name == "@status" {
		if m.Status == 0 {
			return nil, malformed("@status of a request")
		}
		return fmt.Appendf(dst, "%03d", m.Status), nil
	}
	if m.Status != 0 {
		return nil, malformed("a component of requests, of a response")
	}
	if m.Path != "" && m.Path[0] != '/' && (it.name == "@path" || it.name == "@target-uri") {
		return nil, refused("the path is covered and the target has no path") // as of OPTIONS *
	}
	switch it.name {
	case "@method":
		return append(dst, m.Method...), nil
	case "@scheme":
		return append(dst, m.Scheme...), nil
	case "@authority":
		return append(dst, m.authority()...), nil
	case "@path":
		return appendPath(dst, m), nil
	case "@query":
		return append(append(dst, '?'), m.Query...), nil // also if there is none: section 2.2.7
	case "@request-target":
		return appendTarget(dst, m), nil
	case "@target-uri":
		dst = append(append(dst, m.Scheme...), "://"...)
		return appendTarget(append(dst, m.authority()...), m), nil
	case "@query-param":
		return appendQueryParam(dst, m, it)
	}
	return nil, malformed("a derived component that is not known")
}

func appendPath(dst []byte, m *Message) []byte {
	if m.Path == "" {
		return append(dst, '/')
	}
	return append(dst, m.Path...)
}

func appendTarget(dst []byte, m *Message) []byte {
	dst = appendPath(dst, m)
	if m.HasQuery || m.Query != "" {
		dst = append(append(dst, '?'), m.Query...)
	}
	return dst
}

// appendQueryParam appends the value of one query parameter, which may stand
// but once (RFC 9421 section 2.2.8). Name and value are those that form
// encoding gives, written anew.
func appendQueryParam(dst []byte, m *Message, it *item) ([]byte, *Error) {
	v, _ := it.param("name")
	want, ok := v.(string)
	if !ok {
		return nil, malformed("@query-param without a name")
	}
	found := 0
	var value string
	for pair := range strings.SplitSeq(m.Query, "&") {
		name, val, _ := strings.Cut(pair, "=")
		n, err := url.QueryUnescape(name)
		if err != nil {
			return nil, refused("the query cannot be read")
		}
		if pair == "" || encodeForm(n) != want {
			continue
		}
		if value, err = url.QueryUnescape(val); err != nil {
			return nil, refused("the query cannot be read")
		}
		found++
	}
	if found != 1 {
		return nil, refused("a covered query parameter is not there once")
	}
	return append(dst, encodeForm(value)...), nil
}

// encodeForm percent-encodes as the WHATWG URL standard does for
// application/x-www-form-urlencoded, with %20 for a space.
func encodeForm(s string) string {
	const upper = "0123456789ABCDEF"
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		b := s[i]
		if b|0x20 >= 'a' && b|0x20 <= 'z' || b >= '0' && b <= '9' || b == '*' || b == '-' || b == '.' || b == '_' {
			out = append(out, b)
			continue
		}
		out = append(out, '%', upper[b>>4], upper[b&15])
	}
	return string(out)
}

// appendField appends the value of a field (RFC 9421 section 2.1).
func appendField(dst []byte, m *Message, it *item) ([]byte, *Error) {
	if !lowerName(it.name) {
		return nil, malformed("a component that is not a field name in lower case")
	}
	lines, ok := m.lines(it.name)
	if !ok {
		return nil, refused("a covered field is not there")
	}
	if _, bs := it.param("bs"); bs {
		for i, l := range lines {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = append(base64.StdEncoding.AppendEncode(append(dst, ':'), []byte(strings.Trim(l, " \t"))), ':')
		}
		return dst, nil
	}
	key, member := it.param("key")
	if _, sf := it.param("sf"); sf || member {
		name, _ := key.(string)
		text, ok := structured(lines, name, member)
		if !ok {
			return nil, refused("a covered field is not structured as the signature says")
		}
		return append(dst, text...), nil
	}
	for i, l := range lines {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(dst, strings.Trim(l, " \t")...)
	}
	return dst, nil
}

// lowerName reports whether name may be the name of a field as it stands in an
// identifier: a token in lower case.
func lowerName(name string) bool {
	for i := range len(name) {
		b := name[i]
		if (b < 'a' || b > 'z') && (b < '0' || b > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", b) < 0 {
			return false
		}
	}
	return name != ""
}

// lines returns the lines of a field. Host is apart in Go's requests.
func (m *Message) lines(name string) ([]string, bool) {
	if name == "host" && m.Status == 0 {
		return []string{m.Authority}, m.Authority != ""
	}
	lines, ok := m.Header[textproto.CanonicalMIMEHeaderKey(name)]
	return lines, ok && len(lines) > 0
}

// structured returns the strict serialization of a structured field, or of a
// member of a dictionary. Which kind of field it is, the signature does not
// say, so it may be a dictionary or a list, of which an item is a special case.
// What is both, such as `a, b`, must be written alike as either: `a, b, a` is
// not, since a dictionary has no member twice.
func structured(lines []string, key string, member bool) (string, bool) {
	d, noDictionary := httpsfv.UnmarshalDictionary(lines)
	if member {
		if noDictionary != nil {
			return "", false
		}
		v, ok := d.Get(key)
		if !ok {
			return "", false
		}
		return marshal(v)
	}
	l, noList := httpsfv.UnmarshalList(lines)
	switch {
	case noDictionary != nil && noList != nil:
		return "", false
	case noDictionary != nil:
		return marshal(l)
	}
	text, ok := marshal(d)
	if noList == nil {
		as, _ := marshal(l)
		ok = ok && as == text
	}
	return text, ok
}

func marshal(v httpsfv.StructuredFieldValue) (string, bool) {
	s, err := httpsfv.Marshal(v)
	return s, err == nil
}

// covers reports whether items has the component that is written so.
func covers(items []item, want *item) bool {
	return slices.ContainsFunc(items, func(i item) bool { return sameComponent(&i, want) })
}

// parseComponent reads a component as an administrator writes it: a name, or a
// name in quotes with parameters.
func parseComponent(text string) (item, error) {
	if !strings.HasPrefix(text, `"`) {
		name, params, has := strings.Cut(text, ";")
		text = `"` + name + `"`
		if has {
			text += ";" + params
		}
	}
	c := cursor{s: text}
	it := item{name: c.str()}
	it.params = c.params()
	it.text = text
	if c.bad || c.i != len(text) {
		return it, fmt.Errorf("%.80q is not a component of RFC 9421: write @method, content-type or @query-param;name=\"id\"", text)
	}
	return it, nil
}

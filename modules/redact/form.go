package redact

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
)

// maxFieldName is how long the name of a field may be, in bytes.
const maxFieldName = 4 << 10

// fields applies rules to the fields of a form. What a name means is up to the
// upstream: user[is_admin] and user.is_admin are the member is_admin of user
// to many frameworks, and PHP reads is.admin as is_admin. A rule applies to a
// field if it does by any of these readings.
type fields struct {
	view   *view
	max    int // of a value that is looked at, in bytes
	caller redaction.Caller

	count int
	fired []string
}

func (f *fields) Count() int      { return f.count }
func (f *fields) Fired() []string { return f.fired }

// note adds up what was redacted.
func (f *fields) note(w *redaction.Rewriter) { f.add(w) }

func (f *fields) add(w interface {
	Count() int
	Fired() []string
},
) {
	f.count += w.Count()
	for _, name := range w.Fired() {
		if !slices.Contains(f.fired, name) {
			f.fired = append(f.fired, name)
		}
	}
}

// formFault is a form that cannot be read.
func formFault(detail string) *fault { return &fault{reason: "syntax", detail: detail} }

// apply returns what the rules leave of the value of a field, and whether they
// leave the field at all. Where they change nothing, changed is false.
func (f *fields) apply(name, value string) (out string, kept, changed bool, err error) {
	if len(name) > maxFieldName {
		return "", false, false, formFault("a field with a name of more than 4 KiB")
	}
	if !isName(name) {
		return "", false, false, formFault("the name of a field is not text")
	}
	out = value
	for _, path := range readings(name) {
		next, kept, hit, err := f.applyAt(path, out)
		if err != nil || !kept {
			return "", kept, true, err
		}
		if hit {
			out, changed = next, true
		}
	}
	if looksLikeJSON([]byte(out)) {
		next, hit, err := f.applyToJSON(out)
		if err != nil {
			return "", false, false, err
		}
		if hit {
			out, changed = next, true
		}
		// A path may also begin with the field that the JSON is in.
		for _, path := range readings(name) {
			if !json.Valid([]byte(out)) {
				break
			}
			raw, hit, err := f.at(stepsOf(path), []byte(out))
			if err != nil || raw == nil {
				return "", false, true, err
			}
			if hit {
				out, changed = string(raw), true
			}
		}
	}
	return out, true, changed, nil
}

// isName reports whether a name is text without control characters.
func isName(name string) bool {
	return utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// applyAt applies the rules to a string at path, where an empty name and a
// number stand for an element of an array.
func (f *fields) applyAt(path []string, value string) (out string, kept, changed bool, err error) {
	quoted, _ := json.Marshal(strings.ToValidUTF8(value, "\ufffd"))
	raw, hit, err := f.at(stepsOf(path), quoted)
	if err != nil || !hit {
		return value, true, false, err
	}
	return scalarText(raw), raw != nil, true, nil
}

func stepsOf(path []string) []step {
	steps := make([]step, len(path))
	for i, name := range path {
		steps[i] = step{name, i > 0 && isIndex(name)}
	}
	return steps
}

// applyToJSON applies the rules to a value that is JSON itself.
func (f *fields) applyToJSON(value string) (out string, changed bool, err error) {
	var b bytes.Buffer
	w := f.view.program.Get(&b)
	defer f.view.program.Put(w)
	w.SetCaller(f.caller)
	if _, err = w.Write([]byte(value)); err == nil {
		err = w.Close()
	}
	if err != nil || w.Count() == 0 {
		return value, false, err
	}
	f.note(w)
	return b.String(), true, nil
}

func isIndex(name string) bool {
	return strings.Trim(name, "0123456789") == ""
}

// scalarText is a scalar as the value of a field.
func scalarText(raw []byte) string {
	var s string
	if json.Unmarshal(raw, &s) == nil { // null too
		return s
	}
	return string(raw)
}

// readings returns the paths that the name of a field can stand for.
func readings(name string) [][]string {
	paths := [][]string{{name}}
	add := func(path []string) {
		if len(path) > 0 && !slices.ContainsFunc(paths, func(p []string) bool { return slices.Equal(p, path) }) {
			paths = append(paths, path)
		}
	}
	for _, n := range []string{name, strings.TrimSpace(name), strings.TrimLeft(name, "!"), lenientUnescape(name)} { // !: a default, in Spring
		add([]string{n})
		if !strings.ContainsAny(n, "[].: ") {
			continue
		}
		add(components(n, "[]"))
		add(components(n, "[].:"))
		add(php(n))
	}
	return paths
}

// components cuts name at the separators. A pair of brackets with nothing in it is
// an element.
func components(name, separators string) []string {
	var path []string
	rest := name
	for rest != "" {
		i := strings.IndexAny(rest, separators)
		if i < 0 {
			path = append(path, strings.TrimSpace(rest))
			break
		}
		if part := strings.TrimSpace(rest[:i]); part != "" {
			path = append(path, part)
		}
		if strings.HasPrefix(rest[i:], "[]") {
			path = append(path, "")
			i++
		}
		rest = rest[i+1:]
	}
	return path
}

// php is the name as PHP reads it: without space before it, with an underscore
// where it has a space, a point or a bracket that is never closed.
func php(name string) []string {
	name = strings.TrimLeft(name, " ")
	first, rest := name, ""
	if i := strings.IndexByte(name, '['); i > 0 && strings.IndexByte(name[i:], ']') > 0 {
		first, rest = name[:i], name[i:]
	}
	first = strings.Map(func(r rune) rune {
		if r == ' ' || r == '.' || r == '[' {
			return '_'
		}
		return r
	}, first)
	return append([]string{first}, components(rest, "[]")...)
}

// lenientUnescape decodes %XX, and %uXXXX as some do, and leaves what is
// malformed as it is, as some do.
func lenientUnescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			if c, ok := unhex(s, i+1, 2); ok {
				b.WriteByte(byte(c))
				i += 2
				continue
			}
			if i+1 < len(s) && s[i+1]|0x20 == 'u' {
				if c, ok := unhex(s, i+2, 4); ok {
					b.WriteRune(c)
					i += 5
					continue
				}
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// unhex reads n hexadecimal digits of s at i.
func unhex(s string, i, n int) (rune, bool) {
	if i+n > len(s) {
		return 0, false
	}
	var v rune
	for _, c := range []byte(s[i : i+n]) {
		switch {
		case c-'0' <= 9:
			v = v<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			v = v<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// formRewriter redacts application/x-www-form-urlencoded (URL Standard,
// section 5). Fields that no rule names are not touched.
type formRewriter struct {
	fields
	dst io.Writer

	field   []byte // what has come of the current one
	long    bool   // it is too long to be held, and passes
	dropped bool   // it is too long to be held, and is removed
	wrote   bool   // a field has left
	begun   bool   // the first field is over
	dry     bool   // nothing leaves, and what there is to redact is an error
}

// Write takes bytes of the form.
func (f *formRewriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '&')
		part := p
		if i >= 0 {
			part = p[:i]
		}
		if err := f.take(part); err != nil {
			return 0, err
		}
		if i < 0 {
			break
		}
		p = p[i+1:]
		if err := f.end(true); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// take adds bytes to the current field. One that is too long to be held leaves
// as it comes, if no rule has to see all of it.
func (f *formRewriter) take(p []byte) error {
	if f.long || f.dropped {
		if f.dropped {
			return nil
		}
		return f.put(p)
	}
	f.field = append(f.field, p...)
	if len(f.field) <= f.max {
		return nil
	}
	kept, err := f.decideLong(f.field)
	if err != nil {
		return err
	}
	f.long, f.dropped = kept, !kept
	if kept {
		return f.start(f.field)
	}
	return nil
}

// decideLong reports whether a field stays of which field is the beginning.
func (f *formRewriter) decideLong(field []byte) (kept bool, err error) {
	name, value, ok := bytes.Cut(field, []byte("="))
	switch {
	case f.dry:
		return true, f.namesNone(field)
	case !ok:
		return false, formFault("a field with a name of more than 4 KiB")
	}
	return f.longField(decodeField(name), decodeField(value))
}

// longField reports whether a field stays whose value is too long to be held.
// first is its beginning.
func (f *fields) longField(name, first string) (kept bool, err error) {
	if f.view.program.Detects() || looksLikeJSON([]byte(first)) {
		return false, formFault("a field that is longer than max_value and has to be looked into")
	}
	_, kept, changed, err := f.apply(name, "")
	return kept && !changed, err
}

// end ends the current field, which a separator follows or not.
func (f *formRewriter) end(separated bool) error {
	defer func() { f.field, f.long, f.dropped, f.begun = f.field[:0], false, false, true }()
	raw := f.field
	switch {
	case f.long || f.dropped:
		return nil
	case f.dry:
		return f.namesNone(raw)
	case len(raw) == 0:
		if separated || f.wrote {
			return f.start(nil)
		}
		return nil
	}
	if err := f.semicolons(raw); err != nil {
		return err
	}
	name, value, _ := bytes.Cut(raw, []byte("="))
	out, kept, changed, err := f.apply(decodeField(name), decodeField(value))
	switch {
	case err != nil:
		return err
	case !kept:
		return nil
	case changed:
		return f.start(append(append(bytes.Clone(name), '='), encodeField(out)...))
	}
	return f.start(raw)
}

// semicolons refuses a field with another in it that a rule names: the
// semicolon separates fields to some servers.
func (f *formRewriter) semicolons(raw []byte) error {
	_, rest, ok := bytes.Cut(raw, []byte(";"))
	for ok {
		var part []byte
		part, rest, ok = bytes.Cut(rest, []byte(";"))
		if named, err := f.names(part); err != nil || named {
			return formFault("a field behind a semicolon")
		}
	}
	return nil
}

// names reports whether a rule names a field.
func (f *formRewriter) names(raw []byte) (bool, error) {
	raw, _, _ = bytes.Cut(raw, []byte("="))
	name := decodeField(raw)
	if f.dry && (len(raw) > maxFieldName || bytes.IndexByte(raw, '"') >= 0 || !isName(name)) {
		return false, nil // a piece of JSON
	}
	_, kept, changed, err := f.apply(name, "")
	return !kept || changed, err
}

// namesNone refuses a piece of JSON that a rule names if it is read as a
// field. The first one begins as JSON does, and no name.
func (f *formRewriter) namesNone(raw []byte) error {
	err := f.semicolons(raw)
	named := false
	if err == nil && f.begun {
		named, err = f.names(raw)
	}
	if err != nil || named {
		return formFault("JSON in which a rule names something where it is read as a form")
	}
	return nil
}

// start writes the beginning of a field, after a separator if it is not the
// first.
func (f *formRewriter) start(p []byte) error {
	if f.wrote {
		if err := f.put([]byte("&")); err != nil {
			return err
		}
	}
	f.wrote = true
	return f.put(p)
}

func (f *formRewriter) put(p []byte) error {
	_, err := f.dst.Write(p)
	return err
}

// Close ends the form.
func (f *formRewriter) Close() error { return f.end(false) }

// decodeField returns what the name or value of a field stands for.
func decodeField(raw []byte) string {
	return lenientUnescape(string(bytes.ReplaceAll(raw, []byte("+"), []byte(" "))))
}

// encodeField is the other way round.
func encodeField(s string) []byte {
	const hex = "0123456789ABCDEF"
	var out []byte
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ':
			out = append(out, '+')
		case c-'0' <= 9, c|0x20 >= 'a' && c|0x20 <= 'z' && c < 0x80, c == '-', c == '.', c == '_', c == '*':
			out = append(out, c)
		default:
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	return out
}

// eitherWay redacts JSON that is labelled as a form: whoever reads it as one
// must not find a field in it that a rule names.
type eitherWay struct {
	*jsonBody
	form formRewriter
}

// Write takes bytes of the body.
func (e *eitherWay) Write(p []byte) (int, error) {
	if _, err := e.form.Write(p); err != nil {
		return 0, err
	}
	return e.jsonBody.Write(p)
}

// Close ends the body.
func (e *eitherWay) Close() error {
	if err := e.form.Close(); err != nil {
		return err
	}
	return e.jsonBody.Close()
}

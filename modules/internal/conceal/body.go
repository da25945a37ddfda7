// Package conceal keeps credentials out of logs and records: it knows by
// their names and looks what a credential is, in header fields, query
// parameters, free text and bodies.
package conceal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/caddy-moat/caddy-moat/modules/internal/jsonpath"
)

// Fate is what becomes of a value.
type Fate uint8

const (
	Keep   Fate = iota
	Remove      // it disappears with its name
	Mask        // Masked stands in its place
	Hash        // a keyed hash stands in its place, the same for the same value
)

// Masked stands for a value whatever its length, which would tell something.
const Masked = "****"

// Body cleans recorded bodies: what the administrator named, and in any
// case what carries a credential by its name or its looks.
type Body struct {
	rules []rule
	key   []byte // of hash
	text  *Text
}

// NewBody returns a Body without rules; key is the key of Hash.
func NewBody(text *Text, key []byte) *Body { return &Body{text: text, key: key} }

// HasRules reports whether Add has been called.
func (s *Body) HasRules() bool { return len(s.rules) > 0 }

type rule struct {
	name string // anywhere, or
	path jsonpath.Path
	fate Fate
}

// Add compiles one selector: a member name anywhere, or a JSONPath.
func (s *Body) Add(f Fate, selector string) error {
	if !strings.HasPrefix(selector, "$") {
		s.rules = append(s.rules, rule{name: selector, fate: f})
		return nil
	}
	path, err := jsonpath.Parse(selector)
	if err != nil {
		return err
	}
	if len(path) == 0 {
		return fmt.Errorf("%q selects the whole body: leave out the record option instead", selector)
	}
	for _, segment := range path {
		for _, sel := range segment.Selectors {
			if sel.Kind == jsonpath.Slice || sel.Kind == jsonpath.Index && sel.Start < 0 {
				return fmt.Errorf("%q: slices and indices from the end are not supported in recorded bodies, whose end may be cut off", selector)
			}
		}
	}
	s.rules = append(s.rules, rule{path: path, fate: f})
	return nil
}

// Clean returns what may be shown of a body, and whether anything was left
// out. kind and encoding are its Content-Type and Content-Encoding; more says
// that only its beginning is at hand. What cannot be read is left out.
func (s *Body) Clean(body []byte, kind, encoding string, more bool) (text []byte, elided bool) {
	if len(body) == 0 {
		return nil, false
	}
	// A client may call JSON anything, and many call it a form: what begins
	// like JSON is read as JSON, whatever it is labelled.
	media, _, _ := strings.Cut(lower(kind), ";")
	media = strings.TrimSpace(media)
	if looksLikeJSON(body) {
		return s.json(body, more)
	}
	switch {
	case encoding != "" && !strings.EqualFold(encoding, "identity"):
		return nil, true
	case media == "application/x-www-form-urlencoded":
		return s.form(body, more)
	case strings.HasPrefix(media, "multipart/"):
		return nil, true
	case strings.Contains(media, "json"):
		return s.json(body, more)
	}
	if media != "" && !strings.HasPrefix(media, "text/") || !textual(body) || len(s.rules) > 0 {
		// Rules are for JSON and forms; in a text they would find nothing
		// and promise much.
		return nil, true
	}
	if more {
		// The last word may be the beginning of a credential that is known by
		// its end.
		body = body[:bytes.LastIndexAny(body, " \t\r\n")+1]
	}
	text = []byte(s.text.Line(string(body)))
	if assigns(string(text)) {
		return nil, true
	}
	return text, more
}

// looksLikeJSON reports whether b begins as an object or array does.
func looksLikeJSON(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n\x1e\ufeff")
	return len(b) > 0 && (b[0] == '{' || b[0] == '[')
}

// assigns reports whether a text gives a credential by its name in a form that
// is not read: as YAML, in XML, in JSON behind something else.
func assigns(s string) bool {
	s = lower(s)
	for _, word := range credentialWords {
		for from := 0; ; {
			end := wordEnd(s[from:], word)
			if end < 0 {
				break
			}
			from += end
			for from < len(s) && (base64Byte(s[from]) || strings.IndexByte(" \t\\\"'", s[from]) >= 0) {
				from++
			}
			if from < len(s) && s[from] == '<' && markedUp(s[from:]) {
				return true
			}
			if from < len(s) && (s[from] == ':' || s[from] == '>') && !strings.HasPrefix(strings.TrimLeft(s[from+1:], " \t\\\"'>"), hidden) {
				return true
			}
		}
	}
	return false
}

// markedUp reports whether text follows the tags that s begins with, as in the
// rows of a table.
func markedUp(s string) bool {
	for strings.HasPrefix(s, "<") {
		end := strings.IndexByte(s[:min(len(s), longTag)], '>')
		if end < 0 {
			return false
		}
		s = strings.TrimLeft(s[end+1:], " \t\r\n")
	}
	return s != ""
}

// longTag is how long a tag may be that is taken for one.
const longTag = 512

// hidden is Redacted in small letters.
const hidden = "redacted"

func textual(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 && len(b) >= utf8.UTFMax || r < ' ' && r != '\n' && r != '\r' && r != '\t' {
			return false
		}
		b = b[n:]
	}
	return true
}

// form cleans a form. Its last pair is left out if it may be cut off, since
// then its name may be too.
func (s *Body) form(b []byte, more bool) ([]byte, bool) {
	pairs := strings.Split(string(b), "&")
	if more {
		pairs = pairs[:len(pairs)-1]
	}
	var out strings.Builder
	for _, pair := range pairs {
		name, value, assigned := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(name)
		if err != nil || strings.ContainsAny(plain, "\"{}<>\r\n") || !assigned && assigns(plain) {
			return nil, true // no form, whatever it is
		}
		f := s.ByName(plain)
		if f == Remove {
			continue
		}
		if out.Len() > 0 {
			out.WriteByte('&')
		}
		if !assigned {
			out.WriteString(s.text.Clean(name))
			continue
		}
		out.WriteString(name)
		out.WriteByte('=')
		switch {
		case f == Hash:
			decoded, _ := url.QueryUnescape(value)
			out.WriteString(s.Pseudonym([]byte(decoded)))
		case f == Mask:
			out.WriteString(Masked)
		case Parameter(plain):
			out.WriteString(Redacted)
		default:
			out.WriteString(s.field(value))
		}
	}
	return []byte(out.String()), more
}

// field cleans the value of a form's field, which may be JSON.
func (s *Body) field(value string) string {
	plain, err := url.QueryUnescape(value)
	if err != nil {
		return s.text.Clean(value)
	}
	in := scrub{s: s}
	if clean := in.string(plain); clean != plain {
		return url.QueryEscape(clean)
	}
	return s.text.Encoded(value)
}

// ByName returns what becomes of a value whose name is all there is to its
// place.
func (s *Body) ByName(name string) Fate {
	return s.decide([]step{{name: name}})
}

// Pseudonym is the same for the same value and tells nothing else about it.
func (s *Body) Pseudonym(value []byte) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write(value)
	return "hmac:" + hex.EncodeToString(mac.Sum(nil)[:16])
}

// step is one step of the way to a value: a member's name, or an index.
type step struct {
	name  string
	index int64
	array bool
}

// decide returns what becomes of the value at a place. The first rule that
// selects it decides.
func (s *Body) decide(place []step) Fate {
	for i := range s.rules {
		r := &s.rules[i]
		if r.path == nil {
			if last := place[len(place)-1]; !last.array && last.name == r.name {
				return r.fate
			}
		} else if matches(r.path, place) {
			return r.fate
		}
	}
	return Keep
}

// matches reports whether path selects exactly the value at place.
func matches(path jsonpath.Path, place []step) bool {
	if len(path) == 0 {
		return len(place) == 0
	}
	for skip := 0; skip < len(place); skip++ {
		if selects(path[0].Selectors, place[skip]) && matches(path[1:], place[skip+1:]) {
			return true
		}
		if !path[0].Descendant {
			return false
		}
	}
	return false
}

func selects(selectors []jsonpath.Selector, s step) bool {
	for i := range selectors {
		switch sel := &selectors[i]; sel.Kind {
		case jsonpath.Wildcard:
			return true
		case jsonpath.Name:
			if !s.array && sel.Name == s.name {
				return true
			}
		case jsonpath.Index:
			if s.array && sel.Start == s.index {
				return true
			}
		}
	}
	return false
}

// maxDepth bounds the nesting of a recorded body.
const maxDepth = 100

// json cleans a JSON text, or several after one another, that may end
// anywhere. What follows the last thing understood is left out.
func (s *Body) json(b []byte, more bool) ([]byte, bool) {
	w := scrub{s: s}
	w.take(bytes.TrimPrefix(b, []byte("\ufeff")))
	whole := w.texts()
	return w.out, more || !whole
}

// take sets the text to clean, without its credentials.
func (w *scrub) take(b []byte) {
	// RFC 7464: what separates texts is space to all who do not know it.
	b = bytes.ReplaceAll(b, []byte{0x1e}, []byte{'\n'})
	spans := credentials(b, w.s.owns)
	w.changed = len(spans) > 0
	w.in = splice(b, spans)
}

// owns reports whether a rule of the administrator's decides about every value
// of that name.
func (s *Body) owns(name string) bool {
	for i := range s.rules {
		if s.rules[i].path == nil && s.rules[i].name == name {
			return true
		}
	}
	return false
}

// texts cleans all there is and reports whether it was understood.
func (w *scrub) texts() bool {
	for w.space(); w.pos < len(w.in); w.space() {
		if len(w.out) > 0 {
			w.out = append(w.out, '\n')
		}
		if !w.value(Keep) {
			return false
		}
	}
	return true
}

// scrub copies JSON without its insignificant space.
type scrub struct {
	s     *Body
	in    []byte
	pos   int
	out   []byte
	place []step

	nested  int  // how many strings of JSON this text is within
	changed bool // something was left out or replaced
}

// maxStrings is how many times JSON may stand in strings of JSON; deeper it is
// not shown.
const maxStrings = 4

func (w *scrub) space() {
	for w.pos < len(w.in) && strings.IndexByte(" \t\r\n", w.in[w.pos]) >= 0 {
		w.pos++
	}
}

// next skips space and returns the byte after it, 0 at the end.
func (w *scrub) next() byte {
	w.space()
	if w.pos == len(w.in) {
		return 0
	}
	return w.in[w.pos]
}

// value copies one value, or what takes its place. It reports whether the
// value was complete and well formed; if not, nothing may follow.
func (w *scrub) value(f Fate) bool {
	if f != Keep {
		w.changed = true
		start := w.pos
		raw := w.skip()
		if raw == nil {
			return false
		}
		if f == Hash {
			if raw[0] == '"' {
				var plain string
				if json.Unmarshal(raw, &plain) != nil {
					return false
				}
				raw = []byte(plain)
			}
			w.out = append(append(append(w.out, '"'), w.s.Pseudonym(raw)...), '"')
		} else {
			w.out = append(append(append(w.out, '"'), Masked...), '"')
		}
		return w.pos > start
	}
	switch w.next() {
	case '{':
		return w.object()
	case '[':
		return w.array()
	case '"':
		raw, plain, ok := w.str()
		if !ok {
			return false
		}
		if clean := w.string(plain); clean != plain {
			w.changed = true
			raw, _ = json.Marshal(clean)
		}
		w.out = append(w.out, raw...)
		return true
	}
	raw := w.scalar()
	w.out = append(w.out, raw...)
	return raw != nil
}

// string cleans what a string says, which may be JSON in turn.
func (w *scrub) string(plain string) string {
	start := strings.TrimLeft(plain, " \t\r\n\ufeff")
	if start == "" || start[0] != '{' && start[0] != '[' {
		return w.s.text.Clean(plain)
	}
	if w.nested == maxStrings {
		return Masked
	}
	in := scrub{s: w.s, nested: w.nested + 1}
	in.take([]byte(start))
	switch whole := in.texts(); {
	case whole && in.changed:
		return string(in.out)
	case !whole && assigns(plain): // no JSON, but what is it?
		return Masked
	}
	return w.s.text.Clean(plain)
}

// skip reads one value without copying it and returns its text.
func (w *scrub) skip() []byte {
	w.space()
	start := w.pos
	mute := scrub{s: &Body{text: w.s.text}, in: w.in, pos: w.pos, place: w.place, nested: maxStrings}
	ok := mute.value(Keep)
	w.pos = mute.pos
	if !ok {
		return nil
	}
	return w.in[start:w.pos]
}

func (w *scrub) object() bool {
	if len(w.place) == maxDepth {
		return false
	}
	w.out = append(w.out, '{')
	w.pos++
	first := true
	if w.next() == '}' {
		w.pos++
		w.out = append(w.out, '}')
		return true
	}
	for {
		if w.next() != '"' {
			return false
		}
		raw, name, ok := w.str()
		if !ok || w.next() != ':' {
			return false
		}
		w.pos++
		w.place = append(w.place, step{name: name})
		f := w.s.decide(w.place)
		if f == Remove {
			w.changed = true
			ok = w.skip() != nil
		} else {
			if !first {
				w.out = append(w.out, ',')
			}
			first = false
			w.out = append(append(w.out, raw...), ':')
			ok = w.value(f)
		}
		w.place = w.place[:len(w.place)-1]
		if !ok {
			return false
		}
		switch w.next() {
		case ',':
			w.pos++
		case '}':
			w.pos++
			w.out = append(w.out, '}')
			return true
		default:
			return false
		}
	}
}

func (w *scrub) array() bool {
	if len(w.place) == maxDepth {
		return false
	}
	w.out = append(w.out, '[')
	w.pos++
	if w.next() == ']' {
		w.pos++
		w.out = append(w.out, ']')
		return true
	}
	first := true
	for i := int64(0); ; i++ {
		w.place = append(w.place, step{index: i, array: true})
		f := w.s.decide(w.place)
		var ok bool
		if f == Remove {
			w.changed = true
			ok = w.skip() != nil
		} else {
			if !first {
				w.out = append(w.out, ',')
			}
			first = false
			ok = w.value(f)
		}
		w.place = w.place[:len(w.place)-1]
		if !ok {
			return false
		}
		switch w.next() {
		case ',':
			w.pos++
		case ']':
			w.pos++
			w.out = append(w.out, ']')
			return true
		default:
			return false
		}
	}
}

// str reads a string: its text with quotes, and what it says.
func (w *scrub) str() (raw []byte, plain string, ok bool) {
	start := w.pos
	for i := w.pos + 1; i < len(w.in); i++ {
		switch c := w.in[i]; {
		case c == '\\':
			i++
		case c < ' ':
			return nil, "", false
		case c == '"':
			w.pos = i + 1
			raw = w.in[start:w.pos]
			ok = json.Unmarshal(raw, &plain) == nil
			return raw, plain, ok
		}
	}
	return nil, "", false
}

// scalar reads a number, true, false or null. One that touches the end may
// be cut off and does not count.
func (w *scrub) scalar() []byte {
	start := w.pos
	for w.pos < len(w.in) && strings.IndexByte(" \t\r\n,:]}[{\"", w.in[w.pos]) < 0 {
		w.pos++
	}
	raw := w.in[start:w.pos]
	if !json.Valid(raw) || w.pos == len(w.in) && len(w.place) > 0 {
		return nil
	}
	return raw
}

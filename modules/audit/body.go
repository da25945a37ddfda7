package audit

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/caddy-moat/caddy-moat/modules/internal/jsonpath"
)

// capture keeps the beginning of a body for the record.
type capture struct {
	max      int64
	buf      []byte
	more     bool // there was more than fits
	kind     string
	encoding string
}

// describe notes the header fields that say how to read the body.
func (c *capture) describe(h http.Header) {
	c.kind, c.encoding = h.Get("Content-Type"), h.Get("Content-Encoding")
}

func (c *capture) add(p []byte) {
	room := c.max - int64(len(c.buf))
	if int64(len(p)) > room {
		c.more = true
		p = p[:max(room, 0)]
	}
	c.buf = append(c.buf, p...)
}

// What becomes of a value in a recorded body.
type fate uint8

const (
	keepValue fate = iota
	removeValue
	maskValue
	hashValue
)

// masked stands for a value whatever its length, which would tell something.
const masked = "****"

// scrubber cleans recorded bodies: what the administrator named, and in any
// case what carries a credential by its name or its looks.
type scrubber struct {
	rules []scrubRule
	key   []byte // of hash
	text  *masker
}

type scrubRule struct {
	name string // anywhere, or
	path jsonpath.Path
	fate fate
}

// add compiles one selector: a member name anywhere, or a JSONPath.
func (s *scrubber) add(f fate, selector string) error {
	if !strings.HasPrefix(selector, "$") {
		s.rules = append(s.rules, scrubRule{name: selector, fate: f})
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
	s.rules = append(s.rules, scrubRule{path: path, fate: f})
	return nil
}

// body returns what may be recorded of c, and whether anything was left out.
// What cannot be read is left out: the record then says how many bytes there
// were and no more.
func (s *scrubber) body(c *capture) (text []byte, elided bool) {
	if c == nil || len(c.buf) == 0 {
		return nil, false
	}
	if c.encoding != "" && !strings.EqualFold(c.encoding, "identity") {
		return nil, true
	}
	media, _, _ := strings.Cut(lower(c.kind), ";")
	media = strings.TrimSpace(media)
	switch {
	case media == "application/x-www-form-urlencoded":
		return s.form(c.buf, c.more)
	case strings.HasPrefix(media, "multipart/"):
		return nil, true
	}
	// A client may call JSON anything: what begins like JSON is read as
	// JSON.
	if start := bytes.TrimLeft(c.buf, " \t\r\n\ufeff"); strings.Contains(media, "json") || len(start) > 0 && (start[0] == '{' || start[0] == '[') {
		return s.json(c.buf, c.more)
	}
	if media != "" && !strings.HasPrefix(media, "text/") || !textual(c.buf) || len(s.rules) > 0 {
		// Rules are for JSON and forms; in a text they would find nothing
		// and promise much.
		return nil, true
	}
	return []byte(s.text.text(string(c.buf))), c.more
}

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
func (s *scrubber) form(b []byte, more bool) ([]byte, bool) {
	pairs := strings.Split(string(b), "&")
	if more {
		pairs = pairs[:len(pairs)-1]
	}
	var out strings.Builder
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(name)
		if err != nil {
			return nil, true
		}
		f := s.byName(plain)
		if f == removeValue {
			continue
		}
		if out.Len() > 0 {
			out.WriteByte('&')
		}
		out.WriteString(name)
		out.WriteByte('=')
		switch {
		case f == hashValue:
			decoded, _ := url.QueryUnescape(value)
			out.WriteString(s.pseudonym([]byte(decoded)))
		case f == maskValue:
			out.WriteString(masked)
		case secretParameter(plain):
			out.WriteString(redacted)
		default:
			out.WriteString(s.text.text(value))
		}
	}
	return []byte(out.String()), more
}

// byName returns what becomes of a value whose name is all there is to its
// place.
func (s *scrubber) byName(name string) fate {
	return s.decide([]step{{name: name}})
}

// pseudonym is the same for the same value and tells nothing else about it.
func (s *scrubber) pseudonym(value []byte) string {
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
func (s *scrubber) decide(place []step) fate {
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
	return keepValue
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

// maxScrubDepth bounds the nesting of a recorded body.
const maxScrubDepth = 100

// json cleans a JSON text, or several after one another, that may end
// anywhere. What follows the last thing understood is left out.
func (s *scrubber) json(b []byte, more bool) ([]byte, bool) {
	w := jsonScrub{s: s, in: bytes.TrimPrefix(b, []byte("\ufeff"))}
	for w.space(); w.pos < len(w.in); w.space() {
		if len(w.out) > 0 {
			w.out = append(w.out, '\n')
		}
		if !w.value(keepValue) {
			return w.out, true
		}
	}
	return w.out, more
}

// jsonScrub copies JSON without its insignificant space.
type jsonScrub struct {
	s     *scrubber
	in    []byte
	pos   int
	out   []byte
	place []step
}

func (w *jsonScrub) space() {
	for w.pos < len(w.in) && strings.IndexByte(" \t\r\n", w.in[w.pos]) >= 0 {
		w.pos++
	}
}

// next skips space and returns the byte after it, 0 at the end.
func (w *jsonScrub) next() byte {
	w.space()
	if w.pos == len(w.in) {
		return 0
	}
	return w.in[w.pos]
}

// value copies one value, or what takes its place. It reports whether the
// value was complete and well formed; if not, nothing may follow.
func (w *jsonScrub) value(f fate) bool {
	if f != keepValue {
		start := w.pos
		raw := w.skip()
		if raw == nil {
			return false
		}
		if f == hashValue {
			if raw[0] == '"' {
				var plain string
				if json.Unmarshal(raw, &plain) != nil {
					return false
				}
				raw = []byte(plain)
			}
			w.out = append(append(append(w.out, '"'), w.s.pseudonym(raw)...), '"')
		} else {
			w.out = append(append(append(w.out, '"'), masked...), '"')
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
		if clean := w.s.text.text(plain); clean != plain {
			raw, _ = json.Marshal(clean)
		}
		w.out = append(w.out, raw...)
		return true
	}
	raw := w.scalar()
	w.out = append(w.out, raw...)
	return raw != nil
}

// skip reads one value without copying it and returns its text.
func (w *jsonScrub) skip() []byte {
	w.space()
	start := w.pos
	mute := jsonScrub{s: &scrubber{text: w.s.text}, in: w.in, pos: w.pos, place: w.place}
	ok := mute.value(keepValue)
	w.pos = mute.pos
	if !ok {
		return nil
	}
	return w.in[start:w.pos]
}

func (w *jsonScrub) object() bool {
	if len(w.place) == maxScrubDepth {
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
		if f == keepValue && secretMember(name) && w.next() != '{' {
			f = maskValue
		}
		if f == removeValue {
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

// secretMember is secretParameter without the words of the OAuth redirect,
// which in JSON mean everything from postal addresses to error codes. Objects
// under a secret name are looked into instead of hidden: "tokens" may be a
// whole tree whose members have names of their own.
func secretMember(name string) bool {
	switch lower(name) {
	case "code", "state":
		return false
	}
	return secretParameter(name)
}

func (w *jsonScrub) array() bool {
	if len(w.place) == maxScrubDepth {
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
		ok := true
		if f == removeValue {
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
func (w *jsonScrub) str() (raw []byte, plain string, ok bool) {
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
func (w *jsonScrub) scalar() []byte {
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

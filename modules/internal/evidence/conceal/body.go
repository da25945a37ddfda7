// Package conceal keeps credentials out of logs and records: it knows by
// their names and looks what a credential is, in header fields, query
// parameters, free text and bodies.
package conceal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/jsonpath"
	"github.com/caddy-moat/caddy-moat/modules/internal/data/redaction"
)

// Treatment says how a value is recorded.
type Treatment uint8

const (
	Keep   Treatment = iota
	Remove           // it disappears with its name
	Mask             // Masked replaces it
	Hash             // a keyed hash replaces it, the same for the same value
)

// Masked stands for a value whatever its length, which would tell something.
const Masked = "****"

// Body cleans recorded bodies: what the administrator named, and in any
// case what carries a credential by its name or its looks. JSON goes through the
// redaction engine, so that selectors mean here what they mean in redact.
type Body struct {
	rules []redaction.Rule
	owned map[string]bool // names of which every value is a rule's
	key   []byte          // of hash
	text  *Text

	// programs are for a text and for JSON that stands in its strings, one
	// level within the other. fates tells what the rules do to a name.
	programs [maxStrings + 1]*redaction.Program
	fates    *redaction.Program
}

// NewBody returns a Body without rules; key is the key of Hash.
func NewBody(text *Text, key []byte) *Body {
	s := &Body{text: text, key: key, owned: map[string]bool{}}
	if err := s.compile(); err != nil {
		panic(err) // there is no selector that could be wrong
	}
	return s
}

// HasRules reports whether Add has been called.
func (s *Body) HasRules() bool { return len(s.rules) > 0 }

// Add compiles one selector: a member name anywhere, or a JSONPath. Of
// several that select a value the first decides.
func (s *Body) Add(f Treatment, selector string) error {
	path, err := jsonpath.ParseSelector(selector)
	if err != nil {
		return err
	}
	if len(path) == 0 {
		return fmt.Errorf("%q selects the whole body: leave out the record option instead", selector)
	}
	if seg := path[len(path)-1]; len(path) == 1 && seg.Descendant {
		for _, sel := range seg.Selectors {
			if sel.Kind == jsonpath.Name {
				s.owned[sel.Name] = true
			}
		}
	}
	s.rules = append(s.rules, redaction.Rule{Name: marks[f], Selector: selector, Action: s.action(f)})
	if err := s.compile(); err != nil {
		s.rules = s.rules[:len(s.rules)-1]
		return err
	}
	return nil
}

// marks stand for fates in what fates makes of a name.
var marks = map[Treatment]string{Remove: "remove", Mask: "mask", Hash: "hash"}

func (s *Body) action(f Treatment) redaction.Action {
	switch f {
	case Remove:
		return redaction.Remove()
	case Hash:
		return redaction.Scalar(func(text []byte) string {
			if string(text) == Masked {
				return Masked // a credential, which is gone already
			}
			return s.Pseudonym(text)
		})
	}
	return redaction.Replace(Masked)
}

// longestValue is longer than any body that is recorded.
const longestValue = 1 << 20

func (s *Body) compile() error {
	o := redaction.Options{MaxDepth: maxDepth, MaxValue: longestValue, Sequence: true, FirstWins: true}
	for level := range s.programs {
		rules := append(slices.Clone(s.rules), redaction.Rule{
			Name: "credentials", Selector: "$",
			Action: redaction.Rewrite(func(text []byte) ([]byte, bool) { return s.string(text, level) }),
		})
		var err error
		if s.programs[level], err = redaction.Compile(rules, o); err != nil {
			return err
		}
	}
	fates := slices.Clone(s.rules)
	for i := range fates {
		fates[i].Action = redaction.Replace(fates[i].Name)
	}
	var err error
	s.fates, err = redaction.Compile(fates, o)
	return err
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
	given := fieldNames(pairs)
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
		case Parameter(plain) || given.names(plain):
			out.WriteString(Redacted)
		default:
			out.WriteString(s.field(value))
		}
	}
	return []byte(out.String()), more
}

// groups are the beginnings of names in a form, such as fields[0] of
// fields[0][name], of which one field gives the name of a credential.
type groups map[string]bool

// fieldNames returns the groups in which a field names a credential, as
// name=password&value=….
func fieldNames(pairs []string) (given groups) {
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		group, last := splitName(name)
		if !naming[last] {
			continue
		}
		if plain, err := url.QueryUnescape(value); err == nil && namesCredential(last, plain) {
			if given == nil {
				given = groups{}
			}
			given[group] = true
		}
	}
	return given
}

// names reports whether a field has the value that another one names.
func (g groups) names(name string) bool {
	if g == nil {
		return false
	}
	group, last := splitName(name)
	return named[last] && g[group]
}

// splitName splits the name of a field into its last word and what stands
// before it.
func splitName(name string) (group, last string) {
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	n := string(normal(nil, name))
	i := strings.LastIndexByte(n, '_')
	return n[:max(i, 0)], n[i+1:]
}

// field cleans the value of a form's field, which may be JSON.
func (s *Body) field(value string) string {
	plain, err := url.QueryUnescape(value)
	if err != nil {
		return s.text.Clean(value)
	}
	if clean, changed := s.string([]byte(plain), 0); changed {
		return url.QueryEscape(string(clean))
	}
	return s.text.Encoded(value)
}

// ByName returns what becomes of a value of which only the name
// is known, not the position.
func (s *Body) ByName(name string) Treatment {
	if len(s.rules) == 0 {
		return Keep
	}
	text, _ := jsontext.AppendQuote([]byte{'{'}, name)
	out, _, err := apply(s.fates, append(text, ":0}"...))
	if err != nil {
		return Mask // what is that?
	}
	for f, mark := range marks {
		if bytes.HasSuffix(out, []byte(`:"`+mark+`"}`)) {
			return f
		}
	}
	return Keep
}

// Pseudonym is the same for the same value and tells nothing else about it.
func (s *Body) Pseudonym(value []byte) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write(value)
	return "hmac:" + hex.EncodeToString(mac.Sum(nil)[:16])
}

// maxDepth bounds the nesting of a recorded body.
const maxDepth = 100

// maxStrings is how many times JSON may stand in strings of JSON; deeper it is
// not shown.
const maxStrings = 4

// json cleans a JSON text, or several after one another, that may end
// anywhere. What follows the last thing understood is left out.
func (s *Body) json(b []byte, more bool) ([]byte, bool) {
	out, whole, _ := s.texts(bytes.TrimPrefix(b, []byte("\ufeff")), 0)
	return out, more || !whole
}

// texts cleans all there is, without insignificant space. It reports whether
// it was understood, and whether anything was left out or replaced.
func (s *Body) texts(b []byte, level int) (out []byte, whole, changed bool) {
	// RFC 7464: what separates texts is space to all who do not know it.
	b = bytes.ReplaceAll(b, []byte{0x1e}, []byte{'\n'})
	spans := credentials(b, s.text, func(name string) bool { return s.owned[name] })
	b = splice(b, spans)
	out, count, err := apply(s.programs[level], b)
	var fault *redaction.Error
	if errors.As(err, &fault) {
		// What stands before the fault, which has taken all that was
		// written with it. A number that ends there may go on.
		upTo := b[:min(fault.Offset, int64(len(b)))]
		upTo = upTo[:bytes.LastIndexAny(upTo, " \t\r\n,:]}[{\"")+1]
		if fault.Reason != redaction.ReasonTruncated || len(upTo) < len(b) {
			out, count, _ = apply(s.programs[level], upTo)
		}
	}
	return compact(out), err == nil, count > 0 || len(spans) > 0
}

// apply runs a program over b.
func apply(p *redaction.Program, b []byte) (out []byte, count int, err error) {
	var buf bytes.Buffer
	w := p.Get(&buf)
	defer p.Put(w)
	if _, err = w.Write(b); err == nil {
		err = w.Close()
	}
	return buf.Bytes(), w.Count(), err
}

// string cleans what a string says, which may be JSON in turn.
func (s *Body) string(text []byte, level int) (out []byte, changed bool) {
	plain := string(text)
	if looksLikeJSON(text) {
		if level == maxStrings {
			return []byte(Masked), true
		}
		out, whole, changed := s.texts(bytes.TrimLeft(text, " \t\r\n\ufeff"), level+1)
		switch {
		case whole && changed:
			return out, true
		case !whole && assigns(plain): // no JSON, but what is it?
			return []byte(Masked), true
		}
	}
	clean := s.text.Clean(plain)
	return []byte(clean), clean != plain
}

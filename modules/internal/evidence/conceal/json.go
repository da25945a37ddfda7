package conceal

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// span is a piece of a text.
type span struct{ from, to int }

// credentials returns where in a JSON text, or in several after one another,
// the values stand that are credentials by the company they keep: by the name
// of their member, by that of another member of the same object
// ({"name":"password","value":…}), as a private member of a JSON Web Key, or as
// the second of a pair. Values under a name for which own is true are left
// alone. A text that is cut off or malformed is read as far as it goes.
func credentials(text []byte, clean *Text, own func(name string) bool) []span {
	f := finder{
		text: text, own: own, clean: clean,
		d: jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)),
	}
	for f.value("", 0) {
	}
	return f.found
}

type finder struct {
	text  []byte
	own   func(name string) bool
	clean *Text
	d     *jsontext.Decoder
	found []span
}

func (f *finder) hide(s span) { f.found = append(f.found, s) }

// value reads one value, of a member of that name, and reports whether it was
// complete.
func (f *finder) value(name string, depth int) bool {
	if depth > maxDepth {
		return false
	}
	switch f.d.PeekKind() {
	case '{':
		return f.object(depth)
	case '[':
		return f.array(name, depth)
	}
	_, err := f.d.ReadValue()
	return err == nil
}

// skip reads one value and returns where it stands. Of one that is cut off
// that is the rest of the text.
func (f *finder) skip() (s span, kind jsontext.Kind, ok bool) {
	kind = f.d.PeekKind()
	after := int(f.d.InputOffset())
	raw, err := f.d.ReadValue()
	if err != nil {
		for after < len(f.text) && strings.IndexByte(" \t\r\n:,", f.text[after]) >= 0 {
			after++
		}
		return span{after, len(f.text)}, kind, false
	}
	end := int(f.d.InputOffset())
	return span{end - len(raw), end}, kind, true
}

// member is one of an object, as far as the others must know of it.
type member struct {
	name string // as normal writes it
	text string // its text, if it is a short string
	at   span
	kind jsontext.Kind
}

func (f *finder) object(depth int) bool {
	if _, err := f.d.ReadToken(); err != nil {
		return false
	}
	var members []member
	ok := true
	for ok {
		k := f.d.PeekKind()
		if k == '}' {
			_, err := f.d.ReadToken()
			ok = err == nil
			break
		}
		raw, err := f.d.ReadValue()
		if err != nil || k != '"' {
			ok = false
			break
		}
		name, _ := jsontext.AppendUnquote(nil, raw)
		if len(name) >= shortestKey && f.clean.Clean(string(name)) != string(name) {
			end := int(f.d.InputOffset())
			f.hide(span{end - len(raw), end}) // a key or token that others are kept by
		}
		var m member
		m, ok = f.member(string(name), depth)
		members = append(members, m)
	}
	f.company(members, ok)
	return ok
}

// member reads the value of a member.
func (f *finder) member(name string, depth int) (m member, ok bool) {
	m.name = string(normal(nil, name))
	m.kind = f.d.PeekKind()
	after := int(f.d.InputOffset())
	if Member(name) && !f.own(name) {
		m.at, _, ok = f.skip()
		if tells(m.name, m.kind) && m.name != "key" {
			f.hide(m.at)
		}
		if m.kind == '"' && ok {
			m.text = text(f.text[m.at.from:m.at.to])
		}
		return m, ok
	}
	switch m.kind {
	case '{', '[':
		ok = f.value(m.name, depth+1)
		m.at = span{f.begin(after), int(f.d.InputOffset())}
		if !ok {
			m.at.to = len(f.text)
		}
	default:
		m.at, _, ok = f.skip()
		if m.kind == '"' && ok {
			m.text = text(f.text[m.at.from:m.at.to])
		}
	}
	return m, ok
}

// begin returns where the value begins that follows a name.
func (f *finder) begin(i int) int {
	for i < len(f.text) && strings.IndexByte(" \t\r\n:,", f.text[i]) >= 0 {
		i++
	}
	return i
}

// longText is the length of the longest string that may be a name.
const longText = 256

// text returns what a string says, nothing if it is long.
func text(raw []byte) string {
	if len(raw) > longText {
		return ""
	}
	b, err := jsontext.AppendUnquote(nil, raw)
	if err != nil && len(b) == 0 {
		return ""
	}
	return string(b)
}

// tells reports whether a value of that kind tells anything under the name of
// a credential: true, false and null do not, nor does a number of tokens.
func tells(name string, kind jsontext.Kind) bool {
	switch kind {
	case 't', 'f', 'n':
		return false
	case '0':
		return !strings.HasSuffix(name, "tokens")
	}
	return true
}

// naming are the members whose strings name the value of another one, and
// named those whose value that is. privateParts are the private members of a
// JSON Web Key (RFC 7518 section 6).
var (
	naming = set(`name key field header param parameter label variable var property prop attribute attr k n id option setting
		column col path pointer target type kind`)
	named        = set(`value values val v content contents data string_value default default_value new_value old_value newvalue oldvalue plaintext`)
	privateParts = set(`d p q dp dq qi k oth inverse_q inverseq`)
)

// company hides what is a credential because of another member of its object.
// Of one that is cut off that member may be missing.
func (f *finder) company(members []member, whole bool) {
	pair := !whole
	has := func(name string) bool {
		for i := range members {
			if members[i].name == name {
				return true
			}
		}
		return false
	}
	for i := range members {
		m := &members[i]
		if naming[m.name] && m.text != "" {
			if namesCredential(m.name, m.text) {
				pair = true
				break
			}
			pair = pair && m.name == "id" // a cut off object may have a name to come
		}
	}
	jwk := has("kty") || has("n") && has("e") || has("crv") && has("x") || has("modulus") && has("exponent")
	valued := false
	for i := range members {
		m := &members[i]
		valued = valued || named[m.name]
		hidden := pair && named[m.name] && tells("", m.kind) ||
			privateParts[m.name] && (jwk || !whole && len(m.text) > 8 && strings.IndexByte(m.text, ' ') < 0)
		if hidden && !f.own(m.name) {
			f.hide(m.at)
		}
	}
	for i := range members {
		// Beside a value a key is a name.
		if m := &members[i]; m.name == "key" && !valued && !jwk && tells("", m.kind) && !f.own(m.name) {
			f.hide(m.at)
		}
	}
}

// namesCredential reports whether a text is the name of a credential, or a
// path (RFC 6901 pointers, RFC 9535, dots) whose last part is.
func namesCredential(member, text string) bool {
	if strings.IndexByte(text, ' ') >= 0 || len(text) > longText {
		return false
	}
	if i := strings.LastIndexAny(text, "/."); i >= 0 {
		text = text[i+1:]
	}
	if member == "type" || member == "kind" || member == "id" {
		// {"type":"password","value":…} of credential stores; a bare key
		// or session is a kind of thing.
		return hasCredentialWord(lower(text)) && Member(text)
	}
	return Member(text) || Header(text)
}

// array reads an array, which may be a pair of name and value or a list of
// names and values in turn, as headers are in some servers and arguments on
// command lines.
func (f *finder) array(name string, depth int) bool {
	if _, err := f.d.ReadToken(); err != nil {
		return false
	}
	var elements []member
	ok := true
	for ok {
		if f.d.PeekKind() == ']' {
			_, err := f.d.ReadToken()
			ok = err == nil
			break
		}
		var e member
		e.kind = f.d.PeekKind()
		after := int(f.d.InputOffset())
		switch e.kind {
		case '{', '[':
			ok = f.value("", depth+1)
			e.at = span{f.begin(after), int(f.d.InputOffset())}
			if !ok {
				e.at.to = len(f.text)
			}
		default:
			e.at, _, ok = f.skip()
			if e.kind == '"' && ok {
				e.text = text(f.text[e.at.from:e.at.to])
			}
		}
		if ok || e.at.from < e.at.to {
			elements = append(elements, e)
		}
	}
	f.pairs(name, elements, ok)
	return ok
}

func (f *finder) pairs(name string, elements []member, whole bool) {
	inTurn := len(elements) == 2 || strings.Contains(name, "header") || !whole
	for i := 0; i+1 < len(elements); i++ {
		e := &elements[i]
		name := inTurn && i%2 == 0 || strings.HasPrefix(e.text, "-")
		if !name || e.text == "" || !namesCredential("name", e.text) {
			continue
		}
		if next := &elements[i+1]; tells("", next.kind) && !f.own(e.text) {
			f.hide(next.at)
		}
	}
}

// splice puts Masked in place of what spans say, of which some may be
// within others.
func splice(text []byte, spans []span) []byte {
	if len(spans) == 0 {
		return text
	}
	out := make([]byte, 0, len(text))
	done := 0
	for _, s := range outermost(spans) {
		out = append(out, text[done:s.from]...)
		out = append(append(append(out, '"'), Masked...), '"')
		done = s.to
	}
	return append(out, text[done:]...)
}

// outermost sorts spans and drops those within another.
func outermost(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to))
	})
	kept := spans[:0]
	end := -1
	for _, s := range spans {
		if s.from >= end {
			kept = append(kept, s)
			end = s.to
		}
	}
	return kept
}

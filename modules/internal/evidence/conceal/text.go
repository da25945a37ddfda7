package conceal

import (
	"encoding/json"
	"net/url"
	"strings"
)

// Redacted stands where a credential was, as in Caddy's own access log.
const Redacted = "REDACTED"

// Text knows what a credential looks like.
type Text struct {
	headers map[string]bool // further names, lower case
	query   map[string]bool

	patterns []*PathPattern
}

// NewText returns a Text that also hides the named header fields and query
// parameters, in any spelling of case.
func NewText(headers, query []string) *Text {
	m := &Text{headers: make(map[string]bool), query: make(map[string]bool)}
	for _, h := range headers {
		m.headers[lower(h)] = true
	}
	for _, q := range query {
		m.query[lower(q)] = true
	}
	return m
}

// Hides reports whether the value of a log field or header of this name is
// hidden whatever it is.
func (m *Text) Hides(key string) bool {
	return m.headers[lower(key)] || Header(key)
}

// Value cleans the value of a field.
func (m *Text) Value(key, s string) string {
	if m.Hides(key) {
		return Redacted
	}
	return m.Clean(s)
}

// Clean cleans a text: passwords in URLs and data source names, credentials in
// query strings, also in those that are parameters of others, and in paths that
// are known to have one, what stands under the name of a credential in a piece
// of JSON, in header fields of a message that is shown, what follows an
// authentication scheme, JSON Web Tokens, keys known by their form. It takes time
// in proportion to the length of the text.
func (m *Text) Clean(s string) string { return m.clean(s, 0) }

// Encoded is Clean for a value as it stands in a query or a form.
func (m *Text) Encoded(s string) string {
	if strings.ContainsAny(s, "%+") && m.hidden(s, 0) {
		return Redacted
	}
	return m.Clean(s)
}

// Path is Clean for the path of a URL without parameters.
func (m *Text) Path(s string) string {
	if strings.Contains(s, "eyJ") {
		s = Tokens(s)
	}
	return m.paths(keys(s))
}

// Path cleans the path of a URL as a Text without names or patterns does.
func Path(s string) string { return plainText.Path(s) }

var plainText = NewText(nil, nil)

// maxNested is how many times a value may be encoded and still be looked into.
const maxNested = 3

func (m *Text) clean(s string, level int) string {
	if strings.IndexByte(s, '=') >= 0 {
		s = m.parameters(s, level)
	}
	if strings.IndexByte(s, ':') >= 0 {
		s = userinfo(s)
		s = dataSource(s)
		s = headerLines(s)
	}
	if strings.ContainsAny(s, "\"'") {
		s = quotedPairs(s)
	}
	s = maskSchemes(s)
	if strings.Contains(s, "eyJ") {
		s = Tokens(s)
	}
	s = keys(s)
	if strings.IndexByte(s, '/') >= 0 {
		s = m.paths(s)
	}
	return s
}

// What ends the name and the value of a parameter. In a query a value goes on
// to the next parameter; in other text it may stand in brackets or quotes.
const (
	nameEnds  = "?&;#, \t\"'(="
	valueEnds = "&;# \t\"'),"
	queryEnds = "&# \t\""
)

// parameters hides the values of secret parameters: what follows name= up to
// the next separator, where the name follows the start of a query or another
// parameter. The rest is copied as it is, since a log must show what was sent
// and not what a parser would make of it.
func (m *Text) parameters(s string, level int) string {
	var out strings.Builder
	done, start := 0, 0
	for i := 0; i < len(s); i++ {
		if strings.IndexByte(nameEnds, s[i]) < 0 {
			continue
		}
		begin := start
		start = i + 1
		if s[i] != '=' {
			continue
		}
		name := s[begin:i]
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		end := 0
		switch {
		case Parameter(name) && !harmless(s, begin, name) || m.query[lower(name)]:
			if end = quotedEnd(s, i+1); end == i+1 {
				end = m.valueEnd(s, begin, i+1)
			}
		case level < maxNested:
			end = i + 1 + untilAny(s[i+1:], nameEnds+valueEnds)
			if value := s[i+1 : end]; strings.IndexByte(value, '%') < 0 || !m.hidden(value, level) {
				continue
			}
		}
		if end <= i+1 {
			continue
		}
		out.WriteString(s[done : i+1])
		out.WriteString(Redacted)
		done, start = end, end
		i = end - 1
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

// hidden reports whether there is something to hide in an encoded value.
func (m *Text) hidden(value string, level int) bool {
	plain, err := url.QueryUnescape(value)
	return err == nil && plain != value && m.clean(plain, level+1) != plain
}

// valueEnd returns where the value ends that begins at i, of a name that begins
// at begin.
func (m *Text) valueEnd(s string, begin, i int) int {
	if begin > 0 && strings.IndexByte("?&", s[begin-1]) < 0 || begin == 0 && strings.ContainsAny(s, " \t") {
		return i + untilAny(s[i:], valueEnds)
	}
	for {
		i += untilAny(s[i:], queryEnds+";")
		if i == len(s) || s[i] != ';' {
			return i
		}
		// A separator of parameters, or a part of the value.
		next := i + 1 + untilAny(s[i+1:], queryEnds+";=")
		if next < len(s) && s[next] == '=' {
			return i
		}
		i++
	}
}

// untilAny is strings.IndexAny, with the length of s for none.
func untilAny(s, chars string) int {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return i
	}
	return len(s)
}

// harmless spares words such as "code=" and "state=" where they do not stand
// in a query, so that messages like "exit code=1" stay readable.
func harmless(s string, start int, name string) bool {
	var space [64]byte
	if !words[string(normal(space[:0], name))] {
		return false
	}
	if start == 0 {
		return strings.IndexByte(s, ' ') >= 0
	}
	return strings.IndexByte("?&#;", s[start-1]) < 0
}

// words are those of secretNames that messages have in the sense that a
// dictionary gives them.
var words = set(`code state key auth session ticket nonce magic recovery activation invite certificate crypt salt signature`)

// maskSchemes hides what follows the name of an authentication scheme.
func maskSchemes(s string) string {
	for _, scheme := range [...]string{"bearer ", "basic ", "dpop ", "digest ", "negotiate "} {
		s = maskScheme(s, scheme)
	}
	return s
}

func maskScheme(s, scheme string) string {
	var out strings.Builder
	done, from := 0, 0
	for {
		i := indexFold(s[from:], scheme)
		if i < 0 {
			break
		}
		start := from + i + len(scheme)
		end := start
		for end < len(s) && tokenByte(s[end]) {
			end++
		}
		// English words follow these names too.
		if end-start >= 4 && !englishWord(s[start:end]) && s[start:end] != Redacted {
			out.WriteString(s[done:start])
			out.WriteString(Redacted)
			done = end
		}
		from = end
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

// Tokens hides JSON Web Tokens: three parts in base64url of which the
// first begins a JSON object, {" in base64 being eyJ.
func Tokens(s string) string {
	var out strings.Builder
	done, from := 0, 0
	for {
		i := strings.Index(s[from:], "eyJ")
		if i < 0 {
			break
		}
		start := from + i
		end, dots := start, 0
		for end < len(s) {
			if n := dot(s[end:]); n > 0 {
				dots++
				end += n
			} else if base64Byte(s[end]) {
				end++
			} else {
				break
			}
		}
		if dots >= 1 && end-start >= 20 {
			out.WriteString(s[done:start])
			out.WriteString(Redacted)
			done = end
		}
		from = end
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

// dot returns the length of the dot that s begins with, be it written in
// percent-encoding, perhaps several times over. 0 if it is none.
func dot(s string) int {
	if s[0] != '%' {
		if s[0] == '.' {
			return 1
		}
		return 0
	}
	n := 1
	for strings.HasPrefix(s[n:], "25") {
		n += 2
	}
	if len(s) >= n+2 && s[n] == '2' && s[n+1]|0x20 == 'e' {
		return n + 2
	}
	return 0
}

// longName is the length from which on the user of a URL is taken for a token:
// some services want it there, and no password.
const longName = 20

// userinfo hides the passwords in URLs (RFC 3986 section 3.2.1).
func userinfo(s string) string {
	const mark = "://"
	var out strings.Builder
	done, from := 0, 0
	for {
		i := strings.Index(s[from:], mark)
		if i < 0 {
			break
		}
		start := from + i + len(mark)
		from = start
		at := strings.LastIndexByte(s[start:start+untilAny(s[start:], "/?# \t\"'<>")], '@')
		if at < 0 {
			continue
		}
		end := start + at
		from = end
		if colon := strings.IndexByte(s[start:end], ':'); colon >= 0 {
			start += colon + 1
		} else if end-start < longName {
			continue
		}
		if start == end {
			continue
		}
		out.WriteString(s[done:start])
		out.WriteString(Redacted)
		done = end
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

// Reflected returns value with every text in its JSON cleaned.
func (m *Text) Reflected(value any) (any, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var v any
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return m.tree(v), nil
}

func (m *Text) tree(v any) any {
	switch v := v.(type) {
	case string:
		return m.Clean(v)
	case []any:
		for i := range v {
			v[i] = m.tree(v[i])
		}
	case map[string]any:
		for k := range v {
			if m.Hides(k) {
				v[k] = Redacted
			} else {
				v[k] = m.tree(v[k])
			}
		}
	}
	return v
}

// indexFold is strings.Index for a lower-case ASCII text in any case.
func indexFold(s, lowerText string) int {
	for i := 0; i+len(lowerText) <= len(s); i++ {
		if s[i]|0x20 == lowerText[0] && strings.EqualFold(s[i:i+len(lowerText)], lowerText) {
			return i
		}
	}
	return -1
}

func base64Byte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// tokenByte reports whether c may stand in token68 of RFC 9110 section 11.2.
func tokenByte(c byte) bool {
	return base64Byte(c) || c == '.' || c == '~' || c == '+' || c == '/' || c == '='
}

const longestWord = 16

// englishWord reports whether s is letters only, all in lower case but
// perhaps the first, as no encoded credential of any length is, and no longer
// than words are.
func englishWord(s string) bool {
	if len(s) > longestWord {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (i > 0 || c < 'A' || c > 'Z') {
			return i > 0 && i == len(s)-1 && c == '.' // the end of a sentence
		}
	}
	return true
}

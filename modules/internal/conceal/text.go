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

// Clean cleans a text: credentials in the query strings of URLs, what follows
// an authentication scheme, JSON Web Tokens.
func (m *Text) Clean(s string) string {
	if strings.IndexByte(s, '=') >= 0 {
		s = m.parameters(s)
	}
	s = maskSchemes(s)
	if strings.Contains(s, "eyJ") {
		s = Tokens(s)
	}
	return s
}

// parameters hides the values of secret parameters: what follows name= up to
// the next separator, where the name follows the start of a query or another
// parameter. The rest is copied as it is, since a log must show what was sent
// and not what a parser would make of it.
func (m *Text) parameters(s string) string {
	var out strings.Builder
	done := 0
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			continue
		}
		start := strings.LastIndexAny(s[done:i], "?&;#, \t\"'(") + 1 + done
		end := i + 1
		for end < len(s) && !strings.ContainsRune("&;# \t\"'),", rune(s[end])) {
			end++
		}
		name := s[start:i]
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if end > i+1 && (Parameter(name) && !harmless(s, start, name) || m.query[lower(name)]) {
			out.WriteString(s[done : i+1])
			out.WriteString(Redacted)
			done = end
			i = end - 1
		}
	}
	if done == 0 {
		return s
	}
	out.WriteString(s[done:])
	return out.String()
}

// harmless spares short words such as "code=" and "state=" where they do not
// stand in a query, so that messages like "exit code=1" stay readable.
func harmless(s string, start int, name string) bool {
	if hasCredentialWord(lower(name)) {
		return false
	}
	if start == 0 {
		return strings.IndexByte(s, ' ') >= 0
	}
	return strings.IndexByte("?&#;", s[start-1]) < 0
}

// maskSchemes hides what follows the name of an authentication scheme.
func maskSchemes(s string) string {
	for _, scheme := range [...]string{"bearer ", "basic ", "dpop ", "digest ", "negotiate "} {
		from := 0
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
				s = s[:start] + Redacted + s[end:]
				end = start + len(Redacted)
			}
			from = end
		}
	}
	return s
}

// Tokens hides JSON Web Tokens: three parts in base64url of which the
// first begins a JSON object, {" in base64 being eyJ.
func Tokens(s string) string {
	from := 0
	for {
		i := strings.Index(s[from:], "eyJ")
		if i < 0 {
			return s
		}
		start := from + i
		end, dots := start, 0
		for end < len(s) && (base64Byte(s[end]) || s[end] == '.') {
			if s[end] == '.' {
				dots++
			}
			end++
		}
		if dots >= 1 && end-start >= 20 {
			s = s[:start] + Redacted + s[end:]
			end = start + len(Redacted)
		}
		from = end
	}
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

// englishWord reports whether s is letters only, all in lower case but
// perhaps the first, as no encoded credential of any length is.
func englishWord(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (i > 0 || c < 'A' || c > 'Z') {
			return i > 0 && i == len(s)-1 && c == '.' // the end of a sentence
		}
	}
	return true
}

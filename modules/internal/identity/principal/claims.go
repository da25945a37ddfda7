package principal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// Claims are the claims of a verified credential: a JSON object, kept as the
// bytes that were verified and decoded when somebody first asks. Most
// requests ask for nothing but what the Principal's fields already say.
type Claims struct {
	encoded string // base64url of raw, if raw is to be made when asked for
	made    atomic.Pointer[made]
}

// made is what is there once somebody has asked. It is apart, since most
// claims are remembered and never asked for.
type made struct {
	rawOnce sync.Once
	raw     []byte
	mapOnce sync.Once
	decoded map[string]any
}

func (c *Claims) ask() *made {
	if m := c.made.Load(); m != nil {
		return m
	}
	c.made.CompareAndSwap(nil, new(made)) // or another request was faster
	return c.made.Load()
}

// NewClaims wraps a JSON object that has been checked to be one. The bytes
// belong to the Claims afterwards.
func NewClaims(raw []byte) *Claims {
	c := new(Claims)
	c.made.Store(&made{raw: raw})
	return c
}

// NewEncodedClaims is NewClaims for a JSON object in base64url without
// padding, as it stands in a token. A token that is remembered then takes its
// claims' memory once and not twice.
func NewEncodedClaims(encoded string) *Claims { return &Claims{encoded: encoded} }

// Raw returns the claims as JSON. The caller must not change it.
func (c *Claims) Raw() []byte {
	if c == nil {
		return nil
	}
	m := c.ask()
	m.rawOnce.Do(func() {
		if c.encoded != "" {
			m.raw = c.json()
		}
	})
	return m.raw
}

// json returns the claims as JSON without keeping what it has to decode.
func (c *Claims) json() []byte {
	if c.encoded == "" {
		return c.ask().raw
	}
	raw, err := base64.RawURLEncoding.DecodeString(c.encoded)
	if err != nil {
		return nil
	}
	return raw
}

// Map returns the claims decoded. Integers that fit are int64, integers
// that do not are json.Number so that no digit is lost, all other numbers are
// float64; the rest is as encoding/json decodes it. The caller must not
// change it.
func (c *Claims) Map() map[string]any {
	if c == nil {
		return nil
	}
	kept := c.ask()
	kept.mapOnce.Do(func() {
		d := json.NewDecoder(bytes.NewReader(c.json()))
		d.UseNumber()
		var m map[string]any
		if d.Decode(&m) != nil {
			return
		}
		for k, v := range m {
			m[k] = exact(v)
		}
		kept.decoded = m
	})
	return kept.decoded
}

// With returns the claims with others in place of those of the same names.
func (c *Claims) With(changes map[string]any) *Claims {
	m := maps.Clone(c.Map())
	if m == nil {
		m = make(map[string]any, len(changes))
	}
	maps.Copy(m, changes)
	raw, err := json.Marshal(m)
	if err != nil {
		raw = []byte("{}") // claims that are JSON can be encoded
	}
	return NewClaims(raw)
}

// exact replaces each json.Number below v by the Go type that holds it.
func exact(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return i
		}
		if !strings.ContainsAny(string(v), ".eE") {
			return v
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v
	case []any:
		for i := range v {
			v[i] = exact(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = exact(v[k])
		}
	}
	return v
}

// Pointer is a compiled JSON Pointer (RFC 6901) into claims.
type Pointer []string

// ParsePointer compiles a JSON Pointer. A text without a leading slash is
// taken as the name of one top-level claim as it stands, so that `sub` and
// `https://example.com/roles` can be written plainly.
func ParsePointer(s string) (Pointer, error) {
	if s == "" {
		return nil, fmt.Errorf("empty claim pointer: write a claim's name or a JSON Pointer such as /realm_access/roles")
	}
	if s[0] != '/' {
		return Pointer{s}, nil
	}
	tokens := strings.Split(s[1:], "/")
	for i, t := range tokens {
		for j := 0; j < len(t); j++ {
			if t[j] != '~' {
				continue
			}
			if j+1 == len(t) || t[j+1] != '0' && t[j+1] != '1' {
				return nil, fmt.Errorf("claim pointer %q: '~' must be followed by 0 or 1 (RFC 6901 section 3)", s)
			}
		}
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(t, "~1", "/"), "~0", "~")
	}
	return tokens, nil
}

// ParseSingle compiles a JSON Pointer that is to find one value.
func ParseSingle(s string) (Pointer, error) {
	p, err := ParsePointer(s)
	if err == nil && p.HasWildcard() {
		return nil, fmt.Errorf("claim pointer %q: '*' stands for every element or member, which only roles and scopes can have: write the index or the name of one", s)
	}
	return p, err
}

// Meant returns the JSON Pointer that somebody probably meant who wrote the
// name of one claim with separators in it, "" if the text is a pointer or may
// well be a name: that of a claim whose name is a URL or URN, or begins with a
// domain (RFC 7519 section 4.2).
func Meant(text string) string {
	bare := strings.TrimPrefix(text, "$.")
	if text == "" || text[0] == '/' || strings.Contains(text, ":") {
		return ""
	}
	first, _, slashed := strings.Cut(bare, "/")
	if slashed && strings.Contains(first, ".") {
		return ""
	}
	if !slashed {
		bare = strings.ReplaceAll(bare, ".", "/")
	}
	if !strings.Contains(bare, "/") && bare == text || strings.HasPrefix(bare, "/") || strings.HasSuffix(bare, "/") || strings.Contains(bare, "//") {
		return ""
	}
	return "/" + bare
}

// String prints the pointer in RFC 6901 form.
func (p Pointer) String() string {
	var b strings.Builder
	for _, t := range p {
		b.WriteByte('/')
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(t, "~", "~0"), "/", "~1"))
	}
	return b.String()
}

// Lookup returns the value p points at.
func (c *Claims) Lookup(p Pointer) (any, bool) {
	var v any = c.Map()
	for _, t := range p {
		var ok bool
		if v, ok = step(v, t); !ok {
			return nil, false
		}
	}
	return v, v != nil || len(p) > 0
}

// step returns the member or element of v that a token of a pointer names.
func step(v any, token string) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		member, ok := v[token]
		return member, ok
	case []any:
		// RFC 6901 section 4: no leading zeros, no sign.
		i, err := strconv.Atoi(token)
		if err == nil && i >= 0 && i < len(v) && strconv.Itoa(i) == token {
			return v[i], true
		}
	}
	return nil, false
}

// Wildcard is the name in a pointer that stands for every element of an array
// and every member of an object, where lists of names are read: /roles/*/name
// are the names of all objects in roles. It means that in [Claims.Names] alone.
const Wildcard = "*"

// HasWildcard reports whether the pointer has a wildcard.
func (p Pointer) HasWildcard() bool { return slices.Contains(p, Wildcard) }

// IsScope reports whether the pointer's last name is that of a claim whose
// text is a list separated by spaces: scope (RFC 8693 section 4.2), and scp.
func (p Pointer) IsScope() bool {
	return len(p) > 0 && (p[len(p)-1] == "scope" || p[len(p)-1] == "scp")
}

// Names reads the names that p points at: a text is one name or several (RFC
// 6749 section 3.3); an array holds texts; of an object the names of its members
// may be meant, but for those that are null or false. A claim that is missing or null has none. Anything else is not a list
// of names and gives false: a role that is a number is a mistake, not a role.
func (c *Claims) Names(p Pointer, f Form) ([]string, bool) {
	return namesAt(nil, c.Map(), p, f)
}

// Form says how names are read.
type Form struct {
	Words   bool // a text is names separated by spaces, and not one
	Objects bool // the members of an object are names
}

func namesAt(names []string, v any, p Pointer, f Form) ([]string, bool) {
	for len(p) > 0 {
		if p[0] == Wildcard {
			return namesBelow(names, v, p[1:], f)
		}
		var ok bool
		if v, ok = step(v, p[0]); !ok {
			return names, true
		}
		p = p[1:]
	}
	return appendNames(names, v, f)
}

// namesBelow reads the names in each element or member of v.
func namesBelow(names []string, v any, rest Pointer, f Form) ([]string, bool) {
	ok := true
	switch v := v.(type) {
	case []any:
		for i := 0; ok && i < len(v); i++ {
			names, ok = namesAt(names, v[i], rest, f)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if names, ok = namesAt(names, v[name], rest, f); !ok {
				break
			}
		}
	}
	return names, ok
}

func appendNames(names []string, v any, f Form) ([]string, bool) {
	add := func(name string) {
		if name != "" {
			names = append(names, name)
		}
	}
	switch v := v.(type) {
	case nil:
	case string:
		if !f.Words {
			add(v)
			break
		}
		for word := range strings.SplitSeq(v, " ") {
			add(word)
		}
	case []any:
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, false
			}
			add(s)
		}
	case map[string]any:
		if !f.Objects {
			return nil, false
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if value := v[name]; value != nil && value != false {
				add(name)
			}
		}
	default:
		return nil, false
	}
	return names, true
}

// Text prints a claim for a header or a log: strings and numbers as they
// are, everything else as compact JSON.
func Text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case json.Number:
		return string(v)
	case nil:
		return ""
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}

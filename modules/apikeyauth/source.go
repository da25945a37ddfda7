package apikeyauth

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-moat/caddy-moat/modules/internal/credential"
)

const (
	bearer       = "Bearer"
	apiKeyScheme = "ApiKey"
)

// Source is a place of a request where a key may stand. Exactly one of Header
// and Query is set.
type Source struct {
	// The name of a header.
	Header string `json:"header,omitempty"`

	// The authentication scheme before the key in that header. Default:
	// none, but for Authorization, where one is required.
	Scheme string `json:"scheme,omitempty"`

	// The name of a query parameter.
	Query string `json:"query,omitempty"`
}

// source is a Source made ready.
type source struct {
	Source
	at string
}

func (p *Provider) compileFrom() error {
	from := p.From
	if len(from) == 0 {
		from = []Source{{Header: "Authorization", Scheme: apiKeyScheme}, {Header: "Authorization", Scheme: bearer}}
	}
	seen := make(map[string]bool)
	for _, s := range from {
		c, err := s.compile()
		if err != nil {
			return fmt.Errorf("from: %w", err)
		}
		if key := c.key(); seen[key] {
			return fmt.Errorf("from: %s is given twice", key)
		} else {
			seen[key] = true
		}
		if p.scheme == "" {
			p.scheme = c.Scheme
		}
		p.from = append(p.from, c)
	}
	if p.scheme == "" {
		p.scheme = apiKeyScheme
	}
	return nil
}

// key is what no two sources may have in common.
func (s *source) key() string {
	if s.Scheme == "" {
		return s.at
	}
	return s.at + " " + strings.ToLower(s.Scheme)
}

func (s Source) compile() (source, error) {
	c := source{Source: s}
	switch {
	case s.Header != "" && s.Query == "":
		if !httpguts.ValidHeaderFieldName(s.Header) || s.Scheme != "" && !httpguts.ValidHeaderFieldName(s.Scheme) {
			return c, errors.New("the name of the header or of the scheme cannot be one")
		}
		c.Header = textproto.CanonicalMIMEHeaderKey(s.Header)
		if strings.EqualFold(s.Scheme, bearer) {
			c.Scheme = bearer
		}
		switch c.Header {
		case "Authorization":
			if s.Scheme == "" {
				return c, errors.New("Authorization needs a scheme: from header Authorization ApiKey") //nolint:staticcheck // a name
			}
		case "Cookie", "Host":
			return c, fmt.Errorf("a key cannot stand in the header %s", c.Header)
		}
		c.at = "header " + c.Header
	case s.Query != "" && s.Header == "" && s.Scheme == "":
		c.at = "query " + s.Query
	default:
		return c, errors.New("exactly one of header and query is needed")
	}
	return c, nil
}

var (
	errSeveral = &credential.Error{
		Kind: credential.Malformed, Code: credential.CodeInvalidRequest,
		Detail: "more than one API key",
	}
	errUnreadable = &credential.Error{
		Kind: credential.Malformed, Code: credential.CodeInvalidRequest,
		Detail: "the API key cannot be read",
	}
)

// read returns the one key of the request.
func (p *Provider) read(r *http.Request) (string, error) {
	found, n := "", 0
	prefix := p.store.Prefix()
	for i := range p.from {
		raw, count, err := p.from[i].read(r, prefix)
		if err != nil {
			return "", err
		}
		if count > 0 {
			found = raw
			n += count
		}
	}
	switch {
	case n == 0:
		return "", credential.ErrMissing
	case n > 1:
		return "", errSeveral
	}
	return found, nil
}

// read returns the key in that place and how many there are.
func (s *source) read(r *http.Request, prefix string) (raw string, n int, err error) {
	if s.Header != "" {
		if s.otherSpelling(r.Header) {
			return "", 0, errUnreadable
		}
		values := r.Header[s.Header]
		switch {
		case len(values) == 0:
			return "", 0, nil
		case len(values) > 1:
			return "", 0, errSeveral
		}
		if raw = values[0]; s.Scheme != "" {
			var ours bool
			if raw, ours = s.afterScheme(raw, prefix); !ours {
				return "", 0, nil
			}
		}
		n = 1
	} else {
		if r.URL.RawQuery == "" {
			return "", 0, nil
		}
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			// Somebody else may read a key in what we cannot.
			return "", 0, errUnreadable
		}
		for _, v := range query[s.Query] {
			raw = v
			n++
		}
	}
	if n == 1 && (raw == "" || strings.ContainsAny(raw, " \t,;")) {
		return "", 0, errUnreadable
	}
	return raw, n, nil
}

// otherSpelling reports whether there is a field whose name is that of the
// key's but for underscores or dots in the place of hyphens. Servers that
// hand fields on as variables would read the one for the other.
func (s *source) otherSpelling(h http.Header) bool {
	if !strings.Contains(s.Header, "-") {
		return false
	}
next:
	for name := range h {
		if len(name) != len(s.Header) || name == s.Header {
			continue
		}
		for i := range len(name) {
			a, b := name[i], s.Header[i]
			if a != b && a|0x20 != b|0x20 && (b != '-' || a != '_' && a != '.') {
				continue next
			}
		}
		return true
	}
	return false
}

// afterScheme returns what follows the scheme, which is compared without
// regard to case (RFC 9110 section 11.1), and whether it is ours. Under Bearer
// that is what begins with the prefix of our keys; the rest are tokens.
func (s *source) afterScheme(value, prefix string) (string, bool) {
	if len(value) < len(s.Scheme) || !strings.EqualFold(value[:len(s.Scheme)], s.Scheme) {
		return "", false
	}
	rest := value[len(s.Scheme):]
	if rest != "" && rest[0] != ' ' && httpguts.ValidHeaderFieldName(rest[:1]) {
		return "", false // another scheme whose name begins like ours
	}
	if s.Scheme == bearer {
		// Whatever stands between: somebody else might read it as ours.
		text := strings.TrimLeft(rest, " \t,;\"'")
		if len(text) <= len(prefix) || text[:len(prefix)] != prefix || text[len(prefix)] != '_' {
			return "", false
		}
	}
	return strings.TrimLeft(rest, " "), true
}

// place is where a source is. Kind is that of tokens: two of any are one
// credential too many.
func (s *source) place() credential.Place { return credential.Place{Kind: "token", At: s.at} }

// Places says where keys stand.
func (p *Provider) Places(r *http.Request) []credential.Place {
	var places []credential.Place
	prefix := p.store.Prefix()
	for i := range p.from {
		s := &p.from[i]
		if _, n, err := s.read(r, prefix); err != nil || n > 0 {
			for range max(n, 1) {
				places = append(places, s.place())
			}
		}
	}
	return places
}

// Recognizes reports whether a key stands where other methods look for tokens
// too, and where that is: it begins with our prefix, so it is none of theirs.
func (p *Provider) Recognizes(r *http.Request) (at string, ok bool) {
	prefix := p.store.Prefix()
	for i := range p.from {
		s := &p.from[i]
		if s.Scheme != bearer {
			continue
		}
		if _, n, err := s.read(r, prefix); err != nil || n > 0 {
			return s.at, true
		}
	}
	return "", false
}

// Clean removes the key from the request if the provider is configured so.
func (p *Provider) Clean(r *http.Request) {
	if !p.Strip {
		return
	}
	prefix := p.store.Prefix()
	for i := range p.from {
		p.from[i].remove(r, prefix)
	}
}

func (s *source) remove(r *http.Request, prefix string) {
	if s.Query != "" {
		r.URL.RawQuery = removeParameter(r.URL.RawQuery, s.Query)
		return
	}
	for _, v := range r.Header[s.Header] {
		if s.Scheme != "" {
			if _, ours := s.afterScheme(v, prefix); !ours {
				continue
			}
		}
		delete(r.Header, s.Header)
		return
	}
}

// removeParameter takes the parameters of that name out of a query and leaves
// the others as they are.
func removeParameter(query, name string) string {
	if query == "" {
		return ""
	}
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		n, _, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(n); err == nil && decoded == name {
			continue
		}
		kept = append(kept, pair)
	}
	return strings.Join(kept, "&")
}

package jwtauth

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

// Source is a place of a request where a token may stand. Exactly one of
// Header, Cookie and Query is set.
type Source struct {
	// The name of a header.
	Header string `json:"header,omitempty"`

	// The authentication scheme before the token in that header. Default:
	// Bearer for Authorization, none for other headers.
	Scheme string `json:"scheme,omitempty"`

	// The name of a cookie.
	Cookie string `json:"cookie,omitempty"`

	// The name of a query parameter.
	Query string `json:"query,omitempty"`
}

// source is a Source made ready.
type source struct {
	Source
	at        string
	spellable bool // the header's name can be spelled otherwise, see otherSpelling
}

func (p *Provider) compileFrom() error {
	from := p.From
	if len(from) == 0 {
		from = []Source{{Header: "Authorization"}}
	}
	if p.bindDPoP {
		// RFC 9449 section 7.1 knows no other place.
		if len(from) != 1 || !strings.EqualFold(from[0].Header, "Authorization") || from[0].Scheme != "" {
			return errors.New("with bind dpop a token stands in the Authorization header alone: remove `from`")
		}
		from = []Source{{Header: "Authorization", Scheme: "DPoP"}}
	}
	seen := make(map[string]bool)
	for _, s := range from {
		c, err := s.compile()
		if err != nil {
			return fmt.Errorf("from: %w", err)
		}
		if seen[c.at] {
			return fmt.Errorf("from: %s is given twice", c.at)
		}
		seen[c.at] = true
		if p.scheme == "" {
			p.scheme = c.Scheme
		}
		p.from = append(p.from, c)
	}
	if p.scheme == "" {
		p.scheme = "Bearer"
	}
	return nil
}

func (s Source) compile() (source, error) {
	c := source{Source: s}
	switch {
	case s.Header != "" && s.Cookie == "" && s.Query == "":
		if !httpguts.ValidHeaderFieldName(s.Header) || s.Scheme != "" && !httpguts.ValidHeaderFieldName(s.Scheme) {
			return c, errors.New("the name of the header or of the scheme cannot be one")
		}
		c.Header = textproto.CanonicalMIMEHeaderKey(s.Header)
		switch c.Header {
		case "Authorization":
			if s.Scheme == "" {
				c.Scheme = "Bearer"
			}
		case "Cookie", "Host":
			return c, fmt.Errorf("a token cannot stand in the header %s", c.Header)
		}
		c.at = "header " + c.Header
		c.spellable = strings.ContainsAny(c.Header, "-_.")
	case s.Cookie != "" && s.Header == "" && s.Query == "" && s.Scheme == "":
		if !httpguts.ValidHeaderFieldName(s.Cookie) { // both are tokens, RFC 6265 section 4.1.1
			return c, errors.New("the name of the cookie cannot be one")
		}
		c.at = "cookie " + s.Cookie
	case s.Query != "" && s.Header == "" && s.Cookie == "" && s.Scheme == "":
		c.at = "query " + s.Query
	default:
		return c, errors.New("exactly one of header, cookie and query is needed")
	}
	return c, nil
}

var (
	errSeveral = &credential.Error{
		Kind: credential.Malformed, Code: credential.CodeInvalidRequest,
		Detail: "more than one token", // RFC 6750 section 2 and 3.1
	}
	errUnreadable = &credential.Error{
		Kind: credential.Malformed, Code: credential.CodeInvalidRequest,
		Detail: "the token cannot be read",
	}
)

// read returns the one token of the request.
func (p *Provider) read(r *http.Request) (string, error) {
	found, n := "", 0
	for i := range p.from {
		raw, count, err := p.from[i].read(r)
		if err != nil {
			return "", err
		}
		if count > 0 {
			found = raw
			n += count
		}
	}
	switch {
	case n == 0 && p.bindDPoP && p.isBearer(r):
		return "", errNotDPoP
	case n == 0:
		return "", credential.ErrMissing
	case n > 1:
		return "", errSeveral
	}
	return found, nil
}

// isBearer reports whether the request has a token under the scheme Bearer.
// Where it has to be bound, that is a bad credential and not a missing one
// (RFC 9449 section 7.2).
func (p *Provider) isBearer(r *http.Request) bool {
	bearer := source{Source: Source{Scheme: "Bearer"}}
	_, ours := bearer.afterScheme(r.Header.Get("Authorization"))
	return ours
}

// read returns the token in that place and how many there are.
func (s *source) read(r *http.Request) (raw string, n int, err error) {
	switch {
	case s.Header != "":
		if s.spellable && s.otherSpelling(r.Header) {
			return "", 0, errUnreadable
		}
		values := r.Header[s.Header]
		switch {
		case len(values) == 0:
			return "", 0, nil
		case len(values) > 1:
			return "", 0, errSeveral
		}
		raw = values[0]
		if s.Scheme != "" {
			var ours bool
			if raw, ours = s.afterScheme(raw); !ours {
				return "", 0, nil
			}
		}
		n = 1
	case s.Cookie != "":
		if raw, n = s.cookies(r.Header["Cookie"]); n > 0 && raw == "" {
			return "", 0, errUnreadable
		}
	default:
		if r.URL.RawQuery == "" {
			return "", 0, nil
		}
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			// Somebody else may read a token in what we cannot.
			return "", 0, errUnreadable
		}
		for _, v := range query[s.Query] {
			raw = v
			n++
		}
	}
	if n == 1 && (raw == "" || separated(raw)) {
		return "", 0, errUnreadable
	}
	return raw, n, nil
}

// separated reports whether raw holds what separates values. To look for one
// byte after the other takes a fifth of the time of strings.ContainsAny.
func separated(raw string) bool {
	return strings.IndexByte(raw, ' ') >= 0 || strings.IndexByte(raw, '\t') >= 0 ||
		strings.IndexByte(raw, ',') >= 0 || strings.IndexByte(raw, ';') >= 0
}

// otherSpelling reports whether there is a field whose name is that of the
// token's but for its hyphens, underscores and dots. Servers that
// hand fields on as variables would read the one for the other.
func (s *source) otherSpelling(h http.Header) bool {
next:
	for name := range h {
		if len(name) != len(s.Header) || name == s.Header {
			continue
		}
		for i := range len(name) {
			a, b := name[i], s.Header[i]
			if a != b && a|0x20 != b|0x20 && (strings.IndexByte("-_.", a) < 0 || strings.IndexByte("-_.", b) < 0) {
				continue next
			}
		}
		return true
	}
	return false
}

// cookies returns the value of the cookie of that name and how many there are.
// The value is empty if there is one that net/http, or whoever else is strict,
// would pass over: somebody behind may be less strict and read that one.
func (s *source) cookies(lines []string) (raw string, n int) {
	readable := true
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			// Commas have separated cookies once (RFC 2965).
			for piece := range strings.SplitSeq(pair, ",") {
				if !isCookie(piece, s.Cookie) {
					continue
				}
				name, value, _ := strings.Cut(piece, "=")
				n++
				raw = unquote(strings.TrimRight(value, " \t"))
				readable = readable && len(piece) == len(pair) && textproto.TrimString(name) == s.Cookie && !strings.ContainsFunc(raw, notInValue)
			}
		}
	}
	if !readable {
		return "", n
	}
	return raw, n
}

// isCookie reports whether somebody might read a cookie of that name in
// piece, whatever stands round the name.
func isCookie(piece, name string) bool {
	n, _, _ := strings.Cut(piece, "=")
	return strings.Contains(n, name) && strings.TrimFunc(n, notInName) == name
}

func unquote(value string) string {
	if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
		return value[1 : len(value)-1]
	}
	return value
}

func notInName(c rune) bool { return !httpguts.IsTokenRune(c) }

// notInValue is for what RFC 6265 section 4.1.1 does not allow in a value.
func notInValue(c rune) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == ',' || c == '\\' }

// afterScheme returns what follows the scheme, which is compared without
// regard to case (RFC 9110 section 11.1), and whether it is ours.
func (s *source) afterScheme(value string) (string, bool) {
	if len(value) < len(s.Scheme) || !strings.EqualFold(value[:len(s.Scheme)], s.Scheme) {
		return "", false
	}
	rest := value[len(s.Scheme):]
	if rest == "" {
		return "", true // announced and not there
	}
	if rest[0] != ' ' {
		// Another scheme whose name begins like ours; or ours with a tab
		// or comma, which somebody else might read as ours.
		return rest, !httpguts.ValidHeaderFieldName(rest[:1])
	}
	return strings.TrimLeft(rest, " "), true
}

// Places says where tokens stand.
func (p *Provider) Places(r *http.Request) []credential.Place {
	var places []credential.Place
	for i := range p.from {
		s := &p.from[i]
		if _, n, err := s.read(r); err != nil || n > 0 {
			for range max(n, 1) {
				places = append(places, credential.Place{Kind: "token", At: s.at})
			}
		}
	}
	return places
}

// Clean removes the token from the request if the provider is configured so.
func (p *Provider) Clean(r *http.Request) {
	if !p.Strip {
		return
	}
	for i := range p.from {
		p.from[i].remove(r)
	}
	if p.bindDPoP {
		delete(r.Header, "Dpop")
	}
}

func (s *source) remove(r *http.Request) {
	switch {
	case s.Header != "":
		for _, v := range r.Header[s.Header] {
			if s.Scheme != "" {
				if _, ours := s.afterScheme(v); !ours {
					continue
				}
			}
			delete(r.Header, s.Header)
			return
		}
	case s.Cookie != "":
		removeCookie(r.Header, s.Cookie)
	default:
		r.URL.RawQuery = removeParameter(r.URL.RawQuery, s.Query)
	}
}

// isCookieOf is isCookie of any piece that a comma separates.
func isCookieOf(pair, name string) bool {
	for piece := range strings.SplitSeq(pair, ",") {
		if isCookie(piece, name) {
			return true
		}
	}
	return false
}

// removeCookie takes the cookies of that name out of the header and leaves
// the others as they are.
func removeCookie(h http.Header, name string) {
	lines := h["Cookie"]
	kept := make([]string, 0, len(lines))
	for _, line := range lines {
		var pairs []string
		for pair := range strings.SplitSeq(line, ";") {
			if !isCookieOf(pair, name) {
				pairs = append(pairs, pair)
			}
		}
		if rest := textproto.TrimString(strings.Join(pairs, ";")); rest != "" {
			kept = append(kept, rest)
		}
	}
	if len(kept) == 0 {
		delete(h, "Cookie")
		return
	}
	h["Cookie"] = kept
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

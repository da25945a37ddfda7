package credential

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-moat/caddy-moat/modules/internal/query"
)

// Bearer is the authentication scheme of RFC 6750.
const Bearer = "Bearer"

// Source is a location in a request where a credential may stand. Exactly one of
// Header, Cookie, Query, Basic and WebSocket is set. It is ready once Check has
// accepted it.
type Source struct {
	Header string
	Scheme string // before the credential in the header; empty: none
	Cookie string
	Query  string

	// Basic is the part of Basic credentials that is the credential:
	// BasicUser or BasicPassword.
	Basic string

	// WebSocket is the subprotocol that a client offers before the one that is
	// the credential. That of Kubernetes is read too.
	WebSocket string

	// Ours, where it is set, says whether what follows the scheme is of
	// this method: several may share a scheme. It gets it without what
	// may stand between.
	Ours func(text string) bool

	at        string
	spellable bool // the header's name can be spelled otherwise, see otherSpelling
}

// Check says why the source cannot be one, or makes it ready.
func (s *Source) Check() error {
	if s.Basic != "" || s.WebSocket != "" {
		return s.checkPart()
	}
	switch {
	case s.Header != "" && s.Cookie == "" && s.Query == "":
		if !httpguts.ValidHeaderFieldName(s.Header) || s.Scheme != "" && !httpguts.ValidHeaderFieldName(s.Scheme) {
			return errors.New("the name of the header or of the scheme cannot be one")
		}
		s.Header = textproto.CanonicalMIMEHeaderKey(s.Header)
		if s.Header == "Cookie" || s.Header == "Host" {
			return fmt.Errorf("a credential cannot stand in the header %s", s.Header)
		}
		if s.Header == socketField {
			return errors.New("a credential is one of several in Sec-WebSocket-Protocol: write from websocket")
		}
		if s.Header == "Authorization" && strings.EqualFold(s.Scheme, Basic) {
			return errors.New("a credential is one part of what follows Basic: write from basic user or from basic password")
		}
		if strings.EqualFold(s.Scheme, Bearer) {
			s.Scheme = Bearer
		}
		s.at = "header " + s.Header
		s.spellable = strings.ContainsAny(s.Header, "-_.")
	case s.Cookie != "" && s.Header == "" && s.Query == "" && s.Scheme == "":
		if !httpguts.ValidHeaderFieldName(s.Cookie) { // both are tokens, RFC 6265 section 4.1.1
			return errors.New("the name of the cookie cannot be one")
		}
		s.at = "cookie " + s.Cookie
	case s.Query != "" && s.Header == "" && s.Cookie == "" && s.Scheme == "":
		s.at = "query " + s.Query
	default:
		return errors.New("exactly one location is needed")
	}
	return nil
}

// checkPart is Check of a source that is a part of a field.
func (s *Source) checkPart() error {
	if s.Header+s.Scheme+s.Cookie+s.Query != "" || s.Basic != "" && s.WebSocket != "" {
		return errors.New("exactly one location is needed")
	}
	if s.WebSocket != "" {
		s.at = "header " + socketField
		return checkSubprotocol(s.WebSocket)
	}
	if s.Basic != BasicUser && s.Basic != BasicPassword {
		return errBasicPart
	}
	s.at = "basic " + s.Basic
	return nil
}

// At names the location, as in Place.At.
func (s *Source) At() string { return s.at }

// Key names the location and the scheme, of which there should be one source.
func (s *Source) Key() string {
	if s.Scheme == "" {
		return s.at
	}
	return s.at + " " + strings.ToLower(s.Scheme)
}

// Sources are all locations where the credential of one method may stand.
type Sources struct {
	list                  []Source
	errSeveral, errUnread *Error
}

// NewSources returns the sources of a list that Check has accepted. what names
// the credential in rejections: "token".
func NewSources(what string, list []Source) *Sources {
	malformed := func(detail string) *Error {
		return &Error{Kind: Malformed, Code: CodeInvalidRequest, Detail: detail}
	}
	return &Sources{list, malformed("more than one " + what), malformed("the " + what + " cannot be read")} // RFC 6750 section 2 and 3.1
}

// Read returns the one credential of the request. It is not empty and holds
// nothing that separates values.
func (l *Sources) Read(r *http.Request) (string, error) {
	found, n := "", 0
	for i := range l.list {
		raw, count, state := l.list[i].read(r)
		switch {
		case state == several:
			return "", l.errSeveral
		case state == unreadable:
			return "", l.errUnread
		case count > 0:
			found = raw
			n += count
		}
	}
	switch n {
	case 0:
		return "", ErrMissing
	case 1:
		return found, nil
	}
	return "", l.errSeveral
}

// Places says where credentials stand.
func (l *Sources) Places(r *http.Request) []Place {
	var places []Place
	for i := range l.list {
		s := &l.list[i]
		if _, n, state := s.read(r); state != readable || n > 0 {
			for range max(n, 1) {
				// Two of any kind of token are one credential too many.
				places = append(places, Place{Kind: "token", At: s.at, Known: s.Ours != nil, Ambient: s.ambient()})
			}
		}
	}
	return places
}

// Names returns the names of the locations that are read, such as "header
// X-API-Key". A nil list has none.
func (l *Sources) Names() []string {
	if l == nil {
		return nil
	}
	names := make([]string, len(l.list))
	for i := range l.list {
		names[i] = l.list[i].at
	}
	return names
}

// CookieOf returns the name of the cookie that has a credential, if one has.
func (l *Sources) CookieOf(r *http.Request) string {
	for i := range l.list {
		if name := l.list[i].Cookie; name != "" {
			if _, n := cookies(r.Header["Cookie"], name); n > 0 {
				return name
			}
		}
	}
	return ""
}

// Ambient reports whether a credential may stand where browsers send it by
// themselves.
func (l *Sources) Ambient() bool {
	return l != nil && slices.ContainsFunc(l.list, func(s Source) bool { return s.ambient() })
}

// ambient reports whether browsers send what stands there by themselves: cookies,
// and what was typed into the dialog that Basic opens.
func (s *Source) ambient() bool { return s.Cookie != "" || s.Basic != "" }

// Remove takes the credentials out of the request and leaves the rest of it as
// it is.
func (l *Sources) Remove(r *http.Request) {
	for i := range l.list {
		l.list[i].remove(r)
	}
}

// state is the state of a location.
type state uint8

const (
	readable state = iota
	several
	unreadable
)

// read returns the credential at that location and how many there are.
func (s *Source) read(r *http.Request) (raw string, n int, _ state) {
	switch {
	case s.Header != "":
		if s.spellable && otherSpelling(r.Header, s.Header) {
			return "", 0, unreadable
		}
		values := r.Header[s.Header]
		switch {
		case len(values) == 0:
			return "", 0, readable
		case len(values) > 1:
			return "", 0, several
		}
		raw = values[0]
		if s.Scheme != "" {
			var ours bool
			if raw, ours = s.afterScheme(raw); !ours {
				return "", 0, readable
			}
		}
		n = 1
	case s.Cookie != "":
		if raw, n = cookies(r.Header["Cookie"], s.Cookie); n > 0 && raw == "" {
			return "", 0, unreadable
		}
	case s.Basic != "":
		return s.basic(r.Header)
	case s.WebSocket != "":
		return s.socket(r.Header)
	default:
		if r.URL.RawQuery == "" {
			return "", 0, readable
		}
		raw, n = s.inQuery(r.URL.RawQuery)
		if n < 0 {
			return "", 0, unreadable
		}
	}
	if n == 1 && (raw == "" || separated(raw)) {
		return "", 0, unreadable
	}
	return raw, n, readable
}

// inQuery returns the credential in a query and how many there are: -1 where
// somebody else may read one in what cannot be read here, or in what is spelled
// otherwise, such as access_token[] for access_token.
func (s *Source) inQuery(text string) (raw string, n int) {
	values, err := url.ParseQuery(text)
	if err != nil {
		return "", -1
	}
	for name, list := range values {
		switch {
		case name == s.Query:
			n += len(list)
			raw = list[0]
		case query.CanMean(name, s.Query):
			return "", -1
		}
	}
	return raw, n
}

// separated reports whether raw holds what separates values. To look for one
// byte after the other takes a fifth of the time of strings.ContainsAny.
func separated(raw string) bool {
	return strings.IndexByte(raw, ' ') >= 0 || strings.IndexByte(raw, '\t') >= 0 ||
		strings.IndexByte(raw, ',') >= 0 || strings.IndexByte(raw, ';') >= 0
}

// otherSpelling reports whether there is a field whose name is that of ours
// but for its hyphens, underscores and dots. Servers that hand fields on as
// variables would read the one for the other.
func otherSpelling(h http.Header, ours string) bool {
next:
	for name := range h {
		if len(name) != len(ours) || name == ours {
			continue
		}
		for i := range len(name) {
			a, b := name[i], ours[i]
			if a != b && a|0x20 != b|0x20 && (strings.IndexByte("-_.", a) < 0 || strings.IndexByte("-_.", b) < 0) {
				continue next
			}
		}
		return true
	}
	return false
}

// afterScheme returns what follows the scheme, and whether it is ours.
func (s *Source) afterScheme(value string) (string, bool) {
	rest, ok := AfterScheme(value, s.Scheme)
	// Whatever stands between: somebody else might read it as ours.
	if ok && s.Ours != nil && !s.Ours(strings.TrimLeft(rest, " \t,;\"'")) {
		return "", false
	}
	return rest, ok
}

// AfterScheme returns what follows an authentication scheme, which is compared
// without regard to case (RFC 9110 section 11.1), and whether value begins with
// that scheme. It may be followed by nothing, or by what is not a credential.
func AfterScheme(value, scheme string) (string, bool) {
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", false
	}
	rest := value[len(scheme):]
	if rest != "" && rest[0] != ' ' {
		// Another scheme whose name begins like this; or this with a tab
		// or comma, which somebody else might read as this.
		return rest, !httpguts.ValidHeaderFieldName(rest[:1])
	}
	return strings.TrimLeft(rest, " "), true
}

func (s *Source) remove(r *http.Request) {
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
	case s.Basic != "":
		s.removeBasic(r.Header)
	case s.WebSocket != "":
		s.removeSocket(r.Header)
	default:
		r.URL.RawQuery = removeParameter(r.URL.RawQuery, s.Query)
	}
}

// removeParameter takes the parameters of that name, however it is spelled, out
// of a query and leaves the others as they are.
func removeParameter(text, name string) string {
	if text == "" {
		return ""
	}
	var kept []string
	for pair := range strings.SplitSeq(text, "&") {
		n, _, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(n); err == nil && query.CanMean(decoded, name) {
			continue
		}
		kept = append(kept, pair)
	}
	return strings.Join(kept, "&")
}

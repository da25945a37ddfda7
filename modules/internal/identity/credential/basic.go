package credential

import (
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// Basic is the authentication scheme of RFC 7617.
const Basic = "Basic"

// The parts of Basic credentials of which one may be a key or a token.
const (
	BasicUser     = "user"
	BasicPassword = "password"
)

var errBasicPart = errors.New("basic is followed by user or password: which of the two is the credential")

// decodeBasic returns the user name and the password of what follows the scheme
// Basic. It has one reading: base64 with its padding and no spare bits, of
// UTF-8 without control characters (RFC 7617 section 2), whose first colon
// separates the two. Others would decode what is not so, each in its own way.
func decodeBasic(text string) (user, password string, ok bool) {
	if strings.ContainsAny(text, "\r\n") { // which base64 passes over
		return "", "", false
	}
	plain, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || !utf8.Valid(plain) || slices.ContainsFunc(plain, func(c byte) bool { return c < ' ' || c == 0x7f }) {
		return "", "", false
	}
	return strings.Cut(string(plain), ":")
}

// basic returns the credential of that part, and how many there are. A part
// that is empty does not count: clients send a user name alone before they ask for the
// password.
func (s *Source) basic(h http.Header) (raw string, n int, _ state) {
	values := h["Authorization"]
	if len(values) > 1 {
		return "", 0, several
	}
	if len(values) == 0 {
		return "", 0, readable
	}
	rest, ours := AfterScheme(values[0], Basic)
	if !ours {
		return "", 0, readable
	}
	user, password, ok := decodeBasic(rest)
	if !ok {
		return "", 0, unreadable
	}
	raw, other := user, password
	if s.Basic == BasicPassword {
		raw, other = password, user
	}
	switch {
	case raw == "" || s.Ours != nil && !s.Ours(raw):
		return "", 0, readable
	case s.Ours != nil && s.Ours(other):
		return "", 0, several
	case separated(raw):
		return "", 0, unreadable
	}
	return raw, 1, readable
}

// removeBasic takes the field out of the request, all of it: what it says
// without the credential would be nobody's password.
func (s *Source) removeBasic(h http.Header) {
	for _, v := range h["Authorization"] {
		one := http.Header{"Authorization": {v}}
		if _, n, state := s.basic(one); n > 0 || state != readable {
			delete(h, "Authorization")
			return
		}
	}
}

// BasicChallenge is the value of WWW-Authenticate that has clients such as git
// ask for a user name and a password (RFC 7617 section 2).
func BasicChallenge(realm string) string {
	return Challenge(Basic, "realm", realm, "charset", "UTF-8")
}

// Asks returns the values of WWW-Authenticate that ask for credentials in these
// places: challenge, unless Basic is the only way to send one, and that of
// Basic, if it is a way.
func (l *Sources) Asks(challenge, realm string) []string {
	n := 0
	for i := range l.list {
		if l.list[i].Basic != "" {
			n++
		}
	}
	switch n {
	case 0:
		return []string{challenge}
	case len(l.list):
		return []string{BasicChallenge(realm)}
	}
	return []string{challenge, BasicChallenge(realm)}
}

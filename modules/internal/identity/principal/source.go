package principal

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// kinds are the kinds of credential that there are.
var kinds = []string{KindJWT, KindOpaque, KindAPIKey, KindCertificate, KindSignature, KindWebhook, KindHeader, KindSession, KindBasic, KindOther}

// Kinds returns the kinds of credential, as they can be named after `from`.
func Kinds() []string { return slices.Clone(kinds) }

// InternalIssuer is the iss of the tokens of this server's own issuer, and
// Internal is how a Caddyfile calls it.
const (
	InternalIssuer = "urn:caddy-moat:internal"
	Internal       = "internal"
)

// A Source is who vouches for identities: an issuer, or, where none has a name,
// a kind of credential. An id means somebody only together with it (OpenID
// Connect Core section 5.7): the alice of a partner is not ours.
type Source struct {
	Issuer string
	Kind   string
}

// String prints the source as it is written after `from`.
func (s Source) String() string {
	switch s.Issuer {
	case "":
		return s.Kind
	case InternalIssuer:
		return Internal
	}
	return s.Issuer
}

// Source returns who vouches for p.
func (p *Principal) Source() Source { return Source{p.Issuer, p.Kind} }

// Is reports whether the source is what a rule names after `from`: a kind of
// credential, or else the exact name of an issuer. The empty name is any
// source.
func (s Source) Is(from string) bool {
	switch {
	case from == "":
		return true
	case slices.Contains(kinds, from):
		return s.Kind == from
	case from == Internal:
		from = InternalIssuer
	}
	return s.Issuer == from
}

// Same reports whether two sources cannot be told apart by who vouches: one
// issuer is one, whatever kinds of token it has.
func (s Source) Same(o Source) bool {
	return s.Issuer == o.Issuer && (s.Issuer != "" || s.Kind == o.Kind)
}

// Caller names p beyond confusion with any other caller, as a key to count by:
// the issuer and the id with a bar between them or, for a credential without an
// issuer, its kind and the id with two. A bar, a percent sign and white space
// in them are percent-encoded, so that nobody can choose an id that makes the
// name of another, and none is an IP address.
func (p *Principal) Caller() string {
	if p.Issuer == "" {
		return escapeBar(p.Kind) + "||" + escapeBar(p.ID)
	}
	return escapeBar(p.Issuer) + "|" + escapeBar(p.ID)
}

func escapeBar(s string) string {
	if !strings.ContainsFunc(s, special) {
		return s
	}
	var b strings.Builder
	for at, c := range s {
		_, size := utf8.DecodeRuneInString(s[at:])
		if special(c) {
			encode(&b, s[at:at+size])
			continue
		}
		b.WriteString(s[at : at+size])
	}
	return b.String()
}

func special(c rune) bool {
	return c <= ' ' || c == '|' || c == '%' || c == utf8.RuneError || Unprintable(c)
}

// Unclear is something in a configuration that names a user without saying who
// has to vouch for him.
type Unclear struct {
	Place string // where it is written, where that is known
	What  string // as it is written
	Write string // what to write instead, for one source
}

// Naming is what a configuration says about users.
type Naming interface {
	// Unclear returns what names users of any source, with what to write for
	// those of the one given.
	Unclear(Source) []Unclear

	// Sources returns the sources that it names.
	Sources() []string
}

// CheckNaming says what is wrong with n where these sources can vouch for
// callers, and where in the configuration that stands: a user who is named
// without a source where there are several, since rights would go to whoever
// has the name at any of them; and a source that is not one of them.
func CheckNaming(n Naming, sources []Source) (place string, err error) {
	var several []Source
	for _, s := range sources {
		if !slices.ContainsFunc(several, s.Same) {
			several = append(several, s)
		}
	}
	if len(several) == 0 {
		return "", nil
	}
	if len(several) > 1 {
		if all := n.Unclear(several[0]); len(all) > 0 {
			return all[0].Place, fmt.Errorf("%s: which user is meant? Here %s can vouch for one of that name: say from which, such as: %s", all[0].What, list(several), all[0].Write)
		}
	}
	for _, from := range n.Sources() {
		if !slices.ContainsFunc(sources, func(s Source) bool { return s.Is(from) }) {
			return "", fmt.Errorf("from %s: no issuer or kind of credential of this site has that name: write %s", Quote(from), list(several))
		}
	}
	return "", nil
}

func list(sources []Source) string {
	names := make([]string, len(sources))
	for i, s := range sources {
		names[i] = s.String()
	}
	if len(names) == 1 {
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

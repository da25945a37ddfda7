package token

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// Issuer is one that tokens are accepted from.
type Issuer struct {
	// Name is the exact iss of its tokens. Empty means that iss is not
	// checked, which is allowed for the only issuer alone.
	Name string

	// Keys are its keys.
	Keys KeySource

	// Audience are names of this service, one of which a token must be for.
	// If there are none, tokens that name an audience are refused: they are
	// for somebody who is not us (RFC 7519 section 4.1.3).
	Audience []string

	// AnyAudience accepts tokens whoever they are for. Any service that
	// gets a token of this issuer can then use it here.
	AnyAudience bool

	// Algorithms are the algorithms allowed. Empty means those that the
	// keys are for.
	Algorithms []string

	// Types are the typ that tokens must have one of, such as at+jwt (RFC 9068).
	// None means JWT, at+jwt or none at all; a token made for another
	// purpose, such as dpop+jwt or logout+jwt, is not a credential (RFC 8725
	// section 3.11).
	Types []string

	// Padded says that the parts of its tokens are padded, against RFC 7515
	// section 2. Tokens that are not are refused then: there is one spelling.
	Padded bool

	// Signer is what the header parameter signer must be, which is signed with
	// the rest. Empty means that it is not looked at.
	Signer string

	// MaxAge is how long after its iat a token is accepted. 0 means that
	// only exp counts.
	MaxAge time.Duration

	// Require are claims that a token must have beyond the registered ones.
	Require []Requirement

	// Roles and Scopes are where the roles and scopes are. A string is one
	// role; a string that holds scopes, or roles in a claim called scope or
	// scp, is split at spaces (RFC 8693 section 4.2). An array must hold
	// strings only; of an object the member names are taken. A claim that is
	// something else refuses the token, a claim that is missing or null does
	// not. Nil Scopes means scope and scp, wherever they can be read.
	Roles, Scopes []principal.Pointer

	// LenientRoles and LenientScopes say that nobody has asked for these
	// claims: what cannot be read in them is as if it were not there (RFC 7519
	// section 4).
	LenientRoles, LenientScopes bool

	// Subject is where the identity is: a string or an integer. Nil means
	// sub. A token without it is refused.
	Subject principal.Pointer

	// OtherSubjects are where it is if Subject has none, or an empty text: the
	// first that has one counts. Who comes from there has the name of the
	// claim before his, as in client_id:app, so that no id of one claim is that
	// of another; an id in Subject that begins like that is refused.
	OtherSubjects []principal.Pointer
}

// Requirement is one claim that a token must have.
type Requirement struct {
	// Claim is where it is.
	Claim principal.Pointer

	// Values are the accepted ones: a string, a number or a boolean must be
	// one of them, an array must hold one. Without any the claim must be
	// there and not be null.
	Values []string
}

// issuer is an Issuer made ready.
type issuer struct {
	Issuer
	leeway  time.Duration
	needExp bool
	missing []*Error // by Require
	roles   nameList
	scopes  nameList
	labels  []string // by OtherSubjects: what stands before their ids
	listed  bool     // iss has no name here, but a requirement compares it
}

// nameList is where a list of names is.
type nameList struct {
	pointers []principal.Pointer
	forms    []principal.Form // by pointer
	lenient  bool
}

func newNameList(pointers []principal.Pointer, scopes, lenient bool) nameList {
	l := nameList{pointers: pointers, lenient: lenient}
	for _, p := range pointers {
		l.forms = append(l.forms, principal.Form{Words: scopes || p.IsScope(), Objects: !lenient})
	}
	return l
}

func newIssuer(i Issuer, o Options) (*issuer, error) {
	iss := &issuer{Issuer: i, leeway: o.Leeway, needExp: !o.AllowMissingExp}
	switch {
	case i.Keys == nil:
		return nil, errors.New("it has no keys")
	case i.AnyAudience && len(i.Audience) > 0:
		return nil, errors.New("an audience and any audience at once")
	case slices.Contains(i.Audience, ""):
		return nil, errors.New("an audience is empty")
	case i.MaxAge < 0:
		return nil, errors.New("the maximal age is negative")
	}
	for _, alg := range i.Algorithms {
		if _, ok := jwk.Supported([]byte(alg)); !ok {
			return nil, fmt.Errorf("algorithm %q is not supported", alg)
		}
	}
	if i.Subject == nil {
		iss.Subject = principal.Pointer{"sub"}
	}
	if i.Scopes == nil {
		iss.Scopes, iss.LenientScopes = []principal.Pointer{{"scope"}, {"scp"}}, true
	}
	iss.listed = slices.ContainsFunc(i.Require, func(r Requirement) bool {
		return slices.Equal(r.Claim, principal.Pointer{"iss"}) && len(r.Values) > 0
	})
	iss.roles = newNameList(i.Roles, false, i.LenientRoles)
	iss.scopes = newNameList(iss.Scopes, true, iss.LenientScopes)
	for _, r := range i.Require {
		iss.missing = append(iss.missing, errClaim("claim "+r.Claim.String()+" does not meet `require`"))
	}
	iss.Types = nil
	for _, typ := range i.Types {
		iss.Types = append(iss.Types, strings.TrimPrefix(strings.ToLower(typ), "application/"))
	}
	for _, p := range i.OtherSubjects {
		iss.labels = append(iss.labels, SubjectLabel(p))
	}
	single := append(append(claimsOf(i.Require), iss.Subject), i.OtherSubjects...)
	for _, p := range slices.Concat(single, iss.Roles, iss.Scopes) {
		if len(p) == 0 {
			return nil, errors.New("a claim pointer is empty")
		}
	}
	for _, p := range single {
		if p.HasWildcard() {
			return nil, fmt.Errorf("claim pointer %s: '*' stands for many values, and here one is meant", p)
		}
	}
	return iss, nil
}

func claimsOf(list []Requirement) (out []principal.Pointer) {
	for _, r := range list {
		out = append(out, r.Claim)
	}
	return out
}

func (iss *issuer) acceptsType(typ []byte) bool {
	if len(iss.Types) > 0 {
		return slices.ContainsFunc(iss.Types, func(want string) bool { return sameType(typ, want) })
	}
	return typ == nil || sameType(typ, "JWT") || sameType(typ, "at+jwt")
}

// SubjectLabel returns what stands before an id from one of the OtherSubjects.
func SubjectLabel(p principal.Pointer) string {
	name := p.String()
	if len(p) == 1 {
		name = p[0]
	}
	return strings.NewReplacer("%", "%25", ":", "%3A").Replace(name) + ":"
}

// types are the types that tokens may have.
func (iss *issuer) types() []string {
	if len(iss.Types) > 0 {
		return iss.Types
	}
	return []string{"JWT", "at+jwt or missing"}
}

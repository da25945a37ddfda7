package introspection

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// Rules are what an active token must fulfil besides, and where its response
// has what. They are those of signed tokens.
type Rules struct {
	// Issuer is the iss that a response must have. Empty checks nothing.
	Issuer string

	// Voucher is who vouches for the callers, and so the issuer of their
	// Principals: a response may say any iss, and the endpoint of a partner is
	// not to name our users. A response that has an iss must have that of
	// Voucher if Same is set.
	Voucher string
	Same    bool

	// Audience are names of this service. Without any, and without
	// AnyAudience, responses that name an audience are refused.
	Audience    []string
	AnyAudience bool

	// Leeway is how far the server's clock may be off.
	Leeway time.Duration

	Require       []Requirement
	Roles, Scopes []principal.Pointer
	Subject       principal.Pointer   // default: sub
	OtherSubjects []principal.Pointer // as those of [token.Issuer]

	// LenientRoles and LenientScopes are those of [token.Issuer].
	LenientRoles, LenientScopes bool
}

func rejected(why string) error { return fmt.Errorf("%w: %s", ErrRejected, why) }

// read makes a token of a response, RFC 7662 section 2.2.
func (r *Rules) read(body []byte, now time.Time) (*Token, error) {
	var s strictjson.Scanner
	if s.Object(body) != nil {
		return nil, fmt.Errorf("%w: its response is not JSON", ErrUnavailable)
	}
	claims := principal.NewClaims(body)
	m := claims.Map()
	active, ok := m["active"].(bool)
	if !ok {
		return nil, fmt.Errorf("%w: its response does not say whether the token is active", ErrUnavailable)
	}
	if !active {
		return nil, ErrInactive
	}
	t := &Token{}
	var notBefore time.Time
	for name, to := range map[string]*time.Time{"exp": &t.Expires, "nbf": &notBefore, "iat": &t.IssuedAt} {
		if v, has := m[name]; has && (v != nil || name == "exp") {
			if *to, ok = date(v); !ok {
				return nil, rejected(name + " is not a date")
			}
		}
	}
	// The server has looked at its clock; this is for what is remembered.
	switch {
	case !t.Expires.IsZero() && !now.Before(t.Expires.Add(r.Leeway)):
		return nil, fmt.Errorf("%w: it has expired", ErrInactive)
	case notBefore.After(now.Add(r.Leeway)):
		return nil, fmt.Errorf("%w: it is not valid yet", ErrInactive)
	case r.Issuer != "" && m["iss"] != r.Issuer, r.Same && m["iss"] != nil && m["iss"] != r.Voucher:
		return nil, rejected("it is of another issuer")
	}
	if err := r.kind(m); err != nil {
		return nil, err
	}
	if err := r.audience(m["aud"]); err != nil {
		return nil, err
	}
	for _, q := range r.Require {
		v, ok := claims.Lookup(q.Claim)
		if !ok || v == nil || len(q.Values) > 0 && !holds(v, q.Values) {
			return nil, rejected("a required claim is missing")
		}
	}
	if t.Confirmation, ok = confirmation(m["cnf"]); !ok {
		return nil, rejected("cnf is not an object that names keys")
	}
	t.Named, _ = m["iss"].(string)
	var err error
	t.Principal, err = r.principal(claims, m)
	return t, err
}

// date reads a NumericDate.
func date(v any) (time.Time, bool) {
	switch v := v.(type) {
	case int64:
		return time.Unix(v, 0), v >= 0 && v < 1<<38
	case float64:
		return time.Unix(int64(v), 0), v >= 0 && v < 1<<38 && !math.IsNaN(v)
	}
	return time.Time{}, false
}

func (r *Rules) audience(aud any) error {
	switch {
	case r.AnyAudience:
		return nil
	case aud == nil && len(r.Audience) == 0:
		return nil
	case len(r.Audience) == 0 && empty(aud):
		return rejected("its aud is an empty list, and no audience is configured: have the client ask for an audience, or write audience *")
	case len(r.Audience) == 0:
		return rejected("it names an audience, and none is configured")
	case aud == nil:
		return rejected("it names no audience")
	case !holds(aud, r.Audience):
		return rejected("it is for another audience")
	}
	return nil
}

func empty(aud any) bool {
	list, ok := aud.([]any)
	return ok && len(list) == 0
}

// kind rejects responses that say they are of something else than an access
// token: a refresh token is for the authorization server alone (RFC 6749 section
// 1.5). Where a rule requires one of these members, that rule decides.
func (r *Rules) kind(m map[string]any) error {
	for name, access := range map[string][]string{
		"token_use":  {"access_token", "access"},
		"token_type": {"bearer", "dpop", "access_token", "urn:ietf:params:oauth:token-type:access_token", "n_a"},
	} {
		said, ok := m[name].(string)
		if ok && said != "" && !slices.Contains(access, strings.ToLower(said)) && !r.requires(name) {
			return rejected(fmt.Sprintf("its %s is %q: it is not an access token", name, clip(said)))
		}
	}
	if typ, _ := m["typ"].(string); strings.Contains(strings.ToLower(typ), "refresh") && !r.requires("typ") {
		return rejected(fmt.Sprintf("its typ is %q: it is not an access token", clip(typ)))
	}
	return nil
}

func (r *Rules) requires(name string) bool {
	return slices.ContainsFunc(r.Require, func(q Requirement) bool {
		return len(q.Claim) == 1 && q.Claim[0] == name && len(q.Values) > 0
	})
}

// clip shortens what a response says for an error.
func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

// confirmation reads cnf, as the claim of a signed token is read.
func confirmation(v any) (*token.Confirmation, bool) {
	if v == nil {
		return nil, true
	}
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		return nil, false
	}
	cnf := new(token.Confirmation)
	for name, v := range m {
		var to *string
		switch name {
		case "x5t#S256":
			to = &cnf.Certificate
		case "jkt":
			to = &cnf.Key
		default:
			cnf.Other = true
			continue
		}
		if *to, ok = v.(string); !ok || *to == "" || !printable(*to) {
			return nil, false
		}
	}
	return cnf, true
}

// holds reports whether v is one of the values, or an array that has one.
func holds(v any, values []string) bool {
	switch v := v.(type) {
	case []any:
		return slices.ContainsFunc(v, func(e any) bool {
			_, nested := e.([]any)
			return !nested && holds(e, values)
		})
	case string:
		return slices.Contains(values, v)
	case int64, float64, json.Number, bool:
		return slices.Contains(values, principal.Text(v))
	}
	return false
}

func (r *Rules) principal(claims *principal.Claims, m map[string]any) (*principal.Principal, error) {
	subject := r.Subject
	if subject == nil {
		subject = principal.Pointer{"sub"}
	}
	p := &principal.Principal{Kind: principal.KindOpaque, Claims: claims, ID: idAt(claims, subject)}
	for _, other := range r.OtherSubjects {
		label := token.SubjectLabel(other)
		if p.ID == "" {
			if id := idAt(claims, other); id != "" {
				p.ID = label + id
				break
			}
		} else if strings.HasPrefix(p.ID, label) {
			return nil, rejected("its subject is written like an id of another claim")
		}
	}
	p.Issuer = r.Voucher
	p.TokenID, _ = m["jti"].(string)
	if principal.CheckID(p.ID) != nil || !printable(p.Issuer) || !printable(p.TokenID) {
		return nil, rejected("it names no subject")
	}
	var ok bool
	if p.Roles, ok = names(claims, r.Roles, false, r.LenientRoles); !ok {
		return nil, rejected("a claim that holds roles is not a list of names")
	}
	if p.Scopes, ok = names(claims, r.Scopes, true, r.LenientScopes); !ok {
		return nil, rejected("a claim that holds scopes is not a list of names")
	}
	return p, nil
}

// idAt returns the id that a pointer finds, empty if there is none.
func idAt(claims *principal.Claims, p principal.Pointer) string {
	v, _ := claims.Lookup(p)
	switch v := v.(type) {
	case string:
		if v != "" && principal.CheckID(v) != nil {
			return " " // which is nobody, and not the next claim's turn
		}
		return v
	case int64, json.Number:
		return principal.Text(v)
	case nil:
		return ""
	}
	return " "
}

// names reads the lists at pointers, each name once.
func names(claims *principal.Claims, pointers []principal.Pointer, scopes, lenient bool) (all []string, ok bool) {
	for _, at := range pointers {
		found, ok := claims.Names(at, principal.Form{Words: scopes || at.IsScope(), Objects: !lenient})
		if !ok || slices.ContainsFunc(found, func(n string) bool { return !printable(n) }) {
			if lenient {
				continue
			}
			return nil, false
		}
		for _, n := range found {
			if !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
	}
	return all, true
}

func printable(s string) bool {
	for _, c := range s {
		if unicode.IsControl(c) {
			return false
		}
	}
	return true
}

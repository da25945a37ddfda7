package jwtauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/issuer"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/keyset"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/ownissuer"
)

// Issuer is one that tokens are accepted from.
type Issuer struct {
	// The exact `iss` of its tokens. Without it, `iss` is not checked, which
	// is possible for the only issuer alone.
	Issuer string `json:"issuer,omitempty"`

	// This server's own issuer, whose key is made on first use and kept in
	// Caddy's storage. `caddy moat token` mints its tokens. Its default name
	// is urn:caddy-moat:internal.
	Internal *Internal `json:"internal,omitempty"`

	// Where public key sets (RFC 7517) are: URLs or files. Files are
	// watched. Plain http is accepted where it is written out. Default,
	// without any keys: discovery at the issuer (OpenID Connect Discovery,
	// RFC 8414).
	JWKS []KeySet `json:"jwks,omitempty"`

	// Single keys, each for one algorithm.
	Keys []Key `json:"keys,omitempty"`

	// The AWS Application Load Balancer that signs the tokens, in place of
	// the issuer, whose name they have: X-Amzn-Oidc-Data. Its header and its
	// padding are read for these tokens alone.
	ALB *ALB `json:"alb,omitempty"`

	// The audiences of this service, one of which a token must have. `*` accepts
	// tokens of any audience. Without any, tokens that name an audience
	// are rejected (RFC 7519 section 4.1.3).
	Audience []string `json:"audience,omitempty"`

	// The signature algorithms allowed. Default: those that the keys are for.
	Algorithms []string `json:"algorithms,omitempty"`

	// The types that tokens must have one of, such as at+jwt (RFC 9068): one, or
	// a list. Default: JWT, at+jwt or none at all.
	Type OneOrMore `json:"typ,omitempty"`

	// How long after its `iat` a token is accepted. Default: only `exp` counts.
	MaxAge caddy.Duration `json:"max_age,omitempty"`

	// Claims that a token must have. Where the claim is one of the scopes and
	// has none of the values, the response is 403 insufficient_scope; else
	// 401 invalid_token.
	Require []Requirement `json:"require,omitempty"`

	// Where the roles are: JSON Pointers or names of top-level claims. A string
	// is one role, whatever is in it, but for the claims scope and scp; an array
	// must hold strings; of an object the names of its members are roles, but
	// for those that are null or false. `*` in a pointer stands for every
	// element or member: /roles/*/name. A claim that is missing or null has no
	// roles; one that is something else rejects the token, unless it is only the
	// default that points at it. Default: /roles (RFC 9068 section 2.2.3.1)
	Roles []string `json:"roles,omitempty"`

	// Where the scopes are, as for roles, but that a string holds scopes with
	// spaces between them (RFC 8693 section 4.2). Default: /scope and /scp
	Scopes []string `json:"scopes,omitempty"`

	// Where the identity is: one pointer, or a list of which the first that
	// finds something other than an empty text counts. An ID from any but the
	// first is prefixed with the name of its claim, such as client_id:app, so
	// that it cannot be another subject's sub. Default: /sub
	Subject OneOrMore `json:"subject,omitempty"`
}

// OneOrMore is a list of texts that is written as one text where there is one.
type OneOrMore []string

// UnmarshalJSON reads one text, or a list.
func (l *OneOrMore) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*l = nil
		if one != "" {
			*l = OneOrMore{one}
		}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(l))
}

// MarshalJSON prints the shorter form.
func (l OneOrMore) MarshalJSON() ([]byte, error) {
	if len(l) == 1 {
		return json.Marshal(l[0])
	}
	return json.Marshal([]string(l))
}

// Requirement is a claim that a token must have.
type Requirement struct {
	// A JSON Pointer or the name of a top-level claim.
	Claim string `json:"claim"`

	// The accepted values. A string, number or boolean must be one of them,
	// an array must hold one. Without any, the claim must be there.
	Values []string `json:"values,omitempty"`
}

// Internal configures this server's own issuer.
type Internal struct {
	// How long a key signs, at least 24h. Keys verify for 30 days more, which
	// is the longest life of a token. Default: 720h
	Rotate caddy.Duration `json:"rotate,omitempty"`

	// A path at which the public key set is served to everybody, for other
	// services that verify these tokens. Only requests that the handler
	// sees count. Default: none
	Publish string `json:"publish,omitempty"`
}

// scopeNeed is a required scope, one of values.
type scopeNeed []string

// resolve replaces the placeholders in an option.
func resolve(name, text string) (string, error) {
	if !strings.ContainsAny(text, "{}") {
		return text, nil
	}
	return option.Resolve(Name, name, text)
}

// label names the issuer in error messages.
func (i *Issuer) label() string {
	switch {
	case i.Internal != nil:
		return "issuer internal"
	case i.Issuer == "":
		return "issuer (any)"
	}
	return "issuer " + i.Issuer
}

// openIssuer makes the engine's issuer of a configured one.
func (p *Provider) openIssuer(ctx caddy.Context, i *Issuer) (token.Issuer, error) {
	t, err := p.makeIssuer(ctx, i)
	if err != nil {
		return t, fmt.Errorf("%s: %w", i.label(), err)
	}
	return t, nil
}

func (p *Provider) makeIssuer(ctx caddy.Context, i *Issuer) (t token.Issuer, err error) {
	if t, err = i.base(); err != nil {
		return t, err
	}
	needs := takeScopeNeeds(&t)
	switch {
	case i.Internal != nil:
		err = p.openInternal(i, &t)
	case i.ALB != nil:
		err = p.openALB(i.ALB, &t)
	default:
		t.Keys, err = p.openKeys(ctx, i, t.Name)
	}
	if err == nil && len(needs) > 0 {
		if p.needs == nil {
			p.needs = make(map[string][]scopeNeed)
		}
		p.needs[t.Name] = needs
	}
	return t, err
}

// names returns what the Principals of an issuer's tokens say their issuer is.
func names(t token.Issuer) []string {
	if t.Name == "" {
		for _, r := range t.Require {
			if slices.Equal(r.Claim, principal.Pointer{"iss"}) && len(r.Values) > 0 {
				return r.Values
			}
		}
	}
	return []string{t.Name}
}

// base makes the engine's issuer but for its keys.
func (i *Issuer) base() (t token.Issuer, err error) {
	t = token.Issuer{Algorithms: i.Algorithms, Types: i.Type, MaxAge: time.Duration(i.MaxAge)}
	if t.Name, err = resolve("issuer", i.Issuer); err != nil {
		return t, err
	}
	if err := maxAges.Check("max_age", i.MaxAge); err != nil {
		return t, err
	}
	for _, a := range i.Audience {
		if a, err = resolve("audience", a); err != nil {
			return t, err
		}
		if a == "*" {
			t.AnyAudience = true
			continue
		}
		t.Audience = append(t.Audience, a)
	}
	if t.AnyAudience && len(i.Audience) > 1 {
		return t, errors.New("audience * accepts every audience: remove the others or remove *")
	}
	return t, i.pointers(&t)
}

// pointers compiles the claim pointers.
func (i *Issuer) pointers(t *token.Issuer) (err error) {
	roles := i.Roles
	if len(roles) == 0 {
		roles, t.LenientRoles = []string{"/roles"}, true
	}
	if t.Roles, err = parsePointers("roles", roles); err != nil {
		return err
	}
	scopes := i.Scopes
	if len(scopes) == 0 {
		scopes, t.LenientScopes = []string{"/scope", "/scp"}, true
	}
	if t.Scopes, err = parsePointers("scopes", scopes); err != nil {
		return err
	}
	for n, text := range i.Subject {
		p, err := principal.ParseSingle(text)
		if err != nil {
			return fmt.Errorf("subject: %w", err)
		}
		if n == 0 {
			t.Subject = p
			continue
		}
		t.OtherSubjects = append(t.OtherSubjects, p)
	}
	for _, r := range i.Require {
		claim, err := principal.ParseSingle(r.Claim)
		if err != nil {
			return fmt.Errorf("require: %w", err)
		}
		t.Require = append(t.Require, token.Requirement{Claim: claim, Values: r.Values})
	}
	return nil
}

func parsePointers(option string, texts []string) ([]principal.Pointer, error) {
	var list []principal.Pointer
	for _, text := range texts {
		ptr, err := principal.ParsePointer(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", option, err)
		}
		list = append(list, ptr)
	}
	return list, nil
}

// takeScopeNeeds takes the requirements on scopes out of t, since
// a scope is one name of several in a text, and missing one is not a fault of
// the token: the response differs (RFC 6750 section 3.1).
func takeScopeNeeds(t *token.Issuer) (needs []scopeNeed) {
	t.Require = slices.DeleteFunc(t.Require, func(r token.Requirement) bool {
		about := slices.ContainsFunc(t.Scopes, func(s principal.Pointer) bool { return slices.Equal(s, r.Claim) })
		if !about || len(r.Values) == 0 {
			return false
		}
		needs = append(needs, r.Values)
		return true
	})
	return needs
}

// checkScopes refuses a token that lacks a required scope.
func (p *Provider) checkScopes(who *principal.Principal) error {
	if p.needs == nil {
		return nil
	}
	needs, ok := p.needs[who.Issuer]
	if !ok {
		needs = p.needs[""] // the issuer whose iss is not checked
	}
	return lacking(who, needs)
}

// lacking rejects a caller that lacks one of the scopes.
func lacking(who *principal.Principal, needs []scopeNeed) error {
	for _, need := range needs {
		if !slices.ContainsFunc(need, who.HasScope) {
			return &credential.Error{
				Kind: credential.Insufficient, Code: credential.CodeInsufficientScope,
				Detail: "the token grants too little", Scope: strings.Join(need, " "), Rule: who.Issuer,
			}
		}
	}
	return nil
}

// openKeys opens all sources of an issuer's keys.
func (p *Provider) openKeys(ctx caddy.Context, i *Issuer, name string) (token.KeySource, error) {
	var union keyset.Union
	var static []*jwk.Key
	for _, k := range i.Keys {
		key, err := k.load()
		if err != nil {
			return nil, err
		}
		static = append(static, key)
	}
	if len(static) > 0 {
		union = append(union, token.StaticKeys(static...))
	}
	for _, set := range i.JWKS {
		source, err := p.openJWKS(ctx, set, name)
		if err != nil {
			return nil, err
		}
		union = append(union, source)
	}
	switch {
	case len(union) == 0 && name == "":
		return nil, errors.New("no keys: write `key`, `jwks`, or an issuer whose keys can be discovered")
	case len(union) == 0:
		source := keyset.Source{Issuer: name}
		if err := source.Check(); err != nil {
			return nil, fmt.Errorf("its keys cannot be discovered (%w): write `jwks` or `key`", err)
		}
		return p.sharedSet(source)
	case len(i.JWKS) == 0:
		if err := anyFits(static, i.Algorithms); err != nil {
			return nil, err
		}
	}
	if len(union) == 1 {
		return union[0], nil
	}
	return union, nil
}

// anyFits refuses a list of algorithms that no key is for: every token would
// be refused.
func anyFits(keys []*jwk.Key, algorithms []string) error {
	for _, alg := range algorithms {
		if !slices.ContainsFunc(keys, func(k *jwk.Key) bool { return k.Fits(alg) }) {
			return fmt.Errorf("algorithms: no key is for %s", alg)
		}
	}
	return nil
}

// openInternal opens this server's own issuer.
func (p *Provider) openInternal(i *Issuer, t *token.Issuer) error {
	if len(i.Keys) > 0 || len(i.JWKS) > 0 {
		return errors.New("the internal issuer has its own key: remove `key` and `jwks`")
	}
	if len(i.Algorithms) > 0 && !slices.Contains(i.Algorithms, "EdDSA") {
		return errors.New("algorithms: the key of the internal issuer is for EdDSA")
	}
	if t.Name == "" {
		t.Name = issuer.DefaultName
	}
	if err := rotations.Check("rotate", i.Internal.Rotate); err != nil {
		return err
	}
	own, err := ownissuer.Open(&p.held, p.storage, t.Name, time.Duration(i.Internal.Rotate))
	if err != nil {
		return err
	}
	t.Keys = own
	if path := i.Internal.Publish; path != "" {
		if err := checkPublish(path); err != nil {
			return err
		}
		p.publish = append(p.publish, published{path, own.PublicSet})
	}
	return nil
}

func checkPublish(path string) error {
	if path[0] != '/' || strings.ContainsAny(path, "*{}?#") {
		return fmt.Errorf("publish: %q is not a path such as /.well-known/jwks.json", path)
	}
	return nil
}

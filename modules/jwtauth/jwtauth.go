// Package jwtauth authenticates requests by signed JSON Web Tokens.
package jwtauth

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/dpop"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/introspection"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/issuer"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/revocation"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func init() {
	caddy.RegisterModule(Provider{})
}

const (
	// Name is the name of the provider and of its directive.
	Name = "jwt_auth"

	defaultLeeway = 30 * time.Second
	defaultCache  = 10_000
	defaultRealm  = "restricted"
)

// The values of the options.
var (
	leeways       = option.Durations{Max: 10 * time.Minute, Example: "30s"}
	caches        = option.Counts{Min: 1, Max: 10_000_000, Of: "entries", Off: true}
	maxAges       = option.Durations{Min: 1, Example: "24h"}
	rotations     = option.Durations{Min: issuer.MinRotate, Example: "90d"}
	responseLives = option.Durations{Min: 1, Example: "60s", Off: true}
)

// Provider authenticates requests by signed JSON Web Tokens (RFC 7519) and
// bearer token usage (RFC 6750).
//
// A token is routed to an issuer by its exact `iss` and only the keys of that
// issuer can verify it, each only with the algorithms it is for. It must not
// have expired, and, if it names an audience, it must be for this service
// (RFC 7519 section 4.1.3, RFC 8725). The exact rules are those of RFC 8725;
// what has two readings (duplicate members, padding, spare bits) is rejected.
//
// Within the `auth` handler, as the directives `jwt_auth` and `auth` set it up,
// rejected requests have the codes invalid_request (400: more than one token, or none
// where one is announced), missing_credentials and invalid_token (401),
// insufficient_scope (403) and identity_provider_unavailable (503). It works
// in Caddy's own `authentication` handler too, which responds to all of these with
// 401.
//
// Audit trails record it when keys of an issuer come or leave (their IDs), when
// the revocation file changes and when tokens are revoked through the admin
// endpoint (how many, by what, and the address of who asked).
//
// Placeholders: those of the `auth` handler. In options, global placeholders
// such as `{env.*}` and `{file.*}` are replaced when the configuration is
// loaded, in issuer, jwks, key, audience and revocations; one that does not
// resolve is an error.
type Provider struct {
	// The issuers whose tokens are accepted.
	Issuers []*Issuer `json:"issuers,omitempty"`

	// How to resolve opaque tokens, beside the issuers or instead of them.
	Introspection *Introspection `json:"introspection,omitempty"`

	// The locations where a token may stand. A request with a token in two
	// of them is rejected with 400. Default: the Authorization header with
	// the scheme Bearer, and nowhere else.
	//
	// A token in a query ends up in access logs, browser histories and
	// Referer headers (RFC 6750 section 5.3); filter the logs if you must.
	From []Source `json:"from,omitempty"`

	// The realm of the challenge. Default: restricted
	Realm string `json:"realm,omitempty"`

	// How far the clock of an issuer may be off. At most 10m. Default: 30s
	Leeway *caddy.Duration `json:"leeway,omitempty"`

	// Whether the token is removed from the request before the upstream
	// sees it, wherever it stands.
	Strip bool `json:"strip,omitempty"`

	// The protected resource that the tokens are for. With it, strip is the
	// default, and so is the audience.
	Resource *Resource `json:"resource,omitempty"`

	// A file that lists revoked tokens, one JSON object a line: `{"jti":"…"}`,
	// `{"sub":"…","issued_before":"2026-11-22T10:00:00Z"}` or `{"kid":"…"}`,
	// each perhaps with `"expires"`, and with `"iss"` if it applies to the tokens
	// of one issuer alone. `sub` is the identity, whichever claim it
	// is in; a key without a `kid` goes by its thumbprint (RFC 7638), as
	// /moat/keysets lists it. The file is watched. Revocations made through the
	// admin endpoint /moat/revocations apply besides.
	Revocations string `json:"revocations,omitempty"`

	// How many verified tokens are cached, so that a repeated token costs no
	// signature check; about 2 KiB of memory each. 0 turns the cache off.
	// A token leaves the cache when it expires, when a key leaves the
	// issuer's set, and when it is revoked. Default: 10000
	Cache *int `json:"cache,omitempty"`

	// What a token must be bound to: `tls`, the client
	// certificate of the connection (RFC 8705 section 3.1), or `dpop`, a key
	// whose possession each request proves in its header DPoP (RFC 9449). With
	// dpop, tokens stand in the Authorization header with the scheme DPoP and
	// nowhere else, a proof is valid for one request within 60 s, and rejected
	// proofs have the codes invalid_dpop_proof and use_dpop_nonce (401) and
	// too_many_proofs (503). Default: nothing; tokens that are bound are
	// rejected then, since the binding would not be checked.
	Bind []string `json:"bind,omitempty"`

	// Whether proofs must have a nonce of this server, so that they cannot
	// be made long before they are used (RFC 9449 section 9). Clients get
	// it with the first rejected request.
	DPoPNonce bool `json:"dpop_nonce,omitempty"`

	options  credential.Options
	verifier *token.Verifier
	from     *credential.Sources
	scheme   string
	bindTLS  bool
	bindDPoP bool
	proofs   *dpop.Checker // with bind dpop
	nonces   *dpop.Nonces

	resource *credential.Resource // nil for none
	strip    bool                 // the token is kept from the upstream

	opaque      *introspection.Client // with introspection
	opaqueNeeds []scopeNeed

	vouchers     []string // names of issuers; "" for one whose iss is not compared
	opaqueIssuer string   // who vouches for opaque tokens

	needs   map[string][]scopeNeed // by issuer name; "" is any
	file    *revocation.File
	store   *revocation.Store
	publish []published
	held    lifecycle.Held
	now     func() time.Time
	storage certmagic.Storage

	ended func(token any, now time.Time) bool // whether a *token.Token has been revoked
}

// CaddyModule returns the Caddy module information.
func (Provider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.authentication.providers.jwt_auth",
		New: func() caddy.Module { return new(Provider) },
	}
}

// Provision loads keys, opens key sets and prepares the verifier.
func (p *Provider) Provision(ctx caddy.Context) error {
	if p.now == nil {
		p.now = time.Now
	}
	p.storage = ctx.Storage()
	if p.Realm == "" {
		p.Realm = defaultRealm
	}
	p.ended = func(tok any, _ time.Time) bool { return p.revoked(tok.(*token.Token)) }
	if err := p.compile(); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	opts := token.Options{Leeway: defaultLeeway, Cache: defaultCache, Revoked: p.revoked}
	if p.Leeway != nil {
		opts.Leeway = time.Duration(*p.Leeway)
	}
	if p.Cache != nil {
		opts.Cache = *p.Cache
	}
	if err := cmp.Or(leeways.Check("leeway", caddy.Duration(opts.Leeway)), caches.Check("cache", opts.Cache)); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	if p.bindDPoP {
		if err := p.openDPoP(ctx, opts.Leeway); err != nil {
			return fmt.Errorf("%s: %w", Name, err)
		}
	}
	if err := p.openRevocations(ctx); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	var issuers []token.Issuer
	for _, i := range p.Issuers {
		iss, err := p.openIssuer(ctx, i)
		if err != nil {
			return fmt.Errorf("%s: %w", Name, err)
		}
		issuers = append(issuers, iss)
		p.vouchers = append(p.vouchers, names(iss)...)
	}
	if p.Introspection != nil {
		if err := p.openIntrospection(opts.Leeway); err != nil {
			return fmt.Errorf("%s: %w", Name, err)
		}
	}
	if len(issuers) > 0 {
		var err error
		if p.verifier, err = token.NewVerifier(issuers, opts); err != nil {
			return fmt.Errorf("%s: %w", Name, err)
		}
	}
	if err := p.describeResource(); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	return p.registerMetrics(ctx)
}

// compile checks and prepares what needs nothing from outside.
func (p *Provider) compile() error {
	if len(p.Issuers) == 0 && p.Introspection == nil {
		return errors.New("no issuer and no key is given")
	}
	if slices.Contains(p.Issuers, nil) {
		return errors.New("an issuer is null")
	}
	if err := p.checkALBs(); err != nil {
		return err
	}
	for _, b := range p.Bind {
		switch b {
		case "tls":
			p.bindTLS = true
		case "dpop":
			p.bindDPoP = true
		default:
			return fmt.Errorf("bind takes tls or dpop, not %s", b)
		}
	}
	if p.bindTLS && p.bindDPoP {
		return errors.New("bind tls and bind dpop at once are not supported")
	}
	if p.DPoPNonce && !p.bindDPoP {
		return errors.New("a nonce needs bind dpop")
	}
	p.strip = p.Strip
	if err := p.compileFrom(); err != nil {
		return err
	}
	return p.compileResource()
}

// Cleanup gives back what is shared with other instances.
func (p *Provider) Cleanup() error {
	p.held.Release()
	return nil
}

// Identify verifies the token of the request.
func (p *Provider) Identify(r *http.Request) (credential.Grant, error) {
	raw, err := p.read(r)
	if err != nil {
		return credential.Grant{}, err
	}
	if p.isOpaque(raw) {
		return p.identifyOpaque(r, raw)
	}
	tok, verr := p.verifier.Verify(r.Context(), raw, p.now())
	if verr != nil {
		e := explain(verr)
		var te *token.Error
		if errors.As(verr, &te) && te.Reason == token.ReasonExpired && p.wasGood(r, raw) {
			e.ExpiredCookie = p.from.CookieOf(r)
		}
		return credential.Grant{}, e
	}
	if err := p.checkBinding(r, raw, tok.Confirmation); err != nil {
		return credential.Grant{}, err
	}
	if err := p.checkScopes(tok.Principal); err != nil {
		return credential.Grant{}, err
	}
	return p.grant(r, tok), nil
}

// wasGood reports whether a token in a cookie, which has expired, was good right
// before: made with one of our keys, and not by somebody who writes what he
// likes.
func (p *Provider) wasGood(r *http.Request, raw string) bool {
	if p.from.CookieOf(r) == "" {
		return false
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	var claims struct {
		Expires float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Expires < 1 || claims.Expires > 1<<40 {
		return false
	}
	_, err = p.verifier.Verify(r.Context(), raw, time.Unix(int64(claims.Expires)-1, 0))
	return err == nil
}

// grant is what a token gives that was verified.
func (p *Provider) grant(r *http.Request, tok *token.Token) credential.Grant {
	right := credential.Right{Revoked: p.ended, Proof: tok}
	if !tok.Expires.IsZero() {
		leeway := defaultLeeway
		if p.Leeway != nil {
			leeway = time.Duration(*p.Leeway)
		}
		right.Until = tok.Expires.Add(leeway)
	}
	return credential.Grant{Principal: tok.Principal, Right: right, Wrap: p.from.Wrap(r)}
}

// explain turns the engine's rejection into what the client is told.
func explain(err error) *credential.Error {
	var te *token.Error
	if errors.As(err, &te) {
		cause := error(nil)
		if te.Detail != "" {
			cause = errors.New(te.Detail)
		}
		return &credential.Error{
			Kind: credential.Bad, Code: credential.CodeInvalidToken,
			Detail: te.Error(), Cause: cause,
		}
	}
	// Either the keys cannot be had, or the client has gone and nobody
	// reads this.
	return &credential.Error{
		Kind: credential.Unavailable, Code: credential.CodeUnavailable,
		Detail: "the token cannot be verified at the moment", Cause: err,
	}
}

func (p *Provider) revoked(t *token.Token) bool {
	return p.store != nil && p.onList(p.store.List(), t) || p.file != nil && p.onList(p.file.List(), t)
}

func (p *Provider) onList(l *revocation.List, t *token.Token) bool {
	if l.Len() == 0 {
		return false // the usual case, which need not know the time
	}
	who := t.Principal
	is := revocation.Token{
		Issuer: who.Issuer, Claimed: t.Named, ID: who.TokenID, Subject: who.ID, KeyID: who.KeyID, IssuedAt: t.IssuedAt,
	}
	// A key without a name goes by its thumbprint, as in /moat/keysets.
	if l.NamesKeys() && t.Key != nil && t.Key.ID == "" {
		is.KeyPrint = t.Key.Thumbprint()
	}
	return l.Revoked(&is, p.now())
}

// Challenges returns the value of WWW-Authenticate, RFC 6750 section 3 or
// RFC 9449 section 7.1. A request without a token gets the bare challenge,
// without an error.
func (p *Provider) Challenges(why *credential.Error) []string {
	algs := ""
	if p.bindDPoP {
		algs = dpop.Algorithms
	}
	if why == nil || why.Kind == credential.Missing {
		return p.from.Asks(credential.Challenge(p.scheme, "realm", p.Realm, "algs", algs), p.Realm)
	}
	return p.from.Asks(credential.Challenge(p.scheme, "realm", p.Realm, "algs", algs,
		"error", why.Code, "error_description", why.Detail, "scope", why.Scope), p.Realm)
}

// Traits implements credential.Method.
func (p *Provider) Traits() credential.Traits {
	return credential.Traits{
		Options: p.options, Sources: p.from.Names(), Ambient: p.from.Ambient(),
		Vouches: p.vouches(), Gives: p.gives(), Endpoints: p.endpoints(), Resource: p.resource, Doubts: p.doubts(),
	}
}

// vouches returns who vouches for the callers: the issuers.
func (p *Provider) vouches() []principal.Source {
	var all []principal.Source
	for _, i := range p.vouchers {
		all = append(all, principal.Source{Issuer: i, Kind: principal.KindJWT})
	}
	if p.opaqueIssuer != "" {
		all = append(all, principal.Source{Issuer: p.opaqueIssuer, Kind: principal.KindOpaque})
	}
	return all
}

// gives returns that tokens may bring any roles and scopes, among them those
// that are required of them.
func (p *Provider) gives() *credential.Grants {
	all := &credential.Grants{Others: true}
	for _, i := range p.Issuers {
		for _, r := range i.Require {
			if slices.Contains(i.Roles, r.Claim) {
				all.Add(r.Values, nil)
			}
			if slices.Contains(i.Scopes, r.Claim) {
				all.Add(nil, r.Values)
			}
		}
	}
	return all
}

// Authenticate implements caddyauth.Authenticator, for Caddy's own handler.
func (p *Provider) Authenticate(w http.ResponseWriter, r *http.Request) (caddyauth.User, bool, error) {
	return reqctx.Authenticate(p, w, r)
}

// Interface guards
var (
	_ caddy.Provisioner       = (*Provider)(nil)
	_ caddy.CleanerUpper      = (*Provider)(nil)
	_ caddyauth.Authenticator = (*Provider)(nil)
	_ credential.Method       = (*Provider)(nil)
)

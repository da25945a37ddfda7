// Package apikeyauth authenticates requests by API keys.
package apikeyauth

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/apikey"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func init() {
	caddy.RegisterModule(Provider{})
}

const (
	// Name is the name of the provider and of its directive.
	Name = "api_key_auth"

	// CodeInvalid is the code of a key that is not accepted (401).
	CodeInvalid = "invalid_api_key"

	// CodeRestricted is the code of a good key that may not be used from
	// this address or with this method (403).
	CodeRestricted = "api_key_restricted"

	defaultRealm = "restricted"
)

// Provider authenticates requests by API keys of the form
// `<prefix>_<id>_<secret><checksum>`.
//
// Keys are made, listed, rotated and revoked with `caddy moat key`; a secret
// is shown once, when it is made. The store has only the
// HMAC-SHA-256 of each key, made with a pepper that is never in the store.
// A key may be restricted in time, to addresses and to methods.
//
// A key has an owner, roles, scopes and a plan: `{http.auth.user.id}` is the
// owner, `{http.auth.user.roles}`, `{http.auth.user.scopes}` and
// `{http.auth.user.plan}` are those of the key, and
// `{http.auth.user.claims.key_id}` is the key ID.
//
// Rejected requests have the codes invalid_request (400: more than one key, or one
// that cannot be read), missing_credentials and invalid_api_key (401: no such key;
// or one that is revoked, disabled, expired or not valid yet, which the response
// tells only to a client with its secret), and api_key_restricted (403: not from
// this address or not with this method; the record distinguishes them, the
// response does not).
//
// It works in the `auth` handler, as the directives `api_key_auth` and `auth`
// set it up, and in Caddy's own `authentication` handler, which rejects
// requests with 401 alone.
type Provider struct {
	// The file with the keys. It is watched: a change is in force within a
	// second, and a file with errors leaves the last valid keys in force.
	// At load it must exist and be valid. Global placeholders are
	// replaced at load.
	Store string `json:"store,omitempty"`

	// Where the pepper comes from: `{env.NAME}` or `{file./path}`, and
	// nothing else, since it must not stand in the configuration. At least
	// 32 bytes; a line break at the end does not count. A store whose keys
	// were made with another pepper is refused.
	Pepper string `json:"pepper,omitempty"`

	// The locations where a key may stand. A request with keys in two of them
	// is rejected with 400. Default: the Authorization header with the scheme
	// Bearer or ApiKey, and nowhere else. What follows Bearer is a key if it
	// begins with the prefix of the store's keys, and otherwise ignored: it may
	// be a token for another method.
	//
	// A key in a query ends up in access logs, browser histories and Referer
	// headers; filter the logs if you must.
	From []Source `json:"from,omitempty"`

	// The realm of the challenge. Default: restricted
	Realm string `json:"realm,omitempty"`

	// Whether the key is removed from the request before the upstream sees
	// it, wherever it stands.
	Strip bool `json:"strip,omitempty"`

	// Whether the times of last use are not written. By default they are
	// written every minute into the file `<store>.used`, for `caddy moat key
	// list`. If that fails, there is one warning, and keys go on working.
	NoLastUsed bool `json:"no_last_used,omitempty"`

	options credential.Options
	from    *credential.Sources
	scheme  string // of the challenge
	store   *store
	held    lifecycle.Held
	now     func() time.Time
	ended   func(key any, now time.Time) bool // whether a key, a *string, is no longer accepted
}

// CaddyModule returns the Caddy module information.
func (Provider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.authentication.providers.api_key_auth",
		New: func() caddy.Module { return new(Provider) },
	}
}

// Provision opens the store.
func (p *Provider) Provision(ctx caddy.Context) error {
	if p.now == nil {
		p.now = time.Now
	}
	if p.Realm == "" {
		p.Realm = defaultRealm
	}
	p.ended = func(key any, now time.Time) bool {
		_, err := p.store.Check(*key.(*string), now)
		return err != nil
	}
	if err := p.compileFrom(); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	if p.Store == "" {
		return fmt.Errorf("%s: no store is given", Name)
	}
	pepper, err := loadPepper(p.Pepper)
	if err != nil {
		return err
	}
	return p.open(ctx, pepper)
}

// secretPlaceholder is a text that is one placeholder for a variable of the
// environment or for a file, and nothing else.
var secretPlaceholder = regexp.MustCompile(`^\{(env\.[A-Za-z_][A-Za-z0-9_]*|file\.[^{}"]+)\}$`)

// errPepper does not repeat what was written, since it may be the pepper.
var errPepper = errors.New("pepper takes {env.NAME} or {file./path} and nothing around it: it must not stand in the configuration")

// loadPepper resolves a pepper. The error names where it comes from, never
// what it is.
func loadPepper(text string) (*apikey.Pepper, error) {
	if !secretPlaceholder.MatchString(text) {
		return nil, fmt.Errorf("%s: %w", Name, errPepper)
	}
	value, err := option.Resolve(Name, "pepper", text)
	if err != nil {
		return nil, err
	}
	pepper, err := apikey.NewPepper([]byte(strings.TrimRight(value, "\r\n")))
	if err != nil {
		return nil, fmt.Errorf("%s: pepper %s: %w", Name, text, err)
	}
	return pepper, nil
}

// Cleanup gives back the store.
func (p *Provider) Cleanup() error {
	p.held.Release()
	return nil
}

// Identify checks the key of the request.
func (p *Provider) Identify(r *http.Request) (credential.Grant, error) {
	text, err := p.read(r)
	if err != nil {
		return credential.Grant{}, err
	}
	now := p.now()
	c, err := p.store.Check(text, now)
	if err != nil {
		return credential.Grant{}, explain(c, err)
	}
	if !c.AllowsMethod(r.Method) {
		return credential.Grant{}, restricted(c, "method")
	}
	if c.Restricted() && !c.AllowsAddress(clientAddress(r)) {
		return credential.Grant{}, restricted(c, "address")
	}
	c.Touch(now)
	proof := text // so that text need not be allocated where it is rejected
	return credential.Grant{
		Principal: c.Principal, Right: credential.Right{Revoked: p.ended, Proof: &proof}, Wrap: p.from.Wrap(r),
	}, nil
}

// explain turns the engine's rejection into what the client is told. The
// credential is known where the secret was right.
func explain(c *apikey.Credential, err error) *credential.Error {
	e := &credential.Error{Kind: credential.Bad, Code: CodeInvalid, Detail: err.Error()}
	if c != nil {
		e.Rule, e.Caller = rule(c), c.Principal
	}
	return e
}

func restricted(c *apikey.Credential, what string) *credential.Error {
	return &credential.Error{
		Kind: credential.Insufficient, Code: CodeRestricted,
		Detail: "the API key may not be used for this request", Rule: rule(c) + ": " + what, Caller: c.Principal,
	}
}

// rule is how records name the key that decided.
func rule(c *apikey.Credential) string { return "key " + c.Principal.KeyID }

// clientAddress is the address of the client as Caddy determines it, through
// trusted proxies where there are such. It is not valid where it is unknown.
func clientAddress(r *http.Request) netip.Addr {
	text, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return addr
}

// Challenges returns the value of WWW-Authenticate (RFC 9110 section 11.6.1).
// The scheme is ApiKey unless keys stand under another one alone; the errors of
// Bearer are those of RFC 6750 section 3.1. Basic has none.
func (p *Provider) Challenges(why *credential.Error) []string {
	if why == nil || why.Kind == credential.Missing {
		return p.from.Asks(credential.Challenge(p.scheme, "realm", p.Realm), p.Realm)
	}
	code := why.Code
	if p.scheme == credential.Bearer {
		switch code {
		case CodeInvalid:
			code = credential.CodeInvalidToken
		case CodeRestricted:
			code = credential.CodeInsufficientScope
		}
	}
	return p.from.Asks(credential.Challenge(p.scheme, "realm", p.Realm, "error", code, "error_description", why.Detail), p.Realm)
}

// Traits implements credential.Method.
func (p *Provider) Traits() credential.Traits {
	return credential.Traits{
		Options: p.options, Sources: p.from.Names(), Ambient: p.from.Ambient(),
		Vouches: []principal.Source{{Kind: principal.KindAPIKey}}, Gives: p.gives(),
	}
}

// gives returns what the keys of the store give.
func (p *Provider) gives() *credential.Grants {
	all := new(credential.Grants)
	if p.store == nil {
		return all // not provisioned
	}
	for who := range p.store.Principals() {
		all.Add(who.Roles, who.Scopes)
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

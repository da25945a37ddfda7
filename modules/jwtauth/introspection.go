package jwtauth

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/introspection"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/keyset"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/ownissuer"
)

const defaultAnswerLife = time.Minute

// Introspection resolves opaque tokens by asking the server that has issued
// them (RFC 7662). Its options beyond these are those of an issuer, except
// jwks, keys, algorithms, typ and max_age.
//
// A token is opaque if it does not have the form of a signed one (three parts
// separated by dots), or if no issuer is configured. A token that is not
// active is 401 invalid_token, and so is one that is active and not accepted
// here: of another audience, without a required claim, or a refresh token by its
// token_use, token_type or typ (RFC 6749 section 1.5). A response 400 whose error
// concerns the token means that it is not active. An endpoint that does not
// respond as it should is 503 identity_provider_unavailable.
//
// With bind, the cnf of the response names the client that the token is bound to (RFC
// 8705 section 3.2, RFC 9449 section 6.2).
//
// The issuer of the callers, `{http.auth.user.issuer}`, is the issuer option;
// without one it is the issuer of the jwt_auth whose URL the endpoint's begins
// with, and else the endpoint's URL.
type Introspection struct {
	// The endpoint. Plain http is accepted where it is written out. Redirects
	// are not followed.
	Endpoint string `json:"endpoint"`

	// What this server authenticates itself with there, by HTTP Basic
	// authentication. The secret may be one placeholder, such as
	// `{env.SECRET}`.
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`

	// How long a response is cached at most; never longer than the token
	// lives, and for 10s at most where it is not active. A token that is
	// revoked at the endpoint is accepted that long. 0 asks for each request.
	// Default: 60s
	Cache *caddy.Duration `json:"cache,omitempty"`

	// The checks on a response, and where it has the subject, roles and scopes.
	Issuer
}

// openIntrospection opens the client for the endpoint.
func (p *Provider) openIntrospection(leeway time.Duration) error {
	o, err := p.introspectionOptions(leeway)
	if err != nil {
		return fmt.Errorf("introspection: %w", err)
	}
	// What is remembered was judged by all of this.
	config, err := json.Marshal(p.Introspection) //nolint:gosec // only its hash is kept
	if err != nil {
		return err
	}
	key := sha256.Sum256(fmt.Appendf(config, "\x00%d\x00%s\x00%t\x00%s\x00%s\x00%s\x00%s", leeway, o.Rules.Voucher, o.Rules.Same, o.Endpoint, o.ClientID, o.ClientSecret, o.Rules.Audience))
	p.opaque, err = lifecycle.Share(&p.held, clients, key, func() (*introspection.Client, func(), error) {
		c := introspection.New(o)
		return c, c.Close, nil
	})
	return err
}

var clients = caddy.NewUsagePool() // by hash of the configuration

func (p *Provider) introspectionOptions(leeway time.Duration) (o introspection.Options, err error) {
	i := p.Introspection
	switch {
	case i.Internal != nil || len(i.JWKS) > 0 || len(i.Keys) > 0 || len(i.Algorithms) > 0 || len(i.Type) > 0 || i.MaxAge != 0:
		return o, errors.New("jwks, keys, algorithms, typ and max_age are for signed tokens")
	case i.ClientID == "" || i.ClientSecret == "":
		return o, errors.New("client_id and client_secret are needed")
	}
	if o.Endpoint, err = resolve("introspection endpoint", i.Endpoint); err != nil {
		return o, err
	}
	if err := (keyset.Source{URL: o.Endpoint}).Check(); err != nil {
		return o, fmt.Errorf("endpoint: %w", err)
	}
	if o.ClientID, err = resolve("introspection client_id", i.ClientID); err != nil {
		return o, err
	}
	o.ClientSecret = i.ClientSecret
	if option.IsPlaceholder(i.ClientSecret) {
		if o.ClientSecret, err = option.Resolve(Name, "introspection client_secret", i.ClientSecret); err != nil {
			return o, err
		}
	}
	o.Cache = defaultAnswerLife
	if i.Cache != nil {
		o.Cache = time.Duration(*i.Cache)
	}
	if err := responseLives.Check("cache", caddy.Duration(o.Cache)); err != nil {
		return o, err
	}
	t, err := i.base()
	if err != nil {
		return o, err
	}
	p.opaqueNeeds = takeScopeNeeds(&t)
	o.Rules = introspection.Rules{
		Issuer: t.Name, Audience: t.Audience, AnyAudience: t.AnyAudience, Leeway: leeway,
		Require: t.Require, Roles: t.Roles, Scopes: t.Scopes, Subject: t.Subject, OtherSubjects: t.OtherSubjects,
		LenientRoles: t.LenientRoles, LenientScopes: t.LenientScopes,
	}
	p.opaqueIssuer, o.Rules.Same = p.voucher(t.Name, o.Endpoint)
	o.Rules.Voucher = p.opaqueIssuer
	o.Now = p.now
	o.Report = ownissuer.Report("endpoint", o.Endpoint)
	return o, nil
}

// voucher returns who vouches for the callers that the endpoint knows: the
// issuer that is written for it; or the one of this jwt_auth below whose URL it
// is, which its responses must then not contradict; or else the endpoint itself.
// What a response says of its issuer is not enough: any endpoint can say it.
func (p *Provider) voucher(name, endpoint string) (issuer string, same bool) {
	if name != "" {
		return name, false // and compared with every response
	}
	for _, i := range p.vouchers {
		if i != "" && strings.HasPrefix(endpoint, strings.TrimSuffix(i, "/")+"/") {
			return i, true
		}
	}
	return endpoint, false
}

// isOpaque reports whether the token is one to ask about.
func (p *Provider) isOpaque(raw string) bool {
	return p.opaque != nil && (p.verifier == nil || strings.Count(raw, ".") != 2)
}

// identifyOpaque asks who the token belongs to.
func (p *Provider) identifyOpaque(r *http.Request, raw string) (credential.Grant, error) {
	t, err := p.opaque.Resolve(r.Context(), raw)
	switch {
	case errors.Is(err, introspection.ErrInactive):
		return credential.Grant{}, &credential.Error{
			Kind: credential.Bad, Code: credential.CodeInvalidToken,
			Detail: "the token is not active", Cause: err,
		}
	case errors.Is(err, introspection.ErrRejected):
		return credential.Grant{}, &credential.Error{
			Kind: credential.Bad, Code: credential.CodeInvalidToken,
			Detail: "the token is not accepted here", Cause: err,
		}
	case err != nil:
		return credential.Grant{}, &credential.Error{
			Kind: credential.Unavailable, Code: credential.CodeUnavailable,
			Detail: "the token cannot be checked at the moment", Cause: err,
		}
	case p.revoked(&token.Token{Principal: t.Principal, IssuedAt: t.IssuedAt, Named: t.Named}):
		return credential.Grant{}, &credential.Error{
			Kind: credential.Bad, Code: credential.CodeInvalidToken, Detail: "token has been revoked",
		}
	}
	if err := p.checkBinding(r, raw, t.Confirmation); err != nil {
		return credential.Grant{}, err
	}
	if err := lacking(t.Principal, p.opaqueNeeds); err != nil {
		return credential.Grant{}, err
	}
	return p.grant(r, &token.Token{Principal: t.Principal, IssuedAt: t.IssuedAt, Expires: t.Expires}), nil
}

// unmarshalIntrospection reads the block
//
//	introspection {
//		endpoint      <url>
//		client_id     <id>
//		client_secret <secret | {env.X} | {file.X}>
//		cache         <duration>|off
//		issuer        <iss>
//		audience      <aud>...|*
//		require       <claim pointer> [<value>...]
//		roles         <claim pointer>...
//		scopes        <claim pointer>...
//		subject       <claim pointer>...
//	}
func (p *Provider) unmarshalIntrospection(d *caddyfile.Dispenser) error {
	if err := option.NoArgs(d); err != nil {
		return err
	}
	i := new(Introspection)
	seen := make(option.Once)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		switch name {
		case "endpoint", "client_id", "client_secret", "cache", "issuer":
			if err := seen.Check(d); err != nil {
				return err
			}
		case "jwks", "key", "algorithms", "typ", "max_age":
			return d.Errf("%s is for signed tokens and cannot stand in introspection", name)
		}
		var err error
		known := true
		switch name {
		case "endpoint":
			if err = option.OneArg(d, &i.Endpoint); err == nil {
				err = checkJWKS(d, i.Endpoint)
			}
		case "client_id":
			err = option.OneArg(d, &i.ClientID)
		case "client_secret":
			if err = option.OneArg(d, &i.ClientSecret); i.ClientSecret == "" {
				err = option.Takes(d, name, "one argument: {env.X}, {file.X} or the secret, in quotes if it has spaces")
			}
		case "issuer":
			err = option.OneArg(d, &i.Issuer.Issuer)
		case "cache":
			if i.Cache = new(caddy.Duration); option.OrOff(d) {
				err = option.NoBlock(d)
			} else {
				err = option.Duration(d, i.Cache, responseLives)
			}
		default:
			known, err = i.unmarshalOption(d, seen)
		}
		if err != nil {
			return err
		}
		if !known {
			return option.Unrecognized(d, "introspection", []string{"endpoint", "client_id", "client_secret", "cache", "issuer", "audience", "require", "roles", "scopes", "subject"})
		}
	}
	for _, need := range []struct{ name, value string }{
		{"endpoint", i.Endpoint}, {"client_id", i.ClientID}, {"client_secret", i.ClientSecret},
	} {
		if need.value == "" {
			return d.Errf("introspection needs endpoint, client_id and client_secret: %s is missing", need.name)
		}
	}
	p.Introspection = i
	return nil
}

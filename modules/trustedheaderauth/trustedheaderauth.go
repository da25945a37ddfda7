// Package trustedheaderauth authenticates requests by the header fields that
// Caddy's forward_auth has copied from the response of an authentication service.
package trustedheaderauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func init() {
	caddy.RegisterModule(Provider{})
}

const (
	// Name is the name of the provider and of its directive.
	Name = "trusted_header_auth"

	defaultRealm = "restricted"
	scheme       = "ForwardAuth"
)

// Provider authenticates requests by the header fields that Caddy's
// forward_auth copied from the response of an authentication service (Authelia,
// Authentik, oauth2-proxy, tailscale-nginx-auth and the like), which is known
// as trusted header single sign-on.
//
// Only the response of the service to this very request counts. A field is
// trusted if the service's response has the status 2xx and the request has the
// field once, with exactly the value of the response. Whatever a client sends
// under these names is removed in every spelling, on the requests, too, that
// did not come through forward_auth; they are anonymous. A configuration in
// which no forward_auth with these names in copy_headers stands before it is
// refused.
//
// The directive is ordered after forward_auth by default. In `auth { … }` it needs
// forward_auth ordered before auth, or a route block.
//
// `{http.auth.user.id}` is the user and `{http.auth.user.roles}` are the groups.
// Claims, for `forward` and `{http.auth.user.claims.<name>}`, are sub (the
// user), groups (a list), and those that `claim` names. The fields reach the
// upstream as the service wrote them.
//
// A browser authenticates to the service with a cookie or its network address,
// which it sends for the pages of any site. Unsafe requests and upgrades from
// pages of other sites are rejected (403 cross_origin), unless `origin` allows
// them.
//
// Rejected requests have the codes missing_credentials (401: the request did not
// come through forward_auth, or the service named no user) and
// invalid_credentials (401: an ambiguous value).
//
// There is no registered scheme for WWW-Authenticate (RFC 9110 section 11.6.1)
// for this. The challenge is `ForwardAuth`, which clients ignore.
type Provider struct {
	// The field that names the user, as written in copy_headers of forward_auth:
	// one name, or `<from>><to>` for a field that is copied under another name.
	// A value with a comma is rejected: it could be two values. Required
	User string `json:"user,omitempty"`

	// The field that names the groups, which become roles. White space round
	// a group is removed. Default: there are no groups
	Groups string `json:"groups,omitempty"`

	// What stands between two groups: one character, not a letter or digit.
	// Authelia and oauth2-proxy separate by commas, Authentik by `|`.
	// Default: a comma
	Separator string `json:"separator,omitempty"`

	// Further claims, by name, with the field of each.
	Claims map[string]string `json:"claims,omitempty"`

	// The issuer of the users, in rules (`from`), limits and records. Default:
	// none; the users are then distinguished by their kind, trusted_header
	Issuer string `json:"issuer,omitempty"`

	// The realm of the challenge. Default: restricted
	Realm string `json:"realm,omitempty"`

	options credential.Options
	user    credential.Copied
	groups  credential.Copied
	claims  map[string]credential.Copied
}

// CaddyModule returns the Caddy module information.
func (Provider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.authentication.providers.trusted_header_auth",
		New: func() caddy.Module { return new(Provider) },
	}
}

// Provision reads the names of the fields.
func (p *Provider) Provision(ctx caddy.Context) error {
	if err := p.compile(); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	return lifecycle.CheckLayers(ctx)
}

// compile reads the options and refuses what means nothing.
func (p *Provider) compile() (err error) {
	if p.User == "" {
		return errors.New("who is the user? write the field that forward_auth copies: user Remote-User")
	}
	if p.user, err = credential.ParseCopied(p.User); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	if p.Groups == "" && p.Separator != "" {
		return errors.New("a separator is for groups: write the field of the groups, too")
	}
	if p.Groups != "" {
		if p.groups, err = credential.ParseCopied(p.Groups); err != nil {
			return fmt.Errorf("groups: %w", err)
		}
	}
	if p.Separator != "" && (len(p.Separator) != 1 || !strings.Contains(",|;:/ ", p.Separator)) {
		return fmt.Errorf("groups: the separator is one of , | ; : / and a space, not %q", p.Separator)
	}
	p.claims = make(map[string]credential.Copied, len(p.Claims))
	for name, field := range p.Claims {
		if name == "" || name == "sub" || name == "groups" {
			return fmt.Errorf("claim %q: choose another name; sub and groups are what user and groups say", name)
		}
		if p.claims[name], err = credential.ParseCopied(field); err != nil {
			return fmt.Errorf("claim %s: %w", name, err)
		}
	}
	return p.distinct()
}

// distinct refuses a field of the request that is to be two things.
func (p *Provider) distinct() error {
	seen := make(map[string]bool)
	for _, f := range p.copied() {
		if seen[f.To] {
			return fmt.Errorf("the field %s is named twice: the user, the groups and each claim have a field of their own", f.To)
		}
		seen[f.To] = true
	}
	return nil
}

// copied returns the fields that forward_auth has to copy.
func (p *Provider) copied() []credential.Copied {
	all := []credential.Copied{p.user}
	if p.Groups != "" {
		all = append(all, p.groups)
	}
	for _, name := range slices.Sorted(maps.Keys(p.claims)) {
		all = append(all, p.claims[name])
	}
	return all
}

// Identify says whom the authentication service has named.
func (p *Provider) Identify(r *http.Request) (credential.Grant, error) {
	values := p.believed(r)
	user := values[p.user.To]
	if user == "" {
		return credential.Grant{}, credential.ErrMissing
	}
	if strings.Contains(user, ",") {
		return credential.Grant{}, p.unclear(p.user, "has a comma in it, and could be two users")
	}
	who := &principal.Principal{ID: user, Issuer: p.Issuer, Kind: principal.KindHeader}
	for _, field := range p.copied() {
		if v := values[field.To]; !principal.Printable(v) {
			return credential.Grant{}, p.unclear(field, "has characters in it that cannot be printed")
		}
	}
	claims := map[string]any{"sub": user}
	if p.Groups != "" {
		who.Roles = p.split(values[p.groups.To])
		claims["groups"] = who.Roles
	}
	for name, field := range p.claims {
		if v, ok := values[field.To]; ok {
			claims[name] = v
		}
	}
	raw, err := json.Marshal(claims)
	if err != nil {
		return credential.Grant{}, p.unclear(p.user, err.Error())
	}
	who.Claims = principal.NewClaims(raw)
	grant := credential.Grant{Principal: who, Upstream: make(http.Header, len(values))}
	for name, value := range values {
		grant.Upstream[name] = []string{value} // the upstream may know its users by them
	}
	return grant, nil
}

// split returns the groups, each once.
func (p *Provider) split(text string) []string {
	separator := p.Separator
	if separator == "" {
		separator = ","
	}
	groups := []string{}
	for group := range strings.SplitSeq(text, separator) {
		if group = strings.TrimSpace(group); group != "" && !slices.Contains(groups, group) {
			groups = append(groups, group)
		}
	}
	return groups
}

func (p *Provider) unclear(field credential.Copied, why string) *credential.Error {
	return &credential.Error{
		Kind: credential.Bad, Code: credential.CodeInvalidCredentials, Detail: "the identity that was forwarded is not accepted",
		Rule: p.Issuer, Cause: fmt.Errorf("what forward_auth copied to %s %s", field.To, why),
	}
}

// Places returns the field of the user, if the service has named one. What the
// caller is known by is what browsers send whoever asks them to: a cookie of the
// service, or the address in a network. A page of another site must not change
// anything with it.
func (p *Provider) Places(r *http.Request) []credential.Place {
	if p.believed(r)[p.user.To] == "" {
		return nil
	}
	return []credential.Place{{Kind: principal.KindHeader, At: "header " + p.user.To, Ambient: true}}
}

// Challenges returns the value of WWW-Authenticate (RFC 9110 section 11.6.1).
func (p *Provider) Challenges(why *credential.Error) []string {
	realm := p.Realm
	if realm == "" {
		realm = defaultRealm
	}
	if why == nil || why.Kind == credential.Missing {
		return []string{credential.Challenge(scheme, "realm", realm)}
	}
	return []string{credential.Challenge(scheme, "realm", realm, "error", why.Code, "error_description", why.Detail)}
}

// Clean does nothing: the fields are gone already.
func (*Provider) Clean(*http.Request) {}

// Traits implements credential.Method.
func (p *Provider) Traits() credential.Traits {
	t := credential.Traits{
		Options: p.options, Ambient: true,
		Vouches: []principal.Source{{Kind: principal.KindHeader, Issuer: p.Issuer}},
		Gives:   &credential.Grants{Others: p.Groups != ""}, // the service may name any
	}
	if p.user.To == "" && p.compile() != nil {
		return t
	}
	t.Copied, t.Believes = p.copied(), p.believes()
	return t
}

// believes returns the names of the fields in the request.
func (p *Provider) believes() []string {
	copied := p.copied()
	names := make([]string, 0, len(copied))
	for _, f := range copied {
		names = append(names, f.To)
	}
	return names
}

// Authenticate implements caddyauth.Authenticator, for Caddy's own handler.
func (p *Provider) Authenticate(w http.ResponseWriter, r *http.Request) (caddyauth.User, bool, error) {
	return reqctx.Authenticate(p, w, r, p.believes()...)
}

// Interface guards
var (
	_ caddy.Provisioner       = (*Provider)(nil)
	_ caddyauth.Authenticator = (*Provider)(nil)
	_ credential.Method       = (*Provider)(nil)
)

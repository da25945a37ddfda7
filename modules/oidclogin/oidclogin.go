// Package oidclogin logs browsers in by OpenID Connect and knows them by the
// cookie of a session from then on.
package oidclogin

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/keyset"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/replay"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/session"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/ownissuer"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func init() {
	caddy.RegisterModule(Provider{})
}

const (
	// Name is the name of the provider and of its directive.
	Name = "oidc_login"

	defaultRealm    = "restricted"
	defaultIdle     = time.Hour
	defaultLifetime = 12 * time.Hour

	// cookieName is that of the session's cookie. A browser takes a cookie with
	// this prefix only over TLS, from this very host and for all of its paths
	// (RFC 6265bis section 4.1.3.2): no other host can set it.
	cookieName = "__Host-moat-session"
)

// The values of options.
var (
	idles     = option.Durations{Min: time.Minute, Max: session.MaxLifetime, Example: "1h"}
	lifetimes = option.Durations{Min: time.Minute, Max: session.MaxLifetime, Example: "12h"}
)

// Provider logs the users of browsers in with an OpenID Connect provider, by the
// authorization code flow with PKCE, and keeps them logged in by a session. The
// browser has a cookie; no token ever reaches it.
//
// A request for a page (GET or HEAD, by what browsers say in Sec-Fetch-Dest or,
// where they say nothing, in Accept) that would be rejected with 401 leads to the
// login page of the provider instead, and back to where it was going. Other
// requests get the 401. So does a page that asks for a step-up (RFC 9470): a rule
// of rbac with acr or max_age leads to a login with acr_values and max_age.
//
// It serves these paths, below path:
//
//   - GET /.moat/login?target=/path begins a login
//   - GET /.moat/callback is where the provider sends the browser back to; it is
//     the redirect URI to register: https://app.example.com/.moat/callback
//   - GET /.moat/logout asks whether to log out, and POST does so, here and at the
//     provider (OpenID Connect RP-Initiated Logout), unless a page of another
//     origin sends it
//   - POST /.moat/backchannel-logout takes logout tokens of the provider (OpenID
//     Connect Back-Channel Logout)
//
// The caller is the same as that of a token of this issuer: iss and sub are its
// identity, its claims are those of the ID token, its roles are where `roles`
// says, its scopes are those that were granted.
//
// Sessions are kept in Caddy's storage and shared by all servers on it. They end
// after idle without a request, after lifetime in any case, by logging out at
// either end, when the provider takes the refresh token back, and by `caddy moat
// session revoke`; streams end with them. While the provider is away nobody is
// logged out.
//
// The method needs the handler of `auth`: Caddy's own authentication handler
// serves no paths and sends nobody to a login.
//
// Rejected requests have the codes missing_credentials and invalid_credentials
// (401), invalid_request (400: more than one credential), https_required (400: a
// login over plain HTTP), invalid_login_response (400: a callback that this browser
// did not ask for, or that was used), login_denied (403: the provider let the user
// not in, or not as was asked), invalid_logout_token (400), cross_origin (403) and
// identity_provider_unavailable and session_storage_unavailable (503).
type Provider struct {
	// The issuer: the exact URL whose discovery document says where everything
	// is. It is the identity's issuer in rules and records. Required
	Issuer string `json:"issuer,omitempty"`

	// The client as it is registered with the provider. Placeholders are
	// expanded when the configuration is loaded. Required
	ClientID string `json:"client_id,omitempty"`

	// The client's secret: one placeholder, such as {env.SECRET}, or the secret.
	// Default: none, for a public client, which PKCE protects alone
	ClientSecret string `json:"client_secret,omitempty"`

	// The scopes to ask for. openid is always asked for. Default: openid. With
	// offline_access many providers issue a refresh token, without which a
	// session is not renewed
	Scopes []string `json:"scopes,omitempty"`

	// Where the roles are, as in jwt_auth: JSON Pointers into the claims, or names
	// of claims. Default: there are no roles
	Roles []string `json:"roles,omitempty"`

	// Whether the claims of the userinfo endpoint are added to those of the ID
	// token, which count more. What says how the user was authenticated is never
	// taken from there.
	Userinfo bool `json:"userinfo,omitempty"`

	// The path below which the login has its own. Default: /.moat
	Path string `json:"path,omitempty"`

	// How long a session lives without a request: between nine tenths of it and
	// all of it. Default: 1h
	Idle caddy.Duration `json:"idle,omitempty"`

	// How long a session lives in any case. Default: 12h
	Lifetime caddy.Duration `json:"lifetime,omitempty"`

	// Values of acr that every login asks for. The provider may give another one:
	// rules of rbac say what is needed. Default: none
	ACRValues []string `json:"acr_values,omitempty"`

	// The path on this host to go to after logging out, which is registered with
	// the provider as a post-logout redirect URI. Default: a page that says so,
	// here or at the provider
	AfterLogout string `json:"after_logout,omitempty"`

	// A file with certificates in PEM of the authorities that vouch for the
	// provider, in place of the system's.
	CA string `json:"ca,omitempty"`

	// The realm of the challenge. Default: restricted
	Realm string `json:"realm,omitempty"`

	options credential.Options
	issuer  string
	roles   []principal.Pointer
	cookies *credential.Sources

	idp      *idp
	ring     *session.Keyring
	sessions *session.Store
	used     *replay.Memory // states of logins
	held     lifecycle.Held
	now      func() time.Time
	logins   *prometheus.CounterVec
	logger   *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (Provider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.authentication.providers.oidc_login",
		New: func() caddy.Module { return new(Provider) },
	}
}

// Provision opens the provider and the sessions.
func (p *Provider) Provision(ctx caddy.Context) error {
	if p.now == nil {
		p.now = time.Now
	}
	p.logger = ctx.Logger()
	if err := lifecycle.CheckLayers(ctx); err != nil {
		return err
	}
	if err := p.compile(); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	if err := p.open(ctx); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	var err error
	p.logins, err = lifecycle.Register(ctx, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "moat", Name: "logins_total",
		Help: "Logins of browsers that came back from the identity provider, by result: ok, rejected, denied or unavailable.",
	}, []string{"result"}))
	return err
}

// compile checks what needs nothing from outside.
func (p *Provider) compile() error {
	switch {
	case p.Issuer == "":
		return errors.New("the issuer is missing: write oidc_login https://id.example.com { … }")
	case p.ClientID == "":
		return errors.New("client_id is missing: write the client as it is registered with the provider")
	}
	if !strings.Contains(p.Issuer, "{") {
		if err := (keyset.Source{Issuer: p.Issuer}).Check(); err != nil {
			return fmt.Errorf("issuer %s: %w", p.Issuer, err)
		}
	}
	if err := checkPath("path", p.base()); err != nil {
		return err
	}
	if p.AfterLogout != "" && session.Target(p.AfterLogout) != p.AfterLogout {
		return fmt.Errorf("after_logout '%s': write a path on this host, such as /goodbye", p.AfterLogout)
	}
	for _, list := range [][]string{p.Scopes, p.ACRValues} {
		for _, s := range list {
			if s == "" || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '\\' }) {
				return fmt.Errorf("'%s' cannot be a scope or a value of acr: write them with spaces between", s)
			}
		}
	}
	p.roles = nil
	for _, text := range p.Roles {
		pointer, err := principal.ParsePointer(text)
		if err != nil {
			return fmt.Errorf("roles: %w", err)
		}
		p.roles = append(p.roles, pointer)
	}
	if err := errors.Join(idles.Check("idle", p.Idle), lifetimes.Check("lifetime", p.Lifetime)); err != nil {
		return err
	}
	if p.idle() > p.lifetime() {
		return fmt.Errorf("idle %v is longer than lifetime %v, after which a session ends in any case", p.idle(), p.lifetime())
	}
	source := credential.Source{Cookie: cookieName}
	if err := source.Check(); err != nil {
		return err
	}
	p.cookies = credential.NewSources("session", []credential.Source{source})
	return nil
}

// checkPath refuses what is not a plain path of this host.
func checkPath(option, text string) error {
	if session.Target(text) != text || text == "/" || path.Clean(text) != text || strings.ContainsAny(text, "%?*{}") {
		return fmt.Errorf("%s '%s': write a path such as /.moat, without a slash at its end", option, text)
	}
	return nil
}

func (p *Provider) base() string {
	if p.Path == "" {
		return credential.LoginPath
	}
	return p.Path
}

func (p *Provider) idle() time.Duration {
	if p.Idle != 0 {
		return time.Duration(p.Idle)
	}
	return min(defaultIdle, p.lifetime())
}

func (p *Provider) lifetime() time.Duration {
	if p.Lifetime != 0 {
		return time.Duration(p.Lifetime)
	}
	return defaultLifetime
}

// What outlives a configuration.
var (
	idps   = caddy.NewUsagePool() // by hash of what a client is
	rings  = caddy.NewUsagePool() // by storage
	stores = caddy.NewUsagePool() // by storage, client and lifetimes
	states = caddy.NewUsagePool()
)

// maxStates is how many logins that came back are remembered at once.
const maxStates = 200_000

// open opens what is shared with other instances.
func (p *Provider) open(ctx caddy.Context) (err error) {
	if p.issuer, err = option.Resolve(Name, "issuer", p.Issuer); err != nil {
		return err
	}
	if err := (keyset.Source{Issuer: p.issuer}).Check(); err != nil {
		return fmt.Errorf("issuer %s: %w", p.Issuer, err)
	}
	client, err := option.Resolve(Name, "client_id", p.ClientID)
	if err != nil {
		return err
	}
	secret := p.ClientSecret
	if option.IsPlaceholder(secret) {
		if secret, err = option.Resolve(Name, "client_secret", secret); err != nil {
			return err
		}
	}
	ca := ""
	if p.CA != "" {
		if ca, err = p.readCA(); err != nil {
			return err
		}
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", p.issuer, client, secret, ca))
	p.idp, err = lifecycle.Share(&p.held, idps, key, func() (*idp, func(), error) {
		i, err := openIDP(p.issuer, client, secret, ca, p.now)
		if err != nil {
			return nil, nil, err
		}
		return i, i.close, nil
	})
	if err != nil {
		return err
	}
	p.used, err = lifecycle.Share(&p.held, states, "states", func() (*replay.Memory, func(), error) {
		return replay.NewMemory(maxStates, p.now()), func() {}, nil
	})
	if err != nil {
		return err
	}
	return p.openSessions(ctx, client)
}

func (p *Provider) readCA() (string, error) {
	file, err := option.Resolve(Name, "ca", p.CA)
	if err != nil {
		return "", err
	}
	text, err := filewatch.Read(file, maxResponse)
	if err != nil {
		return "", fmt.Errorf("ca %s: %w", p.CA, err)
	}
	if !strings.Contains(string(text), "-----BEGIN CERTIFICATE-----") {
		return "", fmt.Errorf("ca %s: the file has no certificate in PEM", p.CA)
	}
	return string(text), nil
}

func (p *Provider) openSessions(ctx caddy.Context, client string) (err error) {
	storage := ctx.Storage()
	where := ownissuer.Identity(storage)
	p.ring, err = lifecycle.Share(&p.held, rings, where, func() (*session.Keyring, func(), error) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		ring, err := session.OpenKeyring(ctx, storage, p.now)
		return ring, func() {}, err
	})
	if err != nil {
		return err
	}
	key := [...]string{where, p.issuer, client, p.idle().String(), p.lifetime().String()}
	p.sessions, err = lifecycle.Share(&p.held, stores, key, func() (*session.Store, func(), error) {
		s := session.New(p.ring, storage, session.Options{
			Issuer: p.issuer, Client: client, Idle: p.idle(), Lifetime: p.lifetime(), Now: p.now,
			Report: ownissuer.Report("issuer", p.issuer),
		})
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { s.Run(ctx) })
		return s, func() { cancel(); running.Wait() }, nil
	})
	return err
}

// Cleanup gives back what is shared with other instances.
func (p *Provider) Cleanup() error {
	p.held.Release()
	return nil
}

// made is what is made of a session: once, and again when it was refreshed.
type made struct {
	who *principal.Principal
	err error
}

// Identify finds the session of the cookie.
func (p *Provider) Identify(r *http.Request) (credential.Grant, error) {
	raw, err := p.cookies.Read(r)
	if err != nil {
		return credential.Grant{}, err
	}
	ctx := r.Context()
	live, renew, err := p.sessions.Find(ctx, cookieHost(r), raw)
	if err == nil {
		err = live.Refresh(ctx, func(ctx context.Context, s *session.Session) (*session.Session, error) {
			return p.idp.renew(ctx, s, p.Userinfo)
		})
	}
	if err != nil {
		return credential.Grant{}, rejected(err)
	}
	m, _ := live.Data(func(s *session.Session) any {
		who, err := p.principalOf(s)
		return &made{who, err}
	}).(*made)
	if m == nil || m.err != nil {
		return credential.Grant{}, rejected(session.ErrSealed)
	}
	g := credential.Grant{
		Principal: m.who,
		Right:     credential.Right{Until: live.Session().Until, Revoked: session.Revoked, Proof: live},
	}
	if renew {
		g.Header = http.Header{
			"Set-Cookie":    {p.sessionCookie(p.sessions.Cookie(cookieHost(r), live))},
			"Cache-Control": {"no-store"},
		}
	}
	return g, nil
}

// rejected is the rejection of a cookie.
func rejected(err error) *credential.Error {
	switch {
	case errors.Is(err, session.ErrEnded):
		return &credential.Error{
			Kind: credential.Bad, Code: credential.CodeInvalidCredentials, Detail: "the session has ended",
			Cause: err, ExpiredCookie: cookieName,
		}
	case errors.Is(err, session.ErrSealed):
		return &credential.Error{
			Kind: credential.Bad, Code: credential.CodeInvalidCredentials, Detail: "the session cookie is not accepted", Cause: err,
		}
	}
	return &credential.Error{Kind: credential.Unavailable, Code: CodeStorage, Detail: "the session cannot be checked at the moment", Cause: err}
}

// CodeStorage is the code of a request whose session cannot be looked up.
const CodeStorage = "session_storage_unavailable"

// sessionCookie prints the cookie of the session.
func (p *Provider) sessionCookie(value string) string {
	return fmt.Sprintf("%s=%s; Path=/; Max-Age=%d; HttpOnly; Secure; SameSite=Lax", cookieName, value, int64(p.idle()/time.Second))
}

// forget takes a cookie of ours back.
func forget(w http.ResponseWriter, name string) {
	w.Header().Add("Set-Cookie", name+"=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax")
}

// cookieHost is the host that cookies are for, which do not know of ports.
func cookieHost(r *http.Request) string {
	host := strings.ToLower(reqctx.TargetOf(r).Host)
	if u, err := url.Parse("//" + host); err == nil {
		return u.Hostname()
	}
	return host
}

// Places returns the cookie, if there is one.
func (p *Provider) Places(r *http.Request) []credential.Place { return p.cookies.Places(r) }

// Challenges returns the value of WWW-Authenticate (RFC 9110 section 11.6.1). There
// is no registered scheme for sessions of browsers; login says where one begins.
func (p *Provider) Challenges(why *credential.Error) []string {
	realm := p.Realm
	if realm == "" {
		realm = defaultRealm
	}
	params := []string{"realm", realm}
	if why != nil && why.Kind != credential.Missing {
		params = append(params, "error", why.Code, "error_description", why.Detail)
	}
	return []string{credential.Challenge(credential.Session, append(params, "login", p.base()+"/login")...)}
}

// Clean removes the cookies of ours. They are for nobody behind.
func (p *Provider) Clean(r *http.Request) {
	p.cookies.Remove(r)
	credential.RemoveCookies(r.Header, []string{flowCookie + "*"})
}

// Traits implements credential.Method.
func (p *Provider) Traits() credential.Traits {
	t := credential.Traits{
		Options: p.options, Ambient: true, Sources: []string{"cookie " + cookieName},
		Cookies: []string{cookieName, flowCookie + "*"},
		Gives:   &credential.Grants{Others: true},
		Login:   p.login,
	}
	issuer := p.issuer
	if issuer == "" {
		issuer = p.Issuer
	}
	t.Vouches = []principal.Source{{Issuer: issuer, Kind: principal.KindSession}}
	base := p.base()
	t.Endpoints = []credential.Endpoint{
		{Path: base + "/login", Methods: []string{http.MethodGet}, Rule: "login", Serve: p.serveLogin},
		{Path: base + "/callback", Methods: []string{http.MethodGet}, Rule: "callback", Serve: p.serveCallback},
		{Path: base + "/logout", Methods: []string{http.MethodGet, http.MethodPost}, Rule: "logout", Serve: p.serveLogout},
		{Path: base + "/backchannel-logout", Methods: []string{http.MethodPost}, Rule: "backchannel_logout", Serve: p.serveBackchannel},
	}
	for _, text := range p.Roles {
		if d, ok := credential.ClaimDoubt("roles", text); ok {
			t.Doubts = append(t.Doubts, d)
		}
	}
	return t
}

// scopes are those to ask for.
func (p *Provider) scopes() []string {
	if slices.Contains(p.Scopes, "openid") {
		return p.Scopes
	}
	return append([]string{"openid"}, p.Scopes...)
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

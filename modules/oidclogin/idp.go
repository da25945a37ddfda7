package oidclogin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/keyset"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/session"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
)

const (
	rediscoverEvery = 24 * time.Hour
	retryDiscovery  = 5 * time.Second // after one that has failed
	askTimeout      = 10 * time.Second
	maxResponse     = 1 << 20
	leeway          = 30 * time.Second
)

var (
	// errAway says that the provider cannot be asked at the moment.
	errAway = errors.New("the identity provider is unavailable")

	// errRejected says that the provider, or what it says, is not to be believed.
	errRejected = errors.New("the response of the identity provider is not accepted")
)

// idp is the provider as a client of it sees it. It outlives a reload.
type idp struct {
	issuer, client, secret string

	http    *http.Client
	own     *http.Transport
	keys    *keyset.Set
	ids     *oidc.IDTokenVerifier
	logouts *token.Verifier
	owed    sync.Map // IDs of logout tokens whose sessions could not be ended
	now     func() time.Time

	mu     sync.Mutex
	meta   *metadata
	asked  time.Time
	failed error
}

// metadata is what the discovery document of the provider says.
type metadata struct {
	*oidc.Provider
	endpoint oauth2.Endpoint

	EndSession string   `json:"end_session_endpoint"`
	PAR        string   `json:"pushed_authorization_request_endpoint"`
	Userinfo   string   `json:"userinfo_endpoint"`
	Iss        bool     `json:"authorization_response_iss_parameter_supported"`
	Auth       []string `json:"token_endpoint_auth_methods_supported"`
}

func openIDP(issuer, client, secret, ca string, now func() time.Time) (*idp, error) {
	p := &idp{issuer: issuer, client: client, secret: secret, now: now}
	p.own = &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
		TLSHandshakeTimeout:    3 * time.Second,
		ResponseHeaderTimeout:  8 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
		ForceAttemptHTTP2:      true,
	}
	if ca != "" {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(ca))
		p.own.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	p.http = &http.Client{
		Transport: bounded{p.own}, Timeout: askTimeout,
		// What is sent holds codes, tokens and a secret. They go nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("redirect rejected") },
	}
	p.keys = keyset.Open(keyset.Source{Issuer: issuer, CA: ca}, keyset.Options{Now: now})
	verifier, err := token.NewVerifier([]token.Issuer{{
		Name: issuer, Keys: p.keys, Audience: []string{client}, LenientRoles: true, LenientScopes: true,
	}}, token.Options{Leeway: leeway, MaxTokenSize: 64 << 10})
	if err == nil {
		// A logout token names who is meant by sub or by sid, and itself by jti.
		p.logouts, err = token.NewVerifier([]token.Issuer{{
			Name: issuer, Keys: p.keys, Audience: []string{client}, Types: []string{"logout+jwt", "JWT"},
			Subject: []string{"jti"}, LenientRoles: true, LenientScopes: true,
		}}, token.Options{Leeway: leeway})
	}
	if err != nil {
		p.close()
		return nil, err
	}
	// The signature, the algorithm, the times, the issuer and the audience are
	// checked by the verifier that jwt_auth has; what is read twice is compared twice.
	p.ids = oidc.NewVerifier(issuer, signatures{verifier, now}, &oidc.Config{
		ClientID: client, SkipExpiryCheck: true,
		SupportedSigningAlgs: []string{
			oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
		},
	})
	return p, nil
}

func (p *idp) close() {
	p.keys.Close()
	p.own.CloseIdleConnections()
}

// bounded bounds what is read of responses.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxResponse), resp.Body}
	}
	return resp, err
}

// signatures has the signatures of ID tokens verified by our own verifier.
type signatures struct {
	*token.Verifier
	now func() time.Time
}

// VerifySignature implements oidc.KeySet.
func (s signatures) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	t, err := s.Verify(ctx, raw, s.now())
	if err != nil {
		if errors.Is(err, token.ErrUnavailable) {
			return nil, fmt.Errorf("%w: %w", errAway, err)
		}
		return nil, err
	}
	return t.Principal.Claims.Raw(), nil
}

// discover returns the metadata of the provider, which it fetches if there is
// none, once for all who ask.
func (p *idp) discover(ctx context.Context) (*metadata, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if p.meta != nil && now.Sub(p.asked) < rediscoverEvery {
		return p.meta, nil
	}
	if p.failed != nil && now.Sub(p.asked) < retryDiscovery {
		return p.known(p.failed)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	meta, err := p.fetch(ctx)
	p.asked, p.failed = now, err
	if err != nil {
		return p.known(err)
	}
	p.meta = meta
	return meta, nil
}

// known returns the metadata that was fetched last. They stay in use while the
// provider is away.
func (p *idp) known(err error) (*metadata, error) {
	if p.meta != nil {
		return p.meta, nil
	}
	return nil, err
}

func (p *idp) fetch(ctx context.Context) (*metadata, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, p.http), p.issuer)
	if err != nil {
		return nil, fmt.Errorf("%w: discovery: %w", errAway, err)
	}
	m := &metadata{Provider: provider, endpoint: provider.Endpoint()}
	if err := provider.Claims(m); err != nil {
		return nil, fmt.Errorf("%w: discovery: %w", errRejected, err)
	}
	for name, where := range map[string]string{
		"authorization_endpoint": m.endpoint.AuthURL, "token_endpoint": m.endpoint.TokenURL, "end_session_endpoint": m.EndSession,
		"pushed_authorization_request_endpoint": m.PAR, "userinfo_endpoint": m.Userinfo,
	} {
		if where == "" && name != "authorization_endpoint" && name != "token_endpoint" {
			continue
		}
		if err := keyset.CheckDiscovered(p.issuer, where); err != nil {
			return nil, fmt.Errorf("%w: discovery: %s: %w", errRejected, name, err)
		}
	}
	// To try both would use the code up.
	m.endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if p.secret == "" || len(m.Auth) > 0 && !slices.Contains(m.Auth, "client_secret_basic") {
		m.endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return m, nil
}

// config is what oauth2 needs to know.
func (p *idp) config(m *metadata, redirect string, scopes []string) *oauth2.Config {
	return &oauth2.Config{ClientID: p.client, ClientSecret: p.secret, Endpoint: m.endpoint, RedirectURL: redirect, Scopes: scopes}
}

// push pushes an authorization request (RFC 9126) and returns the URL that stands
// for it.
func (p *idp) push(ctx context.Context, m *metadata, authURL string) (string, error) {
	u, err := url.Parse(authURL)
	if err != nil {
		return "", err
	}
	form := u.Query()
	if m.endpoint.AuthStyle == oauth2.AuthStyleInParams && p.secret != "" {
		form.Set("client_secret", p.secret)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.PAR, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if m.endpoint.AuthStyle == oauth2.AuthStyleInHeader {
		req.SetBasicAuth(url.QueryEscape(p.client), url.QueryEscape(p.secret))
	}
	resp, err := p.http.Do(req) //nolint:gosec // to the provider, as its metadata says
	if err != nil {
		return "", fmt.Errorf("%w: %w", errAway, err)
	}
	defer resp.Body.Close()
	var pushed struct {
		URI string `json:"request_uri"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&pushed); resp.StatusCode != http.StatusCreated || err != nil || pushed.URI == "" {
		return "", fmt.Errorf("%w: pushed authorization request: status %d", errAway, resp.StatusCode)
	}
	u.RawQuery = url.Values{"client_id": {p.client}, "request_uri": {pushed.URI}}.Encode()
	return u.String(), nil
}

// ask has oauth2 use our client.
func (p *idp) ask(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, p.http)
}

// identity is a user as the provider names him.
type identity struct {
	tokens  *oauth2.Token
	id      *oidc.IDToken
	claims  map[string]any
	sid     string
	scopes  []string
	expires time.Time
}

// exchange redeems a code and checks everything that comes back.
func (p *idp) exchange(ctx context.Context, m *metadata, o *oauth2.Config, code, verifier, nonce string) (*identity, error) {
	tokens, err := o.Exchange(p.ask(ctx), code, oauth2.VerifierOption(verifier))
	if err != nil {
		return nil, tokenError(err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	if raw == "" {
		return nil, fmt.Errorf("%w: no ID token", errRejected)
	}
	i, err := p.verify(ctx, tokens, raw, o.Scopes)
	if err != nil {
		return nil, err
	}
	if i.id.Nonce != nonce {
		return nil, fmt.Errorf("%w: the nonce of the ID token is another", errRejected)
	}
	return i, nil
}

// verify verifies an ID token and what came with it.
func (p *idp) verify(ctx context.Context, tokens *oauth2.Token, raw string, scopes []string) (*identity, error) {
	id, err := p.ids.Verify(ctx, raw)
	if err != nil {
		if errors.Is(err, errAway) || strings.Contains(err.Error(), errAway.Error()) { // go-oidc keeps the text alone
			return nil, fmt.Errorf("%w: %w", errAway, err)
		}
		return nil, fmt.Errorf("%w: %w", errRejected, err)
	}
	i := &identity{tokens: tokens, id: id, scopes: scopes, expires: tokens.Expiry}
	if granted, ok := tokens.Extra("scope").(string); ok && granted != "" {
		i.scopes = strings.Fields(granted) // RFC 6749 section 5.1
	}
	var text json.RawMessage
	if err := id.Claims(&text); err != nil || unmarshalClaims(text, &i.claims) != nil {
		return nil, fmt.Errorf("%w: the claims of the ID token cannot be read", errRejected)
	}
	// OpenID Connect Core section 3.1.3.7: the token is for this client and no other.
	azp, named := i.claims["azp"]
	if named && azp != p.client || !named && len(id.Audience) > 1 {
		return nil, fmt.Errorf("%w: the ID token is for another client (azp)", errRejected)
	}
	if id.AccessTokenHash != "" && tokens.AccessToken != "" {
		if err := id.VerifyAccessToken(tokens.AccessToken); err != nil {
			return nil, fmt.Errorf("%w: at_hash: %w", errRejected, err)
		}
	}
	i.sid, _ = i.claims["sid"].(string)
	return i, nil
}

// userinfo adds what the provider tells about the user elsewhere. What the ID
// token says counts more.
func (p *idp) userinfo(ctx context.Context, m *metadata, i *identity) error {
	info, err := m.UserInfo(oidc.ClientContext(ctx, p.http), oauth2.StaticTokenSource(i.tokens))
	if err != nil {
		return fmt.Errorf("%w: userinfo: %w", errAway, err)
	}
	// OpenID Connect Core section 5.3.2: the response may be about another user.
	if info.Subject != i.id.Subject {
		return fmt.Errorf("%w: userinfo is about another user", errRejected)
	}
	var more map[string]any
	var text json.RawMessage
	if err := info.Claims(&text); err != nil || unmarshalClaims(text, &more) != nil {
		return fmt.Errorf("%w: userinfo: the claims cannot be read", errRejected)
	}
	for name, value := range more {
		if _, ok := i.claims[name]; !ok && !slices.Contains(ofIDToken, name) {
			i.claims[name] = value
		}
	}
	return nil
}

// ofIDToken are claims that only an ID token can make: they say how and for whom
// the user was authenticated.
var ofIDToken = []string{"iss", "aud", "azp", "exp", "iat", "nbf", "auth_time", "acr", "amr", "nonce", "sid"}

// tokenError says what an error of the token endpoint means.
func tokenError(err error) error {
	var re *oauth2.RetrieveError
	if !errors.As(err, &re) {
		return fmt.Errorf("%w: %w", errAway, err)
	}
	// The response may hold tokens. Its code is enough.
	status := 0
	if re.Response != nil {
		status = re.Response.StatusCode
	}
	if re.ErrorCode == "invalid_grant" {
		return fmt.Errorf("%w: %w: the token endpoint responds with %d invalid_grant", session.ErrEnded, errRejected, status)
	}
	if status >= 500 || status == http.StatusTooManyRequests || re.ErrorCode == "" {
		return fmt.Errorf("%w: the token endpoint responds with status %d", errAway, status)
	}
	return fmt.Errorf("%w: the token endpoint responds with %d %.40q", errRejected, status, re.ErrorCode)
}

// renew gets new tokens for a session.
func (p *idp) renew(ctx context.Context, s *session.Session, wantUserinfo bool) (*session.Session, error) {
	m, err := p.discover(ctx)
	if err != nil {
		return nil, err
	}
	o := p.config(m, "", nil)
	tokens, err := o.TokenSource(p.ask(ctx), &oauth2.Token{RefreshToken: s.Private.Refresh}).Token()
	if err != nil {
		return nil, tokenError(err)
	}
	fresh := *s
	fresh.Private.Access, fresh.Private.Refresh, fresh.Private.Expires = tokens.AccessToken, tokens.RefreshToken, tokens.Expiry
	raw, _ := tokens.Extra("id_token").(string)
	if raw == "" {
		return &fresh, nil
	}
	i, err := p.verify(ctx, tokens, raw, s.Private.Scopes)
	if err != nil {
		return nil, endedIfRejected(err)
	}
	// OpenID Connect Core section 12.2: it is about the same user.
	if i.id.Subject != s.Subject || i.sid != "" && s.SID != "" && i.sid != s.SID {
		return nil, fmt.Errorf("%w: the refreshed ID token is about another user", session.ErrEnded)
	}
	if wantUserinfo && m.Userinfo != "" {
		if err := p.userinfo(ctx, m, i); err != nil {
			return nil, endedIfRejected(err)
		}
	}
	// And says of the authentication what the first one said: a token that is
	// refreshed is no new login.
	var before map[string]any
	if err := unmarshalClaims(s.Private.Claims, &before); err != nil {
		return nil, err
	}
	for _, name := range []string{"auth_time", "acr", "amr"} {
		if value, ok := before[name]; ok {
			i.claims[name] = value
		} else {
			delete(i.claims, name)
		}
	}
	if fresh.Private.Claims, err = i.encode(); err != nil {
		return nil, err
	}
	fresh.Private.Scopes = i.scopes
	return &fresh, nil
}

// endedIfRejected ends a session of which the provider says what cannot be.
func endedIfRejected(err error) error {
	if errors.Is(err, errRejected) {
		return fmt.Errorf("%w: %w", session.ErrEnded, err)
	}
	return err
}

// encode returns the claims without those that are for the login alone.
func (i *identity) encode() (json.RawMessage, error) {
	for _, name := range []string{"nonce", "at_hash", "c_hash", "s_hash"} {
		delete(i.claims, name)
	}
	return json.Marshal(i.claims)
}

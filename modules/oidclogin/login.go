package oidclogin

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"go.uber.org/zap"
	"golang.org/x/oauth2"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/replay"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/session"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

const (
	// flowCookie begins the name of the cookie of a login that is under way. Each
	// login has its own: a user may have two tabs.
	flowCookie = "__Host-moat-login-"

	// maxFlows is how many logins a browser may have under way.
	maxFlows = 4

	// flowLife is how long a login may take.
	flowLife = 30 * time.Minute
)

// flow is a login that is under way. It stands in a cookie, sealed: so the
// callback is good in the browser alone that has begun the login.
type flow struct {
	State    string        `json:"state"`
	Nonce    string        `json:"nonce"`
	Verifier string        `json:"verifier"`
	Target   string        `json:"target"`
	Redirect string        `json:"redirect"`
	Begun    time.Time     `json:"begun"`
	ACRs     []string      `json:"acrs,omitempty"`
	MaxAge   time.Duration `json:"max_age,omitempty"`
}

func (p *Provider) flowPurpose(r *http.Request) string {
	return "login\x00" + p.issuer + "\x00" + p.idp.client + "\x00" + cookieHost(r)
}

// flowCookies returns the names of the cookies of logins that are under way.
func flowCookies(r *http.Request) []string { return credential.CookiesWith(r.Header, flowCookie) }

// isDocument reports whether a browser asks for a page to show, and not a script,
// an image, a frame or a program for data: only then does it help to send it to
// another page.
func isDocument(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead ||
		len(r.Header["Authorization"]) > 0 || len(r.Header["Upgrade"]) > 0 || len(r.Header["X-Requested-With"]) > 0 || len(r.Header["Sec-Purpose"]) > 0 {
		return false
	}
	dest, mode := r.Header.Get("Sec-Fetch-Dest"), r.Header.Get("Sec-Fetch-Mode")
	if dest != "" || mode != "" {
		return dest == "document" && (mode == "navigate" || mode == "")
	}
	// Browsers do not say so over plain HTTP, and old ones never do.
	for accept := range strings.SplitSeq(strings.Join(r.Header["Accept"], ","), ",") {
		kind, params, _ := strings.Cut(accept, ";")
		if kind = strings.TrimSpace(kind); strings.EqualFold(kind, "text/html") || strings.EqualFold(kind, "application/xhtml+xml") {
			return !strings.Contains(strings.ReplaceAll(params, " ", ""), "q=0;") && !strings.HasSuffix(strings.TrimSpace(params), "q=0")
		}
	}
	return false
}

// login implements credential.Login.
func (p *Provider) login(w http.ResponseWriter, r *http.Request, needed *credential.StepUp) (bool, error) {
	if !isDocument(r) {
		return false, nil
	}
	target := reqctx.TargetOf(r).URL
	return true, p.begin(w, r, target.RequestURI(), needed)
}

// serveLogin begins a login that a link asks for.
func (p *Provider) serveLogin(w http.ResponseWriter, r *http.Request) error {
	return p.begin(w, r, r.URL.Query().Get("target"), nil)
}

// origin returns the origin of the request, and false where cookies would not be
// safe: over plain HTTP, but on this machine, where browsers take them all the same.
func origin(r *http.Request) (string, bool) {
	t := reqctx.TargetOf(r)
	host := t.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	local := host == "localhost" || strings.HasSuffix(host, ".localhost") || host == "127.0.0.1" || host == "[::1]" || host == "::1"
	return t.Scheme + "://" + t.Host, t.Scheme == "https" || local
}

// begin sends the browser to the provider.
func (p *Provider) begin(w http.ResponseWriter, r *http.Request, target string, needed *credential.StepUp) error {
	at, safe := origin(r)
	if !safe {
		return reqctx.Refuse(w, r, &problem.Problem{
			Status: http.StatusBadRequest, Code: "https_required", Detail: "logging in needs HTTPS",
		})
	}
	m, err := p.idp.discover(r.Context())
	if err != nil {
		return p.unavailable(w, r, err)
	}
	f := &flow{
		State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(),
		Target: session.Target(target), Redirect: at + p.base() + "/callback", Begun: p.now().UTC(),
	}
	if t, _, _ := strings.Cut(f.Target, "?"); strings.HasPrefix(t, p.base()+"/") {
		f.Target = "/" // a login that leads to a login, or to a logout
	}
	params := []oauth2.AuthCodeOption{oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier)}
	values := p.ACRValues
	if needed != nil {
		f.ACRs, f.MaxAge = needed.ACRs, needed.MaxAge
		if len(f.ACRs) > 0 {
			values = f.ACRs
		}
	}
	if len(values) > 0 {
		params = append(params, oauth2.SetAuthURLParam("acr_values", strings.Join(values, " ")))
	}
	if f.MaxAge > 0 {
		params = append(params, oauth2.SetAuthURLParam("max_age", strconv.FormatInt(int64(f.MaxAge/time.Second), 10)))
	}
	where := p.idp.config(m, f.Redirect, p.scopes()).AuthCodeURL(f.State, params...)
	if m.PAR != "" {
		if where, err = p.idp.push(r.Context(), m, where); err != nil {
			return p.unavailable(w, r, err)
		}
	}
	text, err := json.Marshal(f) //nolint:gosec // sealed below
	if err != nil {
		return err
	}
	if names := flowCookies(r); len(names) >= maxFlows {
		for _, name := range names {
			forget(w, name)
		}
	}
	h := w.Header()
	h.Add("Set-Cookie", fmt.Sprintf("%s=%s; Path=/; Max-Age=%d; HttpOnly; Secure; SameSite=Lax",
		flowCookie+f.State[:8], p.ring.Seal(p.flowPurpose(r), text), int64(flowLife/time.Second)))
	redirect(w, where)
	return nil
}

// redirect sends the browser on. No page of ours is kept or shown in a frame.
func redirect(w http.ResponseWriter, where string) {
	h := w.Header()
	private(h)
	h.Set("Location", where)
	w.WriteHeader(http.StatusSeeOther)
}

// private has a response of ours be for this browser, now.
func private(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'")
}

func (p *Provider) unavailable(w http.ResponseWriter, r *http.Request, err error) error {
	p.logger.Error("the identity provider cannot be asked", zap.String("issuer", p.issuer), zap.Error(err))
	code := credential.CodeUnavailable
	if errors.Is(err, session.ErrStorage) {
		code = CodeStorage
	}
	return reqctx.Refuse(w, r, &problem.Problem{
		Status: http.StatusServiceUnavailable, Code: code, Detail: "logging in is not possible at the moment",
		RetryAfter: 10 * time.Second, Cause: err,
	})
}

var (
	errResponse = &problem.Problem{
		Status: http.StatusBadRequest, Code: "invalid_login_response",
		Detail: "this browser has not asked for this login, or the login took too long: open the page again",
	}
	errDenied = &problem.Problem{
		Status: http.StatusForbidden, Code: "login_denied", Detail: "the identity provider has not logged the user in as was asked",
	}
)

// serveCallback takes the browser back from the provider.
func (p *Provider) serveCallback(w http.ResponseWriter, r *http.Request) error {
	f, params, why := p.flow(w, r)
	if why != nil {
		p.logins.WithLabelValues("rejected").Inc()
		p.logger.Debug("login rejected", zap.Error(why))
		return reqctx.Refuse(w, r, errResponse)
	}
	// RFC 9207: before anything else that the response says is believed.
	m, err := p.idp.discover(r.Context())
	if err == nil {
		if iss := params.Get("iss"); iss != "" && iss != p.issuer || iss == "" && m.Iss {
			p.logins.WithLabelValues("rejected").Inc()
			p.logger.Warn("login rejected: the response is of another issuer", zap.String("issuer", p.issuer))
			return reqctx.Refuse(w, r, errResponse)
		}
		if code := params.Get("error"); code != "" {
			return p.failed(w, r, fmt.Errorf("the provider responds with the error %.60q", code), code)
		}
		err = p.finish(w, r, m, f, params.Get("code"))
	}
	if err == nil {
		p.logins.WithLabelValues("ok").Inc()
		redirect(w, f.Target)
		return nil
	}
	return p.failed(w, r, err, "")
}

// failed rejects a login that the provider did not complete.
func (p *Provider) failed(w http.ResponseWriter, r *http.Request, err error, code string) error {
	if code == "temporarily_unavailable" || code == "server_error" || errors.Is(err, errAway) || errors.Is(err, session.ErrStorage) {
		p.logins.WithLabelValues("unavailable").Inc()
		return p.unavailable(w, r, err)
	}
	p.logins.WithLabelValues("denied").Inc()
	p.logger.Warn("login denied", zap.String("issuer", p.issuer), zap.Error(err))
	return reqctx.Refuse(w, r, errDenied)
}

// flow returns the login that the request belongs to, which is over with that,
// and the parameters of the response.
func (p *Provider) flow(w http.ResponseWriter, r *http.Request) (*flow, url.Values, error) {
	params, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, nil, errors.New("the query is malformed")
	}
	for _, name := range []string{"state", "code", "iss", "error"} {
		if len(params[name]) > 1 {
			return nil, nil, fmt.Errorf("%s is there more than once", name) // RFC 6749 section 3.1
		}
	}
	state := params.Get("state")
	if len(state) < 20 || len(state) > 64 || strings.ContainsFunc(state, func(c rune) bool { return c < '2' || c > 'Z' }) {
		return nil, nil, errors.New("the state is missing, or was not made here")
	}
	name := flowCookie + state[:8]
	cookies := r.CookiesNamed(name)
	if len(cookies) != 1 {
		return nil, nil, errors.New("this browser has not begun the login")
	}
	forget(w, name)
	text, err := p.ring.Open(r.Context(), p.flowPurpose(r), cookies[0].Value)
	if err != nil {
		return nil, nil, err
	}
	f := new(flow)
	if err := json.Unmarshal(text, f); err != nil {
		return nil, nil, err
	}
	now := p.now()
	if subtle.ConstantTimeCompare([]byte(f.State), []byte(state)) != 1 {
		return nil, nil, errors.New("the state is another")
	}
	if age := now.Sub(f.Begun); age > flowLife || age < -time.Minute {
		return nil, nil, errors.New("the login took too long")
	}
	return f, params, p.used.Use(r.Context(), replay.Entry{Scope: "login", Value: f.State, Until: f.Begun.Add(flowLife + 2*time.Minute)}, now)
}

// finish redeems the code and begins a session, in place of the one that the
// browser may have had: a session is never continued over a login.
func (p *Provider) finish(w http.ResponseWriter, r *http.Request, m *metadata, f *flow, code string) error {
	if code == "" || len(code) > 8<<10 {
		return fmt.Errorf("%w: no code", errRejected)
	}
	// The code is used up even if the browser goes away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), refreshPatience)
	defer cancel()
	i, err := p.idp.exchange(ctx, m, p.idp.config(m, f.Redirect, p.scopes()), code, f.Verifier, f.Nonce)
	if err != nil {
		return err
	}
	if err := p.strongEnough(f, i); err != nil {
		return err
	}
	if p.Userinfo && m.Userinfo != "" {
		if err := p.idp.userinfo(ctx, m, i); err != nil {
			return err
		}
	}
	s := &session.Session{Subject: i.id.Subject, SID: i.sid}
	s.Private.Scopes, s.Private.Expires = i.scopes, i.expires
	s.Private.Access, s.Private.Refresh = i.tokens.AccessToken, i.tokens.RefreshToken
	if s.Private.Claims, err = i.encode(); err != nil {
		return err
	}
	who, err := p.principalOf(s)
	if err != nil {
		return fmt.Errorf("%w: %w", errRejected, err)
	}
	host := cookieHost(r)
	if raw, err := p.cookies.Read(r); err == nil {
		if old, _, err := p.sessions.Find(ctx, host, raw); err == nil {
			if err := old.End(ctx); err != nil {
				return err
			}
		}
	}
	_, cookie, err := p.sessions.Create(ctx, host, s)
	if err != nil {
		return err
	}
	w.Header().Add("Set-Cookie", p.sessionCookie(cookie))
	reqctx.Decisions(r).SetCaller(who)
	return nil
}

// refreshPatience is how long a login may take at the token endpoint.
const refreshPatience = 20 * time.Second

// strongEnough compares the authentication with what was asked for: a provider
// need not do what acr_values and max_age say, and the browser would be sent back
// and forth for ever.
func (p *Provider) strongEnough(f *flow, i *identity) error {
	if len(f.ACRs) > 0 {
		if acr, _ := i.claims["acr"].(string); !slices.Contains(f.ACRs, acr) {
			return fmt.Errorf("%w: acr is %.60q, and was to be one of %v", errRejected, acr, f.ACRs)
		}
	}
	if f.MaxAge > 0 {
		number, _ := i.claims["auth_time"].(json.Number)
		at, err := number.Float64()
		age := float64(p.now().UnixMilli())/1000 - at
		if err != nil || math.IsNaN(age) || age > (f.MaxAge+leeway).Seconds() || age < -leeway.Seconds() {
			return fmt.Errorf("%w: auth_time is missing, or not within %v", errRejected, f.MaxAge)
		}
	}
	return nil
}

package oidclogin

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/replay"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// serveLogout asks, or logs out.
func (p *Provider) serveLogout(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodGet {
		return page(w, "Log out", `<p>Do you want to log out?</p>
<form method="post" action="`+html.EscapeString(p.base()+"/logout")+`"><button type="submit">Log out</button></form>`)
	}
	if !sameOrigin(r) {
		return reqctx.Refuse(w, r, &problem.Problem{
			Status: http.StatusForbidden, Code: "cross_origin", Detail: "this request comes from another origin",
		})
	}
	forget(w, cookieName)
	if raw, err := p.cookies.Read(r); err == nil {
		if live, _, err := p.sessions.Find(r.Context(), cookieHost(r), raw); err == nil {
			if err := live.End(r.Context()); err != nil {
				w.Header().Del("Set-Cookie") // the user is still logged in
				return p.unavailable(w, r, err)
			}
		}
	}
	if where := p.afterLogout(r); where != "" {
		redirect(w, where)
		return nil
	}
	return page(w, "Logged out", "<p>You are logged out.</p>")
}

// afterLogout returns where a browser goes that is logged out here: to the
// provider, whose session goes on otherwise. No token goes with it as a hint,
// since the browser would see it; the provider may ask the user.
func (p *Provider) afterLogout(r *http.Request) string {
	back := ""
	if at, safe := origin(r); p.AfterLogout != "" && safe {
		back = at + p.AfterLogout
	}
	m, err := p.idp.discover(r.Context())
	if err != nil || m.EndSession == "" {
		return p.AfterLogout
	}
	u, err := url.Parse(m.EndSession)
	if err != nil {
		return p.AfterLogout
	}
	q := u.Query()
	q.Set("client_id", p.idp.client)
	if back != "" {
		q.Set("post_logout_redirect_uri", back)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// page writes a page without scripts, in the language of the reader's program.
func page(w http.ResponseWriter, title, body string) error {
	private(w.Header())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, err := fmt.Fprintf(w, `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>%s</title></head>
<body><main><h1>%[1]s</h1>
%s
</main></body>
</html>
`, title, body)
	return err
}

// sameOrigin reports whether a form of a page of ours was sent, or no browser
// sends the request.
func sameOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return true
	case "":
	default:
		return false
	}
	origins := r.Header["Origin"]
	at, _ := origin(r)
	return len(origins) == 0 || len(origins) == 1 && strings.EqualFold(origins[0], at)
}

// backchannelEvent is the member of events that makes a token a logout token.
const backchannelEvent = "http://schemas.openid.net/event/backchannel-logout"

const maxLogoutToken = 32 << 10

// serveBackchannel ends the sessions that the provider names (OpenID Connect
// Back-Channel Logout 1.0 section 2.5).
func (p *Provider) serveBackchannel(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	sub, sid, use, err := p.logoutToken(r)
	n := 0
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), time.Minute)
		defer cancel()
		n, err = p.sessions.EndAll(ctx, sub, sid)
		if err != nil {
			p.idp.owed.Store(use, true) // the provider may send it again
			return p.unavailable(w, r, err)
		}
	}
	switch {
	case errors.Is(err, token.ErrUnavailable):
		return p.unavailable(w, r, err)
	case err != nil:
		p.logger.Debug("logout token rejected", zap.Error(err))
		return reqctx.Refuse(w, r, &problem.Problem{
			Status: http.StatusBadRequest, Code: "invalid_logout_token", Detail: "the logout token is not accepted", Cause: err,
		})
	}
	p.logger.Info("sessions ended by the identity provider", zap.String("issuer", p.issuer), zap.Int("sessions", n))
	w.WriteHeader(http.StatusOK)
	return nil
}

// logoutToken verifies the logout token of a request and returns whom it is about.
func (p *Provider) logoutToken(r *http.Request) (sub, sid, use string, err error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return "", "", "", errors.New("it is not sent as a form")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxLogoutToken+1))
	if err != nil || len(body) > maxLogoutToken {
		return "", "", "", errors.New("it cannot be read, or is too large")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || len(form["logout_token"]) != 1 {
		return "", "", "", errors.New("there is not one logout_token")
	}
	now := p.now()
	t, err := p.idp.logouts.Verify(r.Context(), form.Get("logout_token"), now)
	if err != nil {
		return "", "", "", err
	}
	claims := t.Principal.Claims.Map()
	events, _ := claims["events"].(map[string]any)
	if _, ok := events[backchannelEvent].(map[string]any); !ok {
		return "", "", "", errors.New("it has no event of a logout")
	}
	if _, ok := claims["nonce"]; ok {
		return "", "", "", errors.New("it has a nonce, as an ID token has")
	}
	sub, okSub := optionalText(claims, "sub")
	sid, okSID := optionalText(claims, "sid")
	if !okSub || !okSID || sub == "" && sid == "" {
		return "", "", "", errors.New("it names nobody")
	}
	if t.IssuedAt.IsZero() || now.Sub(t.IssuedAt) > time.Hour {
		return "", "", "", errors.New("it is too old")
	}
	use = t.Principal.ID
	err = p.used.Use(r.Context(), replay.Entry{Scope: "logout " + p.issuer, Value: use, Until: t.Expires.Add(2 * leeway)}, now)
	if _, owed := p.idp.owed.LoadAndDelete(use); owed && errors.Is(err, replay.ErrReplayed) {
		err = nil // it has not ended what it was to end
	}
	return sub, sid, use, err
}

// optionalText returns a claim that must be text where it is there.
func optionalText(claims map[string]any, name string) (string, bool) {
	v, ok := claims[name]
	if !ok {
		return "", true
	}
	s, ok := v.(string)
	return s, ok && s != ""
}

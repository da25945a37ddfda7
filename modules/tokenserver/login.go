package tokenserver

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	_ "embed" // of the page
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/oauth"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

var (
	//go:embed login.html
	pageText string
	//go:embed login.css
	pageStyle string

	page = template.Must(template.New("login").Parse(pageText))

	// styleHash has browsers accept the style of the page and no other.
	styleHash = func() string {
		sum := sha256.Sum256([]byte(pageStyle))
		return base64.StdEncoding.EncodeToString(sum[:])
	}()
)

// texts of the page by language.
var texts = map[string]map[string]string{
	"en": {
		"lang": "en", "title": "Sign in", "asks": "To continue to", "scopes": "It will be able to:", "user": "User name", "password": "Password",
		"code": "One-time code", "hint": "Only if you have set one up. A recovery code works too.", "allow": "Sign in", "deny": "Cancel",
		"error": "This does not work", "wrong": "The user name, the password or the code is wrong.", "many": "Too many attempts. Try again in a few minutes.",
		"away": "Signing in is not possible at the moment. Try again later.", "bad": "The link is wrong or too old. Go back to the application and begin again.",
	},
	"zh": {
		"lang": "zh", "title": "登录", "asks": "继续访问", "scopes": "该应用将可以：", "user": "用户名", "password": "密码",
		"code": "一次性验证码", "hint": "仅在已设置时填写，也可以使用恢复码。", "allow": "登录", "deny": "取消",
		"error": "无法继续", "wrong": "用户名、密码或验证码有误。", "many": "尝试次数过多，请几分钟后再试。",
		"away": "暂时无法登录，请稍后再试。", "bad": "链接有误或已过期，请返回应用重新开始。",
	},
}

// content is what the page shows.
type content struct {
	T                    map[string]string
	Style                template.CSS
	Client, Host, Action string
	Scopes               []string
	Problem              string
	Request, User        string
}

// language returns the language of the page that a browser prefers.
func language(r *http.Request) string {
	best, quality := "en", 0.0
	for item := range strings.SplitSeq(strings.Join(r.Header["Accept-Language"], ","), ",") {
		tag, params, _ := strings.Cut(strings.TrimSpace(item), ";")
		q := 1.0
		if text, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			if n, err := strconv.ParseFloat(text, 64); err == nil {
				q = n
			}
		}
		primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
		if texts[primary] != nil && q > quality {
			best, quality = primary, q
		}
	}
	return best
}

// authorize serves the authorization endpoint (RFC 6749 section 3.1): GET shows the
// login page, which is sent back by POST.
func (h *Handler) authorize(w http.ResponseWriter, r *http.Request, _ *endpoint) error {
	if r.Method == http.MethodPost {
		return h.login(w, r)
	}
	form, err := oauth.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return h.refusePage(w, r, err)
	}
	a, client, err := h.server.Authorize(form)
	if err != nil {
		return h.refusePage(w, r, err)
	}
	cookie := h.cookie(r)
	if cookie == "" {
		cookie = rand.Text()
		http.SetCookie(w, &http.Cookie{ //nolint:gosec // not Secure where the issuer is plain http, on localhost
			Name: h.cookieName(), Value: cookie, Path: "/", HttpOnly: true, Secure: h.issuer.secure(), SameSite: http.SameSiteLaxMode,
		})
	}
	h.decided(r, decision.Decision{Layer: Name, Result: decision.Allow, Rule: "client " + client.ID + ": login page"})
	return h.show(w, r, http.StatusOK, a, client, cookie, "", "")
}

// cookieName is the name of the cookie that login pages go with. With __Host- no
// other host can set it (RFC 6265bis section 4.1.3.2).
func (h *Handler) cookieName() string {
	if h.issuer.secure() {
		return "__Host-moat_login"
	}
	return "moat_login"
}

func (h *Handler) cookie(r *http.Request) string {
	all := r.CookiesNamed(h.cookieName())
	if len(all) != 1 || len(all[0].Value) != 26 {
		return ""
	}
	return all[0].Value
}

// show shows the login page.
func (h *Handler) show(w http.ResponseWriter, r *http.Request, status int, a *oauth.Authorization, client *oauth.Client, cookie, user, problem string) error {
	sealed, err := h.server.SealLogin(a, cookie)
	if err != nil {
		return err
	}
	c := content{Client: client.ID, Scopes: a.Scopes, Request: sealed, User: user, Action: h.issuer.path + pathAuthorize, Problem: problem}
	if client.Name != "" {
		c.Client = client.Name
	}
	source := ""
	if u, err := url.Parse(a.Redirect); err == nil {
		// Browsers ask the policy of the page before they follow the redirect that
		// answers its form.
		if source = u.Scheme + ":"; u.Host != "" {
			source, c.Host = u.Scheme+"://"+u.Host, u.Host
		}
	}
	return h.render(w, r, status, c, source)
}

// render writes the page.
func (h *Handler) render(w http.ResponseWriter, r *http.Request, status int, c content, formTarget string) error {
	c.T, c.Style = texts[language(r)], template.CSS(pageStyle) //nolint:gosec // ours
	var body bytes.Buffer
	if err := page.Execute(&body, c); err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(body.Len()))
	header.Set("Content-Language", c.T["lang"])
	header.Add("Vary", "Accept-Language")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	// With no-referrer, browsers would name no origin when the form is sent.
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Content-Security-Policy", strings.TrimSpace("default-src 'none'; style-src 'sha256-"+styleHash+"'; frame-ancestors 'none'; base-uri 'none'; form-action 'self' "+formTarget))
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
	return nil
}

// login serves the login page that is sent back.
func (h *Handler) login(w http.ResponseWriter, r *http.Request) error {
	q, err := h.read(r, &endpoint{path: h.issuer.path + pathAuthorize})
	if err != nil {
		return h.refusePage(w, r, err)
	}
	if !h.sameOrigin(r) {
		return h.refusePage(w, r, &oauth.Error{Status: http.StatusForbidden, Code: oauth.CodeInvalidRequest, Description: "the login page was sent from elsewhere"})
	}
	a, client, err := h.server.OpenLogin(q.Form.Get("request"), h.cookie(r))
	if err != nil {
		return h.refusePage(w, r, err)
	}
	if q.Form.Get("action") == "deny" {
		return h.refusePage(w, r, &oauth.RedirectError{
			Why: &oauth.Error{Status: http.StatusForbidden, Code: oauth.CodeAccessDenied, Description: "the user has declined"}, Authorization: a,
		})
	}
	user, acr, err := h.server.Login(r.Context(), clientNetwork(r), q.Form.Get("user"), q.Form.Get("password"), q.Form.Get("code"))
	if err != nil {
		return h.tryAgain(w, r, a, client, q.Form.Get("user"), err)
	}
	code, err := h.server.Approve(r.Context(), a, user, acr)
	if err != nil {
		return h.refusePage(w, r, err)
	}
	h.decided(r, decision.Decision{Layer: Name, Result: decision.Allow, Rule: "client " + client.ID + ": login of " + user.ID})
	h.leave(w, h.server.Location(a, map[string]string{"code": code}))
	return nil
}

// tryAgain shows the login page once more.
func (h *Handler) tryAgain(w http.ResponseWriter, r *http.Request, a *oauth.Authorization, client *oauth.Client, user string, err error) error {
	e := h.denied(r, "client "+client.ID+": login", err)
	status, text := http.StatusForbidden, "wrong"
	switch e.Status {
	case http.StatusTooManyRequests:
		status, text = e.Status, "many"
	case http.StatusServiceUnavailable:
		status, text = e.Status, "away"
	}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	return h.show(w, r, status, a, client, h.cookie(r), user, texts[language(r)][text])
}

// refusePage sends the browser back to the client with an error, or, where nobody
// knows that the address is the client's, says on a page that it does not work.
func (h *Handler) refusePage(w http.ResponseWriter, r *http.Request, err error) error {
	e := h.denied(r, "authorize", err)
	var back *oauth.RedirectError
	if errors.As(err, &back) {
		h.leave(w, h.server.Location(back.Authorization, map[string]string{"error": e.Code, "error_description": e.Description}))
		return nil
	}
	text := "bad"
	if e.Status >= http.StatusInternalServerError {
		text = "away"
	}
	return h.render(w, r, e.Status, content{Problem: texts[language(r)][text] + " (" + e.Description + ")"}, "")
}

// denied notes a rejection.
func (h *Handler) denied(r *http.Request, rule string, err error) *oauth.Error {
	var e *oauth.Error
	if !errors.As(err, &e) {
		e = &oauth.Error{Status: http.StatusServiceUnavailable, Code: oauth.CodeUnavailable, Description: "try again later", Cause: err}
	}
	d := decision.Decision{Layer: Name, Result: decision.Deny, Code: e.Code, Rule: rule, Detail: e.Description}
	if e.Cause != nil {
		d.Detail = e.Cause.Error()
	}
	if e.Status >= http.StatusInternalServerError {
		d.Result = decision.Error
	}
	h.decided(r, d)
	reqctx.Decisions(r).SetCode(e.Code)
	return e
}

// leave sends the browser elsewhere, by GET (RFC 9700 section 4.12).
func (h *Handler) leave(w http.ResponseWriter, location string) {
	header := w.Header()
	header.Set("Location", location)
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}

// sameOrigin reports whether a form was sent by a page of this server. Browsers
// that say neither are told by the cookie.
func (h *Handler) sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return false
	}
	origin := r.Header["Origin"]
	return len(origin) == 0 || len(origin) == 1 && origin[0] == h.issuer.origin()
}

// clientNetwork is the address of the client, of IPv6 its /64: whoever has one has
// all of it (RFC 4291 section 2.5.4).
func clientNetwork(r *http.Request) string {
	text, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	a, err := netip.ParseAddr(text)
	if err != nil {
		return text
	}
	if a = a.Unmap().WithZone(""); a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// push serves the endpoint for pushed requests (RFC 9126).
func (h *Handler) push(w http.ResponseWriter, r *http.Request, e *endpoint) error {
	q, err := h.read(r, e)
	if err != nil {
		return h.fail(w, r, q, err)
	}
	uri, expires, err := h.server.Push(r.Context(), q)
	if err != nil {
		return h.fail(w, r, q, err)
	}
	h.allow(r, q, e.path)
	return send(w, http.StatusCreated, struct {
		URI     string `json:"request_uri"`
		Expires int64  `json:"expires_in"`
	}{uri, expires})
}

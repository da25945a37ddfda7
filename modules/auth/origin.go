package auth

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// CodeCrossOrigin is the code of a request with a credential in a cookie that
// another site has made a browser send (403).
const CodeCrossOrigin = "cross_origin"

// AnyOrigin in the list of origins turns the check off.
const AnyOrigin = "any"

// crossOrigin reports whether a request has a credential in a cookie, could
// change something, and comes from a page of another origin: browsers send
// cookies whoever asks them to. An upgrade counts, since a WebSocket is a GET that
// goes on as anything.
//
// Browsers say where a request comes from in Sec-Fetch-Site or, the older ones and
// without TLS, in Origin. A request with neither does not come from a browser of
// our time.
func (h *Handler) crossOrigin(r *http.Request) bool {
	if !h.inCookie(r) || slices.Contains(h.Origins, AnyOrigin) || reqctx.Safe(r.Method) && len(r.Header["Upgrade"]) == 0 && !namesMethod(r) {
		return false
	}
	origins := r.Header["Origin"]
	if len(origins) > 1 {
		return true
	}
	if len(origins) == 1 && slices.ContainsFunc(h.Origins, func(o string) bool { return strings.EqualFold(o, origins[0]) }) {
		return false
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "":
	default:
		return true
	}
	if len(origins) == 0 {
		return false
	}
	u, err := url.Parse(origins[0])
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return true // null, for one
	}
	return !strings.EqualFold(withPort(u.Host, u.Scheme), withPort(r.Host, u.Scheme))
}

// withPort gives a host the port that its scheme implies.
func withPort(host, scheme string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	port := "443"
	if scheme == "http" {
		port = "80"
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

// inCookie reports whether the request has a credential that browsers send by
// themselves.
func (h *Handler) inCookie(r *http.Request) bool {
	if !h.ambient {
		return false
	}
	for i := range h.methods {
		m := &h.methods[i]
		if m.traits.Ambient && slices.ContainsFunc(m.Places(r), func(p credential.Place) bool { return p.Ambient }) {
			return true
		}
	}
	return false
}

var errCrossOrigin = &problem.Problem{
	Status: http.StatusForbidden, Code: CodeCrossOrigin,
	Detail: "this request comes from another origin",
}

// forgetCookie has the browser forget a cookie that has expired, and nobody
// behind see it. One that was set for a parent domain stays in the browser.
func forgetCookie(w http.ResponseWriter, r *http.Request, name string) {
	credential.RemoveCookie(r.Header, name)
	cookie := name + "=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
	if r.TLS != nil || strings.HasPrefix(name, "__") {
		cookie += "; Secure"
	}
	w.Header().Add("Set-Cookie", cookie)
	w.Header().Set("Cache-Control", "no-store")
}

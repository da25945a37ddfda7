package reqctx

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Target is the target of a request as the client has written it, and its
// method: before any rewrites, and as a proxy that is trusted has seen it.
type Target struct {
	Method string
	Scheme string // http or https
	Host   string // the authority, with the port if one was written
	URL    *url.URL
}

// TargetOf returns the target of r.
func TargetOf(r *http.Request) Target {
	t := Target{Method: r.Method, Scheme: "http", Host: r.Host, URL: r.URL}
	if r.TLS != nil {
		t.Scheme = "https"
	}
	if trusted, _ := Vars(r)[caddyhttp.TrustedProxyVarKey].(bool); trusted {
		if v := r.Header["X-Forwarded-Proto"]; len(v) == 1 && (v[0] == "http" || v[0] == "https") {
			t.Scheme = v[0]
		}
		if v := r.Header["X-Forwarded-Host"]; len(v) == 1 && !strings.ContainsAny(v[0], ", /@?#") {
			t.Host = v[0]
		}
	}
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		t.Method, t.URL = original.Method, original.URL
	}
	return t
}

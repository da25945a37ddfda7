// Package reqctx is the context of one request as the layers share it, its
// Context above all, and what they do with requests alike: how they are
// rejected, how content is read, and what must not reach the upstream as the
// client sent it.
package reqctx

import (
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
)

// Vars returns the variable table of a request that Caddy serves, or nil.
func Vars(r *http.Request) map[string]any {
	vars, _ := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	return vars
}

// Replacer returns the request's replacer.
func Replacer(r *http.Request) *caddy.Replacer {
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	return repl
}

// Principal is Context.Principal.
func Principal(r *http.Request) *principal.Principal { return Of(r).Principal() }

// Identify is Context.Identify.
func Identify(r *http.Request, p *principal.Principal) { Of(r).Identify(p) }

// Decisions is Context.Decisions.
func Decisions(r *http.Request) *decision.Log { return Of(r).Decisions() }

// Refuse rejects the request with p. The caller returns its result and does
// nothing else.
//
// Where the site has error routes, the result is a caddyhttp.Error and
// handle_errors decides the page; {http.moat.code} is the code. Without any,
// the response is an RFC 9457 problem document, written here. Either way
// the header fields of p are set first. A page that needs a user is answered with
// a login instead, where a method can do that.
func Refuse(w http.ResponseWriter, r *http.Request, p *problem.Problem) error {
	Decisions(r).SetCode(p.Code)
	if repl := Replacer(r); repl != nil {
		repl.Set(codeKey, p.Code)
	}
	if done, err := login(w, r, p); done {
		return err
	}
	p = withMetadata(r, p)
	p.SetHeader(w.Header())
	if HasErrorRoutes(r) {
		return caddyhttp.Error(p.Status, p)
	}
	doc := p.Document()
	h := w.Header()
	// Fields that describe a body that is not this one.
	for _, name := range [...]string{"Content-Encoding", "ETag", "Last-Modified", "Accept-Ranges", "Content-Range"} {
		h.Del(name)
	}
	h.Set("Content-Type", problem.ContentType)
	h.Set("Content-Length", strconv.Itoa(len(doc)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(doc) //nolint:gosec // JSON, without anything from the request
	}
	return nil
}

// HasErrorRoutes reports whether the server that handles r has error routes
// (handle_errors), which then decide what an error looks like.
func HasErrorRoutes(r *http.Request) bool {
	srv, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return !ok || srv.Errors != nil && len(srv.Errors.Routes) > 0
}

package auth

import (
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// passage is what one request takes up here, in one piece.
type passage struct {
	context reqctx.Context
	stream  stream
}

// begin returns the context of the request and, if it had none, room for a
// stream beside it.
func (h *Handler) begin(r *http.Request) (*reqctx.Context, *stream) {
	if c := reqctx.Find(r); c != nil || h.KeepStreams || len(h.methods) == 0 {
		return reqctx.Of(r), nil
	}
	p := new(passage)
	return reqctx.Use(r, &p.context), &p.stream
}

// ServeHTTP authenticates the request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	// First of all, and on every path: rule "one identity".
	reqctx.EndToEnd(r)
	c, room := h.begin(r)
	if h.resource != nil {
		reqctx.SetResource(r, h.resource)
	}
	if h.messages != nil {
		if max := h.messages.Load(); max > 0 {
			reqctx.Peek(r, max)
		}
	}
	if h.login != nil {
		c.SetLogin(h.login)
	}
	if len(h.believed) > 0 {
		c.KeepRemoved(r.Header, h.believed)
	}
	h.drop(r, c)
	reqctx.DropTrailers(r, h.untrailed)
	if len(h.methods) == 0 {
		return next.ServeHTTP(w, r)
	}
	if h.tooEarly(r) {
		h.decide(r, decision.Deny, "early_data", reqctx.CodeTooEarly)
		return reqctx.Refuse(w, r, reqctx.TooEarly())
	}
	for i := range h.endpoints {
		if e := &h.endpoints[i]; r.URL.Path == e.Path && (len(e.Methods) == 0 || slices.Contains(e.Methods, r.Method)) {
			h.decide(r, decision.Skip, e.Rule, "")
			return e.Serve(w, r)
		}
	}
	if h.Preflight && h.isPreflight(r) {
		h.decide(r, decision.Skip, "preflight", "")
		return next.ServeHTTP(w, r)
	}
	return h.authenticate(w, r, next, c, room)
}

// authenticate lets the request go on as that of the caller whom its credential
// names, or as anonymous, or rejects it.
func (h *Handler) authenticate(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, c *reqctx.Context, room *stream) error {
	earlier := c.Verified()
	won, g, err := h.identify(r)
	if err != nil && err.ExpiredCookie != "" && h.Optional {
		// The login page must not be out of reach for the one who needs it.
		forgetCookie(w, r, err.ExpiredCookie)
		err = credential.ErrMissing
	}
	if err == nil && h.crossOrigin(r) {
		h.decide(r, decision.Deny, "origin", CodeCrossOrigin)
		return reqctx.Refuse(w, r, errCrossOrigin)
	}
	p := g.user.Principal
	if err == nil && another(earlier, p) {
		err = errTwo
	}
	if err != nil {
		if err.Kind != credential.Missing || err == errOne || !h.Optional {
			return h.refuse(w, r, won.user, err)
		}
		h.decide(r, decision.Skip, "optional", "")
		h.clean(r)
		// Whoever refuses it for lack of an identity asks for these.
		c.SetChallenges(h.challenges(r, won.user, err))
		return next.ServeHTTP(w, r)
	}
	if refusal := c.Admit(p); refusal != nil {
		return reqctx.Refuse(w, r, refusal)
	}
	if err := setForwarded(r, c, p, h.forward); err != nil {
		return h.refuse(w, r, won.user, err)
	}
	if p.App != nil {
		if err := setForwarded(r, c, p.App, h.appForward); err != nil {
			return h.refuse(w, r, won.app, err)
		}
	}
	h.clean(r)
	c.Grant(w, r, &g.app)
	c.Grant(w, r, &g.user)
	if !h.KeepStreams && (g.user.Right.Ends() || g.app.Right.Ends()) {
		if room == nil {
			room = new(stream)
		}
		return h.ending(room, w, r, next, won, &g)
	}
	return h.serve(w, r, next, won, &g)
}

// clean removes what methods keep from the upstream.
func (h *Handler) clean(r *http.Request) {
	for i := range h.methods {
		if m := h.methods[i].Method; m != nil {
			m.Clean(r)
		}
	}
}

// serve lets the request of a caller go on.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, won winners, g *granted) error {
	p := g.user.Principal
	if p.App == nil {
		h.decide(r, decision.Allow, h.ruleOf(won.user, p), "")
		return h.pass(w, r, next, won.user, &g.user)
	}
	reqctx.Decisions(r).Note(h.memo.Of(decision.Decision{Layer: h.Name, Result: decision.Allow, Rule: "app " + h.ruleOf(won.app, p.App)}))
	h.decide(r, decision.Allow, h.ruleOf(won.user, p), "")
	user := g.user // a copy, so that g need not be allocated where there is no application
	behind := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error { return h.pass(w, r, next, won.user, &user) })
	return h.pass(w, r, behind, won.app, &g.app)
}

// pass lets a request go on that the method won has authenticated.
func (h *Handler) pass(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, won int, g *credential.Grant) error {
	if g.Wrap == nil {
		return next.ServeHTTP(w, r)
	}
	err := g.Wrap(w, r, next.ServeHTTP)
	if failed, ok := err.(*credential.Error); ok { //nolint:errorlint // one that a handler behind has wrapped is not of the method
		return h.refuse(w, r, won, failed)
	}
	return err
}

// ruleOf returns what vouches for a caller: the issuer, or else the method.
func (h *Handler) ruleOf(won int, p *principal.Principal) string {
	if p.Issuer != "" {
		return p.Issuer
	}
	return h.methods[won].name
}

// errTwo is for a request that one handler has identified and then another, as
// where the matchers of two of them overlap. One of the two callers would be
// in the headers for the upstream and the other in the rules and the record.
var errTwo = &credential.Error{
	Kind: credential.Malformed, Code: credential.CodeInvalidRequest,
	Detail: "credentials of more than one caller",
}

// another reports whether two handlers of ours have identified two callers.
func another(earlier, now *principal.Principal) bool {
	return earlier != nil && now != nil && (earlier.ID != now.ID || earlier.Issuer != now.Issuer || earlier.Kind != now.Kind)
}

// isPreflight reports whether r is a CORS preflight as browsers send it.
func (h *Handler) isPreflight(r *http.Request) bool {
	if r.Method != http.MethodOptions || r.Header.Get("Origin") == "" || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	// A preflight never carries credentials or content (Fetch standard,
	// section 4.8). A request that does is something else that wants to pass,
	// as is one that frameworks would take for another method.
	if len(r.Header["Authorization"]) > 0 || len(r.Header["Cookie"]) > 0 || namesMethod(r) {
		return false
	}
	return !h.offersCredential(r) && !reqctx.HasContent(r)
}

// offersCredential reports whether a credential stands where a method looks.
func (h *Handler) offersCredential(r *http.Request) bool {
	for i := range h.methods {
		if m := h.methods[i].Method; m != nil && len(m.Places(r)) > 0 {
			return true
		}
	}
	return false
}

// tooEarly reports whether a request in early data must not be acted on before
// the handshake is complete: somebody who recorded it may be sending it once
// more, from an address that is not his (RFC 8470 section 3). One that is safe
// and says nothing of who is calling may pass.
func (h *Handler) tooEarly(r *http.Request) bool {
	if !reqctx.EarlyData(r) {
		return false
	}
	return !reqctx.Safe(r.Method) || namesMethod(r) || len(h.believed) > 0 ||
		len(r.Header["Authorization"]) > 0 || len(r.Header["Cookie"]) > 0 || h.offersCredential(r)
}

func (h *Handler) decide(r *http.Request, result, rule, code string) {
	h.decideBecause(r, result, rule, code, "")
}

// decideBecause is decide with the reason for a rejection, for the record alone.
func (h *Handler) decideBecause(r *http.Request, result, rule, code, why string) {
	reqctx.Decisions(r).Note(h.memo.Of(decision.Decision{Layer: h.Name, Result: result, Rule: rule, Code: code, Detail: why}))
	if result == decision.Allow {
		h.allowed.Inc()
		return
	}
	h.decided.WithLabelValues(h.Name, result, code).Inc()
}

// Package auth is the handler that says who is calling. It holds an ordered
// list of authentication methods and is what the directives auth, jwt_auth
// and those of other credentials adapt to.
package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Handler authenticates requests by the first of its methods that fits.
//
// The methods are tried in the order they are listed. One that finds no
// credential of its kind leaves the request to the next; the first that finds
// one decides, and a credential that is bad ends the request: it is never
// tried as something else. A credential that one of the methods knows by its
// looks, as an API key by its prefix, is that method's, whatever its place in
// the list. Unlike Caddy's own authentication handler, which
// this one complements, it keeps the order, tells a bad credential from a
// missing one and from an identity provider that cannot be reached, and offers
// the challenges of all methods in one answer. Nothing that a method wrote
// (header fields, status, body) reaches the client unless that method won,
// and then only its header fields.
//
// A request that passes has the placeholders `{http.auth.user.id}`,
// `{http.auth.user.roles}` and `{http.auth.user.scopes}` (separated by commas;
// a comma in a name is percent-encoded), `{http.auth.user.issuer}` (empty for
// credentials without one), `{http.auth.user.kind}` (jwt, opaque, api_key,
// client_cert, signature, webhook, trusted_header, basic or other) and
// `{http.auth.user.claims.<path>}`. The path is a JSON Pointer if it begins
// with a slash; else it is the name of a top-level claim or, if there is none
// of that name, names separated by slashes or, without slashes, by dots. Values
// keep their types.
//
// `{http.moat.caller}` is whom to count a request for: the issuer (or kind) and
// id of a verified caller, in a form that no other caller can have, and the
// client's address of an anonymous one.
//
// Refusals, each with a stable code in `{http.moat.code}`:
//
//   - 400 invalid_request: two credentials of the same kind, more than one
//     Authorization field, or a credential that cannot be read
//   - 401 missing_credentials: no method found one
//   - 401 invalid_token, invalid_credentials: one that is not accepted
//   - 403 insufficient_scope: a valid one that grants too little
//   - 403 cross_origin: a credential in a cookie, with a request that a page of
//     another origin has sent
//   - 425 too_early: the request came in TLS early data (0-RTT) and has a
//     credential or a method that is not safe (RFC 8470); clients send it again
//   - 503 identity_provider_unavailable, with Retry-After
//
// 401 and 403 carry WWW-Authenticate as RFC 9110 section 11.6.1 and RFC 6750
// section 3 describe.
type Handler struct {
	option.Placed

	// The directive this handler stands for, as it appears as the layer in
	// audit records and metrics. Default: auth
	Name string `json:"name,omitempty"`

	// The methods, in the order they are tried: each one is a module of the
	// namespace http.authentication.providers, Caddy's own included, named
	// by its member "provider". Without any, the handler authenticates
	// nobody and refuses nobody, and only drops headers.
	ProvidersRaw []json.RawMessage `json:"providers,omitempty" caddy:"namespace=http.authentication.providers inline_key=provider"`

	// Methods for the application that sends the request, where it must show
	// a credential of its own beside that of the user. If there are any then
	// two credentials are required, one that one of these accepts and one
	// that one of the providers does; both lists are tried in their order.
	// The caller is the user; the application is `{http.auth.app.*}`.
	AppProvidersRaw []json.RawMessage `json:"app_providers,omitempty" caddy:"namespace=http.authentication.providers inline_key=provider"`

	// Whether a request without any credential may go on as anonymous, so
	// that the authorization behind decides. A bad credential is refused
	// all the same.
	Optional bool `json:"optional,omitempty"`

	// Whether CORS preflights pass without a credential: OPTIONS requests
	// with the fields Origin and Access-Control-Request-Method and without
	// credentials, which is how browsers send them (Fetch standard, section
	// 4.8), and nothing else.
	Preflight bool `json:"preflight,omitempty"`

	// Claims to hand to the upstream in request headers. What the client
	// sent under these names is removed from every request that comes here,
	// in any case and with underscores or dots in the place of hyphens.
	Forward []credential.Forward `json:"forward,omitempty"`

	// Claims of the application to hand to the upstream in the same way.
	AppForward []credential.Forward `json:"app_forward,omitempty"`

	// The origins of other sites, such as https://app.example.com, whose pages may
	// send requests with a credential in a cookie that are not safe or upgrade
	// the connection. Others get 403 cross_origin: browsers send cookies whoever
	// asks them to (CSRF). Where a request comes from is in Sec-Fetch-Site, or
	// else in Origin, whose host must then be that of the request; one that has
	// neither does not come from a browser, and passes. "any" turns this off.
	Origins []string `json:"origins,omitempty"`

	// Whether streams go on when the credential that they were asked for with
	// has expired (with its leeway) or was revoked. By default they end then:
	// server-sent events and all other responses without a Content-Length, but
	// for attachments, are closed, WebSockets with the status 1008, and other
	// upgraded connections. The record has the decision stream_ended.
	KeepStreams bool `json:"keep_streams,omitempty"`

	// Further header names that are removed in the same way and not set.
	// This is for the requests that another handler's matcher leaves out:
	// they must not carry a spoofed identity either.
	StripHeaders []string `json:"strip_headers,omitempty"`

	// Whether a handler without methods only sees to the placeholders. This is
	// for the requests that another handler's matcher leaves out, which are
	// those of anonymous callers.
	Anonymous bool `json:"anonymous,omitempty"`

	methods    []method // those for the application first
	apps       int      // how many are for the application
	publishers []credential.Publisher
	takers     []credential.Taker
	forward    []forward
	appForward []forward
	aliases    aliases
	decided    *prometheus.CounterVec
	allowed    prometheus.Counter // the usual case of decided
	memo       *decision.Memo
	logger     *zap.Logger
}

// method is one entry of the list, with the name of its module.
type method struct {
	credential.Method
	name string
	// foreign is set where the method is not ours.
	foreign *foreign
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.auth",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision loads the methods.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.Locate(h)
	if err := lifecycle.CheckLayers(ctx); err != nil {
		return h.At(err)
	}
	return h.At(h.provision(ctx))
}

func (h *Handler) provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	if h.Name == "" {
		h.Name = "auth"
	}
	var err error
	if h.decided, err = lifecycle.Decided(ctx); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	h.memo = new(decision.Memo)
	h.allowed = h.decided.WithLabelValues(h.Name, decision.Allow, "")
	if h.forward, h.appForward, err = compileForwards(h.Forward, h.AppForward); err != nil {
		return err
	}
	if len(h.AppProvidersRaw) > 0 {
		h.apps = len(h.AppProvidersRaw)
	}
	if err = h.loadMethods(ctx, "AppProvidersRaw", h.AppProvidersRaw); err != nil {
		return err
	}
	if err = h.loadMethods(ctx, "ProvidersRaw", h.ProvidersRaw); err != nil {
		return err
	}
	h.aliases, err = newAliases(h.ForwardedHeaders())
	return err
}

func (h *Handler) loadMethods(ctx caddy.Context, field string, providers []json.RawMessage) error {
	names := make([]string, len(providers))
	for i, raw := range providers {
		var m struct {
			Provider string `json:"provider"`
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			return fmt.Errorf("provider %d: %w", i, err)
		}
		names[i] = m.Provider
	}
	if len(names) == 0 {
		return nil
	}
	mods, err := ctx.LoadModule(h, field)
	if err != nil {
		return fmt.Errorf("loading authentication methods: %w", err)
	}
	for i, mod := range mods.([]any) {
		m := method{name: names[i]}
		switch mod := mod.(type) {
		case credential.Method:
			m.Method = mod
			h.hold(mod)
		case caddyauth.Authenticator:
			m.foreign = &foreign{name: names[i], authenticator: mod}
		default:
			return fmt.Errorf("provider %d: %s does not authenticate: it is a %T", i, names[i], mod)
		}
		h.methods = append(h.methods, m)
	}
	return nil
}

// hold notes what the handler has to do for a method besides asking it.
func (h *Handler) hold(m credential.Method) {
	if p, ok := m.(credential.Publisher); ok {
		h.publishers = append(h.publishers, p)
	}
	if t, ok := m.(credential.Taker); ok {
		h.takers = append(h.takers, t)
	}
	if o, ok := m.(credential.WithOptions); ok {
		h.addStrip(o.HandlerOptions().Strip)
	}
}

func (h *Handler) addStrip(names []string) {
	for _, name := range names {
		if !slices.Contains(h.StripHeaders, name) {
			h.StripHeaders = append(h.StripHeaders, name)
		}
	}
}

// Validate refuses what can never do what it says.
func (h *Handler) Validate() error { return h.At(h.validate()) }

func (h *Handler) validate() error {
	if len(h.methods) == 0 && (h.Optional || h.Preflight || len(h.Forward) > 0) {
		return errors.New("optional, preflight and forward need at least one authentication method")
	}
	if h.apps > 0 && h.apps == len(h.methods) || h.apps == 0 && len(h.AppForward) > 0 {
		return errors.New("the application and the user need at least one authentication method each")
	}
	if len(h.methods) > 0 && h.Anonymous {
		return errors.New("anonymous is for a handler without authentication methods")
	}
	if len(h.methods) == 0 && len(h.StripHeaders) == 0 && !h.Anonymous {
		return errors.New("no authentication method is given")
	}
	return nil
}

// ForwardedHeaders returns the names of the headers that carry identity to
// the upstream, which no client may send.
func (h *Handler) ForwardedHeaders() []string {
	var names []string
	for _, f := range slices.Concat(h.Forward, h.AppForward) {
		names = append(names, f.Header)
	}
	return append(names, h.StripHeaders...)
}

// KnowsConnection reports whether a method looks at the certificate of the
// connection, and whether one of them looks at nothing else.
func (h *Handler) KnowsConnection() (looks, only bool) {
	for _, m := range h.methods {
		if c, ok := m.Method.(credential.Connected); ok {
			l, o := c.KnowsConnection()
			looks, only = looks || l, only || o
		}
	}
	return looks, only
}

// Exposed returns the places where credentials may stand that Caddy's logs show:
// it hides Authorization and cookies, and nothing else.
func (h *Handler) Exposed() []string {
	var places []string
	for _, m := range h.methods {
		s, ok := m.Method.(interface{ Sources() []string })
		if !ok {
			continue
		}
		for _, at := range s.Sources() {
			if at != "header Authorization" && at != "header Proxy-Authorization" && !strings.HasPrefix(at, "basic ") && !strings.HasPrefix(at, "cookie ") && !slices.Contains(places, at) {
				places = append(places, at)
			}
		}
	}
	return places
}

// AdmitsPreflights reports whether CORS preflights pass without a credential.
func (h *Handler) AdmitsPreflights() bool { return h.Preflight }

// CredentialPlaces returns the places in which the methods that name them look
// for credentials, method by method, such as "header X-API-Key".
func (h *Handler) CredentialPlaces() [][]string {
	var all [][]string
	for i := range h.methods {
		if s, ok := h.methods[i].Method.(interface{ Sources() []string }); ok {
			all = append(all, s.Sources())
		}
	}
	return all
}

// HeaderNames returns the header fields that methods look at besides.
func (h *Handler) HeaderNames() []string {
	var all []string
	for i := range h.methods {
		if n, ok := h.methods[i].Method.(interface{ HeaderNames() []string }); ok {
			all = append(all, n.HeaderNames()...)
		}
	}
	return all
}

// CopiedFields returns the fields that a method expects forward_auth to have
// copied.
func (h *Handler) CopiedFields() []credential.Copied {
	var fields []credential.Copied
	for _, m := range h.methods {
		if c, ok := m.Method.(credential.FromCopied); ok {
			fields = append(fields, c.CopiedFields()...)
		}
	}
	return fields
}

// LayerName returns the directive that the handler stands for.
func (h *Handler) LayerName() string { return h.Name }

// Authenticates reports whether the handler makes callers known. One without
// methods only removes headers.
func (h *Handler) Authenticates() bool { return len(h.methods) > 0 }

// Vouches returns who can vouch for callers here; what an application shows
// beside its user is not their credential.
func (h *Handler) Vouches() []principal.Source {
	var all []principal.Source
	for _, m := range h.methods[h.apps:] {
		if m.foreign != nil {
			all = append(all, principal.Source{Kind: m.foreign.kind()})
		} else if v, ok := m.Method.(credential.Voucher); ok {
			all = append(all, v.Vouches()...)
		}
	}
	return all
}

// Grants returns what the credentials of callers can give here.
func (h *Handler) Grants() credential.Grants {
	var all credential.Grants
	for _, m := range h.methods[h.apps:] {
		switch g, ok := m.Method.(credential.Granter); {
		case m.foreign != nil:
			all.Others = all.Others || m.foreign.kind() != principal.KindBasic
		case ok:
			given := g.Grants()
			all.Add(given.Roles, given.Scopes)
			all.Others = all.Others || given.Others
		default:
			all.Others = true
		}
	}
	return all
}

// AdmitsAnonymous reports whether a request without any credential may pass.
func (h *Handler) AdmitsAnonymous() bool { return h.Optional }

// ServeHTTP authenticates the request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	// First of all, and on every path: rule "one identity".
	reqctx.EndToEnd(r)
	reqctx.Answer(r)
	for _, t := range h.takers {
		t.Take(r)
	}
	h.aliases.drop(r, len(h.methods) == 0)
	reqctx.DropTrailers(r, func(name string) bool { return h.aliases.match(name) || h.readsFrom(name) })
	if len(h.methods) == 0 {
		return next.ServeHTTP(w, r)
	}
	if h.tooEarly(r) {
		h.decide(r, decision.Deny, "early_data", reqctx.CodeTooEarly)
		return reqctx.Refuse(w, r, reqctx.TooEarly())
	}
	for _, p := range h.publishers {
		if p.Publish(w, r) {
			h.decide(r, decision.Skip, "publish", "")
			return nil
		}
	}
	if h.Preflight && h.isPreflight(r) {
		h.decide(r, decision.Skip, "preflight", "")
		return next.ServeHTTP(w, r)
	}

	earlier, _ := reqctx.Vars(r)[principal.Var].(*principal.Principal)
	won, p, err := h.identify(w, r)
	if err != nil && err.ExpiredCookie != "" && h.Optional {
		// The login page must not be out of reach for the one who needs it.
		forgetCookie(w, r, err.ExpiredCookie)
		err = credential.ErrMissing
	}
	if err == nil && h.crossOrigin(r) {
		h.decide(r, decision.Deny, "origin", CodeCrossOrigin)
		return reqctx.Refuse(w, r, errCrossOrigin)
	}
	if err == nil && another(earlier, p) {
		err = errTwo
	}
	if err != nil {
		if err.Kind != credential.Missing || err == errOne || !h.Optional {
			return h.refuse(w, r, won.user, err)
		}
		h.decide(r, decision.Skip, "optional", "")
		if vars := reqctx.Vars(r); vars != nil {
			// Whoever refuses it for lack of an identity asks for these.
			vars[reqctx.ChallengesVar] = h.challenges(r, won.user, err)
		}
		return next.ServeHTTP(w, r)
	}
	if err := h.setForwarded(r, p, h.forward); err != nil {
		return h.refuse(w, r, won.user, err)
	}
	if p.App != nil {
		if err := h.setForwarded(r, p.App, h.appForward); err != nil {
			return h.refuse(w, r, won.app, err)
		}
	}
	for i := range h.methods {
		if m := h.methods[i].Method; m != nil {
			m.Clean(r)
		}
	}
	if right, ok := reqctx.Vars(r)[credential.RightVar].(credential.Right); ok && !h.KeepStreams {
		return h.ending(right, w, r, next, won, p)
	}
	return h.serve(w, r, next, won, p)
}

// serve lets the request of p go on.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, won winners, p *principal.Principal) error {
	if p.App != nil {
		if log := reqctx.Decisions(r); log != nil {
			log.Note(h.memo.Of(decision.Decision{Layer: h.Name, Result: decision.Allow, Rule: "app " + h.ruleOf(won.app, p.App)}))
		}
		behind := next
		next = caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error { return h.pass(w, r, behind, won.user) })
		h.decide(r, decision.Allow, h.ruleOf(won.user, p), "")
		return h.pass(w, r, next, won.app)
	}
	h.decide(r, decision.Allow, h.ruleOf(won.user, p), "")
	return h.pass(w, r, next, won.user)
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

// pass lets a request go on that the method won has authenticated.
func (h *Handler) pass(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, won int) error {
	inner, finish := w, (func(error) error)(nil)
	m := h.methods[won].Method
	if a, ok := m.(credential.Answerer); ok {
		inner, finish = a.Answer(w, r)
	}
	late, mayFail := m.(credential.Late)
	if mayFail {
		inner = late.Guard(inner, r)
	}
	err := guarded(inner, r, next, finish != nil)
	if mayFail {
		if failed := late.Failed(r, err); failed != nil {
			return h.refuse(w, r, won, failed)
		}
	}
	if finish != nil {
		return finish(err)
	}
	return err
}

// errAborted stands for a handler that has given up in the middle of an answer.
var errAborted = caddyhttp.Error(http.StatusBadGateway, errors.New("the answer was aborted"))

// guarded calls next. Where the answer is held back, one that was aborted, as
// reverse_proxy does it by a panic, is an error: nothing of it has left.
func guarded(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, held bool) (err error) {
	if held {
		defer func() {
			cause := recover()
			if cause == nil {
				return
			}
			if cause != http.ErrAbortHandler || r.Context().Err() != nil { //nolint:errorlint // it is panicked with as it is
				panic(cause)
			}
			err = errAborted
		}()
	}
	return next.ServeHTTP(w, r)
}

// winners are the indices of the methods that decided, -1 for none. app is
// meaningless where no application is asked for.
type winners struct{ app, user int }

// errOne is for a request of which one of two credentials is missing, which is
// none of an anonymous caller.
var errOne = &credential.Error{Kind: credential.Missing, Code: credential.ErrMissing.Code, Detail: credential.ErrMissing.Detail}

// identify finds the methods that decide and makes the caller that was verified
// the caller of the request. Where a method refused, it is that of the user in
// what identify returns, whomever it was for.
func (h *Handler) identify(w http.ResponseWriter, r *http.Request) (winners, *principal.Principal, *credential.Error) {
	nobody := winners{-1, -1}
	// Authorization is a single field (RFC 9110 section 11.6.2). Two of
	// them are two credentials, of which the upstream might read the other.
	if len(r.Header["Authorization"]) > 1 {
		return nobody, nil, &credential.Error{
			Kind: credential.Malformed, Code: credential.CodeInvalidRequest,
			Detail: "more than one Authorization field",
		}
	}
	users := side{h, h.apps, len(h.methods)}
	if h.apps == 0 {
		won, p, meta, err := users.identify(w, r)
		if err == nil {
			introduce(r, p, meta)
		}
		return winners{-1, won}, p, err
	}
	app, application, _, err := side{h, 0, h.apps}.identify(w, r)
	if err != nil {
		if err.Kind == credential.Missing && (!h.Optional || users.offered(r)) {
			err = errOne
		}
		return winners{-1, app}, nil, err
	}
	user, p, meta, err := users.identify(w, r)
	switch {
	case err != nil && err.Kind == credential.Missing, err == nil && h.shared(r, app, user):
		return nobody, nil, errOne
	case err != nil:
		return winners{-1, user}, nil, err
	}
	both := *p // which other requests may have too
	both.App = application
	introduce(r, &both, meta)
	return winners{app, user}, &both, nil
}

// introduce makes p the caller of the request. meta is what an authenticator
// that is not ours says of it.
func introduce(r *http.Request, p *principal.Principal, meta map[string]string) {
	reqctx.Identify(r, p)
	if len(meta) == 0 {
		return
	}
	if repl := reqctx.Replacer(r); repl != nil {
		for k, v := range meta {
			repl.Set("http.auth.user."+k, v)
		}
	}
}

// shared reports whether two methods have read the same credential, which then
// is not that of both the application and the user.
func (h *Handler) shared(r *http.Request, app, user int) bool {
	a, u := h.methods[app].Method, h.methods[user].Method
	if a == nil || u == nil {
		return a == nil && u == nil // both read Authorization, or who knows what
	}
	places := a.Places(r)
	return slices.ContainsFunc(u.Places(r), func(p credential.Place) bool {
		return slices.ContainsFunc(places, func(o credential.Place) bool { return o.At == p.At })
	})
}

// side are the methods for one caller: those from the first to before the last.
type side struct {
	h           *Handler
	first, last int
}

// identify finds the method that decides. It returns its index, -1 for none.
func (s side) identify(w http.ResponseWriter, r *http.Request) (int, *principal.Principal, map[string]string, *credential.Error) {
	if s.last-s.first > 1 {
		if err := s.ambiguous(r); err != nil {
			return -1, nil, nil, err
		}
	}
	owner, at := s.recognize(r)
	for i := s.first; i < s.last; i++ {
		m := &s.h.methods[i]
		if i < owner && m.looksAt(r, at) {
			continue
		}
		var p *principal.Principal
		var meta map[string]string
		var err *credential.Error
		if m.foreign != nil {
			p, meta, err = m.foreign.identify(w, r)
		} else {
			p, err = identifyOurs(m.Method, r)
		}
		if err == nil || err.Kind != credential.Missing {
			return i, p, meta, err
		}
	}
	return -1, nil, nil, credential.ErrMissing
}

// offered reports whether the request has a credential for this side.
func (s side) offered(r *http.Request) bool {
	for i := s.first; i < s.last; i++ {
		m := &s.h.methods[i]
		if m.foreign == nil {
			if len(m.Places(r)) > 0 {
				return true
			}
			continue
		}
		_, _, err := m.foreign.identify(&scratchWriter{header: make(http.Header)}, r)
		if err == nil || err.Kind != credential.Missing {
			return true
		}
	}
	return false
}

// recognize returns the method that knows a credential for its own by its
// looks, and where it stands. It is 0 where there is none, or nobody before
// it to mistake the credential for his.
func (s side) recognize(r *http.Request) (owner int, at string) {
	for i := s.first + 1; i < s.last; i++ {
		if m, ok := s.h.methods[i].Method.(credential.Recognizer); ok {
			if at, ok := m.Recognizes(r); ok {
				return i, at
			}
		}
	}
	return 0, ""
}

// looksAt reports whether m would take what stands at that place for its own.
func (m *method) looksAt(r *http.Request, at string) bool {
	return m.Method != nil && slices.ContainsFunc(m.Places(r), func(p credential.Place) bool { return p.At == at })
}

// identifyOurs asks a method of ours. An error of a type that is not
// credential.Error would be a mistake of ours; it must not let anyone in.
func identifyOurs(m credential.Method, r *http.Request) (*principal.Principal, *credential.Error) {
	p, err := m.Identify(r)
	if err == nil && p != nil {
		if err := principal.CheckID(p.ID); err != nil {
			return nil, &credential.Error{
				Kind: credential.Bad, Code: credential.CodeInvalidCredentials,
				Detail: "the credential names nobody", Rule: p.Issuer, Cause: err,
			}
		}
		return p, nil
	}
	var ce *credential.Error
	if errors.As(err, &ce) {
		return nil, ce
	}
	return nil, &credential.Error{
		Kind: credential.Unavailable, Code: credential.CodeUnavailable,
		Detail: "the credential cannot be checked", Cause: err,
	}
}

// ambiguous refuses a request with two credentials of the same kind in places
// that belong to different methods. Each method sees to its own places.
func (s side) ambiguous(r *http.Request) *credential.Error {
	at := make(map[string]string, 2)
	for i := s.first; i < s.last; i++ {
		m := s.h.methods[i].Method
		if m == nil {
			continue
		}
		for _, p := range m.Places(r) {
			if where, ok := at[p.Kind]; ok && where != p.At {
				return &credential.Error{
					Kind: credential.Malformed, Code: credential.CodeInvalidRequest,
					Detail: "more than one credential of the same kind",
				}
			}
			at[p.Kind] = p.At
		}
	}
	return nil
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

// readsFrom reports whether a method looks for its credential in the header
// field of that name.
func (h *Handler) readsFrom(name string) bool {
	for i := range h.methods {
		if m, ok := h.methods[i].Method.(credential.InHeader); ok && m.ReadsHeader(name) {
			return true
		}
	}
	return false
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
	return !reqctx.Safe(r.Method) || namesMethod(r) || len(h.takers) > 0 ||
		len(r.Header["Authorization"]) > 0 || len(r.Header["Cookie"]) > 0 || h.offersCredential(r)
}

func (h *Handler) decide(r *http.Request, result, rule, code string) {
	h.decideBecause(r, result, rule, code, "")
}

// decideBecause is decide with the reason for a rejection, for the record alone.
func (h *Handler) decideBecause(r *http.Request, result, rule, code, why string) {
	if log := reqctx.Decisions(r); log != nil {
		log.Note(h.memo.Of(decision.Decision{Layer: h.Name, Result: result, Rule: rule, Code: code, Detail: why}))
	}
	if result == decision.Allow {
		h.allowed.Inc()
		return
	}
	h.decided.WithLabelValues(h.Name, result, code).Inc()
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

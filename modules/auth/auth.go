// Package auth is the handler that authenticates callers. It holds an ordered
// list of authentication methods; the directives auth, jwt_auth and those of
// other credentials adapt to it.
package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/decision"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
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
// one decides, and a bad credential ends the request: it is never tried as
// another kind. A credential that a method recognizes by its form, as an API key
// by its prefix, belongs to that method, whatever its position in the list. Unlike Caddy's own authentication handler, which
// this one complements, it keeps the order, distinguishes a bad credential from
// a missing one and from an identity provider that cannot be reached, and offers
// the challenges of all methods in one response. Nothing that a method wrote
// (header fields, status, body) reaches the client unless that method won,
// and then only its header fields.
//
// A request that passes has the placeholders `{http.auth.user.id}`,
// `{http.auth.user.roles}` and `{http.auth.user.scopes}` (separated by commas;
// a comma in a name is percent-encoded), `{http.auth.user.issuer}` (empty for
// credentials without one), `{http.auth.user.kind}` (jwt, opaque, api_key,
// client_cert, signature, webhook, trusted_header, session, basic or other) and
// `{http.auth.user.claims.<path>}`. The path is a JSON Pointer if it begins
// with a slash; else it is the name of a top-level claim or, if there is none
// of that name, names separated by slashes or, without slashes, by dots. Values
// keep their types.
//
// `{http.moat.caller}` is the key by which to count requests: the issuer (or kind)
// and ID of a verified caller, in a form that no other caller can have, and the
// client's address of an anonymous one.
//
// Rejected requests have a stable code in `{http.moat.code}`:
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
	// no caller, rejects no request, and only removes headers.
	ProvidersRaw []json.RawMessage `json:"providers,omitempty" caddy:"namespace=http.authentication.providers inline_key=provider"`

	// Methods for the application that sends the request, if it must have a
	// credential of its own beside that of the user. With any, two credentials
	// are required: one accepted by one of these and one accepted by one of the
	// providers; both lists are tried in their order.
	// The caller is the user; the application is `{http.auth.app.*}`.
	AppProvidersRaw []json.RawMessage `json:"app_providers,omitempty" caddy:"namespace=http.authentication.providers inline_key=provider"`

	// Whether a request without any credential may go on as anonymous, so
	// that the authorization behind decides. A bad credential is rejected
	// all the same.
	Optional bool `json:"optional,omitempty"`

	// Whether CORS preflights pass without a credential: OPTIONS requests
	// with the fields Origin and Access-Control-Request-Method and without
	// credentials, which is how browsers send them (Fetch standard, section
	// 4.8), and nothing else.
	Preflight bool `json:"preflight,omitempty"`

	// Claims to hand to the upstream in request headers. What the client
	// sent under these names is removed from every request that comes here,
	// in any case and with underscores or dots in place of hyphens.
	Forward []credential.Forward `json:"forward,omitempty"`

	// Claims of the application to hand to the upstream in the same way.
	AppForward []credential.Forward `json:"app_forward,omitempty"`

	// The origins of other sites, such as https://app.example.com, whose pages may
	// send requests with a credential in a cookie that are not safe or upgrade
	// the connection. Others get 403 cross_origin: browsers send cookies whichever
	// site asks them to (CSRF). Where a request comes from is in Sec-Fetch-Site, or
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

	// Cookies that are removed from every request, for the same reason: they are
	// sessions of a method, and nobody behind needs them. One asterisk at the end
	// of a name stands for any rest. A handler with methods leaves that to them.
	StripCookies []string `json:"strip_cookies,omitempty"`

	// Whether a handler without methods only sets the placeholders. This is
	// for the requests that another handler's matcher leaves out, which are
	// those of anonymous callers.
	Anonymous bool `json:"anonymous,omitempty"`

	methods    []method // those for the application first
	apps       int      // how many are for the application
	endpoints  []credential.Endpoint
	login      credential.Login     // nil where no method logs browsers in
	published  *credential.Resource // nil for none
	resource   *reqctx.Resource     // the same, for requests
	scopes     *atomic.Pointer[scopes]
	messages   *atomic.Int64      // how long those of the MCP server behind can be, 0 for none
	believed   []string           // fields that some method believes some peers in
	ambient    bool               // browsers may send a credential by themselves
	sources    credential.Aliases // fields in which credentials may stand
	untrailed  func(string) bool  // whether a field must not stand in a trailer section
	forward    []forward
	appForward []forward
	aliases    credential.Aliases
	decided    *prometheus.CounterVec
	allowed    prometheus.Counter // the usual case of decided
	memo       *decision.Memo
	logger     *zap.Logger
}

// method is one entry of the list, with the name of its module.
type method struct {
	credential.Method
	traits credential.Traits
	name   string
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
	h.scopes, h.messages = new(atomic.Pointer[scopes]), new(atomic.Int64)
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
	h.prepare()
	if err = h.findResource(); err != nil {
		return err
	}
	h.aliases, err = credential.NewAliases(h.ForwardedHeaders())
	return err
}

// prepare gathers what the handler does for its methods besides asking them.
func (h *Handler) prepare() {
	var fields []string
	for i := range h.methods {
		t := &h.methods[i].traits
		h.endpoints = append(h.endpoints, t.Endpoints...)
		h.believed = append(h.believed, t.Believes...)
		h.ambient = h.ambient || t.Ambient
		if h.login == nil {
			h.login = t.Login
		}
		for _, at := range t.Sources {
			if strings.HasPrefix(at, "basic ") {
				fields = append(fields, "Authorization")
			} else if name, ok := strings.CutPrefix(at, "header "); ok {
				fields = append(fields, name)
			}
		}
	}
	h.addStrip(h.believed)
	h.sources = credential.Spellings(fields)
	h.untrailed = func(name string) bool { return h.aliases.Match(name) || h.sources.Match(name) }
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
			m.Method, m.traits = mod, mod.Traits()
		case caddyauth.Authenticator:
			m.foreign = &foreign{name: names[i], authenticator: mod}
			m.traits = m.foreign.traits()
		default:
			return fmt.Errorf("provider %d: %s does not authenticate: it is a %T", i, names[i], mod)
		}
		h.methods = append(h.methods, m)
	}
	return nil
}

func (h *Handler) addStrip(names []string) {
	for _, name := range names {
		if !slices.Contains(h.StripHeaders, name) {
			h.StripHeaders = append(h.StripHeaders, name)
		}
	}
}

// Validate refuses what can never work as written.
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
	if len(h.methods) == 0 && len(h.StripHeaders)+len(h.StripCookies) == 0 && !h.Anonymous {
		return errors.New("no authentication method is given")
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

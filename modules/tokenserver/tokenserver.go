// Package tokenserver issues tokens of this server's own issuer: an
// authorization server of OAuth 2.0.
package tokenserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/apikey"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/oauth"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/ownissuer"
	"github.com/caddy-moat/caddy-moat/modules/internal/watched"
)

func init() {
	caddy.RegisterModule(Handler{})
}

// Name is the name of the directive.
const Name = "token_server"

// pepperKey is where the pepper of client secrets is in Caddy's storage.
const pepperKey = "moat/token_server/pepper"

// Handler issues access tokens to registered clients: an authorization server of
// OAuth 2.0 (RFC 6749) with metadata (RFC 8414). The tokens are JWTs (RFC 9068) of
// this server's own issuer, whose Ed25519 key is made on first use and kept in
// Caddy's storage; `jwt_auth` verifies them, by `issuer https://…` anywhere and by
// `issuer internal` with the same name on this server.
//
// It answers its own paths, below the path of the issuer: /token, /introspect
// (RFC 7662), /revoke (RFC 7009), /jwks.json, the metadata at
// /.well-known/oauth-authorization-server, and with users /authorize and /par
// (RFC 9126). Other requests go on to the next handler.
//
// Clients stand in a file that `caddy moat client` writes. They authenticate with
// a secret, a signed assertion (RFC 7523) or a certificate (RFC 8705), and get
// tokens by client_credentials, within the scopes and audiences of their entry.
// Users, who stand in a file that `caddy moat user` writes, log in to applications
// by authorization_code with PKCE (RFC 7636), and stay so by refresh_token. Services
// exchange tokens that they got for narrower ones (RFC 8693).
// A token is bound to the key of a DPoP proof (RFC 9449) that comes with the
// request, and to the client's certificate where the entry says so.
//
// Errors are those of RFC 6749: invalid_request, invalid_grant,
// unsupported_response_type, access_denied, login_required,
// unauthorized_client, unsupported_grant_type, invalid_scope, invalid_target (RFC
// 8707), invalid_dpop_proof (400), invalid_client (401), and
// too_many_attempts (429, of the login page), and temporarily_unavailable (503) where something cannot be looked up or noted:
// nothing is granted then.
type Handler struct {
	// The issuer identifier, an https URL without query and fragment: the `iss` of
	// the tokens, below which the endpoints are. Plain http is possible for
	// localhost and loopback addresses alone. Global placeholders are replaced at
	// load. Default: https:// and the name of the site, if it has one name and
	// listens on port 443. It is never taken from a request.
	Issuer string `json:"issuer,omitempty"`

	// The file with the clients, as `caddy moat client` writes it. It is watched: a
	// change is in force within a second, and a file with errors leaves the last
	// valid clients in force. At load it must exist and be valid. Global placeholders
	// are replaced at load.
	Clients string `json:"clients,omitempty"`

	// The file with the users who can log in, as `caddy moat user` writes it, watched
	// like that of the clients. Default: none, and no logins.
	Users string `json:"users,omitempty"`

	// How long after a login its refresh tokens are valid, from 1h to 365d, however
	// often they are used. Default: 30d
	RefreshLifetime caddy.Duration `json:"refresh_lifetime,omitempty"`

	// How long access tokens are valid, from 1m to 24h, where the entry of the client
	// does not say. Default: 10m
	TokenLifetime caddy.Duration `json:"token_lifetime,omitempty"`

	// How long a key signs, at least 24h. Keys verify for 30 days more. Default: 720h
	Rotate caddy.Duration `json:"rotate,omitempty"`

	issuer    *address
	server    *oauth.Server
	endpoints map[string]*endpoint
	metadata  []byte
	held      lifecycle.Held
	metrics   metrics
	logger    *zap.Logger
	option.Placed
}

const (
	defaultLifetime = 10 * time.Minute
	defaultRefresh  = 30 * 24 * time.Hour
)

var (
	lifetimes = option.Durations{Min: oauth.MinLifetime, Max: oauth.MaxLifetime, Example: "15m"}
	refreshes = option.Durations{Min: time.Hour, Max: 365 * 24 * time.Hour, Example: "30d"}
	rotations = option.Durations{Min: 24 * time.Hour, Example: "30d"}
)

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.token_server",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision opens the files and the keys.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.Locate(h)
	if err := lifecycle.CheckLayers(ctx); err != nil {
		return h.At(err)
	}
	if err := h.provision(ctx); err != nil {
		return h.At(fmt.Errorf("%s: %w", Name, err))
	}
	return nil
}

func (h *Handler) provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	if err := h.check(); err != nil {
		return err
	}
	written := h.Issuer
	if written == "" {
		var err error
		if written, err = siteIssuer(ctx); err != nil {
			return err
		}
	}
	name, err := option.Resolve(Name, "issuer", written)
	if err != nil {
		return err
	}
	if h.issuer, err = parseIssuer(name); err != nil {
		return err
	}
	if err := h.open(ctx); err != nil {
		return err
	}
	h.describe()
	h.metrics, err = newMetrics(ctx)
	return err
}

// check checks what the options say by themselves.
func (h *Handler) check() error {
	if h.Clients == "" {
		return errors.New("no clients: write clients <file>, which `caddy moat client new` makes")
	}
	if h.Users == "" && h.RefreshLifetime != 0 {
		return errors.New("refresh_lifetime has no effect without users: write users <file>, or remove it")
	}
	return cmp.Or(lifetimes.Check("token_lifetime", h.TokenLifetime), refreshes.Check("refresh_lifetime", h.RefreshLifetime), rotations.Check("rotate", h.Rotate))
}

// clientFiles are the files of clients.
var clientFiles = watched.Kind{
	Layer: Name, Option: "clients", Subject: "the file of clients", What: "clients", Logger: "http.handlers." + Name,
	Metrics: clientMetrics,
}

// open opens what the server works with.
func (h *Handler) open(ctx caddy.Context) error {
	storage := ctx.Storage()
	announce, err := lifecycle.Changes(ctx)
	if err != nil {
		return err
	}
	ownissuer.Enlist(h, announce)
	h.held.Add(func() { ownissuer.Drop(h) })
	own, err := ownissuer.Open(&h.held, storage, h.issuer.name, time.Duration(h.Rotate))
	if err != nil {
		return err
	}
	revoked, err := ownissuer.OpenRevocations(&h.held, storage)
	if err != nil {
		return fmt.Errorf("revocations: %w", err)
	}
	opening, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	secret, err := ownissuer.Secret(opening, storage, pepperKey)
	if err != nil {
		return fmt.Errorf("the pepper of client secrets: %w", err)
	}
	pepper, err := apikey.NewPepper(secret)
	if err != nil {
		return err
	}
	h.server = &oauth.Server{
		Issuer: own, Revoked: revoked,
		Lifetime: cmp.Or(time.Duration(h.TokenLifetime), defaultLifetime),
	}
	if err := h.openUsed(ctx); err != nil {
		return err
	}
	audiences := []string{h.issuer.name, h.issuer.url(pathToken)}
	h.server.Clients, err = watched.Open(ctx, &h.held, &clientFiles, h.Clients, clientVariant{pepper.Check(), h.issuer.name},
		func(path string, report func(filewatch.Event)) (*oauth.Clients, error) {
			return oauth.OpenClients(path, pepper, audiences, report)
		})
	if errors.Is(err, oauth.ErrPepper) {
		err = fmt.Errorf("%w: run `caddy moat client` as the user whom the server runs as, so that both have the storage %s", err, ownissuer.Identity(storage))
	}
	if err != nil {
		return err
	}
	if err := h.openUsers(ctx, secret); err != nil {
		return err
	}
	return h.server.Prepare()
}

// clientVariant tells apart how one file of clients is read.
type clientVariant struct{ pepper, issuer string }

// Cleanup gives back what is shared.
func (h *Handler) Cleanup() error {
	h.held.Release()
	return nil
}

// ServeHTTP answers the requests for its own paths.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	e := h.endpoints[r.URL.Path]
	if e == nil {
		return next.ServeHTTP(w, r)
	}
	return h.serve(w, r, e)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)

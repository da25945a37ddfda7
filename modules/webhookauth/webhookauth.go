// Package webhookauth authenticates webhooks as their senders sign them.
package webhookauth

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/webhook"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func init() {
	caddy.RegisterModule(Provider{})
}

const (
	// Name is the name of the provider and of its directive.
	Name = "webhook_auth"

	// CodeInvalid is the code of a webhook whose signature is not accepted
	// (401).
	CodeInvalid = "invalid_webhook_signature"

	// CodeReplayed is the code of a webhook that has been accepted before
	// (401).
	CodeReplayed = "webhook_replayed"

	// CodeTooLarge is the code of a webhook that is too large (413).
	CodeTooLarge = "webhook_too_large"

	// CodeFull is the code of a webhook that cannot be remembered (503).
	CodeFull = "too_many_webhooks"

	defaultRealm   = "restricted"
	defaultLeeway  = 5 * time.Minute
	defaultReplay  = 24 * time.Hour
	defaultMaxBody = 1 << 20
)

// The values of the options.
var (
	leeways = option.Durations{Min: 1, Max: time.Hour, Example: "5m"}
	replays = option.Durations{Min: 1, Max: 30 * 24 * time.Hour, Example: "24h", Off: true}
	bodies  = option.Sizes{Max: 64 << 20, Example: "1MiB"}
)

// Provider authenticates webhooks by the signatures of their senders: GitHub,
// Stripe, Slack, Shopify, and all who follow Standard Webhooks.
//
// The whole content is read, up to a size, and its HMAC with SHA-256 compared
// before the request goes on, with the content as it came. Only POST is accepted,
// since no sender signs the method.
//
// Stripe, Slack and Standard Webhooks sign the time, which may be up to `leeway`
// from now. GitHub and Shopify do not: somebody who has recorded one of their webhooks
// can send it again after `replay`, or after a restart. None signs the path, the query
// or other header fields, such as X-GitHub-Event and X-Shopify-Topic.
//
// A webhook is accepted once. If the response had another status than 2xx, or the
// sender did not wait for it, the webhook is accepted again, since senders retry.
//
// `{http.auth.user.id}` is the user of the sender, or its name,
// `{http.auth.user.roles}`, `{http.auth.user.scopes}` and
// `{http.auth.user.plan}` are those of the sender,
// `{http.auth.user.claims.sender}` the name of the sender, and
// `{http.auth.user.claims.key_id}` which of its secrets was used, from 1.
//
// Rejected requests have the codes invalid_request (400: fields that cannot be
// read, or signatures of two senders), missing_credentials (401),
// invalid_webhook_signature (401: not over this content with one of the secrets,
// another method than POST, or too far from now; the log has the reason),
// webhook_replayed (401), webhook_too_large (413) and too_many_webhooks (503: the
// replay store is full).
//
// In Caddy's own `authentication` handler a webhook is accepted once, whatever the
// response is.
type Provider struct {
	// The senders that are accepted.
	Senders []*Sender `json:"senders,omitempty"`

	// How far the time that is signed may be from now, in the past and in the
	// future. At most 1h. Default: 5m
	Leeway caddy.Duration `json:"leeway,omitempty"`

	// How long webhooks without a signed time, those of GitHub and Shopify, stay
	// in the replay store. At most 30d. The others stay as long as their time is
	// accepted. All sites of a process share one store of a million MACs. It
	// survives reloads. A restart empties it: webhooks with a time before the
	// restart are rejected then. Default: 24h
	Replay caddy.Duration `json:"replay,omitempty"`

	// Whether webhooks are accepted as often as they come.
	ReplayOff bool `json:"replay_off,omitempty"`

	// How large the content may be, in bytes. It is held in memory. At most 64
	// MiB. Default: 1048576
	MaxBody int64 `json:"max_body,omitempty"`

	// The realm of the challenge. Default: restricted
	Realm string `json:"realm,omitempty"`

	// Whether the fields of the signatures are removed before the upstream sees
	// the request.
	Strip bool `json:"strip,omitempty"`

	options credential.Options
	schemes []*webhook.Scheme // of the senders, each once
	used    *used             // nil where nothing is remembered
	held    lifecycle.Held
	now     func() time.Time
}

// CaddyModule returns the Caddy module information.
func (Provider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.authentication.providers.webhook_auth",
		New: func() caddy.Module { return new(Provider) },
	}
}

// Provision loads the secrets.
func (p *Provider) Provision(ctx caddy.Context) error {
	if p.now == nil {
		p.now = time.Now
	}
	if p.Realm == "" {
		p.Realm = defaultRealm
	}
	if err := p.check(); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	if p.Leeway == 0 {
		p.Leeway = caddy.Duration(defaultLeeway)
	}
	if p.Replay == 0 {
		p.Replay = caddy.Duration(defaultReplay)
	}
	if p.MaxBody == 0 {
		p.MaxBody = defaultMaxBody
	}
	if err := p.loadSenders(); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	return p.openReplay(ctx)
}

// check refuses what means nothing. It needs nothing from outside, so that the
// Caddyfile can be checked with it too.
func (p *Provider) check() error {
	switch {
	case len(p.Senders) == 0:
		return errors.New("no sender is given: write github {env.GITHUB_WEBHOOK_SECRET}, or another one")
	case p.Replay != 0 && p.ReplayOff:
		return errors.New("replay is both off and a duration")
	}
	if err := cmp.Or(leeways.Check("leeway", p.Leeway), replays.Check("replay", p.Replay), bodies.Check("max_body", p.MaxBody)); err != nil {
		return err
	}
	users := make(map[string]bool)
	for i, s := range p.Senders {
		if s == nil {
			return fmt.Errorf("sender %d is null", i)
		}
		if err := s.check(); err != nil {
			return err
		}
		if users[s.user()] {
			return fmt.Errorf("two senders are the user %s: write user <id> into the block of one", s.user())
		}
		users[s.user()] = true
	}
	return nil
}

// Cleanup gives back what is shared with other instances.
func (p *Provider) Cleanup() error {
	p.held.Release()
	return nil
}

// Identify verifies the signature of the request.
func (p *Provider) Identify(r *http.Request) (credential.Grant, error) {
	scheme, claim, err := p.read(r.Header)
	if err != nil {
		return credential.Grant{}, explain(err, scheme)
	}
	now := p.now()
	if reqctx.TargetOf(r).Method != http.MethodPost || r.Method != http.MethodPost {
		return credential.Grant{}, explain(errMethod, scheme)
	}
	if err := claim.Fresh(now, time.Duration(p.Leeway)); err != nil {
		return credential.Grant{}, explain(err, scheme) // before the content is read
	}
	body, err := p.readContent(r)
	if err != nil {
		return credential.Grant{}, explain(err, scheme)
	}
	for _, s := range p.Senders {
		if s.scheme != scheme {
			continue
		}
		which, macs, err := claim.Verify(body, s.secrets)
		if err != nil {
			continue
		}
		who := s.principals[which]
		d, err := p.use(r, scheme, macs, claim.Made, now)
		if err != nil {
			e := explainUse(err)
			e.Rule, e.Caller = scheme.Name, who
			return credential.Grant{}, e
		}
		grant := credential.Grant{Principal: who}
		if d != nil {
			grant.Wrap = d.serve
		}
		return grant, nil
	}
	return credential.Grant{}, explain(webhook.ErrMismatch, scheme)
}

// read reads the signature, which must be that of one sender alone.
func (p *Provider) read(h http.Header) (*webhook.Scheme, *webhook.Claim, error) {
	var found *webhook.Scheme
	for _, s := range p.schemes {
		if !s.Present(h) {
			continue
		}
		if found != nil {
			return nil, nil, errSeveral
		}
		found = s
	}
	if found == nil {
		return nil, nil, webhook.ErrMissing
	}
	claim, err := found.Read(h)
	return found, claim, err
}

var (
	errMethod  = errors.New("the method is not POST, and signatures do not cover it")
	errSeveral = errors.New("more than one signature")
)

// explain turns a rejection into what the client is told. The reason is for the
// log.
func explain(err error, s *webhook.Scheme) *credential.Error {
	e := &credential.Error{Kind: credential.Bad, Code: CodeInvalid, Detail: "the signature of the webhook is not accepted", Cause: err}
	switch {
	case errors.Is(err, webhook.ErrMissing):
		return credential.ErrMissing
	case errors.Is(err, errTooLarge):
		e.Kind, e.Code, e.Detail = credential.TooLarge, CodeTooLarge, "the webhook is too large"
	case errors.Is(err, errSeveral), errors.Is(err, webhook.ErrMalformed):
		e.Kind, e.Code, e.Detail = credential.Malformed, credential.CodeInvalidRequest, err.Error()
	case errors.Is(err, errContent):
		e.Kind, e.Code, e.Detail = credential.Malformed, credential.CodeInvalidRequest, errContent.Error()
	}
	if s != nil {
		e.Rule = s.Name
	}
	return e
}

// Places says where signatures stand.
func (p *Provider) Places(r *http.Request) []credential.Place {
	var places []credential.Place
	for _, s := range p.schemes {
		for range r.Header[s.Signature] {
			places = append(places, credential.Place{Kind: principal.KindWebhook, At: "header " + s.Signature})
		}
	}
	return places
}

// Challenges returns the value of WWW-Authenticate (RFC 9110 section 11.6.1). No
// scheme is registered for webhooks.
func (p *Provider) Challenges(why *credential.Error) []string {
	if why == nil || why.Kind == credential.Missing {
		return []string{credential.Challenge("Webhook", "realm", p.Realm)}
	}
	return []string{credential.Challenge("Webhook", "realm", p.Realm, "error", why.Code, "error_description", why.Detail)}
}

// Clean removes the signature from the request if the provider is configured
// so.
func (p *Provider) Clean(r *http.Request) {
	if !p.Strip {
		return
	}
	for _, s := range p.schemes {
		for _, name := range s.Fields {
			delete(r.Header, name)
		}
	}
}

// Traits implements credential.Method.
func (p *Provider) Traits() credential.Traits {
	return credential.Traits{Options: p.options, Vouches: []principal.Source{{Kind: principal.KindWebhook}}, Gives: p.gives()}
}

// gives returns what the senders are given.
func (p *Provider) gives() *credential.Grants {
	all := new(credential.Grants)
	for _, s := range p.Senders {
		all.Add(s.Roles, s.Scopes)
	}
	return all
}

// Authenticate implements caddyauth.Authenticator, for Caddy's own handler.
func (p *Provider) Authenticate(w http.ResponseWriter, r *http.Request) (caddyauth.User, bool, error) {
	return reqctx.Authenticate(p, w, r)
}

// Interface guards
var (
	_ caddy.Provisioner       = (*Provider)(nil)
	_ caddy.CleanerUpper      = (*Provider)(nil)
	_ caddyauth.Authenticator = (*Provider)(nil)
	_ credential.Method       = (*Provider)(nil)
)

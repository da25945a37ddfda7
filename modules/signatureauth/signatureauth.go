// Package signatureauth authenticates requests by HTTP message signatures.
package signatureauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-moat/caddy-moat/modules/internal/filewatch"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/httpsig"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/replay"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/option"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
	"github.com/caddy-moat/caddy-moat/modules/internal/watched"
)

func init() {
	caddy.RegisterModule(Provider{})
}

const (
	// Name is the name of the provider and of its directive.
	Name = "signature_auth"

	// CodeInvalid is the code of a signature that is not accepted (401).
	CodeInvalid = "invalid_signature"

	// CodeReplayed is the code of a signature or nonce that has been used
	// before (401).
	CodeReplayed = "signature_replayed"

	// CodeDigest is the code of content that does not match its digest (401).
	CodeDigest = "content_digest_mismatch"

	// CodeKeyUsed is the code of an Idempotency-Key that has been used before
	// (409).
	CodeKeyUsed = "idempotency_key_used"

	// CodeFull is the code of a signature for which the replay store has no room
	// (503).
	CodeFull = "too_many_signatures"

	defaultRealm  = "restricted"
	defaultMaxAge = 5 * time.Minute
	defaultLeeway = 30 * time.Second
	defaultBody   = 64 << 10

	defaultRemember = 500_000
)

// The values of the options.
var (
	leeways    = option.Durations{Max: 10 * time.Minute, Example: "30s"}
	maxAges    = option.Durations{Min: 1, Max: 24 * time.Hour, Example: "5m"}
	retentions = option.Durations{Min: 1, Example: "24h"}
	bodies     = option.Sizes{Max: 64 << 20, Example: "64KiB"}
	remembered = option.Counts{Min: 1, Max: 50_000_000, Of: "signatures"}
)

// What may be used once.
const (
	// ReplaySignature: the same signature of the same message.
	ReplaySignature = "signature"

	// ReplayNonce: the nonce of a signature, which so is required.
	ReplayNonce = "nonce"

	// ReplayIdempotencyKey: the Idempotency-Key of a request that is not safe.
	ReplayIdempotencyKey = "idempotency_key"

	// ReplayOff: nothing.
	ReplayOff = "off"
)

// Provider authenticates requests by HTTP message signatures (RFC 9421).
//
// A signature is made with one of the keys that are listed here, each with the
// one algorithm that it is for, over at least the parts of the request that
// `components` names. It is valid for some minutes and, by default, for one
// request. It covers the request as the client sent it: rewrites before this
// handler change nothing.
//
// Content is covered by the field Content-Digest (RFC 9530). Up to the size of
// `body` it is read and compared before the request goes on. What is larger
// passes through while it is compared, and its last byte with its end only once
// it agrees: the upstream never sees complete content that was not signed,
// though it may have seen the beginning.
//
// The older signatures of draft-cavage-http-signatures-12, as clients of Kong
// and APISIX and servers of ActivityPub send them, are accepted only with
// `cavage`.
//
// Automated clients that sign by Web Bot Auth
// (draft-ietf-webbotauth-httpsig-protocol-01) are known by the address of the
// directory that has their keys. Only those that `directories` lists are fetched.
//
// The key identifies the caller: `{http.auth.user.id}` is its user, or the key
// ID, `{http.auth.user.roles}`, `{http.auth.user.scopes}` and
// `{http.auth.user.plan}` are those of the key, and
// `{http.auth.user.claims.key_id}` is the key ID. For a key of a directory, the
// user is that of the directory, or its address.
//
// Rejected requests have the codes invalid_request (400: a signature that cannot
// be read, or more than one), missing_credentials (401), invalid_signature (401:
// not made with a known key over this request, too old or not yet valid, or it
// covers too little; the log has the reason), signature_replayed (401),
// content_digest_mismatch (401), idempotency_key_used (409),
// too_many_signatures (503: the replay store is full) and
// identity_provider_unavailable (503: a directory cannot be fetched). With 401, the field
// Accept-Signature (RFC 9421 section 5.1) lists what a signature must cover.
//
// There is no registered scheme for WWW-Authenticate that asks for these
// signatures. The challenge is `Signature`, the one of draft-cavage.
type Provider struct {
	// The keys, beside those of keys_file.
	Keys []*Key `json:"keys,omitempty"`

	// A file with more keys: JSON lines such as
	// `{"keyid":"acme-1","alg":"ed25519","key":"-----BEGIN PUBLIC KEY-----…","user":"acme","roles":["partner"]}`,
	// where key is a key in PEM, a JWK as text, or base64. It may have scopes,
	// plan and disabled besides. It is watched: a change is in force within a
	// second, and a file with errors leaves the last valid keys in force.
	// At load it must exist and be valid. Global placeholders are
	// replaced at load in its name, not in its content.
	KeysFile string `json:"keys_file,omitempty"`

	// Directories in which signers publish their keys (Web Bot Auth). A signature
	// whose key ID is not one of the keys above, and which covers a member of
	// Signature-Agent that names one of these, is verified by the key there.
	Directories []*Directory `json:"directories,omitempty"`

	// What a signature must cover, each as it stands in a signature:
	// `@method`, `content-type`, `@query-param;name="id"`. Default: @method;
	// the authority, by @authority or @target-uri; the path and, if there is
	// one, the query, by @target-uri, @request-target, or @path and @query;
	// and content-digest where there may be content. What stands here
	// replaces all of that; content-digest is still required for requests
	// with content. `signature-agent;key`, a parameter key without a value, is the
	// member of a dictionary field whose key is the signature's own label.
	Components []string `json:"components,omitempty"`

	// Parameters that a signature must have beside created and keyid, each as its
	// name, or as name=value where it must have that value: `expires`,
	// `wimse-aud=https://api.example.com`. Default: none
	Parameters []string `json:"parameters,omitempty"`

	// Parameters that a signature must not have, such as alg. All others that
	// are not registered may stand in it: they are part of what is signed and
	// change nothing else (RFC 9421 section 2.3). Default: none
	Prohibit []string `json:"prohibit,omitempty"`

	// The label or the tag of the signature to verify, if a request may have
	// several. Default: a request may have only one
	Label string `json:"label,omitempty"`
	Tag   string `json:"tag,omitempty"`

	// How old a signature may be. It is accepted until max_age and leeway have
	// passed since created, or since the date of draft-cavage, and no longer than
	// leeway after expires. At most 24h. Default: 5m
	MaxAge caddy.Duration `json:"max_age,omitempty"`

	// How far the clock of a signer may be off, either way: created may lie so far
	// in the future, and max_age and expires are over so much later. At most 10m.
	// Default: 30s
	Leeway *caddy.Duration `json:"leeway,omitempty"`

	// What may be used once: `signature`, the same signature of the same
	// message; `nonce`, the parameter nonce, which each signature must have
	// then; `idempotency_key`, signatures, and besides the covered field
	// Idempotency-Key, which requests must have then whose method is neither
	// safe nor idempotent (RFC 9110 section 9.2); or `off`. With signature,
	// two equal requests in one second need different nonces.
	//
	// Signatures of draft-cavage have no nonce. Unless `signature` is written
	// out, the same one may be used again for up to two seconds after its first
	// use, so that a client may send two equal requests in a second. An attacker
	// who copies a request can replay it within that time.
	//
	// The replay store is in memory and survives reloads. A restart empties it:
	// signatures created before the restart are rejected then, except those of
	// a signer whose clock was ahead, which are dated after it; idempotency
	// keys can be used again, under new signatures. All sites of a process
	// share one store, whatever their other options; a site where replay is off
	// does not use it. An idempotency key belongs to a user at a host, whichever
	// of the user's keys signs. Default: signature, but for draft-cavage
	Replay string `json:"replay,omitempty"`

	// How long idempotency keys stay in the replay store, which has room for two
	// million of all sites. A restart empties it. Default: 24h
	Retention caddy.Duration `json:"retention,omitempty"`

	// How many signatures and nonces the replay store holds, 30 to 60 bytes
	// each. All sites share one store, of the largest size that is configured.
	// An entry stays until no site accepts the signature any more: for the
	// longest max_age and leeway of all sites. When the store is full, requests
	// are rejected with 503 too_many_signatures. Default: 500000
	Remember int `json:"remember,omitempty"`

	// How much of the content is read before the request goes on, in bytes.
	// At most 64 MiB. Default: 65536
	Body int64 `json:"body,omitempty"`

	// Whether signatures of draft-cavage are accepted too, and what they must
	// cover.
	Cavage *Cavage `json:"cavage,omitempty"`

	// Whether responses are signed, and how.
	SignResponses *Responses `json:"sign_responses,omitempty"`

	// The realm of the challenge. Default: restricted
	Realm string `json:"realm,omitempty"`

	// Whether Signature and Signature-Input, and an Authorization that held a
	// signature, are removed before the upstream sees them.
	Strip bool `json:"strip,omitempty"`

	options credential.Options
	policy  *httpsig.Policy
	cavage  *httpsig.Cavage
	inline  keys
	bots    map[string]*bots // by the name of the directory
	span    time.Duration    // for how long after it was created a signature is accepted
	file    *keysFile
	used    replay.Store
	memory  *replay.Memory // what used is in this process, for metrics

	delivered replay.Store // of idempotency keys
	keysUsed  *replay.Memory

	held lifecycle.Held
	now  func() time.Time
}

// Cavage says that signatures of draft-cavage-http-signatures-12 are accepted: in
// the field Authorization with the scheme Signature or, as Kong has it, hmac; and
// in the field Signature, as ActivityPub sends them.
type Cavage struct {
	// What they must cover, in lower case. (request-target) stands for
	// request-line and @request-target too, and date for x-date and (created).
	// Where there may be content, digest must be covered besides. Default:
	// (request-target), host and date
	Headers []string `json:"headers,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (Provider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.authentication.providers.signature_auth",
		New: func() caddy.Module { return new(Provider) },
	}
}

// Provision loads the keys.
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
	var err error
	if p.inline, err = loadKeys(p.Keys); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	if p.KeysFile != "" {
		open := func(path string, report func(filewatch.Event)) (*keysFile, error) {
			return openFile(path, p.inline, report)
		}
		if p.file, err = watched.Open(ctx, &p.held, &keyFiles, p.KeysFile, p.inline.ids(), open); err != nil {
			return fmt.Errorf("%s: %w", Name, err)
		}
	}
	for _, d := range p.Directories {
		if err := p.openDirectory(d); err != nil {
			return fmt.Errorf("%s: directory %s: %w", Name, d.URL, err)
		}
	}
	if err := p.openReplay(); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	if p.SignResponses != nil {
		if err := p.SignResponses.provision(); err != nil {
			return fmt.Errorf("%s: %w", Name, err)
		}
	}
	return p.measure(ctx)
}

// check refuses what means nothing, and makes the policies. It needs nothing
// from outside, so that the Caddyfile can be checked with it too.
func (p *Provider) check() error {
	if len(p.Keys) == 0 && p.KeysFile == "" && len(p.Directories) == 0 {
		return errors.New("no key is given: write key <keyid> <alg> <key>, keys <file>, or directory <url>")
	}
	if err := p.checkDirectories(); err != nil {
		return err
	}
	leeway := defaultLeeway
	if p.Leeway != nil {
		leeway = time.Duration(*p.Leeway)
	}
	maxAge := cmp.Or(time.Duration(p.MaxAge), defaultMaxAge)
	if err := cmp.Or(
		leeways.Check("leeway", caddy.Duration(leeway)), maxAges.Check("max_age", p.MaxAge), bodies.Check("body", p.Body),
		remembered.Check("remember", p.Remember), retentions.Check("retention", p.Retention),
		option.CheckWord("replay", p.Replay, ReplaySignature, ReplayNonce, ReplayIdempotencyKey, ReplayOff),
	); err != nil {
		return err
	}
	switch {
	case p.Retention != 0 && p.Replay != ReplayIdempotencyKey:
		return errors.New("retention has no effect without replay idempotency_key: write that, too, or remove retention")
	case p.Remember != 0 && p.Replay == ReplayOff:
		return errors.New("remember has no effect while replay is off; remove it, or set replay signature")
	}
	p.span = maxAge + leeway
	var err error
	p.policy, err = httpsig.NewPolicy(httpsig.Options{
		Label: p.Label, Tag: p.Tag, Components: p.Components, Parameters: p.Parameters, Prohibited: p.Prohibit,
		MaxAge: maxAge, Leeway: leeway, RequireNonce: p.Replay == ReplayNonce,
	})
	if err != nil {
		return err
	}
	if p.Cavage != nil {
		p.cavage = &httpsig.Cavage{Headers: p.Cavage.Headers, MaxAge: maxAge, Leeway: leeway}
		if err := p.cavage.Check(); err != nil {
			return err
		}
		if p.Replay == ReplayNonce {
			return errors.New("replay nonce: signatures of draft-cavage have no nonce: write replay signature, or leave cavage out")
		}
	}
	if p.SignResponses != nil {
		return p.SignResponses.check()
	}
	return nil
}

// Cleanup gives back what is shared with other instances.
func (p *Provider) Cleanup() error {
	p.held.Release()
	return nil
}

// ring is the keys that are in force for one request, and the one that was
// found: the file may change while the request is looked at.
type ring struct {
	ctx          context.Context
	inline, file keys
	bots         map[string]*bots
	now          func() time.Time
	found        *holder
}

func (p *Provider) ring(ctx context.Context) *ring {
	r := &ring{ctx: ctx, inline: p.inline, bots: p.bots, now: p.now}
	if p.file != nil {
		r.file = *p.file.Value()
	}
	return r
}

// Key returns the key with that ID, nil if there is none or it is disabled. No ID is
// both in the configuration and in the file.
func (r *ring) Key(id string) *httpsig.Key {
	if r.found = r.inline[id]; r.found == nil {
		r.found = r.file[id]
	}
	if r.found == nil || r.found.disabled {
		return nil
	}
	return r.found.key
}

// Identify verifies the signature of the request.
func (p *Provider) Identify(r *http.Request) (credential.Grant, error) {
	m := message(r)
	if fields := p.cavageFields(r); len(fields) > 0 {
		if fields[0] == "Authorization" && p.policy.Present(m) {
			return credential.Grant{}, errSeveral
		}
		return p.identifyCavage(r, m)
	}
	now := p.now()
	ring := p.ring(r.Context())
	res, err := httpsig.Verify(m, p.policy, ring, now)
	if err != nil {
		return credential.Grant{}, explain(err)
	}
	var content *compared
	if res.ContentDigest {
		digest, err := httpsig.ParseContentDigest(r.Header["Content-Digest"])
		if err == nil {
			content, err = p.verifyContent(r, digest)
		}
		if err != nil {
			return credential.Grant{}, withKey(explain(err), res.Key)
		}
	}
	if err := p.use(r, &signed{
		key: res.Key, user: ring.found.principal.ID, nonce: res.Nonce, fingerprint: res.Fingerprint, created: res.Created, until: res.Until, covers: res.Covers,
	}, now); err != nil {
		return credential.Grant{}, withKey(err, res.Key)
	}
	return p.grant(ring.found, content, m, "signature", res.Label), nil
}

func (p *Provider) identifyCavage(r *http.Request, m *httpsig.Message) (credential.Grant, error) {
	now := p.now()
	ring := p.ring(r.Context())
	res, err := p.cavage.Verify(m, ring, now)
	if err != nil {
		return credential.Grant{}, explain(err)
	}
	var content *compared
	if res.Digest != nil {
		if content, err = p.verifyContent(r, res.Digest); err != nil {
			return credential.Grant{}, withKey(explain(err), res.Key)
		}
	}
	if err := p.use(r, &signed{
		key: res.Key, user: ring.found.principal.ID, fingerprint: res.Fingerprint, created: res.Created, until: res.Until, covers: res.Covers, cavage: true,
	}, now); err != nil {
		return credential.Grant{}, withKey(err, res.Key)
	}
	return p.grant(ring.found, content, m, strings.ToLower(res.Field), ""), nil
}

// grant is what a signature gives. content is what is still to be compared, if
// any, and m what a response may be signed for, with the field and the label of
// its signature, before anything is removed from the request.
func (p *Provider) grant(of *holder, content *compared, m *httpsig.Message, field, label string) credential.Grant {
	g := credential.Grant{Principal: of.principal}
	if content == nil && p.SignResponses == nil {
		return g
	}
	s := &serving{content: content}
	if p.SignResponses != nil {
		kept := *m
		kept.Header = m.Header.Clone()
		s.to, s.asked = p.SignResponses, &asked{&kept, field, label}
	}
	g.Wrap = s.serve
	return g
}

// cavageFields returns the fields that hold a signature of draft-cavage, if those
// are accepted.
func (p *Provider) cavageFields(r *http.Request) []string {
	if p.cavage == nil {
		return nil
	}
	return httpsig.CavagePlaces(r.Header)
}

// message is the request as the client has sent it.
func message(r *http.Request) *httpsig.Message {
	t := reqctx.TargetOf(r)
	return &httpsig.Message{
		Method: t.Method, Proto: r.Proto, Scheme: t.Scheme, Authority: t.Host,
		Path: t.URL.EscapedPath(), Query: t.URL.RawQuery, HasQuery: t.URL.RawQuery != "" || t.URL.ForceQuery,
		Header: r.Header, HasContent: reqctx.HasContent(r),
	}
}

var errSeveral = &credential.Error{
	Kind: credential.Malformed, Code: credential.CodeInvalidRequest, Detail: "more than one signature",
}

// explain turns the engine's rejection into what the client is told. The reason
// is for the log.
func explain(err error) *credential.Error {
	var e *httpsig.Error
	if !errors.As(err, &e) {
		// Nothing that the engine says; the content could not be read.
		return &credential.Error{
			Kind: credential.Malformed, Code: credential.CodeInvalidRequest,
			Detail: "the content cannot be read", Cause: err,
		}
	}
	out := &credential.Error{Kind: credential.Bad, Code: CodeInvalid, Detail: e.Error(), Cause: errors.New(e.Reason)}
	switch {
	case errors.Is(err, httpsig.ErrMissing):
		return credential.ErrMissing
	case errors.Is(err, httpsig.ErrMalformed):
		out.Kind, out.Code = credential.Malformed, credential.CodeInvalidRequest
	case errors.Is(err, httpsig.ErrDigest):
		out.Code = CodeDigest
	case errors.Is(err, httpsig.ErrUnavailable):
		out.Kind, out.Code, out.RetryAfter = credential.Unavailable, credential.CodeUnavailable, retryDirectory
	case errors.Is(err, httpsig.ErrProhibited):
		out.Detail = e.Reason // which one is known from the configuration alone
	}
	return out
}

// withKey names the key in what the record says of a rejection.
func withKey(e *credential.Error, k *httpsig.Key) *credential.Error {
	e.Rule = "key " + k.ID
	return e
}

// Places says where signatures stand.
func (p *Provider) Places(r *http.Request) []credential.Place {
	var places []credential.Place
	if len(r.Header["Signature-Input"]) > 0 || len(r.Header["Signature"]) > 0 {
		places = append(places, credential.Place{Kind: "signature", At: "header Signature"})
	}
	if slices.Contains(p.cavageFields(r), "Authorization") {
		places = append(places, credential.Place{Kind: "signature", At: "header Authorization"})
	}
	return places
}

// Challenges returns the value of WWW-Authenticate (RFC 9110 section 11.6.1).
func (p *Provider) Challenges(why *credential.Error) []string {
	if why == nil || why.Kind == credential.Missing {
		return []string{credential.Challenge("Signature", "realm", p.Realm)}
	}
	return []string{credential.Challenge("Signature", "realm", p.Realm, "error", why.Code, "error_description", why.Detail)}
}

// Clean removes the signature from the request if the provider is configured
// so.
func (p *Provider) Clean(r *http.Request) {
	if !p.Strip {
		return
	}
	if slices.Contains(p.cavageFields(r), "Authorization") {
		delete(r.Header, "Authorization")
	}
	delete(r.Header, "Signature")
	delete(r.Header, "Signature-Input")
}

// Traits implements credential.Method.
func (p *Provider) Traits() credential.Traits {
	t := credential.Traits{
		Options: p.options, Reads: p.components(),
		Vouches: []principal.Source{{Kind: principal.KindSignature}}, Gives: p.gives(),
	}
	if p.policy != nil {
		t.Unauthorized = http.Header{"Accept-Signature": p.accepts()}
	}
	return t
}

// accepts says what signatures are asked for (RFC 9421 section 5.1).
func (p *Provider) accepts() (fields []string) {
	if len(p.Keys) > 0 || p.KeysFile != "" {
		fields = append(fields, p.policy.AcceptSignature())
	}
	if len(p.Directories) > 0 {
		fields = append(fields, httpsig.AcceptBotSignature)
	}
	return fields
}

// gives returns what the keys give.
func (p *Provider) gives() *credential.Grants {
	all := new(credential.Grants)
	give := func(of keys) {
		for _, k := range of {
			if k.principal != nil {
				all.Add(k.principal.Roles, k.principal.Scopes)
			}
		}
	}
	give(p.inline)
	if p.file != nil {
		give(*p.file.Value())
	}
	for _, d := range p.Directories {
		all.Add(d.Roles, d.Scopes)
	}
	return all
}

// components returns the header fields that a signature must cover.
func (p *Provider) components() []string {
	var names []string
	for _, c := range p.Components {
		if name, _, _ := strings.Cut(strings.Trim(c, `"`), ";"); !strings.HasPrefix(name, "@") {
			name = strings.Trim(name, `"`)
			names = append(names, name)
		}
	}
	return names
}

// Authenticate implements caddyauth.Authenticator, for Caddy's own handler.
// Responses are not signed there.
func (p *Provider) Authenticate(w http.ResponseWriter, r *http.Request) (caddyauth.User, bool, error) {
	return reqctx.Authenticate(p, w, r)
}

// Interface guards
var (
	_ caddy.Provisioner       = (*Provider)(nil)
	_ caddy.CleanerUpper      = (*Provider)(nil)
	_ caddyauth.Authenticator = (*Provider)(nil)
	_ credential.Method       = (*Provider)(nil)
	_ httpsig.Agents          = (*ring)(nil)
)

// Package clientcertauth authenticates requests by the client certificate of
// the TLS connection.
package clientcertauth

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/clientcert"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/lifecycle"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func init() {
	caddy.RegisterModule(Provider{})
}

const (
	// Name is the name of the provider and of its directive.
	Name = "client_cert_auth"

	// CodeInvalid is the code of a certificate that is not accepted (401).
	CodeInvalid = "invalid_client_certificate"

	// CodeNotAllowed is the code of a good certificate whose holder is not
	// wanted here (403).
	CodeNotAllowed = "client_certificate_not_allowed"

	defaultRealm = "restricted"
)

// Provider authenticates requests by the client certificate of their TLS
// connection (mutual TLS).
//
// A certificate counts only if Caddy has verified it against a trust pool of the
// site, which `tls { client_auth … }` sets up with the mode require_and_verify
// or verify_if_given. A configuration in which connections are made with other
// modes, or without a trust pool, so that any public authority would do, is
// refused, as is one that turns strict_sni_host off where not all connections
// are made alike. A certificate that was not verified never authenticates.
//
// The user of a certificate is its name, or the user that a map gives it. An
// ambiguous certificate is rejected: one with two names of the configured sort,
// or with names that the map gives to different users. So is a certificate with
// a name that cannot be printed.
//
// Connections live long. The dates of the certificate and of its chain are
// checked with each request, and a change of the map is in force within a
// second.
//
// A certificate belongs to the connection and not to the request, so it may
// accompany a token. In `auth { … }` the order decides who the caller is: before
// other methods, it is the user of the certificate, and tokens are not read;
// after them, it is the user of the certificate only if there is no other
// credential. Where tokens are read, a bad one is rejected in either case.
//
// Behind a proxy that ends TLS, the certificate comes in the field Client-Cert
// (RFC 9440) or in another one whose form is given, from the proxies that are
// listed and from no other peer, and is verified here. On their connections, the
// certificate is the proxy's own and does not count. From the requests of other
// peers, that field, Client-Cert and Client-Cert-Chain are removed in every
// spelling, and the upstream never gets any of them.
//
// `{http.auth.user.id}` is the user. Claims, for `forward` and
// `{http.auth.user.claims.<name>}`, are sub (the user), subject, issuer,
// serial, spki, spiffe, plan, not_before and not_after (RFC 3339), and, as
// lists, cn, uri, dns, email, roles and scopes.
//
// Rejected requests have the codes invalid_request (400: a Client-Cert that cannot
// be read or is there twice), missing_credentials (401: no certificate),
// invalid_client_certificate (401: one that is not verified, not valid at this
// time, or ambiguous) and client_certificate_not_allowed (403: a valid one that
// is not in the map or disabled there, not pinned, or of another trust domain;
// the record has the reason, the response does not). 403 tells the client that
// it needs another certificate and not another attempt.
//
// There is no registered scheme for WWW-Authenticate (RFC 9110 section 11.6.1)
// that asks for certificates. The challenge is `ClientCertificate`, which
// clients that do not know it ignore (section 11.1), as they should.
type Provider struct {
	// Which name of a certificate is the user: the first of these sorts that
	// the certificate has. They are uri, dns, email (subject alternative
	// names), subject (RFC 4514), cn, spiffe (a SPIFFE ID) and spki (the pin
	// of the key). Names of different sorts can be spelled alike: list
	// several only if nobody can get a certificate for the name of another.
	// Default: subject, which the authority vouches for as a whole and which
	// cannot be mistaken for a name of another sort.
	Identity []string `json:"identity,omitempty"`

	// The trust domains that SPIFFE IDs may be of. A certificate with an ID
	// of another one is not allowed. Default: all that are in the trust pool
	TrustDomains []string `json:"trust_domains,omitempty"`

	// A file that gives certificates their users: JSON lines such as
	// `{"spiffe":"spiffe://example.org/orders","user":"orders","roles":["clerk"]}`.
	// It is watched: a change is in force within a second, and a file
	// with errors leaves the last valid map in force. At load it must exist and
	// be valid. Global placeholders are replaced at load.
	//
	// Each line has one of spki, serial (with issuer), spiffe, uri, dns, email
	// and subject, and may have user, roles, scopes, plan and disabled. The
	// user is by default the name that the line matches. Lines that match a key
	// or serial number take precedence over those that match names, and disabled
	// takes precedence over everything.
	Map string `json:"map,omitempty"`

	// Whether a certificate that is not in the map is accepted under its own
	// name. By default it is not allowed: a map is a list of all clients.
	AllowUnmapped bool `json:"allow_unmapped,omitempty"`

	// The keys that are allowed: base64 of the SHA-256 of their
	// SubjectPublicKeyInfo (RFC 7469 section 2.4), as `caddy moat cert` prints
	// it. Default: all keys
	Pins []string `json:"pins,omitempty"`

	// Roles that every certificate grants, beside those of the map.
	Roles []string `json:"roles,omitempty"`

	// The name of the header field in which the proxies send the certificate.
	// They must set it in every request, and remove what the client has sent
	// under that name. Default: Client-Cert, with Client-Cert-Chain
	Header string `json:"header,omitempty"`

	// How the certificate stands in that header: `pem_escaped` (PEM,
	// percent-encoded: nginx, AWS), `der_base64` (DER in base64: Cloudflare,
	// Traefik), each perhaps with the certificates of its chain behind it, or
	// `xfcc` (Envoy: of the last element, Cert or Chain). Required with header,
	// and without it the form is that of RFC 9440. An empty field counts
	// as a missing one.
	HeaderForm string `json:"header_form,omitempty"`

	// The addresses of proxies, in CIDR form, whose Client-Cert is trusted.
	// It is the address of the peer of the connection that counts, or what
	// Caddy's listener wrapper proxy_protocol makes of it, whatever
	// trusted_proxies says. Default: none
	Proxies []string `json:"proxies,omitempty"`

	// Files of certificates in PEM form, of the authorities that issue client
	// certificates to those who come through the proxies. They are read at
	// load. Global placeholders are replaced at load. Required with proxies:
	// what a proxy has verified, if anything, cannot be seen from here.
	Trust []string `json:"trust,omitempty"`

	// The realm of the challenge. Default: restricted
	Realm string `json:"realm,omitempty"`

	options  credential.Options
	proxies  []netip.Prefix
	verifier *clientcert.Verifier
	clients  *clientcert.Store // the map
	held     lifecycle.Held
	now      func() time.Time
	ended    func(connection any, now time.Time) bool // whether the certificate of a *tls.ConnectionState is no longer accepted
}

// CaddyModule returns the Caddy module information.
func (Provider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.authentication.providers.client_cert_auth",
		New: func() caddy.Module { return new(Provider) },
	}
}

// Provision reads the map and the authorities.
func (p *Provider) Provision(ctx caddy.Context) error {
	if p.now == nil {
		p.now = time.Now
	}
	p.ended = func(connection any, now time.Time) bool {
		_, err := p.verifier.Connection(connection.(*tls.ConnectionState).VerifiedChains, now)
		return err != nil
	}
	if p.Realm == "" {
		p.Realm = defaultRealm
	}
	if err := p.check(); err != nil {
		return fmt.Errorf("%s: %w", Name, err)
	}
	p.verifier = &clientcert.Verifier{Rules: p.rules()}
	if err := p.loadTrust(); err != nil {
		return err
	}
	if p.Map != "" {
		if err := p.openMap(ctx); err != nil {
			return err
		}
	}
	return lifecycle.CheckLayers(ctx)
}

// check refuses what means nothing. It needs no file, so that the Caddyfile
// can be checked with it too.
func (p *Provider) check() error {
	rules := p.rules()
	if err := rules.Validate(); err != nil {
		return err
	}
	switch {
	case p.AllowUnmapped && p.Map == "":
		return errors.New("allow_unmapped has no effect without a map: write map <file>, too, or remove it")
	case len(p.Proxies) > 0 && len(p.Trust) == 0:
		return errors.New("client_cert_header needs to know who issues the certificates: write trust <ca file>")
	case len(p.Proxies) == 0 && (p.Header != "" || p.HeaderForm != ""):
		return errors.New("client_cert_header needs the addresses of the proxies: write from <cidr>")
	case len(p.Trust) > 0 && len(p.Proxies) == 0:
		return errors.New("trust is for certificates that proxies pass on: write client_cert_header from <cidr>; for those of connections, write tls { client_auth { trust_pool … } } in the site")
	}
	if err := p.checkHeader(); err != nil {
		return err
	}
	var err error
	p.proxies, err = parseProxies(p.Proxies)
	return err
}

func (p *Provider) rules() clientcert.Rules {
	return clientcert.Rules{
		Identity: p.Identity, TrustDomains: p.TrustDomains, Pins: p.Pins, Roles: p.Roles, AllowUnmapped: p.AllowUnmapped,
	}
}

// Cleanup gives back the map.
func (p *Provider) Cleanup() error {
	p.held.Release()
	return nil
}

// Identify says whose the certificate of the request is.
func (p *Provider) Identify(r *http.Request) (credential.Grant, error) {
	if p.fromProxy(r) {
		return p.identifyField(r)
	}
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return credential.Grant{}, credential.ErrMissing
	}
	if len(r.TLS.VerifiedChains) == 0 {
		return credential.Grant{}, errUnverified
	}
	id, err := p.verifier.Connection(r.TLS.VerifiedChains, p.now())
	if err != nil {
		return credential.Grant{}, explain(id, err)
	}
	return credential.Grant{
		Principal: id.Principal,
		Right:     credential.Right{Until: r.TLS.VerifiedChains[0][0].NotAfter, Revoked: p.ended, Proof: r.TLS},
	}, nil
}

// errUnverified rejects a certificate that Caddy was not configured to
// verify. The client has proved that it has the key, and nobody who it is.
var errUnverified = &credential.Error{
	Kind: credential.Bad, Code: CodeInvalid, Detail: "the client certificate is not verified",
	Rule: "tls client_auth does not verify",
}

// explain turns the engine's rejection into what the client is told.
func explain(id *clientcert.Identity, err error) *credential.Error {
	switch {
	case errors.Is(err, clientcert.ErrNotContained):
		return &credential.Error{
			Kind: credential.Malformed, Code: credential.CodeInvalidRequest, Detail: clientcert.ErrField.Error(),
			Rule: "no certificate in the field", Cause: fmt.Errorf("%w: set cert or chain in set_current_client_cert_details of the proxy", err),
		}
	case errors.Is(err, clientcert.ErrField):
		return &credential.Error{Kind: credential.Malformed, Code: credential.CodeInvalidRequest, Detail: err.Error()}
	}
	e := &credential.Error{Kind: credential.Bad, Code: CodeInvalid, Detail: shown(err), Cause: err}
	if clientcert.NotAllowed(err) {
		e.Kind, e.Code, e.Detail = credential.Insufficient, CodeNotAllowed, "the client certificate is not allowed here"
	}
	e.Rule = why(err)
	if id != nil && id.SPKI != "" {
		e.Rule = "key " + id.SPKI + ": " + e.Rule
	}
	return e
}

// reasons are the errors of the engine with what the record says of them.
var reasons = []struct {
	err error
	why string
}{
	{clientcert.ErrUnreadable, "not understood"},
	{clientcert.ErrNobody, "no name of these sorts"},
	{clientcert.ErrSeveral, "several names"},
	{clientcert.ErrExpired, "expired"},
	{clientcert.ErrPending, "not valid yet"},
	{clientcert.ErrUntrusted, "not trusted"},
	{clientcert.ErrTrustDomain, "trust domain"},
	{clientcert.ErrPin, "not pinned"},
	{clientcert.ErrUnmapped, "not in the map"},
	{clientcert.ErrDisabled, "disabled"},
}

func why(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.why
		}
	}
	return "refused"
}

// shown is the sentence of the engine's error that is fit to be shown: without
// what concerns the particular certificate, which is for the log.
func shown(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.err.Error()
		}
	}
	return "the client certificate is not accepted"
}

// Places returns none: what stands on the connection accompanies whatever
// credential the request has, and is not one too many. It is the same with
// what a proxy says about the connection.
func (p *Provider) Places(*http.Request) []credential.Place { return nil }

// Challenges returns the value of WWW-Authenticate (RFC 9110 section 11.6.1).
func (p *Provider) Challenges(why *credential.Error) []string {
	if why == nil || why.Kind == credential.Missing {
		return []string{credential.Challenge(scheme, "realm", p.Realm)}
	}
	return []string{credential.Challenge(scheme, "realm", p.Realm, "error", why.Code, "error_description", why.Detail)}
}

const scheme = "ClientCertificate"

// Clean does nothing: the fields are gone already.
func (p *Provider) Clean(*http.Request) {}

// Traits implements credential.Method.
func (p *Provider) Traits() credential.Traits {
	t := credential.Traits{
		Options: p.options, Believes: p.fields(), Reads: p.fields()[2:], Connection: credential.ConnectionAlone,
		Vouches: []principal.Source{{Kind: principal.KindCertificate}}, Gives: p.gives(),
	}
	if len(p.proxies) > 0 {
		t.Connection = credential.ConnectionOrElse
	}
	return t
}

// gives returns what certificates give: every one, and those of the map.
func (p *Provider) gives() *credential.Grants {
	all := new(credential.Grants)
	all.Add(p.Roles, nil)
	if p.clients != nil {
		for e := range p.clients.Table().Entries() {
			all.Add(e.Roles, e.Scopes)
		}
	}
	return all
}

// Authenticate implements caddyauth.Authenticator, for Caddy's own handler.
func (p *Provider) Authenticate(w http.ResponseWriter, r *http.Request) (caddyauth.User, bool, error) {
	return reqctx.Authenticate(p, w, r, p.fields()...)
}

// Interface guards
var (
	_ caddy.Provisioner       = (*Provider)(nil)
	_ caddy.CleanerUpper      = (*Provider)(nil)
	_ caddyauth.Authenticator = (*Provider)(nil)
	_ credential.Method       = (*Provider)(nil)
)

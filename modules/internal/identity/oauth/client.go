package oauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/apikey"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/clientcert"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/jwk"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// How clients authenticate, as the metadata name it (RFC 7591 section 2, RFC
// 8705 section 2). A client has one of these, and for a secret both of the first.
const (
	MethodNone       = "none" // a public client
	MethodBasic      = "client_secret_basic"
	MethodPost       = "client_secret_post"
	MethodPrivateKey = "private_key_jwt"
	MethodTLS        = "tls_client_auth"
	MethodSelfSigned = "self_signed_tls_client_auth"
)

// What a token is bound to.
const (
	BoundDPoP = "dpop"
	BoundTLS  = "tls"
)

// Bounds of the lifetime of an access token.
const (
	MinLifetime = time.Minute
	MaxLifetime = 24 * time.Hour
)

const maxKeys = 8

// MaxKeys is how large the key set of a client may be, in bytes.
const MaxKeys = 32 << 10

// Client is one entry of the file of clients.
type Client struct {
	ID   string
	Name string // for people

	Created  time.Time
	Expires  time.Time // zero: never
	Disabled bool

	// What it may ask for. Audiences has at least one.
	Grants    []string
	Scopes    []string
	Audiences []string

	// Roles are those of tokens that it gets for itself.
	Roles []string

	// Lifetime is that of its access tokens, 0 for the server's.
	Lifetime time.Duration

	// Bound is what its tokens must be bound to: BoundDPoP, BoundTLS or empty.
	Bound string

	// Introspects are the audiences whose tokens it may ask about, besides its
	// own tokens: it is the resource server.
	Introspects []string

	// Redirects are the addresses that browsers may be sent back to, as texts.
	Redirects []string

	// Public says that it cannot keep a secret (RFC 6749 section 2.1), such as an
	// application in a browser or on a phone.
	Public bool

	// How it authenticates: one of the three, if it is not public.
	Secrets     []apikey.Secret
	JWKS        []byte // a key set (RFC 7517 section 5)
	Certificate Certificate

	keys []*jwk.Key
}

// Certificate is how a client certificate is known.
type Certificate struct {
	// Sort is what Value is: sha256 (of the certificate, in base64url, RFC 8705
	// section 3.1), or, of a certificate that a trusted authority has issued, dns, uri
	// or subject (RFC 4514).
	Sort, Value string
}

// Sorts are those of Certificate.
var Sorts = []string{SHA256Sort, clientcert.DNSSort, clientcert.URISort, clientcert.SubjectSort}

// SHA256Sort is the sort of a certificate that is known by its hash.
const SHA256Sort = "sha256"

// Has reports whether the client may use a grant type.
func (c *Client) Has(grant string) bool { return slices.Contains(c.Grants, grant) }

// Methods returns how the client may authenticate.
func (c *Client) Methods() []string {
	switch {
	case len(c.Secrets) > 0:
		return []string{MethodBasic, MethodPost}
	case c.Public:
		return []string{MethodNone}
	case c.JWKS != nil:
		return []string{MethodPrivateKey}
	case c.Certificate.Sort == SHA256Sort:
		return []string{MethodSelfSigned}
	case c.Certificate.Sort != "":
		return []string{MethodTLS}
	}
	return nil
}

// State says in a word what may become of the client at that time: disabled,
// expired or active.
func (c *Client) State(now time.Time) string {
	switch {
	case c.Disabled:
		return "disabled"
	case !c.Expires.IsZero() && !now.Before(c.Expires):
		return "expired"
	case len(c.Secrets) > 0 && !slices.ContainsFunc(c.Secrets, func(s apikey.Secret) bool { return s.Expires.IsZero() || now.Before(s.Expires) }):
		return "expired"
	}
	return "active"
}

// CheckID says why a text cannot be a client_id, nil if it can.
func CheckID(id string) error {
	const more = "-._~:/"
	if id == "" || len(id) > 128 || strings.ContainsFunc(id, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune(more, r)
	}) {
		return errors.New("an id has 1 to 128 letters, digits and " + more)
	}
	return nil
}

// CheckScope says why a text cannot be a scope, nil if it can (RFC 6749 section
// 3.3). A comma, which lists elsewhere are separated by, is not allowed either.
func CheckScope(s string) error {
	if s == "" || len(s) > 256 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' || r == ',' }) {
		return errors.New("a scope has 1 to 256 printable characters of ASCII other than space, comma, quotation mark and backslash")
	}
	return nil
}

// CheckAudience says why a text cannot be an audience, nil if it can.
func CheckAudience(s string) error {
	if err := apikey.CheckName(s); err != nil {
		return err
	}
	if u, err := url.Parse(s); err != nil || u.Fragment != "" || strings.Contains(s, "#") || s == "*" {
		return errors.New("an audience is a URI without a fragment, or a name") // RFC 8707 section 2
	}
	return nil
}

// CheckGrant says why a text cannot be a grant type, nil if it can.
func CheckGrant(s string) error {
	if !slices.Contains(Grants, s) {
		return fmt.Errorf("a grant is one of %s", strings.Join(Grants, ", "))
	}
	return nil
}

// CheckLifetime says why access tokens cannot be valid for so long.
func CheckLifetime(d time.Duration) error {
	if d < MinLifetime || d > MaxLifetime || d%time.Second != 0 {
		return fmt.Errorf("a lifetime is between %v and %v, in whole seconds", MinLifetime, MaxLifetime)
	}
	return nil
}

// CheckRedirect says why a text cannot be a redirect URI, nil if it can: https, http
// on this machine alone (RFC 8252 section 7.3), or a scheme of an application's own,
// which is the name of a domain in reverse (RFC 8252 section 7.1).
func CheckRedirect(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || len(s) > 2048 || strings.ContainsAny(s, "*#\\ \"<>") || u.User != nil || u.Opaque != "" && !strings.Contains(u.Scheme, "."):
		return errors.New("a redirect URI is absolute, without fragment, user and wildcard, such as https://app.example.com/callback")
	case u.Scheme == "https" && u.Hostname() != "" || strings.Contains(u.Scheme, "."):
	case u.Scheme == "http" && (u.Hostname() == "127.0.0.1" || u.Hostname() == "::1" || u.Hostname() == "localhost"):
	default:
		return errors.New("a redirect URI is https, or http on localhost, or has a scheme such as com.example.app")
	}
	for name := range u.Query() {
		if slices.Contains([]string{"code", "state", "iss", "error", "error_description"}, name) {
			return fmt.Errorf("a redirect URI must not have the parameter %s, which the response has", name)
		}
	}
	return nil
}

func redirect(s string) (string, error) { return s, CheckRedirect(s) }
func scope(s string) (string, error)    { return s, CheckScope(s) }
func audience(s string) (string, error) { return s, CheckAudience(s) }
func grant(s string) (string, error)    { return s, CheckGrant(s) }
func role(s string) (string, error)     { return s, apikey.CheckRole(s) }

// Validate says what is wrong with a client as a whole.
func (c *Client) Validate() error {
	kinds := 0
	for _, has := range []bool{len(c.Secrets) > 0, c.JWKS != nil, c.Certificate.Sort != "", c.Public} {
		if has {
			kinds++
		}
	}
	switch {
	case c.ID == "" || c.Created.IsZero():
		return errors.New("id and created are required")
	case kinds != 1:
		return errors.New("one of secrets, jwks, certificate and public is needed, and one alone")
	case len(c.Secrets) > apikey.MaxSecrets:
		return fmt.Errorf("a client has 1 to %d secrets", apikey.MaxSecrets)
	case len(c.Grants) == 0 && len(c.Introspects) == 0:
		return errors.New("grants or introspects is required: what is the client for?")
	case len(c.Grants) > 0 && len(c.Audiences) == 0:
		return errors.New("audiences is required: the services that its tokens are for")
	case c.Public && (c.Has(GrantClientCredentials) || c.Has(GrantExchange) || len(c.Introspects) > 0):
		return errors.New("a public client has no secret: it gets no tokens for itself, exchanges none and does not introspect")
	case c.Has(GrantCode) != (len(c.Redirects) > 0):
		return errors.New("authorization_code and redirects go together")
	case c.Has(GrantRefresh) && !c.Has(GrantCode):
		return errors.New("refresh_token goes with authorization_code")
	}
	return nil
}

// SetKeys reads the key set of the client.
func (c *Client) SetKeys(text []byte) error {
	keys, skipped, err := jwk.ParseSet(text)
	switch {
	case err != nil:
		return err
	case len(skipped) > 0:
		return skipped[0]
	case len(keys) == 0 || len(keys) > maxKeys:
		return fmt.Errorf("1 to %d public keys are expected", maxKeys)
	}
	var one bytes.Buffer
	if err := json.Compact(&one, text); err != nil {
		return err
	}
	c.keys, c.JWKS = keys, one.Bytes()
	return nil
}

// ParseCertificate reads how a certificate is known: <sort>:<value>.
func ParseCertificate(text string) (Certificate, error) {
	sort, value, _ := strings.Cut(text, ":")
	c := Certificate{sort, value}
	return c, c.check()
}

func (c *Certificate) check() (err error) {
	switch c.Sort {
	case SHA256Sort:
		if b, decodeErr := base64url.DecodeString(c.Value); decodeErr != nil || len(b) != 32 {
			err = errors.New("43 letters of base64url are expected, the SHA-256 of the certificate")
		}
	case clientcert.DNSSort:
		var same string
		if same, err = clientcert.NormalDNS(c.Value); err == nil && same != c.Value {
			err = fmt.Errorf("the name is written %s", same)
		}
	case clientcert.URISort:
		err = clientcert.CheckURI(c.Value)
	case clientcert.SubjectSort:
		if c.Value == "" {
			err = errors.New("it is empty")
		}
	default:
		err = fmt.Errorf("a certificate is known by one of %s", strings.Join(Sorts, ", "))
	}
	return err
}

func (c *Client) append(b []byte) []byte {
	b = append(b, `{"id":`...)
	b = strictjson.AppendString(b, c.ID)
	if c.Name != "" {
		b = append(b, `,"name":`...)
		b = strictjson.AppendString(b, c.Name)
	}
	b = strictjson.AppendTime(b, "created", c.Created)
	b = strictjson.AppendTime(b, "expires", c.Expires)
	if c.Disabled {
		b = append(b, `,"disabled":true`...)
	}
	b = strictjson.AppendList(b, "grants", c.Grants)
	b = strictjson.AppendList(b, "scopes", c.Scopes)
	b = strictjson.AppendList(b, "audiences", c.Audiences)
	b = strictjson.AppendList(b, "roles", c.Roles)
	b = strictjson.AppendList(b, "introspects", c.Introspects)
	b = strictjson.AppendList(b, "redirects", c.Redirects)
	if c.Lifetime != 0 {
		b = append(b, `,"lifetime":`...)
		b = strictjson.AppendString(b, c.Lifetime.String())
	}
	if c.Bound != "" {
		b = append(b, `,"bound":`...)
		b = strictjson.AppendString(b, c.Bound)
	}
	switch {
	case c.Public:
		b = append(b, `,"public":true`...)
	case c.JWKS != nil:
		b = append(b, `,"jwks":`...)
		b = append(b, c.JWKS...)
	case c.Certificate.Sort != "":
		b = append(b, `,"certificate":`...)
		b = strictjson.AppendString(b, c.Certificate.Sort+":"+c.Certificate.Value)
	default:
		b = apikey.AppendSecrets(b, c.Secrets)
	}
	return append(b, '}')
}

// parseClient reads one line of the file.
func parseClient(s *strictjson.Scanner, line []byte) (*Client, error) {
	c := new(Client)
	if err := s.Fields(line, c.set); err != nil {
		return nil, err
	}
	return c, c.Validate()
}

func (c *Client) set(name string, value []byte) (err error) {
	switch name {
	case "id":
		if c.ID, err = strictjson.String(value); err == nil {
			err = CheckID(c.ID)
		}
	case "name":
		if c.Name, err = strictjson.String(value); err == nil {
			err = apikey.CheckName(c.Name)
		}
	case "created":
		c.Created, err = strictjson.Moment(value)
	case "expires":
		c.Expires, err = strictjson.Moment(value)
	case "disabled":
		c.Disabled, err = strictjson.Bool(value)
	case "grants":
		c.Grants, err = strictjson.List(value, grant)
	case "scopes":
		c.Scopes, err = strictjson.List(value, scope)
	case "audiences":
		c.Audiences, err = strictjson.List(value, audience)
	case "roles":
		c.Roles, err = strictjson.List(value, role)
	case "introspects":
		c.Introspects, err = strictjson.List(value, audience)
	case "redirects":
		c.Redirects, err = strictjson.List(value, redirect)
	case "public":
		c.Public, err = strictjson.Bool(value)
	case "lifetime":
		c.Lifetime, err = lifetime(value)
	case "bound":
		if c.Bound, err = strictjson.String(value); err == nil && c.Bound != BoundDPoP && c.Bound != BoundTLS {
			err = errors.New("dpop or tls is expected")
		}
	case "secrets":
		c.Secrets, err = apikey.ParseSecrets(value)
	case "jwks":
		err = c.SetKeys(value)
	case "certificate":
		var text string
		if text, err = strictjson.String(value); err == nil {
			c.Certificate, err = ParseCertificate(text)
		}
	default:
		err = strictjson.ErrUnknown
	}
	return err
}

func lifetime(value []byte) (time.Duration, error) {
	text, err := strictjson.String(value)
	if err != nil {
		return 0, err
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, errors.New("a duration such as 15m is expected")
	}
	return d, CheckLifetime(d)
}

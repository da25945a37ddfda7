package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/apikey"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/clientcert"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/replay"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

var base64url = base64.RawURLEncoding.Strict()

// MaxAssertion is for how long the assertion of a client may be valid. Each is
// remembered that long.
const MaxAssertion = 5 * time.Minute

// assertionType is the client_assertion_type of RFC 7523 section 2.2.
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// presented is what a request has that can authenticate a client.
type presented struct {
	id, method, secret string
}

// authenticate finds out which client sends a request. One that shows two
// credentials is rejected (RFC 6749 section 2.3), as is one whose credentials are
// not of the kind that it is registered with.
func (s *Server) authenticate(ctx context.Context, r *Request) error {
	p, err := r.presented()
	if err != nil {
		return err
	}
	now := s.Now()
	c := s.Clients.Value().clients[p.id]
	switch p.method {
	case MethodBasic:
		err = s.checkSecret(c, p.secret, now)
	case MethodPrivateKey:
		err = s.checkAssertion(ctx, c, p.secret, now)
	default:
		err = checkCertificate(c, r)
	}
	if err != nil {
		return err
	}
	if c.State(now) != "active" {
		return errClient.because(errors.New("the client is " + c.State(now)))
	}
	r.Client = c.Client
	return nil
}

// presented reads the credential of a request.
func (r *Request) presented() (p presented, err error) {
	posted := r.Form.Get("client_secret")
	assertion, kind := r.Form.Get("client_assertion"), r.Form.Get("client_assertion_type")
	n := 0
	for _, has := range []bool{len(r.Authorization) > 0, posted != "", assertion != "" || kind != ""} {
		if has {
			n++
		}
	}
	p.id = r.Form.Get("client_id")
	switch {
	case n > 1 || len(r.Authorization) > 1:
		return p, refuse(CodeInvalidRequest, "the client is authenticated in two ways")
	case len(r.Authorization) == 1:
		id, secret, ok := basic(r.Authorization[0])
		switch {
		case !ok:
			return p, errClient.because(errors.New("the Authorization field has no client ID and secret in Basic"))
		case p.id != "" && p.id != id:
			return p, refuse(CodeInvalidRequest, "client_id is of another client")
		}
		return presented{id, MethodBasic, secret}, nil
	case posted != "":
		p.method, p.secret = MethodBasic, posted
	case assertion != "" || kind != "":
		if kind != assertionType {
			return p, refuse(CodeInvalidRequest, "client_assertion_type is not supported")
		}
		id, ok := claimed(assertion)
		if !ok || p.id != "" && p.id != id {
			return p, errClient.because(errors.New("the assertion is malformed or of another client"))
		}
		p = presented{id, MethodPrivateKey, assertion}
	default:
		p.method = MethodTLS
	}
	if p.id == "" {
		return p, errClient.because(errors.New("no client_id"))
	}
	return p, nil
}

// basic reads credentials of HTTP Basic, whose parts are form-encoded (RFC 6749
// section 2.3.1).
func basic(field string) (id, secret string, ok bool) {
	scheme, text, _ := strings.Cut(field, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return "", "", false
	}
	id, secret, ok = strings.Cut(string(b), ":")
	if !ok {
		return "", "", false
	}
	id, err1 := url.QueryUnescape(id)
	secret, err2 := url.QueryUnescape(secret)
	return id, secret, err1 == nil && err2 == nil && id != ""
}

// checkSecret takes the same steps whether the client is unknown or the secret is
// wrong.
func (s *Server) checkSecret(c *registered, secret string, now time.Time) error {
	mac, ok := s.Clients.pepper.Of(secret)
	if !ok {
		return errClient.because(errors.New("not a client secret"))
	}
	var against [apikey.MaxSecrets]apikey.Secret
	if c != nil {
		copy(against[:], c.Secrets)
	}
	for _, known := range against {
		if same := subtle.ConstantTimeCompare(mac[:], known.MAC[:]) == 1; !same || known.Created.IsZero() {
			continue
		}
		if !known.Expires.IsZero() && !now.Before(known.Expires) {
			return errClient.because(errors.New("the secret has expired"))
		}
		return nil
	}
	return errClient.because(errors.New("unknown client or wrong secret"))
}

// claimed returns the issuer that an assertion names, which nobody has verified.
func claimed(assertion string) (string, bool) {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 || len(assertion) > token.DefaultMaxTokenSize {
		return "", false
	}
	payload, err := base64url.DecodeString(parts[1])
	if err != nil {
		return "", false
	}
	var scan strictjson.Scanner
	if scan.Object(payload) != nil {
		return "", false
	}
	value, ok := scan.Find("iss")
	if !ok {
		return "", false
	}
	id, err := strictjson.String(value)
	return id, err == nil && id != ""
}

// checkAssertion verifies the assertion of a client (RFC 7523 section 3): made by
// the client, about itself, for this server and nobody else, and used once.
func (s *Server) checkAssertion(ctx context.Context, c *registered, assertion string, now time.Time) error {
	if c == nil || c.verifier == nil {
		return errClient.because(errors.New("unknown client, or one without keys"))
	}
	t, err := c.verifier.Verify(ctx, assertion, now)
	if err != nil {
		return errClient.because(err)
	}
	aud, _ := t.Principal.Claims.Lookup(principal.Pointer{"aud"})
	if list, ok := aud.([]any); ok && len(list) > 1 {
		// Whoever else is named could use it here.
		return errClient.because(errors.New("the assertion is for several audiences"))
	}
	switch {
	case t.Principal.ID != c.ID:
		return errClient.because(errors.New("the assertion is about somebody else"))
	case t.Principal.TokenID == "" || t.IssuedAt.IsZero():
		return errClient.because(errors.New("the assertion needs jti and iat"))
	case t.Expires.Sub(t.IssuedAt) > MaxAssertion:
		return errClient.because(errors.New("the assertion is valid for longer than 5 minutes"))
	}
	err = s.Used.Use(ctx, replay.Entry{
		Scope: "client_assertion\x00" + c.ID, Value: t.Principal.TokenID, Made: t.IssuedAt, Until: t.IssuedAt.Add(MaxAssertion + Leeway),
	}, now)
	switch {
	case errors.Is(err, replay.ErrReplayed) || errors.Is(err, replay.ErrOlder):
		return errClient.because(err)
	case err != nil:
		return unavailable(err)
	}
	return nil
}

// checkCertificate compares the certificate of the connection with that of the
// client (RFC 8705 section 2).
func checkCertificate(c *registered, r *Request) error {
	switch {
	case c != nil && c.Public:
		return nil
	case c == nil || c.Certificate.Sort == "":
		return errClient.because(errors.New("no credential of the client"))
	case r.Certificate == nil:
		return errClient.because(errors.New("no client certificate"))
	case c.Certificate.Sort == SHA256Sort:
		if subtle.ConstantTimeCompare([]byte(fingerprint(r)), []byte(c.Certificate.Value)) == 1 {
			return nil
		}
		return errClient.because(errors.New("another client certificate"))
	case !r.Trusted:
		return errClient.because(errors.New("nobody has verified the issuer of the client certificate"))
	}
	names, err := clientcert.Read(r.Certificate)
	if err != nil {
		return errClient.because(err)
	}
	var has []string
	switch c.Certificate.Sort {
	case clientcert.DNSSort:
		has = names.DNS
	case clientcert.URISort:
		has = names.URIs
	case clientcert.SubjectSort:
		has = []string{names.Subject}
	}
	if !slices.Contains(has, c.Certificate.Value) {
		return errClient.because(errors.New("another client certificate"))
	}
	return nil
}

// fingerprint is that of the client certificate, as x5t#S256 has it.
func fingerprint(r *Request) string {
	sum := sha256.Sum256(r.Certificate.Raw)
	return base64url.EncodeToString(sum[:])
}

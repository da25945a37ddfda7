package jwtauth

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"

	"github.com/caddy-moat/caddy-moat/modules/internal/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/token"
)

var (
	errNotBound = &credential.Error{
		Kind: credential.Bad, Code: credential.CodeInvalidToken,
		Detail: "the token is not bound to the client",
	}
	errBoundElsewhere = &credential.Error{
		Kind: credential.Bad, Code: credential.CodeInvalidToken,
		Detail: "the token is bound to another client",
	}
	errBoundUnchecked = &credential.Error{
		Kind: credential.Bad, Code: credential.CodeInvalidToken,
		Detail: "the token is bound in a way that is not accepted here",
	}
)

var confirmation = principal.Pointer{"cnf"}

// checkBinding checks that the token is used by whom it was given to.
func (p *Provider) checkBinding(r *http.Request, t *token.Token) error {
	cnf, has := confirmationOf(t.Principal.Claims)
	if !p.bindTLS {
		if has && (cnf["x5t#S256"] != nil || cnf["jkt"] != nil) {
			// The issuer gave it to one client alone. Nobody here looks
			// whose hands it is in.
			return errBoundUnchecked
		}
		return nil
	}
	if cnf["jkt"] != nil {
		return errBoundUnchecked
	}
	want, ok := cnf["x5t#S256"].(string)
	if !ok {
		return errNotBound
	}
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return errBoundElsewhere
	}
	// RFC 8705 section 3.1: base64url of the SHA-256 of the certificate.
	sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
	got := base64.RawURLEncoding.EncodeToString(sum[:])
	if subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1 {
		return errBoundElsewhere
	}
	return nil
}

// confirmationOf returns the claim cnf, RFC 7800. Most tokens have none, and
// finding that out must not cost decoding all claims: a name is spelled
// plainly unless there is an escape somewhere.
func confirmationOf(c *principal.Claims) (map[string]any, bool) {
	raw := c.Raw()
	if !bytes.Contains(raw, []byte(`"cnf"`)) && bytes.IndexByte(raw, '\\') < 0 {
		return nil, false
	}
	v, _ := c.Lookup(confirmation)
	cnf, ok := v.(map[string]any)
	return cnf, ok
}

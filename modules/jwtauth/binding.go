package jwtauth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/token"
)

func bindingError(detail string) *credential.Error {
	return &credential.Error{Kind: credential.Bad, Code: credential.CodeInvalidToken, Detail: detail}
}

var (
	errNotBound       = bindingError("the token is not bound to the client")
	errBoundElsewhere = bindingError("the token is bound to another client")
	errBoundUnchecked = bindingError("the token is bound in a way that is not accepted here")
	errNotDPoP        = bindingError("the token is to be used with the scheme DPoP")
)

// checkBinding checks that the token is used by whom it was given to. A token
// that says it is bound in a way that is not checked here is refused: its
// issuer gave it to one client alone, and nobody would look whose hands it is
// in.
func (p *Provider) checkBinding(r *http.Request, raw string, cnf *token.Confirmation) error {
	switch {
	case p.bindTLS:
		switch {
		case cnf == nil || cnf.Certificate == "":
			return errNotBound
		case cnf.Key != "" || cnf.Other:
			return errBoundUnchecked
		}
		return checkCertificate(r, cnf.Certificate)
	case p.proofs != nil:
		switch {
		case cnf == nil || cnf.Key == "":
			return errNotBound
		case cnf.Certificate != "" || cnf.Other:
			return errBoundUnchecked
		}
		return p.checkProof(r, raw, cnf.Key)
	case cnf != nil:
		return errBoundUnchecked
	}
	return nil
}

// checkCertificate compares the client's certificate with the one that a
// token is bound to: base64url of its SHA-256, RFC 8705 section 3.1.
func checkCertificate(r *http.Request, want string) error {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return errBoundElsewhere
	}
	sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
	got := base64.RawURLEncoding.EncodeToString(sum[:])
	if subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1 {
		return errBoundElsewhere
	}
	return nil
}

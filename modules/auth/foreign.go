package auth

import (
	"context"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// foreign is an authenticator that is not ours, such as Caddy's http_basic.
// It can only say yes, no and error, and it writes its challenge to the
// response; what it means is worked out here.
type foreign struct {
	name          string
	authenticator caddyauth.Authenticator
}

// identify asks the authenticator. Its response goes to a scratch writer, of
// which only the header fields are kept, and only if it says yes: a session
// cookie, for one.
func (f *foreign) identify(r *http.Request) (credential.Grant, *credential.Error) {
	scratch := &scratchWriter{header: make(http.Header)}
	user, ok, err := f.authenticator.Authenticate(scratch, r)
	switch {
	case err != nil:
		// Per its interface: a technical reason, not a bad credential.
		return credential.Grant{}, &credential.Error{
			Kind: credential.Unavailable, Code: credential.CodeUnavailable,
			Detail: "the credential cannot be checked", Cause: err,
		}
	case ok && principal.CheckID(user.ID) != nil:
		// A success without a user is not an identity.
		return credential.Grant{}, errCredentials
	case ok:
		p := &principal.Principal{ID: user.ID, Kind: f.kind(), Roles: principal.SplitNames(user.Metadata["roles"]), Scopes: principal.SplitNames(user.Metadata["scopes"])}
		return credential.Grant{Principal: p, Header: scratch.header, Metadata: user.Metadata}, nil
	case offers(r, scratch.header):
		return credential.Grant{}, errCredentials
	}
	return credential.Grant{}, credential.ErrMissing
}

var errCredentials = &credential.Error{
	Kind: credential.Bad, Code: credential.CodeInvalidCredentials,
	Detail: "the credentials are not accepted",
}

func (f *foreign) traits() credential.Traits {
	t := credential.Traits{Vouches: []principal.Source{{Kind: f.kind()}}}
	if f.kind() == principal.KindBasic {
		t.Gives = new(credential.Grants) // users and nothing else
	}
	return t
}

func (f *foreign) kind() string {
	if f.name == "http_basic" {
		return principal.KindBasic
	}
	return principal.KindOther
}

// offers reports whether the request has a credential of one of the schemes
// that the challenges ask for, which was then a bad one.
func offers(r *http.Request, h http.Header) bool {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if scheme == "" {
		return false
	}
	for _, challenge := range h["Www-Authenticate"] {
		asked, _, _ := strings.Cut(challenge, " ")
		if strings.EqualFold(scheme, asked) {
			return true
		}
	}
	return false
}

// challenges finds out what the authenticator asks for, by showing it the
// request without any credential.
func (f *foreign) challenges(r *http.Request) []string {
	// A replacer of its own, so that it can leave nothing in the request's.
	ctx := context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
	bare := r.Clone(ctx)
	bare.Header.Del("Authorization")
	bare.Header.Del("Proxy-Authorization")
	bare.Header.Del("Cookie")
	bare.Body = http.NoBody
	scratch := &scratchWriter{header: make(http.Header)}
	if _, ok, err := f.authenticator.Authenticate(scratch, bare); ok || err != nil {
		return nil
	}
	return scratch.header["Www-Authenticate"]
}

// scratchWriter takes the response of an authenticator and forgets its status
// and body.
type scratchWriter struct{ header http.Header }

func (s *scratchWriter) Header() http.Header         { return s.header }
func (s *scratchWriter) WriteHeader(int)             {}
func (s *scratchWriter) Write(p []byte) (int, error) { return len(p), nil }

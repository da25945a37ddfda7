package credential

import (
	"net/http"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// Grant is what a credential that was verified gives to a request.
type Grant struct {
	// Principal is the caller. Other requests may have the same.
	Principal *principal.Principal

	// Right is how long the credential is good, where that can end.
	Right Right

	// Header is added to the response, whoever makes it: the cookie of a
	// session that was renewed, for one. It must not be changed any more.
	Header http.Header

	// Upstream are fields that the request goes on with, in place of
	// what the client has sent under these names.
	Upstream http.Header

	// Metadata is what an authenticator that is not ours says of the caller:
	// {http.auth.user.<name>}.
	Metadata map[string]string

	// Wrap, where it is not nil, serves the rest of the request, by next. An
	// error of it that is an *Error rejects the request after all, as where
	// content that is compared as it is read turns out not to be what was
	// signed; nothing of the response must have been written then.
	Wrap func(w http.ResponseWriter, r *http.Request, next Next) error
}

// Next is the handlers behind the one that authenticates.
type Next = func(http.ResponseWriter, *http.Request) error

// Right is how long a verified credential is good. The zero Right is that of
// a credential of which nobody can say.
type Right struct {
	// Until is when it expires, with the leeway of clocks. Zero where it does
	// not expire by itself.
	Until time.Time

	// Revoked reports whether the credential is no longer accepted. It is
	// asked with Proof, from other goroutines than that of the request. It is
	// no closure over the proof, so that a request that is not a stream need
	// not allocate one.
	Revoked func(proof any, now time.Time) bool
	Proof   any
}

// Ends reports whether the right can end.
func (t *Right) Ends() bool { return !t.Until.IsZero() || t.Revoked != nil }

// Over reports whether the credential has expired or was revoked.
func (t *Right) Over(now time.Time) bool {
	return !t.Until.IsZero() && !now.Before(t.Until) || t.Revoked != nil && t.Revoked(t.Proof, now)
}

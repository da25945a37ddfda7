package rbac

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// steps reports whether the caller's credential comes from an authorization
// server, which could issue another one.
func steps(p *principal.Principal) bool {
	return bearer(p) || p.Kind == principal.KindSession
}

// bearer reports whether the caller's credential is a token.
func bearer(p *principal.Principal) bool {
	return p.Kind == principal.KindJWT || p.Kind == principal.KindOpaque
}

// stepUp returns the authentication with which all readings of the request would
// be allowed.
func stepUp(r *http.Request, p *principal.Principal, as *asked) (policy.StepUp, bool) {
	q := question(p, as.main)
	return as.pol.NeededStepUp(&q, p.Claims, time.Now(), func(claims *principal.Claims, scopes []string) bool {
		with := *p
		with.Claims, with.Scopes = claims, scopes
		d, address := ask(as.pol, r, &with, as.main, as.body)
		d, _ = as.rest(r, &with, d, address)
		return d.Allow
	})
}

// login prints the authentication that is needed.
func login(up *policy.StepUp) string {
	s := "another authentication of the user"
	if len(up.ACRs) > 0 {
		s += ", with acr " + strings.Join(up.ACRs, " or ")
	}
	if up.MaxAge > 0 {
		s += ", at most " + up.MaxAge.String() + " ago"
	}
	if len(up.Scopes) > 0 {
		s += ", and scope " + strings.Join(up.Scopes, " ")
	}
	return s
}

// challenge has the client get a token for which the user was authenticated as the
// policy asks (RFC 9470 section 3).
func challenge(r *http.Request, p *principal.Principal, up policy.StepUp) *problem.Problem {
	reqctx.Of(r).SetStepUp(&credential.StepUp{ACRs: up.ACRs, MaxAge: up.MaxAge})
	scheme := reqctx.ChallengeScheme(r)
	if !bearer(p) {
		scheme = credential.Session
	}
	age := ""
	if up.MaxAge > 0 {
		age = strconv.FormatInt(int64(up.MaxAge/time.Second), 10)
	}
	return &problem.Problem{
		Status: http.StatusUnauthorized, Code: credential.CodeInsufficientAuthentication,
		Detail: "this request needs another authentication of the user",
		Challenges: []string{credential.Challenge(scheme,
			"error", credential.CodeInsufficientAuthentication,
			"error_description", "Another authentication of the user is required",
			"acr_values", strings.Join(up.ACRs, " "), "max_age", age, "scope", strings.Join(up.Scopes, " "))},
	}
}

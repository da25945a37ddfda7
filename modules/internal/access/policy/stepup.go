package policy

import (
	"math"
	"slices"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// StepUp is the authentication that a caller needs instead of the one that there
// was (RFC 9470).
type StepUp struct {
	ACRs   []string      // values of acr of which each will do; none: the one of now
	MaxAge time.Duration // how long ago it may be; 0: however long
	Scopes []string      // that the request needs beside it, those that the caller has included
}

// NeededStepUp returns the authentication with which the request would be
// allowed to its caller, and false where another authentication alone, or
// together with more scopes, would not help.
//
// allowed decides about the request as if the caller had these claims and scopes.
// It is asked once for every way to authenticate that the policy names: this is
// for requests that are refused.
func (p *Policy) NeededStepUp(q *Request, claims *principal.Claims, now time.Time, allowed func(*principal.Claims, []string) bool) (StepUp, bool) {
	if len(p.stepUps.ACRs)+len(p.stepUps.Ages) == 0 || !q.Authenticated || allowed(claims, q.Scopes) {
		return StepUp{}, false
	}
	t := trial{claims, now, q.Scopes, allowed}
	if up, _, ok := t.first(p.stepUps); ok {
		up.Scopes = p.kept(q)
		return up, true
	}
	lacking := p.lacking(q)
	if len(lacking) == 0 || allowed(claims, slices.Concat(q.Scopes, lacking)) {
		return StepUp{}, false // scopes alone are what it takes
	}
	t.scopes = slices.Concat(q.Scopes, lacking)
	up, with, ok := t.first(p.stepUps)
	if !ok {
		return StepUp{}, false
	}
	needed := neededOf(lacking, func(more []string) bool { return allowed(with, slices.Concat(q.Scopes, more)) })
	up.Scopes = append(needed, p.kept(q)...)
	slices.Sort(up.Scopes)
	return up, true
}

// kept returns the scopes of the caller that the request may need: a token that
// is asked for without them would lack them.
func (p *Policy) kept(q *Request) []string {
	return slices.DeleteFunc(p.PossibleScopes(q.Method, q.Path), func(s string) bool { return !slices.Contains(q.Scopes, s) })
}

// StepUps returns what conditions ask of the authentication of callers.
func (p *Policy) StepUps() condition.StepUps { return p.stepUps }

// trial tries ways to authenticate.
type trial struct {
	claims  *principal.Claims
	now     time.Time
	scopes  []string
	allowed func(*principal.Claims, []string) bool
}

// first returns the least that would have the request allowed, and the claims with
// it: that the user logs in again, or in another way, or both. Of several ages, it
// is the longest that will do.
func (t *trial) first(known condition.StepUps) (StepUp, *principal.Claims, bool) {
	ages := append([]time.Duration{0}, known.Ages...)
	for _, age := range known.Ages {
		if with := t.with("", age); t.allowed(with, t.scopes) {
			return StepUp{MaxAge: age}, with, true
		}
	}
	for _, age := range ages {
		up := StepUp{MaxAge: age}
		var found *principal.Claims
		for _, acr := range known.ACRs {
			if with := t.with(acr, age); t.allowed(with, t.scopes) {
				up.ACRs = append(up.ACRs, acr)
				if found == nil {
					found = with
				}
			}
		}
		if found != nil {
			return up, found, true
		}
	}
	return StepUp{}, nil, false
}

// with returns the claims after another authentication; an empty acr and an age
// of 0 leave what is there.
func (t *trial) with(acr string, age time.Duration) *principal.Claims {
	changes := make(map[string]any, 2)
	if acr != "" {
		changes[condition.ClaimACR] = acr
	}
	if age > 0 {
		// Not older than that, though claims have whole seconds.
		changes[condition.ClaimAuthTime] = int64(math.Ceil(float64(t.now.Add(-age).UnixMilli()) / 1000))
	}
	return t.claims.With(changes)
}

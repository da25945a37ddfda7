package rbac

import (
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// calls decides, by the policy that decided on a request, about calls of the
// Model Context Protocol, which the handler mcp behind this one reads.
type calls struct {
	h  *Handler
	in *loaded
}

// callOf is what is asked about every call of a request.
func callOf(r *http.Request) (*policy.Request, *principal.Principal) {
	q := &policy.Request{Method: method(r), Path: r.URL.Path}
	p := reqctx.Principal(r)
	if p != nil {
		q.Authenticated, q.User, q.Source, q.Roles, q.Scopes = true, p.ID, p.Source(), p.Roles, p.Scopes
	}
	return q, p
}

// Decide implements reqctx.Calls.
func (c *calls) Decide(r *http.Request, kind policy.Call, call *condition.Call) reqctx.CallDecision {
	q, p := callOf(r)
	env := environment(r, q, p)
	defer release(env)
	env.Call, env.Body = call, &body{r: r, max: c.h.maxBody()}
	d := reqctx.CallDecision{
		Decision: c.in.policy.DecideCall(kind, call.Name, q),
		Policy:   c.in.digest, DryRun: c.h.DryRun,
	}
	if !d.Allow {
		d.Scopes = c.in.policy.NeededCallScopes(kind, call.Name, q)
	}
	if d.Err != nil {
		c.h.logger.Debug("condition failed", zap.Stringer("rule", d.Failed), zap.Error(d.Err))
	}
	return d
}

// Shows implements reqctx.Calls.
func (c *calls) Shows(r *http.Request, kind policy.Call) func(name string) bool {
	q, p := callOf(r)
	environment(r, q, p) // for as long as the response takes, and not given back
	return func(name string) bool { return c.h.DryRun || c.in.policy.ListCall(kind, name, q).Allow }
}

package rbac

import (
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

var environments = sync.Pool{New: func() any { return new(condition.Env) }}

// environment makes what conditions see of the request and puts it into q.
func environment(r *http.Request, q *policy.Request, p *principal.Principal) *condition.Env {
	ip, _ := reqctx.Vars(r)[caddyhttp.ClientIPVarKey].(string)
	env := environments.Get().(*condition.Env)
	*env = condition.Env{
		Method: q.Method, Path: q.Path, RawQuery: r.URL.RawQuery,
		Header: r.Header, Host: r.Host, ClientIP: ip, Now: time.Now(),
	}
	if p != nil {
		env.Claims, env.User, env.Source, env.Roles, env.Scopes = p.Claims, p.ID, p.Source(), p.Roles, p.Scopes
		env.App = p.App
	}
	q.Env = env
	return env
}

// release gives the environment back. Nothing keeps a hold on it.
func release(env *condition.Env) {
	*env = condition.Env{}
	environments.Put(env)
}

package reqctx

import (
	"net/http"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
	"github.com/caddy-moat/caddy-moat/modules/internal/problem"
)

type (
	loginKey  struct{}
	stepUpKey struct{}
)

// SetLogin has requests for pages that are rejected with 401 lead to a login.
func (c *Context) SetLogin(login credential.Login) { c.Keep(loginKey{}, login) }

// SetStepUp says which authentication the request needs that is about to be
// rejected.
func (c *Context) SetStepUp(needed *credential.StepUp) { c.Keep(stepUpKey{}, needed) }

// login has the user log in instead of a rejection, where that is possible.
func login(w http.ResponseWriter, r *http.Request, p *problem.Problem) (done bool, err error) {
	if p.Status != http.StatusUnauthorized {
		return false, nil
	}
	c := Of(r)
	f, _ := c.Kept(loginKey{}).(credential.Login)
	if f == nil {
		return false, nil
	}
	needed, _ := c.Kept(stepUpKey{}).(*credential.StepUp)
	return f(w, r, needed)
}

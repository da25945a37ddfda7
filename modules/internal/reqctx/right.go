package reqctx

import (
	"net/http"
	"time"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/credential"
)

// Grant leaves word of how long the credential of a request is good. With
// several credentials, the request is good as long as all of them are.
func Grant(r *http.Request, right credential.Right) {
	vars := Vars(r)
	if vars == nil {
		return
	}
	if other, ok := vars[credential.RightVar].(credential.Right); ok {
		right = both{other, right}
	}
	vars[credential.RightVar] = right
}

// both are two rights, of which each is needed.
type both [2]credential.Right

// Until is when the first of them expires.
func (b both) Until() time.Time {
	one, two := b[0].Until(), b[1].Until()
	if one.IsZero() || !two.IsZero() && two.Before(one) {
		return two
	}
	return one
}

// Over reports whether one of them is over.
func (b both) Over(now time.Time) bool { return b[0].Over(now) || b[1].Over(now) }

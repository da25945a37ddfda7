package access

import (
	"net/http"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestParametersThatTheApplicationReadsDifferently: what rbac decides on is
// what Express, PHP, Rails and ASP.NET would read.
func TestParametersThatTheApplicationReadsDifferently(t *testing.T) {
	s := harness.Start(t, `http://localhost:{$PORT} {
	rbac {
		anyone {
			allow GET /reports when `+"`query.tenant == \"a\"`"+`
			allow GET /other when `+"`query.tenant != \"b\"`"+`
			allow GET /open
			deny GET /open when `+"`has(query.admin) && query.admin == \"1\"`"+`
			allow POST /users
			deny POST /users when `+"`has(body.admin) && body.admin`"+`
		}
	}
	respond "served"
}`)
	for target, status := range map[string]int{
		"/reports?tenant=a":                http.StatusOK,
		"/reports?tenant=a&page=2":         http.StatusOK,
		"/reports?tenant=a&tenant[]=b":     http.StatusUnauthorized,
		"/reports?tenant=a&tenant[0]=b":    http.StatusUnauthorized,
		"/reports?tenant=a&tenant[x]=b":    http.StatusUnauthorized,
		"/reports?tenant=a&TENANT=b":       http.StatusUnauthorized,
		"/reports?tenant=a&%20tenant=b":    http.StatusUnauthorized,
		"/reports?tenant=a&tenant%20=b":    http.StatusUnauthorized,
		"/reports?tenant=a;tenant=b":       http.StatusUnauthorized,
		"/reports?tenant=a&tenant=a":       http.StatusUnauthorized,
		"/reports?tenant[]=a":              http.StatusUnauthorized,
		"/other?tenant=a":                  http.StatusOK,
		"/other?tenant=a&tenant[]=b":       http.StatusUnauthorized,
		"/other?Tenant=b":                  http.StatusUnauthorized,
		"/open":                            http.StatusOK,
		"/open?admin=0":                    http.StatusOK,
		"/open?admin=1":                    http.StatusUnauthorized,
		"/open?Admin=1":                    http.StatusUnauthorized,
		"/open?admin[]=1":                  http.StatusUnauthorized,
		"/open?admin=0&admin%00=1":         http.StatusUnauthorized,
		"/open?filter[name]=x&filter[a]=y": http.StatusOK,
	} {
		if a := s.Get("PORT", target); a.StatusCode != status {
			t.Errorf("%s: got %d %s; want %d", target, a.StatusCode, a.Body, status)
		}
	}
	for body, status := range map[string]int{
		`{"name":"x"}`: http.StatusOK, `{"admin":false}`: http.StatusOK, `{"admin":true}`: http.StatusUnauthorized,
		`{"Admin":true}`: http.StatusUnauthorized, `{"ADMIN":true}`: http.StatusUnauthorized, `{"admin":false,"Admin":true}`: http.StatusUnauthorized,
	} {
		if a := s.Do("PORT", "POST", "/users", body, "Content-Type: application/json"); a.StatusCode != status {
			t.Errorf("%s: got %d %s; want %d", body, a.StatusCode, a.Body, status)
		}
	}
}

package rbac

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/requestpath"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func init() {
	caddy.RegisterModule(new(MatchPermission))
}

// MatchPermission matches requests whose caller the policy of rbac would let
// do something: request Path by Method, whatever the request at hand is. So
// a page can look different to those who may change what it shows.
//
// The policy is that of the rbac handler that let the request pass. Before
// any has, such as in a rate limit's zone, it is that of the only rbac handler
// of the configuration. With several, and with none, nothing can be decided,
// and the request fails with status 500.
//
// Conditions see the request at hand with this method and path, without its
// body: one that reads body does not hold. The decision is not recorded.
type MatchPermission struct {
	// The method to check, such as PUT.
	Method string `json:"method,omitempty"`

	// The path to check, such as /orders/7. It is one path, as
	// a request would have it, without wildcards, query and placeholders.
	Path string `json:"path,omitempty"`

	path   string // decoded
	config <-chan struct{}
}

// CaddyModule returns the Caddy module information.
func (*MatchPermission) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.permission",
		New: func() caddy.Module { return new(MatchPermission) },
	}
}

// UnmarshalCaddyfile sets up the matcher. Syntax:
//
//	permission <method> <path>
func (m *MatchPermission) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	for d.Next() {
		if m.Method != "" {
			return d.Err("permission: already specified; name another matcher, or use expression for one of several")
		}
		if !d.Args(&m.Method, &m.Path) || d.NextArg() {
			return d.Err("permission: write a method and a path: permission PUT /orders/7")
		}
		if d.NextBlock(0) {
			return d.Err("permission: it has no block: permission PUT /orders/7")
		}
	}
	if _, err := m.parse(); err != nil {
		return d.Errf("permission: %v", err)
	}
	return nil
}

// parse checks the method and path and returns the path as it is decided on.
func (m *MatchPermission) parse() (string, error) {
	l, err := policy.ParseArgs([]string{m.Method, m.Path, "encoded_slashes"})
	switch {
	case err != nil:
		return "", err
	case len(l.Methods) != 1:
		return "", fmt.Errorf("'%s': name one method", m.Method)
	case strings.ContainsAny(m.Path, "*{}"):
		return "", fmt.Errorf("'%s': name one path, without wildcards and placeholders", m.Path)
	}
	u, err := url.ParseRequestURI(m.Path)
	if err != nil {
		return "", fmt.Errorf("'%s' is not a path", m.Path)
	}
	return requestpath.Whole(m.Method, u)
}

// Provision prepares the request to check.
func (m *MatchPermission) Provision(ctx caddy.Context) (err error) {
	m.config = ctx.Done() // as in Handler
	if m.path, err = m.parse(); err != nil {
		return fmt.Errorf("permission: %w", err)
	}
	return nil
}

// policyKey is the key in the request's context under which rbac keeps the policy
// that it decided by.
type policyKey struct{}

// errNoPolicy and errManyPolicies are why nothing can be decided.
var (
	errNoPolicy     = errors.New("permission: the site has no rbac")
	errManyPolicies = errors.New("permission: the site has several rbac handlers and none has handled this request yet: use the matcher behind one")
)

// Match reports whether the caller has the permission.
func (m *MatchPermission) Match(r *http.Request) bool {
	yes, err := m.MatchWithError(r)
	return yes && err == nil
}

// MatchWithError reports whether the caller has the permission. An error
// means that there is no one policy to ask.
func (m *MatchPermission) MatchWithError(r *http.Request) (bool, error) {
	pol, ok := reqctx.Of(r).Kept(policyKey{}).(*policy.Policy)
	if !ok {
		var err error
		if pol, err = m.only(); err != nil {
			return false, err
		}
	}
	p := reqctx.Principal(r)
	d, address := ask(pol, r, p, reading{method: m.Method, path: m.path}, nil)
	for _, path := range slashed(m.path) {
		if o, _ := ask(pol, r, p, reading{method: m.Method, path: path}, nil); o.Reason == policy.RuleDenies || o.Reason == policy.ConditionFails {
			d = o
		}
	}
	if d.Allow && (p != nil || address) && reqctx.EarlyData(r) {
		return false, caddyhttp.Error(http.StatusTooEarly, reqctx.TooEarly())
	}
	return d.Allow, nil
}

// only returns the policy of the only rbac handler of the configuration.
func (m *MatchPermission) only() (*policy.Policy, error) {
	live.Lock()
	defer live.Unlock()
	var found *policy.Policy
	for h := range live.handlers {
		if h.config != m.config {
			continue
		}
		if found != nil {
			return nil, errManyPolicies
		}
		found = h.active.Load().policy
	}
	if found == nil {
		return nil, errNoPolicy
	}
	return found, nil
}

// Interface guards
var (
	_ caddy.Provisioner                 = (*MatchPermission)(nil)
	_ caddyfile.Unmarshaler             = (*MatchPermission)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchPermission)(nil)
)

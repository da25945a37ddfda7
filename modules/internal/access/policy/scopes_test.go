package policy

import (
	"slices"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
)

func scopePolicy(t *testing.T) *Policy {
	return mustCompile(t, &Document{
		Anyone:        &Block{Allow: []string{"GET /health"}},
		Authenticated: &Block{Allow: []string{"GET /me", "POST /both when has_scope('a:one') && 'a:two' in scopes", "POST /team when claims.team == 'x'"}},
		Roles:         map[string]*Block{"admin": {Allow: []string{"GET /reports", "DELETE /orders/*"}}},
		Scopes: map[string]*Block{
			"orders:read":  {Allow: []string{"GET /orders/*"}},
			"orders:write": {Inherits: []string{"orders:read"}, Allow: []string{"POST /orders/*"}},
			"orders:mine":  {Allow: []string{"GET /orders/{id} when owner('/sub', id)"}},
			"audit":        {Allow: []string{"GET /orders/*"}, Deny: []string{"GET /orders/secret"}},
			"not a scope":  {Allow: []string{"GET /orders/*"}},
		},
	})
}

func TestScopesThatWouldAllowARequest(t *testing.T) {
	p := scopePolicy(t)
	for _, c := range []struct {
		method, path string
		have         []string
		want         []string
	}{
		{"GET", "/orders/1", nil, []string{"audit", "orders:read", "orders:write"}},
		{"GET", "/orders/secret", nil, []string{"orders:read", "orders:write"}},
		{"POST", "/orders/1", []string{"orders:read"}, []string{"orders:write"}},
		{"DELETE", "/orders/1", nil, nil}, // a role is what it takes
		{"GET", "/nothing", nil, nil},
		{"GET", "/me", nil, nil}, // is allowed
		{"POST", "/both", nil, []string{"a:one", "a:two"}},
		{"POST", "/both", []string{"a:one"}, []string{"a:two"}},
		// A scope that denies cannot be made up for.
		{"GET", "/orders/secret", []string{"audit"}, nil},
	} {
		q := &Request{Method: c.method, Path: c.path, Authenticated: true, User: "u", Scopes: c.have}
		q.Env = &condition.Env{Method: c.method, Path: c.path, User: "u", Scopes: c.have}
		if got := p.NeededScopes(q); !slices.Equal(got, c.want) {
			t.Errorf("%s %s with %v: got %v, want %v", c.method, c.path, c.have, got, c.want)
		}
	}
}

func TestScopesOfTheFirstChallenge(t *testing.T) {
	p := scopePolicy(t)
	for _, c := range []struct {
		method, path string
		want         []string
	}{
		{"GET", "/orders/1", []string{"audit", "orders:mine", "orders:read", "orders:write"}},
		{"GET", "/orders/secret", []string{"orders:mine", "orders:read", "orders:write"}},
		{"POST", "/both", []string{"a:one", "a:two"}},
		{"POST", "/team", nil},
		{"GET", "/me", nil},
		{"GET", "/nothing", nil},
		{"GET", "/reports", nil},
	} {
		if got := p.PossibleScopes(c.method, c.path); !slices.Equal(got, c.want) {
			t.Errorf("%s %s: got %v, want %v", c.method, c.path, got, c.want)
		}
	}
}

func TestScopesOfCalls(t *testing.T) {
	p := mustCompile(t, &Document{
		Authenticated: &Block{Allow: []string{"POST /mcp", "tool ping", "tool pay when has_scope('pay')"}},
		Scopes: map[string]*Block{
			"read":  {Allow: []string{"tool get_*"}},
			"write": {Inherits: []string{"read"}, Allow: []string{"tool set_*"}},
			"web":   {Allow: []string{"GET /web"}},
		},
	})
	if got, want := p.CallScopes(), []string{"pay", "read", "write"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for name, want := range map[string][]string{"get_x": {"read", "write"}, "set_x": {"write"}, "pay": {"pay"}, "other": nil} {
		if got := p.NeededCallScopes(Tool, name, &Request{Authenticated: true, Env: &condition.Env{}}); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

package rbac

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

func TestRoleMatchesCallersWithOneOfTheRoles(t *testing.T) {
	m := new(MatchRole)
	if err := m.UnmarshalCaddyfile(caddyfile.NewTestDispenser("role gold silver\nrole bronze")); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		caller *principal.Principal
		want   bool
	}{
		{nil, false},
		{user(), false},
		{user("silver"), true},
		{user("free", "bronze"), true},
		{user("Gold"), false},
		{user("gold,silver"), false},
		{user("golden"), false},
	} {
		got, err := m.MatchWithError(request("GET", "/", tc.caller))
		if err != nil || got != tc.want {
			t.Errorf("%+v: got %v, %v, want %v", tc.caller, got, err, tc.want)
		}
	}
}

func TestRoleMatchesCallersOfForeignAuthenticators(t *testing.T) {
	m := &MatchRole{"gold"}
	r := request("GET", "/", nil)
	reqctx.Replacer(r).Set("http.auth.user.roles", "gold")
	if m.Match(r) {
		t.Error("roles without an identity count")
	}
	reqctx.Replacer(r).Set("http.auth.user.id", "bob")
	if !m.Match(r) {
		t.Error("the role of Caddy's placeholders does not count")
	}
}

func TestMatcherMistakesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"role":                                 "name at least one role",
		"role a a":                             "'a' is repeated",
		`role ""`:                              "the name is empty",
		"role a,b":                             "has no comma",
		"role {http.request.header.X}":         "without placeholders",
		"role a {\n b\n}":                      "has no block",
		"permission":                           "write a method and a path",
		"permission GET":                       "write a method and a path",
		"permission GET /a b":                  "write a method and a path",
		"permission * /a":                      "name one method",
		"permission GET,PUT /a":                "name one method",
		"permission get /a":                    "write 'GET'",
		"permission GET a":                     "must begin with '/'",
		"permission GET /a/*":                  "without wildcards",
		"permission GET /a/{id}":               "without wildcards",
		"permission GET /a/../b":               "never be matched",
		"permission GET /a?b":                  "no query",
		"permission GET /a\npermission GET /b": "already specified",
		"permission GET /a {\n x\n}":           "has no block",
	} {
		var m caddyfile.Unmarshaler = new(MatchRole)
		if strings.HasPrefix(text, "permission") {
			m = new(MatchPermission)
		}
		err := m.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", text, err, want)
		}
	}
	if err := new(MatchRole).Validate(); err == nil {
		t.Error("a role matcher without roles was taken")
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	if err := new(MatchPermission).Provision(ctx); err == nil {
		t.Error("a permission matcher without a question was taken")
	}
}

func permission(t *testing.T, h *Handler, method, path string) *MatchPermission {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	m := &MatchPermission{Method: method, Path: path}
	if err := m.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	m.config = h.config
	return m
}

func TestPermissionIsWhatThePolicyWouldAllow(t *testing.T) {
	h := provision(t, shop)
	for _, tc := range []struct {
		method, path string
		caller       *principal.Principal
		want         bool
	}{
		{"GET", "/orders/7", user("clerk"), true},
		{"PUT", "/orders/7", user("clerk"), false},
		{"PUT", "/orders/7", user("manager"), true},
		{"DELETE", "/orders/7/invoice", user("manager"), false},
		{"GET", "/teams/red/report", user("manager"), true}, // by a condition
		{"GET", "/teams/blue/report", user("manager"), false},
		{"GET", "/orders/7", nil, false},
		{"GET", "/health", nil, true},
	} {
		m := permission(t, h, tc.method, tc.path)
		// Before rbac, in rbac's shadow, and behind it.
		r := request("GET", "/health", tc.caller)
		if got, err := m.MatchWithError(r); err != nil || got != tc.want {
			t.Errorf("%s %s before rbac: got %v, %v, want %v", tc.method, tc.path, got, err, tc.want)
		}
		if _, passed := serve(t, h, r); !passed {
			t.Fatal("/health was refused")
		}
		if got, err := m.MatchWithError(r); err != nil || got != tc.want {
			t.Errorf("%s %s behind rbac: got %v, %v, want %v", tc.method, tc.path, got, err, tc.want)
		}
	}
}

func TestPermissionWithoutOnePolicyIsAnError(t *testing.T) {
	h := provision(t, shop)
	m := permission(t, h, "GET", "/health")
	other := provision(t, "rbac {\n anyone {\n allow GET /a\n}\n}")
	other.config = h.config
	r := request("GET", "/health", nil)
	if got, err := m.MatchWithError(r); got || !errors.Is(err, errManyPolicies) {
		t.Errorf("got %v, %v", got, err)
	}
	if m.Match(r) {
		t.Error("matches all the same")
	}
	serve(t, h, r)
	if got, err := m.MatchWithError(r); !got || err != nil {
		t.Errorf("behind rbac: got %v, %v", got, err)
	}
	m.config = make(chan struct{})
	if got, err := m.MatchWithError(request("GET", "/health", nil)); got || !errors.Is(err, errNoPolicy) {
		t.Errorf("without rbac: got %v, %v", got, err)
	}
	_ = caddyhttp.RequestMatcherWithError(m)
}

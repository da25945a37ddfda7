package access

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

func TestRBACBehindBasicAuth(t *testing.T) {
	s := harness.Start(t, `http://localhost:{$PORT} {
	basic_auth {
		`+harness.BasicUser(t, "alice", "a")+`
		`+harness.BasicUser(t, "bob", "b")+`
	}
	rbac {
		role clerk {
			allow GET /orders/*
		}
		role boss inherits clerk {
			allow * /orders/*
			allow GET /users/{id} when id == user
		}
		authenticated {
			allow GET /me
		}
		user alice roles boss
	}
	respond "{http.rbac.rule}"
}`)
	for _, tc := range []struct {
		user, method, path string
		status             int
		text               string
	}{
		{"", "GET", "/me", 401, ""},
		{"alice", "GET", "/me", 200, "authenticated: allow GET /me"},
		{"alice", "GET", "/orders/1", 200, "role boss: allow * /orders/*"},
		{"alice", "DELETE", "/orders/1", 200, "role boss: allow * /orders/*"},
		{"alice", "GET", "/users/alice", 200, "role boss: allow GET /users/{id} when id == user"},
		{"alice", "GET", "/users/bob", 403, `"code":"forbidden"`},
		{"bob", "GET", "/me", 200, "authenticated: allow GET /me"},
		{"bob", "GET", "/orders/1", 403, `"code":"forbidden"`},
		{"bob", "GET", "/users/bob", 403, `"code":"forbidden"`},
	} {
		var header []string
		if tc.user != "" {
			header = append(header, harness.Basic(tc.user, tc.user[:1]))
		}
		a := s.Do("PORT", tc.method, tc.path, "", header...)
		if a.StatusCode != tc.status || !strings.Contains(a.Body, tc.text) {
			t.Errorf("%s: %s %s: got %d %s; want %d %s", tc.user, tc.method, tc.path, a.StatusCode, a.Body, tc.status, tc.text)
		}
		// Basic is not a bearer token: RFC 6750 has nothing to say here.
		if tc.status == 403 && a.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s: %s: challenge %q", tc.user, tc.path, a.Header.Get("WWW-Authenticate"))
		}
	}
}

func TestSitesOwnErrorPagesShowRefusals(t *testing.T) {
	s := harness.Start(t, `http://localhost:{$PORT} {
	rbac {
		anyone {
			allow GET /ok
		}
	}
	respond "ok"
	handle_errors {
		respond "{http.moat.code} {err.status_code} {http.rbac.rule}"
	}
}`)
	for path, want := range map[string]string{
		"/ok": "ok", "/x": "missing_credentials 401 default: deny", "//": "ambiguous_path 400 path: deny what has two readings",
	} {
		a := s.Get("PORT", path)
		if a.Body != want {
			t.Errorf("%s: got %q; want %q", path, a.Body, want)
		}
		if path == "/x" && a.Header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: header %v", path, a.Header)
		}
	}
}

// TestPolicyFileIsSwappedUnderTraffic changes the file all the time while
// requests are served: each is decided by one policy or the other, a file
// with a mistake changes nothing, and none fails.
func TestPolicyFileIsSwappedUnderTraffic(t *testing.T) {
	harness.Heavy(t)
	// Both policies allow /always; each allows one of /red and /blue.
	policy := func(colour string) string {
		return "anyone:\n  allow: [GET /always, GET /" + colour + "]\n"
	}
	s := harness.Prepare(t, `http://localhost:{$PORT} {
	rbac {
		policy policy.yaml
	}
	respond "served"
}`)
	file := s.WriteFile("policy.yaml", policy("red"))
	s.Run()
	s.Wait()
	before := s.Goroutines()

	var stopped atomic.Bool
	var wg sync.WaitGroup
	client := &http.Client{Timeout: harness.Patience, Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	status := func(path string) int {
		r, err := http.NewRequest(http.MethodGet, "http://"+s.Addr("PORT")+path, http.NoBody)
		if err != nil {
			t.Error(err)
			return 0
		}
		r.Host = "localhost"
		resp, err := client.Do(r)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for !stopped.Load() {
				if got := status("/always"); got != 200 {
					t.Errorf("/always: got %d", got)
				}
				if got := status("/never"); got != 401 {
					t.Errorf("/never: got %d", got)
				}
			}
		}()
	}
	is := func(colour, other string) func() error {
		return func() error {
			if a, b := status("/"+colour), status("/"+other); a != 200 || b != 401 {
				return fmt.Errorf("/%s: %d, /%s: %d", colour, a, other, b)
			}
			return nil
		}
	}
	for i := range 6 {
		colour, other := "blue", "red"
		if i%2 == 1 {
			colour, other = other, colour
		}
		s.WriteFile("policy.yaml.new", policy(colour))
		if err := os.Rename(s.Path("policy.yaml.new"), file); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, is(colour, other))
		s.WriteFile("policy.yaml.new", "anyone: {allow: [GET nonsense]}\n")
		if err := os.Rename(s.Path("policy.yaml.new"), file); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, func() error {
			if n := strings.Count(s.Log.String(), "policy refused"); n <= i {
				return fmt.Errorf("%d faults in the log, want %d", n, i+1)
			}
			return nil
		})
		if err := is(colour, other)(); err != nil {
			t.Errorf("a faulty file changed the policy: %v", err)
		}
	}
	stopped.Store(true)
	wg.Wait()
	for _, want := range []string{
		"policy.yaml:1: anyone: allow: path 'nonsense' must begin with '/'",
		`- anyone: allow GET /red\n+ anyone: allow GET /blue`,
	} {
		if !strings.Contains(s.Log.String(), want) {
			t.Errorf("the log does not say %s", want)
		}
	}

	// With a faulty file the configuration does not load, and stays.
	if err := s.Reload("http://localhost:{$PORT} {\n rbac {\n policy policy.yaml\n}\n}"); err == nil || !strings.Contains(err.Error(), "policy.yaml:1") {
		t.Errorf("reload: got %v", err)
	}
	if err := is("red", "blue")(); err != nil {
		t.Errorf("after a reload that failed: %v", err)
	}
	// Watchers end with their configuration.
	s.WriteFile("policy.yaml", policy("red"))
	for range 5 {
		if err := s.Reload("http://localhost:{$PORT} {\n rbac {\n policy policy.yaml\n}\n respond served\n}"); err != nil {
			t.Fatal(err)
		}
	}
	client.CloseIdleConnections()
	harness.Eventually(t, func() error {
		if now := s.Goroutines(); now > before+10 {
			return fmt.Errorf("%d goroutines, %d before", now, before)
		}
		return nil
	})
}

func TestPolicyCommands(t *testing.T) {
	s := harness.Prepare(t, `http://localhost:{$PORT} {
	rbac {
		policy policy.yaml
		role auditor {
			allow GET /*
		}
	}
}`)
	s.WriteFile("policy.yaml", `roles:
  clerk:
    allow: ["GET /orders/*", "POST /orders"]
  manager:
    inherits: [clerk]
    allow: ["* /orders/*", "GET /teams/{team}/report when team in claims.teams"]
    deny:  ["DELETE /orders/*/invoice"]
scopes: {}
anyone: { allow: ["GET /health"] }
authenticated: {}
users: { alice: [clerk] }
`)
	s.WriteFile("expect.yaml", "config: Caddyfile\ntests:\n  - {user: alice, request: POST /orders, expect: allow}\n  - {request: POST /orders, expect: 401}\n")
	s.WriteFile("wrong.yaml", "config: Caddyfile\ntests:\n  - {request: POST /orders, expect: allow}\n")
	s.WriteFile("broken.yaml", "config: Caddyfile\ntests: {}\n")
	for _, tc := range []struct {
		args string
		code int
		text string
	}{
		{"explain --config Caddyfile --role clerk GET /orders/1", 0, "by role clerk: allow GET /orders/* (policy.yaml:3)"},
		{"explain --config Caddyfile --user alice POST /orders", 0, "ALLOWED: POST /orders, for user alice"},
		{"explain --config Caddyfile --role manager DELETE /orders/1/invoice", 1, "by role manager: deny DELETE /orders/*/invoice (policy.yaml:7)"},
		{"explain --config Caddyfile GET /orders/1", 1, "REFUSED with 401"},
		{"explain --config Nofile GET /orders/1", 2, "no such file"},
		{"policy matrix --config Caddyfile", 0, "role auditor"},
		{"policy matrix --config Caddyfile --csv", 0, "/orders/*/invoice,,,GET,GET,"},
		{"policy test expect.yaml", 0, "2 of 2 expectations met by Caddyfile"},
		{"policy test wrong.yaml", 1, "FAILED test 1"},
		{"policy test broken.yaml", 2, "broken.yaml"},
	} {
		out, err := s.Caddy(append([]string{"moat"}, strings.Fields(tc.args)...)...)
		code := 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		}
		if code != tc.code || !strings.Contains(out, tc.text) {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s", tc.args, code, tc.code, tc.text, out)
		}
	}
}

func TestFaultyPoliciesDoNotLoad(t *testing.T) {
	for block, want := range map[string]string{
		"role a {\n allow GET orders\n}":      "rbac: role a: allow: path 'orders' must begin with '/'",
		"role a inherits b":                   "it inherits 'b', which is not a role of this policy",
		"anyone {\n allow GET /a when usr\n}": "undeclared reference to 'usr'",
		"policy /nonexistent/policy.yaml":     "rbac: policy: open /nonexistent/policy.yaml",
		"policy {env.NOT_SET_ANYWHERE}":       "rbac: policy {env.NOT_SET_ANYWHERE}",
		"":                                    "the policy is empty",
	} {
		if out := harness.FailsToLoad(t, "http://localhost:{$PORT} {\n rbac {\n"+block+"\n}\n}"); !strings.Contains(out, want) {
			t.Errorf("%s:\ngot  %s\nwant %s", block, out, want)
		}
	}
}

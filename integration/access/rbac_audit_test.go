package access

import (
	"fmt"
	"os"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestPolicyChangesAndDecisionsAreOnTheTrail: every decision names its rule,
// and whatever changes a policy leaves its difference.
func TestPolicyChangesAndDecisionsAreOnTheTrail(t *testing.T) {
	site := func(inline string) string {
		return `http://localhost:{$PORT} {
	audit trail
	rbac {
		policy policy.yaml
		` + inline + `
	}
	respond "served"
}
http://localhost:{$PORT2} {
	audit trail
	rbac {
		dry_run
		role other {
			allow GET /other
		}
		anyone {
			allow GET /here
		}
	}
	respond "served"
}`
	}
	s := harness.Prepare(t, site(""))
	file := s.WriteFile("policy.yaml", "anyone: {allow: [GET /red], deny: [GET /red/x]}\n")
	s.Run()
	s.Wait()
	on := func(text string) {
		t.Helper()
		harness.Eventually(t, func() error {
			if harness.CountRecords(t, s.Path("trail"), text) == 0 {
				return fmt.Errorf("no record has %s", text)
			}
			return nil
		})
	}
	for _, path := range []string{"/red", "/red/x", "/blue", "/red//"} {
		s.Get("PORT", path)
	}
	s.Get("PORT2", "/there")
	on(`"rule":"anyone: allow GET /red"`)
	on(`"rule":"anyone: deny GET /red/x"`)
	on(`"rule":"default: deny"`)
	on(`"code":"ambiguous_path"`)
	on(`"rule":"dry_run: missing_credentials by default: deny"`)

	s.WriteFile("policy.new", "anyone: {allow: [GET /blue]}\n")
	if err := os.Rename(s.Path("policy.new"), file); err != nil {
		t.Fatal(err)
	}
	on(`"detail":"- anyone: allow GET /red\n- anyone: deny GET /red/x\n+ anyone: allow GET /blue"`)
	s.WriteFile("policy.yaml", "anyone: {allow: [blue]}\n")
	on(`"what":"policy refused"`)
	s.WriteFile("policy.yaml", "anyone: {allow: [GET /blue]}\n")

	// A reload of the configuration, of inline rules and of the file.
	if err := s.Reload(site("role late {\n allow GET /late\n}")); err != nil {
		t.Fatal(err)
	}
	on(`"detail":"+ role late: allow GET /late"`)
	n := harness.CountRecords(t, s.Path("trail"), `"what":"policy loaded"`)
	if err := s.Reload(site("role late {\n allow GET /late\n}")); err != nil {
		t.Fatal(err)
	}
	s.Get("PORT", "/last")
	on(`"path":"/last"`)
	if now := harness.CountRecords(t, s.Path("trail"), `"what":"policy loaded"`); now != n {
		t.Errorf("a reload that changes no policy left %d records", now-n)
	}
}

// TestChallengesOfOptionalAuthentication: what lets a request pass without a
// credential says what to send, where rbac then refuses.
func TestChallengesOfOptionalAuthentication(t *testing.T) {
	s := harness.Start(t, `http://localhost:{$PORT} {
	jwt_auth {
		issuer internal
		optional
	}
	rbac {
		role clerk {
			allow GET /orders/*
		}
		anyone {
			allow GET /health
		}
	}
	respond "{http.rbac.rule}"
}`)
	clerk := "Authorization: Bearer " + s.Token("--sub", "alice", "--role", "clerk", "--ttl", "5m")
	guest := "Authorization: Bearer " + s.Token("--sub", "bob", "--ttl", "5m")
	for _, tc := range []struct {
		path      string
		header    []string
		status    int
		code      string
		body      string
		challenge string
	}{
		{"/health", nil, 200, "", "anyone: allow GET /health", ""},
		{"/orders/1", nil, 401, "missing_credentials", "", "Bearer"},
		{"/orders/1", []string{clerk}, 200, "", "role clerk: allow GET /orders/*", ""},
		{"/orders/1", []string{guest}, 403, "forbidden", "", ""},
		{"/health", []string{"Authorization: Bearer x.y.z"}, 401, "invalid_token", "", `Bearer error="invalid_token"`},
	} {
		a := s.Get("PORT", tc.path, tc.header...)
		if a.StatusCode != tc.status || a.Code() != tc.code || tc.body != "" && a.Body != tc.body {
			t.Errorf("%s: got %d %s; want %d %s %s", tc.path, a.StatusCode, a.Body, tc.status, tc.code, tc.body)
		}
		got := a.Header.Values("WWW-Authenticate")
		if (len(got) > 0) != (tc.challenge != "") || len(got) > 0 && got[0][:6] != tc.challenge[:6] {
			t.Errorf("%s: challenges %q; want %q", tc.path, got, tc.challenge)
		}
	}
}

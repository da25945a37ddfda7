package agents

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestOpenIDClientLogsInAtTheTokenServer has openid-client, and oauth4webapi in it, as
// the client: metadata, pushed requests, PKCE, iss, DPoP, refresh and revocation.
func TestOpenIDClientLogsInAtTheTokenServer(t *testing.T) {
	dir := npm(t)
	s := harness.Prepare(t, `http://:{$PORT} {
	token_server {
		issuer http://127.0.0.1:{$PORT}
		clients clients.jsonl
		users users.jsonl
	}
}
`)
	const redirect, password = "https://app.example.com/callback", "correct horse battery"
	secret := s.NewClient("web", "--redirect", redirect, "--audience", "orders", "--scope", "orders:read",
		"--grant", "client_credentials", "--grant", "authorization_code", "--grant", "refresh_token")
	user := exec.Command(s.Binary, "moat", "user", "new", "--id", "alice")
	user.Dir, user.Env, user.Stdin = s.WorkDir, s.Env, strings.NewReader(password)
	if out, err := user.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.Run()
	s.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 2*harness.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", filepath.Join(dir, "token_server.mjs"), "http://127.0.0.1:"+s.Ports["PORT"], "web", secret, "alice", password, redirect)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"client_credentials\tbearer orders:read 600", "pushed\turn:ietf:params:oauth:request_uri", "login\t303", "authorization_code\tdpop orders:read",
		"refresh_token\tdpop true", "introspection\ttrue alice DPoP", "mix-up\tOAUTH_INVALID_RESPONSE", "revocation\tfalse", "after it\tinvalid_grant",
	} {
		if !strings.Contains(string(out), want+"\n") {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

package identity

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestPolicyDiffSeesUsers holds that a promotion is a difference, also where
// no rule changes, so that a review by the exit code finds it.
func TestPolicyDiffSeesUsers(t *testing.T) {
	s := harness.Prepare(t, "")
	roles := "roles: { support: { allow: [GET /customers/*] }, manager: { allow: [\"* /customers/*\"] }, seer: { allow: [GET /customers/*] } }\n"
	s.WriteFile("p1.yaml", roles+"users: { lena: [support] }\n")
	s.WriteFile("p2.yaml", roles+"users: { lena: [manager], otto: { roles: [manager], from: api_key } }\n")
	s.WriteFile("p3.yaml", roles+"users: { lena: [seer] }\n")
	site := func(user string) string {
		return ":80 {\nrbac {\nrole support {\nallow GET /customers/*\n}\nrole manager {\nallow * /customers/*\n}\nuser lena roles " + user + "\n}\n}\n"
	}
	s.WriteFile("C1", site("support"))
	s.WriteFile("C2", site("manager"))
	for _, c := range []struct {
		from, to string
		want     []string
	}{
		{"p1.yaml", "p2.yaml", []string{"user lena gains role manager", "user lena loses role support", "user lena gains (other) /customers/*", "user otto from api_key gains role manager", "user otto from api_key gains GET,HEAD,(other) /customers/*"}},
		{"p2.yaml", "p1.yaml", []string{"user lena loses role manager", "user otto from api_key loses role manager"}},
		{"p1.yaml", "p3.yaml", []string{"user lena gains role seer"}}, // which redact may know
		{"C1", "C2", []string{"user lena gains role manager"}},
		{"C1", "C1", nil},
	} {
		out, err := s.Caddy("moat", "policy", "diff", c.from, c.to)
		if (err == nil) != (c.want == nil) || c.want != nil && !strings.Contains(err.Error(), "status 1") {
			t.Errorf("%s %s: got %v\n%s", c.from, c.to, err, out)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want+"\n") {
				t.Errorf("%s %s: %q is not in\n%s", c.from, c.to, want, out)
			}
		}
	}
	// Errors are plain, and a role that no rule is for is said to be none.
	out, err := s.Caddy("moat", "policy", "diff", "p1.yaml", "nowhere.yaml")
	if err == nil || !strings.Contains(err.Error(), "status 2") || !strings.HasPrefix(out, "Error: ") || strings.Contains(out, `"level"`) {
		t.Errorf("got %v\n%s", err, out)
	}
	out, _ = s.Caddy("moat", "explain", "--config", "C1", "--role", "supprot", "GET", "/customers/1")
	if !strings.Contains(out, "no rule of this policy is for role supprot; it has rules for manager support") {
		t.Errorf("got %s", out)
	}
	out, err = s.Caddy("moat", "explain", "--config", "C1", "--user", "lena", "--issuer", "https://x", "GET", "/customers/1")
	if err != nil || !strings.Contains(out, "ALLOWED") || !strings.Contains(out, "user lena from https://x") {
		t.Errorf("got %v\n%s", err, out)
	}
}

// TestTokenMakesNoKeyBehindAServer has another user, whose storage is another.
func TestTokenMakesNoKeyBehindAServer(t *testing.T) {
	s := harness.Start(t, ":{$PORT} {\njwt_auth {\nissuer internal\n}\nrespond {http.auth.user.id}\n}\n")
	out, err := s.Caddy("moat", "token", "--config", "Caddyfile", "--sub", "alice")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err != nil || !strings.Contains(out, "signed with key ") || !strings.Contains(out, s.Dir) || len(lines) != 2 {
		t.Fatalf("got %v\n%s", err, out)
	}
	tok := s.Token("--sub", "alice")
	if a := s.Get("PORT", "/", harness.Bearer(tok)); a.StatusCode != 200 || a.Body != "alice" {
		t.Errorf("got %d %s", a.StatusCode, a.Body)
	}
	other := t.TempDir()
	s.Env = append(s.Env, "HOME="+other, "XDG_DATA_HOME="+filepath.Join(other, "data"))
	if out, err := s.Caddy("moat", "token", "--config", "Caddyfile", "--sub", "alice"); err == nil ||
		!strings.Contains(out, "no key of issuer urn:caddy-moat:internal is in") || !strings.Contains(out, other) || !strings.Contains(out, "the server at "+s.Admin+" has keys of this issuer") || strings.Contains(out, "--new-key") {
		t.Errorf("got %v\n%s", err, out)
	}
	if files, _ := filepath.Glob(filepath.Join(other, "data", "caddy", "moat", "issuer", "*")); len(files) > 0 {
		t.Errorf("a key was made: %q", files)
	}
	if out, err := s.Caddy("moat", "token", "--config", "Caddyfile", "--sub", "alice", "--new-key"); err != nil || !strings.Contains(out, "warning: the server at "+s.Admin+" rejects this token") {
		t.Errorf("got %v\n%s", err, out)
	}
	// Without a server nothing is known but where the key is.
	s.WriteFile("elsewhere", "{\nadmin off\n}\n:1 {\njwt_auth {\nissuer internal {\nname other\n}\n}\n}\n")
	if out, err := s.Caddy("moat", "token", "--config", "elsewhere", "--sub", "alice"); err == nil || !strings.Contains(out, "--new-key") || strings.Contains(out, "server at") {
		t.Errorf("got %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(other, "data", "caddy", "moat", "issuer")); err != nil {
		t.Error(err)
	}
}

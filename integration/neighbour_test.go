package integration

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestAnotherSecurityPluginBesideOurs builds a binary with caddy-security
// beside ours, which has the module names and directives closest to ours, and
// lets each guard a part of one site: no module ID and no directive collides.
func TestAnotherSecurityPluginBesideOurs(t *testing.T) {
	if testing.Short() {
		t.Skip("builds another binary")
	}
	path := filepath.Join(t.TempDir(), "caddy")
	out, err := exec.Command("go", "run", "./build", "-o", path, "-with", "github.com/greenpau/caddy-security@v1.1.64").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	binary(t)
	old := built.path
	built.path = path
	t.Cleanup(func() { built.path = old })

	s := start(t, `
{
	security {
		authorization policy theirs {
			set auth url /login
			crypto key verify 0123456789abcdef0123456789abcdef
			allow roles user
		}
	}
}
:{$PORT} {
	@ours path /ours/*
	jwt_auth @ours {
		issuer internal
	}
	rbac @ours {
		authenticated {
			allow GET /ours/*
		}
	}
	route /theirs/* {
		authorize with theirs
		respond "theirs"
	}
	respond /ours/* "hello {http.auth.user.id}"
}
`)
	if a := s.get("PORT", "/theirs/1"); a.StatusCode == 200 || a.body == "theirs" {
		t.Errorf("the other plugin does not guard its part: %d %s", a.StatusCode, a.body)
	}
	if a := s.get("PORT", "/ours/1"); a.StatusCode != 401 {
		t.Errorf("without a token: %d", a.StatusCode)
	}
	a := s.get("PORT", "/ours/1", "Authorization: Bearer "+s.token("--sub", "alice"))
	if a.StatusCode != 200 || a.body != "hello alice" {
		t.Errorf("with a token: %d %s", a.StatusCode, a.body)
	}
}

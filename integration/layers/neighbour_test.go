package layers

import (
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestAnotherSecurityPluginBesideOurs builds a binary with caddy-security
// beside ours, which has the module names and directives closest to ours, and
// lets each guard a part of one site: no module ID and no directive collides.
func TestAnotherSecurityPluginBesideOurs(t *testing.T) {
	if testing.Short() {
		t.Skip("builds another binary")
	}
	harness.Heavy(t)
	s := harness.Prepare(t, `
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
	s.Binary = harness.Build(t, "-with", "github.com/greenpau/caddy-security@v1.1.64")
	s.Run()
	s.Wait()
	if a := s.Get("PORT", "/theirs/1"); a.StatusCode == 200 || a.Body == "theirs" {
		t.Errorf("the other plugin does not guard its part: %d %s", a.StatusCode, a.Body)
	}
	if a := s.Get("PORT", "/ours/1"); a.StatusCode != 401 {
		t.Errorf("without a token: %d", a.StatusCode)
	}
	a := s.Get("PORT", "/ours/1", "Authorization: Bearer "+s.Token("--sub", "alice"))
	if a.StatusCode != 200 || a.Body != "hello alice" {
		t.Errorf("with a token: %d %s", a.StatusCode, a.Body)
	}
}

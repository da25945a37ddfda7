package integration

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestAnotherSecurityPluginBesideOurs builds a binary with Coraza, a web
// application firewall, beside ours, and lets both guard one site: no module
// ID and no directive collides.
func TestAnotherSecurityPluginBesideOurs(t *testing.T) {
	if testing.Short() {
		t.Skip("builds another binary")
	}
	path := filepath.Join(t.TempDir(), "caddy")
	out, err := exec.Command("go", "run", "./build", "-o", path, "-with", "github.com/corazawaf/coraza-caddy/v2@v2.1.0").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	binary(t)
	old := built.path
	built.path = path
	t.Cleanup(func() { built.path = old })

	s := start(t, `
{
	order coraza_waf first
}
:{$PORT} {
	coraza_waf {
		directives `+"`"+`
			SecRuleEngine On
			SecRule REQUEST_URI "@contains attack" "id:1,phase:1,deny,status:418"
		`+"`"+`
	}
	jwt_auth {
		issuer internal
	}
	rbac {
		authenticated {
			allow GET /*
		}
	}
	respond "hello {http.auth.user.id}"
}
`)
	if a := s.get("PORT", "/attack"); a.StatusCode != 418 {
		t.Errorf("the other plugin does not work: %d", a.StatusCode)
	}
	if a := s.get("PORT", "/"); a.StatusCode != 401 {
		t.Errorf("without a token: %d", a.StatusCode)
	}
	a := s.get("PORT", "/", "Authorization: Bearer "+s.token("--sub", "alice"))
	if a.StatusCode != 200 || a.body != "hello alice" {
		t.Errorf("with a token: %d %s", a.StatusCode, a.body)
	}
}

package identity

import (
	"crypto/rsa"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestGarbledWatchedFileIsRefusedByReload holds that a reload asks of a file
// what a start asks of it, while the server goes on with what it has. How a
// request comes makes no difference here: it sends over HTTP/1.1 alone.
func TestGarbledWatchedFileIsRefusedByReload(t *testing.T) {
	one := harness.NewSigner(t)
	p := &harness.Provider{Keys: map[string]*rsa.PublicKey{"one": &one.Key.PublicKey}}
	w := httptest.NewRecorder()
	p.ServeKeys(w, nil)
	const caddyfile = `
{
	metrics
}
:{$PORT} {
	jwt_auth {
		issuer https://id.test {
			jwks keys.json
			audience api
		}
		revocations revoked.jsonl
	}
	rbac {
		policy policy.yaml
	}
	respond "{http.auth.user.id}"
}
`
	s := harness.Prepare(t, caddyfile)
	good := map[string]string{"keys.json": w.Body.String(), "revoked.jsonl": "", "policy.yaml": "authenticated: {allow: [GET /]}\n"}
	for name, content := range good {
		s.WriteFile(name, content)
	}
	s.Run()
	s.Wait()
	tok := one.Sign(map[string]any{"kid": "one"}, harness.Claims(nil))
	works := func() {
		t.Helper()
		if a := s.Get("PORT", "/", harness.Bearer(tok)); a.StatusCode != 200 {
			t.Errorf("got %d %s", a.StatusCode, a.Body)
		}
	}
	for name, metric := range map[string]string{
		"keys.json":     `caddy_moat_jwks_file_unusable{jwks="keys.json"}`,
		"revoked.jsonl": `caddy_moat_revocation_file_unusable{revocations="revoked.jsonl"}`,
		"policy.yaml":   `caddy_moat_policy_file_unusable{policy="policy.yaml"}`,
	} {
		shows := func(value string) {
			t.Helper()
			harness.Eventually(t, func() error {
				if !strings.Contains(s.Metrics(), metric+" "+value) {
					return fmt.Errorf("%s is not %s", metric, value)
				}
				return nil
			})
		}
		s.WriteFile(name, "{garbled")
		shows("1")
		// After a load that was refused, Caddy shows the metrics of what it
		// refused, not of what runs.
		if err := s.Reload(caddyfile + "# " + name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: a garbled file was loaded: %v", name, err)
		}
		works()
		s.WriteFile(name, good[name])
		if err := s.Reload(caddyfile + "# again " + name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		shows("0")
		works()
	}
}

// TestPolicyWrittenInPlaceOpensNothing holds that the beginning of a policy
// file, which is a policy without the denies at its end, is never in force.
func TestPolicyWrittenInPlaceOpensNothing(t *testing.T) {
	s := harness.Prepare(t, `
:{$PORT} {
	rbac {
		policy policy.yaml
	}
	respond ok
}
`)
	const opening, closing = "anyone:\n  allow:\n    - GET /*\n", "  deny:\n    - GET /admin/*\n"
	s.WriteFile("policy.yaml", opening+closing)
	s.Run()
	s.Wait()
	for range 3 {
		f, err := os.OpenFile(s.Path("policy.yaml"), os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(opening); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
			if a := s.Get("PORT", "/admin/x"); a.StatusCode != 401 {
				t.Fatalf("got %d: half a policy is in force", a.StatusCode)
			}
		}
		if _, err := f.WriteString(closing); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

package agents

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// npm returns the folder of the programs in npm with their packages beside them.
// .ci/run installs these, in a folder of its own: MOAT_NPM.
func npm(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("MOAT_NPM")
	if dir == "" {
		t.Skip("MOAT_NPM does not say where the packages of integration/agents/npm are installed, as .ci/run does it")
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed")
	}
	return dir
}

// node starts a program and returns its first line.
func node(t testing.TB, program string, args ...string) string {
	t.Helper()
	return started(t, "node", append([]string{filepath.Join(npm(t), program)}, args...)...)
}

// nodeClient is client with the official TypeScript SDK.
func nodeClient(t testing.TB, url, token string, env []string, steps ...string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*harness.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", append([]string{filepath.Join(npm(t), "client.mjs"), url, token}, steps...)...)
	cmd.Env = append(os.Environ(), env...)
	return results(t, cmd, steps)
}

// TestTypeScriptSDK has the official TypeScript SDK as the client.
func TestTypeScriptSDK(t *testing.T) {
	npm(t)
	s := harness.Start(t, site, "SECRET="+secret, "UPSTREAM="+startSDK(t))
	url := "http://" + s.Addr("PORT") + "/mcp"
	got := nodeClient(t, url, token(t, s, "clerk"), nil, "tools", "prompts", "resources", "call:search_orders:{}", "call:drop_table", "read:file:///etc/passwd", "tools")
	for step, want := range map[string]string{
		"tools": "refund search_orders", "prompts": "hello", "resources": "file:///docs/a.md",
		"call:drop_table":         "error -32602 this tool is not available to this caller",
		"read:file:///etc/passwd": "error -32602 this resource is not available to this caller",
	} {
		if got[step] != want {
			t.Errorf("%s: got %q, want %q (%s)", step, got[step], want, got["failed"])
		}
	}
	if r := got["call:search_orders:{}"]; !strings.Contains(r, "138****8000") || strings.Contains(r, "13800138000") {
		t.Errorf("result %s", r)
	}
}

// TestClientsFindTheirWayToAToken goes from the first 401 over the metadata and a
// real authorization server to a token and the tools that it is for: with both SDKs,
// which know nothing but the URL.
func TestClientsFindTheirWayToAToken(t *testing.T) {
	npm(t)
	for name, connect := range map[string]func(testing.TB, string, string, []string, ...string) map[string]string{"Go": client, "TypeScript": nodeClient} {
		t.Run(name, func(t *testing.T) {
			s := harness.Prepare(t, "", "UPSTREAM="+startSDK(t))
			resource := "http://127.0.0.1:" + s.Ports["PORT"] + "/mcp"
			issuer := node(t, "provider.mjs", resource, "orders:read", "orders:write")
			s.WriteFile("Caddyfile", `http://:{$PORT} {
	audit trail
	jwt_auth {
		issuer `+issuer+` {
			jwks `+issuer+`/jwks
		}
		resource `+resource+`
	}
	rbac {
		scope orders:read {
			allow GET,POST,DELETE /mcp
			tool search_orders
		}
		scope orders:write inherits orders:read {
			tool refund
		}
	}
	mcp
	reverse_proxy {$UPSTREAM}
}
`)
			s.Run()
			s.Wait()
			got := connect(t, resource, "oauth", []string{"SCOPES=orders:read orders:write"}, "tools", "call:refund", "call:drop_table")
			// The Go SDK puts the scopes together in no order, of which RFC 6749
			// section 3.3 says that it does not matter.
			asked, scopes, _ := strings.Cut(got["authorize"], " scope=")
			each := strings.Fields(scopes)
			slices.Sort(each)
			if asked != "resource="+resource || !slices.Equal(each, []string{"orders:read", "orders:write"}) {
				t.Errorf("asked for %q, want the resource %s and both scopes", got["authorize"], resource)
			}
			if got["tools"] != "refund search_orders" || !strings.Contains(got["call:refund"], "structuredContent") || !strings.HasPrefix(got["call:drop_table"], "error -32602") {
				t.Errorf("got %v", got)
			}
		})
	}
}

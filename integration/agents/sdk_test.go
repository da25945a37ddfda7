package agents

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// goSDK builds the program in sdk, which is a module of its own.
var goSDK = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp(os.Getenv("MOAT_RUN_DIR"), "sdk")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "sdk.exe")
	cmd := exec.Command("go", "build", "-o", file, ".")
	cmd.Dir = "sdk"
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return file, nil
})

// startSDK runs the SDK's server and returns its address.
func startSDK(t testing.TB, args ...string) string {
	t.Helper()
	program, err := goSDK()
	if err != nil {
		t.Skipf("the Go SDK cannot be built, for want of its modules: %v", err)
	}
	return started(t, program, append([]string{"server"}, args...)...)
}

// started runs a program until the test ends, and returns its first line.
func started(t testing.TB, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// client runs steps with the SDK's client and returns what it printed, by step.
func client(t testing.TB, url, token string, env []string, steps ...string) map[string]string {
	t.Helper()
	program, err := goSDK()
	if err != nil {
		t.Skipf("the Go SDK cannot be built, for want of its modules: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*harness.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append([]string{"client", url, token}, steps...)...)
	cmd.Env = append(os.Environ(), env...)
	return results(t, cmd, steps)
}

// results runs a client and returns what it printed, by step.
func results(t testing.TB, cmd *exec.Cmd, steps []string) map[string]string {
	t.Helper()
	out, err := cmd.Output()
	got := map[string]string{}
	for _, line := range strings.Split(string(out), "\n") {
		for _, step := range append(steps, "failed", "authorize") {
			if rest, ok := strings.CutPrefix(line, step+": "); ok {
				got[step] = rest
			}
		}
	}
	if err != nil && got["failed"] == "" {
		t.Fatalf("%v\n%s", err, out)
	}
	return got
}

const secret = "0123456789abcdef0123456789abcdef"

// site is a Caddyfile that guards an MCP server.
const site = `http://:{$PORT} {
	audit trail
	jwt_auth {
		key HS256 {env.SECRET}
		roles /roles
		resource http://127.0.0.1:{$PORT}/mcp {
			authorization_servers https://id.example.com
		}
	}
	rate_limit {
		zone tools {
			match {
				vars {http.mcp.tool} order.export
			}
			key {http.moat.caller}/{http.mcp.tool}
			events 2
			window 1h
		}
	}
	rbac {
		authenticated {
			allow GET,POST,DELETE /mcp
			allow GET,POST /sse
		}
		role clerk {
			tool search_orders
			tool refund when mcp.arguments.amount < 100
			prompt hello
			resource file:///docs/*
		}
		role manager {
			tool *
			resource *
			prompt *
		}
		scope orders:write {
			tool refund
		}
	}
	mcp
	redact {
		mask mobile $..phone
	}
	reverse_proxy {$UPSTREAM}
}
`

func token(t testing.TB, s *harness.Server, roles ...string) string {
	return harness.HS256(t, secret, harness.Claims(map[string]any{"roles": roles, "aud": "http://127.0.0.1:" + s.Ports["PORT"] + "/mcp"}))
}

// TestGoSDK has the official Go SDK on both sides, in each of the revisions and
// transports that it speaks.
func TestGoSDK(t *testing.T) {
	for _, c := range []struct {
		name, path, version string
		server              []string
	}{
		{"stateless", "/mcp", "2026-07-28", []string{"stateless"}},
		{"stateless with JSON", "/mcp", "2026-07-28", []string{"stateless", "json"}},
		{"sessions", "/mcp", "2025-11-25", nil},
		{"sessions with JSON", "/mcp", "2025-11-25", []string{"json"}},
		{"HTTP+SSE", "/sse", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := harness.Start(t, site, "SECRET="+secret, "UPSTREAM="+startSDK(t, c.server...))
			url := "http://" + s.Addr("PORT") + c.path
			const refund, large, search = `call:refund:{"amount":5}`, `call:refund:{"amount":500}`, `call:search_orders:{"query":"订单"}`
			got := client(t, url, token(t, s, "clerk"), nil, "version", "tools", "prompts", "resources", "templates", search, refund, large,
				"call:drop_table", "get:hello", "get:secret", "read:file:///docs/a.md", "read:file:///etc/passwd")
			for step, want := range map[string]string{
				"tools": "refund search_orders", "prompts": "hello", "resources": "file:///docs/a.md", "templates": "file:///docs/{name}",
				large: "error -32602 this tool is not available to this caller", "call:drop_table": "error -32602 this tool is not available to this caller",
				"get:hello": "1", "get:secret": "error -32602 this prompt is not available to this caller",
				"read:file:///docs/a.md": "content", "read:file:///etc/passwd": "error -32602 this resource is not available to this caller",
			} {
				if got[step] != want {
					t.Errorf("%s: got %q, want %q (%s)", step, got[step], want, got["failed"])
				}
			}
			if c.version != "" && got["version"] != c.version {
				t.Errorf("version %s, want %s", got["version"], c.version)
			}
			// Structured content and its text are redacted alike.
			if r := got[search]; !strings.Contains(r, "search_orders 订单") || strings.Contains(r, "13800138000") || strings.Count(r, "138****8000") != 2 {
				t.Errorf("result %s", r)
			}
			if !strings.Contains(got[refund], "refund") || strings.HasPrefix(got[refund], "error") {
				t.Errorf("a small refund: %s", got[refund])
			}
			if got := client(t, url, token(t, s, "manager"), nil, "tools", "call:drop_table"); got["tools"] != "drop_table order.export refund search_orders" || !strings.Contains(got["call:drop_table"], "structuredContent") {
				t.Errorf("manager: %v", got)
			}
			if got := client(t, url, "", nil, "tools"); !strings.Contains(got["failed"], "nauthorized") && !strings.Contains(got["failed"], "401") {
				t.Errorf("without a token: %v", got)
			}
		})
	}
}

// TestToolsAreLimitedOneByOne has a limit whose key is the tool, before mcp, in a
// revision that has it in the body alone.
func TestToolsAreLimitedOneByOne(t *testing.T) {
	s := harness.Start(t, site, "SECRET="+secret, "UPSTREAM="+startSDK(t, "json"))
	tok := token(t, s, "manager")
	call := func(tool string) int {
		return s.Do("PORT", "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+`","arguments":{}}}`,
			harness.Bearer(tok), "Content-Type: application/json", "Accept: application/json, text/event-stream").StatusCode
	}
	for i, want := range []bool{true, true, false, false} {
		if status := call("order.export"); (status != 429) != want {
			t.Errorf("call %d: status %d", i+1, status)
		}
	}
	if status := call("search_orders"); status == 429 {
		t.Error("another tool is limited, too")
	}
}

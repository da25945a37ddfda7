package mcp

import (
	"io"
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// discard is a client that throws its response away.
type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// BenchmarkCall is a call of a tool and its result, with mcp and without. The
// difference is what mcp costs a request:
//
//	go test -run ^$ -bench Call -benchmem ./modules/mcp
func BenchmarkCall(b *testing.B) {
	const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":"orders of November","limit":10},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`
	const result = `{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[{"type":"text","text":"{\"orders\":[{\"id\":1,\"total\":12.50},{\"id\":2,\"total\":99.00}]}"}],"structuredContent":{"orders":[{"id":1,"total":12.50},{"id":2,"total":99.00}]}}}`
	upstream := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, err := io.WriteString(w, result)
		return err
	})
	h := provision(b, "mcp")
	policy := testRules(b, "clerk")
	for name, serve := range map[string]func(http.ResponseWriter, *http.Request) error{
		"without": upstream.ServeHTTP,
		"with":    func(w http.ResponseWriter, r *http.Request) error { return h.ServeHTTP(w, r, upstream) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				r := request("POST", body, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "search")
				reqctx.SetCalls(r, policy)
				if err := serve(&discard{http.Header{}}, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

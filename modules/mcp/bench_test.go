package mcp

import (
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// discard is a client that throws its response away.
type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// messages are what BenchmarkCall sends and gets: a call as agents make them, and
// one with a page of text in it.
var messages = []struct{ name, body, result string }{
	{
		"small",
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":"orders of November","limit":10},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`,
		`{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[{"type":"text","text":"{\"orders\":[{\"id\":1,\"total\":12.50},{\"id\":2,\"total\":99.00}]}"}],"structuredContent":{"orders":[{"id":1,"total":12.50},{"id":2,"total":99.00}]}}}`,
	},
	{
		"page",
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":"` + strings.Repeat("orders of November ", 100) + `","limit":10},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`,
		`{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[{"type":"text","text":"` + strings.Repeat("An order of November. ", 200) + `"}]}}`,
	},
}

// BenchmarkCall is a call of a tool and its result, with mcp and without. The
// difference is what mcp costs a request; cpu-ns/op is processor time, which tells
// on a machine that does other things too:
//
//	go test -run ^$ -bench Call -benchmem -cpu 1 ./modules/mcp
func BenchmarkCall(b *testing.B) {
	for _, m := range messages {
		upstream := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header()["Content-Type"] = []string{"application/json"}
			_, err := io.WriteString(w, m.result)
			return err
		})
		h := provision(b, "mcp")
		policy := testRules(b, "clerk")
		for name, serve := range map[string]func(http.ResponseWriter, *http.Request) error{
			"without": upstream.ServeHTTP,
			"with":    func(w http.ResponseWriter, r *http.Request) error { return h.ServeHTTP(w, r, upstream) },
		} {
			b.Run(m.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				sent := request("POST", m.body, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "search")
				vars := sent.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
				before := cpuTime()
				for range b.N {
					clear(vars)
					r := new(http.Request)
					*r = *sent
					r.Header = maps.Clone(sent.Header)
					r.Body = io.NopCloser(strings.NewReader(m.body))
					reqctx.SetCalls(r, policy)
					if err := serve(&discard{http.Header{}}, r); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

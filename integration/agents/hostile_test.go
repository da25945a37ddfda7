package agents

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

var errNoWarning = errors.New("no warning")

// leaky is an MCP server that says yes to everything and tells everybody of all its
// tools, in whatever form the request's header X-Form asks for.
func leaky(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	forms := map[string]string{
		"":          `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"search_orders"},{"name":"drop_table"}]}}`,
		"twice":     `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"drop_table"},{"name":"drop_table"},{"name":"search_orders"}]}}`,
		"escaped":   `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"n\u0061me":"drop\u005ftable"},{"name":"search_orders"}]}}`,
		"both":      `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"search_orders","name":"drop_table"},{"name":"drop_table","Name":"search_orders"},{"name":"search_orders"}]}}`,
		"other id":  `{"jsonrpc":"2.0","id":99,"result":{"tools":[{"name":"drop_table"},{"name":"search_orders"}]}}`,
		"batch":     `[{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"drop_table"}, {"name":"search_orders"}]}}]`,
		"truncated": `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"search_orders"},{"name":"drop_table"}]`,
		"html":      `<p>drop_table`,
		"untyped":   `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"drop_table"}, {"name":"search_orders"}]}}`,
	}
	form := r.Header.Get("X-Form")
	text := forms[form]
	w.Header().Set("X-Seen", fmt.Sprint(len(body)))
	switch {
	case strings.HasPrefix(form, "split"):
		// The event is cut in the middle of a character.
		w.Header().Set("Content-Type", "text/event-stream")
		event := "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":[{\"name\":\"drop_table\",\"title\":\"删\"},{\"name\":\"search_orders\",\"title\":\"查\"}]}}\n\n"
		for i := range len(event) {
			_, _ = io.WriteString(w, event[i:i+1])
			_ = http.NewResponseController(w).Flush()
		}
		return
	case form == "html":
		w.Header().Set("Content-Type", "text/html")
	case form != "untyped":
		w.Header().Set("Content-Type", "application/json")
	}
	_, _ = io.WriteString(w, text)
}

func TestHostileMessages(t *testing.T) {
	// A small limit: of a body that is much too large, servers do not read the rest.
	small := strings.Replace(site, "\tmcp\n", "\tmcp {\n\t\tmax_body 64KiB\n\t}\n", 1)
	all := harness.StartAll(t, small, "SECRET="+secret, "UPSTREAM="+harness.Upstream(t, leaky))
	clerk := harness.Bearer(token(t, all, "clerk"))
	harness.OverEachProtocol(t, func(t *testing.T, protocol string) { hostileMessages(t, all.Over(protocol), clerk) })
}

// hostileMessages sends all that must be refused or filtered over one protocol.
func hostileMessages(t *testing.T, s *harness.Server, clerk string) {
	post := func(body string, header ...string) *harness.Response {
		return s.Do("PORT", "POST", "/mcp", body, append([]string{clerk, "Content-Type: application/json"}, header...)...)
	}
	call := func(name, args string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + name + `","arguments":` + args + `}}`
	}
	const modern = "MCP-Protocol-Version: 2026-07-28"
	for _, c := range []struct {
		what, body string
		header     []string
		status     int
		code       int
	}{
		{"another tool in the body than in the field", call("drop_table", "{}"), []string{modern, "Mcp-Method: tools/call", "Mcp-Name: search_orders"}, 400, -32020},
		{"another method", call("drop_table", "{}"), []string{modern, "Mcp-Method: tools/list"}, 400, -32020},
		{"no method", call("search_orders", "{}"), []string{modern, "Mcp-Name: search_orders"}, 400, -32020},
		{"no name", call("search_orders", "{}"), []string{modern, "Mcp-Method: tools/call"}, 400, -32020},
		{"another tool in the body, in an older revision", call("drop_table", "{}"), []string{"Mcp-Name: search_orders"}, 400, -32020},
		{"another method, in an older revision", call("drop_table", "{}"), []string{"Mcp-Method: tools/list"}, 400, -32020},
		{"two methods", call("search_orders", "{}"), []string{modern, "Mcp-Method: tools/call", "Mcp-Method: tools/list", "Mcp-Name: search_orders"}, 400, -32020},
		{"a method in capitals in the field", call("search_orders", "{}"), []string{modern, "Mcp-Method: TOOLS/CALL", "Mcp-Name: search_orders"}, 400, -32020},
		{"a name in capitals in the field", call("search_orders", "{}"), []string{modern, "Mcp-Method: tools/call", "Mcp-Name: Search_Orders"}, 400, -32020},
		{"the URI of another resource", `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///etc/passwd"}}`, []string{modern, "Mcp-Method: resources/read", "Mcp-Name: file:///docs/a.md"}, 400, -32020},
		{"a name where none is called", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, []string{modern, "Mcp-Method: tools/list", "Mcp-Name: drop_table"}, 400, -32020},
		{"two versions", call("search_orders", "{}"), []string{modern, "MCP-Protocol-Version: 2025-11-25", "Mcp-Method: tools/call", "Mcp-Name: search_orders"}, 400, -32020},
		{"no version that there is", call("search_orders", "{}"), []string{"MCP-Protocol-Version: draft"}, 400, -32022},
		{"a name that is encoded in a loose way", call("search_orders", "{}"), []string{modern, "Mcp-Method: tools/call", "Mcp-Name: =?base64?c2VhcmNoX29yZGVyc+==?="}, 400, -32020},
		{"two names", call("search_orders", "{}"), []string{modern, "Mcp-Method: tools/call", "Mcp-Name: search_orders", "Mcp-Name: drop_table"}, 400, -32020},
		{"a name that is encoded as another", call("search_orders", "{}"), []string{modern, "Mcp-Method: tools/call", "Mcp-Name: =?base64?ZHJvcF90YWJsZQ==?="}, 400, -32020},
		{"another version", `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`, []string{"MCP-Protocol-Version: 2025-11-25"}, 400, -32020},
		{"a tool in capitals", call("SEARCH_ORDERS", "{}"), nil, 200, -32602},
		{"a tool in full-width letters", call("ｓearch_orders", "{}"), nil, 200, -32602},
		{"a tool in Cyrillic letters", call("sеarch_orders", "{}"), nil, 200, -32602},
		{"a tool with a mark that is not shown", call("search\u200b_orders", "{}"), nil, 200, -32602},
		{"a tool that is written backwards", call("\u202esredro_hcraes", "{}"), nil, 200, -32602},
		{"a tool with a long s", call("ſearch_orders", "{}"), nil, 200, -32602},
		{"a tool with an end of text", call(`search_orders\u0000`, "{}"), nil, 200, -32602},
		{"a tool with half a character", call(`search_orders\ud800`, "{}"), nil, 400, -32700},
		{"a tool that is escaped", call(`drop\u005ftable`, "{}"), nil, 200, -32602},
		{"a method that is escaped", `{"jsonrpc":"2.0","id":1,"m\u0065thod":"tools\/call","params":{"n\u0061me":"drop_table"}}`, nil, 200, -32602},
		{"a method in capitals", `{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"drop_table"}}`, nil, 200, -32601},
		{"a member in capitals", `{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call","params":{"name":"drop_table"}}`, nil, 400, -32600},
		{"an id of null", `{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"drop_table"}}`, nil, 400, -32600},
		{"two messages", call("search_orders", "{}") + "\n" + call("drop_table", "{}"), nil, 400, -32700},
		{"a tool with a space", call("search_orders ", "{}"), nil, 200, -32602},
		{"a tool that may not be called", call("drop_table", "{}"), nil, 200, -32602},
		{"arguments in two spellings", call("refund", `{"amount":1,"Amount":1000}`), nil, 200, -32602},
		{"arguments twice", call("refund", `{"amount":1,"amount":1000}`), nil, 400, -32700},
		{"a batch", "[" + call("search_orders", "{}") + "]", nil, 400, -32600},
		{"a batch in a batch", "[[" + call("search_orders", "{}") + "]]", nil, 400, -32600},
		{"large arguments", call("search_orders", `{"q":"`+strings.Repeat("x", 65<<10)+`"}`), nil, 413, -32600},
		{"deep arguments", call("search_orders", strings.Repeat(`{"a":`, 1000)+"1"+strings.Repeat("}", 1000)), nil, 400, -32700},
		{"a resource with dots", `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///docs/../etc/passwd"}}`, nil, 200, -32602},
		{"a prompt in a completion", `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"secret"},"argument":{"name":"a","value":"b"}}}`, nil, 200, -32602},
	} {
		r := post(c.body, c.header...)
		var doc struct {
			Error struct{ Code int }
		}
		_ = json.Unmarshal([]byte(r.Body), &doc)
		if r.StatusCode != c.status || doc.Error.Code != c.code || r.Header.Get("X-Seen") != "" {
			t.Errorf("%s: %d %.200s (the server has seen %q)", c.what, r.StatusCode, r.Body, r.Header.Get("X-Seen"))
		}
	}
	// A call that nobody waits for is not made.
	if r := post(`{"jsonrpc":"2.0","method":"tools/call","params":{"name":"drop_table"}}`); r.StatusCode != 202 || r.Header.Get("X-Seen") != "" {
		t.Errorf("notification: %d %s", r.StatusCode, r.Body)
	}
	// A page that leads a browser here, and one that nothing is known of.
	for _, origin := range [][]string{{"https://evil.example"}, {"null"}, {s.Origin("PORT") + ".evil.example"}, {"http://127.0.0.1:1"}, {"http://127.0.0.1", "https://evil.example"}} {
		header := []string{}
		for _, o := range origin {
			header = append(header, "Origin: "+o)
		}
		if r := post(call("search_orders", "{}"), header...); r.StatusCode != 403 || !strings.Contains(r.Body, "forbidden_origin") || r.Header.Get("X-Seen") != "" {
			t.Errorf("origin %q: %d %s", origin, r.StatusCode, r.Body)
		}
	}
	// A token for another resource.
	other := harness.HS256(t, secret, harness.Claims(map[string]any{"aud": "http://127.0.0.1:1/mcp"}))
	if r := s.Do("PORT", "POST", "/mcp", call("search_orders", "{}"), harness.Bearer(other), "Content-Type: application/json"); r.StatusCode != 401 {
		t.Errorf("another resource: %d", r.StatusCode)
	}
	for _, form := range []string{"", "twice", "escaped", "both", "other id", "batch", "split", "untyped", "truncated", "html"} {
		for _, body := range []string{`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, call("search_orders", "{}")} {
			r := post(body, "X-Form: "+form)
			if strings.Contains(r.Body, "drop") || strings.Contains(r.Body, "005f") {
				t.Errorf("%s: %s", form, r.Body)
			}
			broken := form == "truncated" || form == "html"
			if broken != (r.StatusCode == 502) || !broken && strings.Count(r.Body, "search_orders") != 1 {
				t.Errorf("%s: %d %s", form, r.StatusCode, r.Body)
			}
		}
	}
}

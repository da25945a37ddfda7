package mcp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
	"github.com/caddy-moat/caddy-moat/modules/internal/access/policy"
	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
	"github.com/caddy-moat/caddy-moat/modules/internal/reqctx"
)

// rules are the policy of an rbac that stands before the handler.
type rules struct {
	p      *policy.Policy
	roles  []string
	dryRun bool
}

func (c *rules) request(call *condition.Call) *policy.Request {
	return &policy.Request{Authenticated: true, User: "u", Roles: c.roles, Env: &condition.Env{Call: call}}
}

func (c *rules) Decide(_ *http.Request, kind policy.Call, call *condition.Call) reqctx.CallDecision {
	q := c.request(call)
	d := reqctx.CallDecision{Decision: c.p.DecideCall(kind, call.Name, q), DryRun: c.dryRun}
	if !d.Allow {
		d.Scopes = c.p.NeededCallScopes(kind, call.Name, q)
	}
	return d
}

func (c *rules) Shows(_ *http.Request, kind policy.Call) func(string) bool {
	return func(name string) bool { return c.p.ListCall(kind, name, c.request(nil)).Allow }
}

func testRules(t testing.TB, roles ...string) *rules {
	t.Helper()
	p, err := policy.Compile(&policy.Document{
		Roles: map[string]*policy.Block{
			"clerk":   {Allow: []string{"tool search", "tool refund when mcp.arguments.amount < 100", "prompt hello", "resource file:///docs/*"}},
			"manager": {Allow: []string{"tool *", "resource *", "prompt *"}},
		},
		Scopes: map[string]*policy.Block{"admin": {Allow: []string{"tool *"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &rules{p: p, roles: roles}
}

func provision(t testing.TB, block string) *Handler {
	t.Helper()
	h := new(Handler)
	if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(block)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	return h
}

func request(method, body string, fields ...string) *http.Request {
	r := httptest.NewRequest(method, "https://mcp.example.com/mcp", strings.NewReader(body))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	ctx := context.WithValue(r.Context(), caddyhttp.VarsCtxKey, map[string]any{})
	ctx = context.WithValue(ctx, caddy.ReplacerCtxKey, caddy.NewReplacer())
	ctx = context.WithValue(ctx, caddyhttp.ServerCtxKey, new(caddyhttp.Server))
	return r.WithContext(ctx)
}

// server answers with a body in pieces.
func server(kind string, pieces ...string) caddyhttp.Handler {
	return caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(200)
		for _, p := range pieces {
			if _, err := io.WriteString(w, p); err != nil {
				panic(http.ErrAbortHandler) // as reverse_proxy does
			}
			_ = http.NewResponseController(w).Flush()
		}
		return nil
	})
}

const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`

// content is that of a request for a list, if the method has any.
func content(method string) string {
	if method == http.MethodPost {
		return list
	}
	return ""
}

func call(name, arguments string) string {
	return `{"jsonrpc":"2.0","id":"a\"1","method":"tools/call","params":{"name":"` + name + `","arguments":` + arguments + `}}`
}

// TestMessagesOfOtherMethodsDoNotPass holds that no message reaches the server
// that has not been decided about.
func TestMessagesOfOtherMethodsDoNotPass(t *testing.T) {
	h := provision(t, "mcp")
	for _, method := range []string{"GET", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH", "post", "QUERY"} {
		r := request(method, call("drop", "{}"), "Content-Type", "application/json")
		reqctx.SetCalls(r, testRules(t, "clerk"))
		w := httptest.NewRecorder()
		err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
			t.Errorf("%s with a message passes", method)
			return nil
		}))
		if status := w.Code; err == nil && status < 400 {
			t.Errorf("%s: %d", method, status)
		}
	}
}

func TestCallsThatAreNotAllowedAreAnsweredWithAnError(t *testing.T) {
	h := provision(t, "mcp")
	for _, c := range []struct {
		roles  string
		body   string
		passes bool
		want   string
	}{
		{"clerk", call("search", "{}"), true, ""},
		{"clerk", call("refund", `{"amount":99}`), true, ""},
		{"clerk", call("refund", `{"amount":100}`), false, "this tool is not available"},
		{"clerk", call("refund", `{"amount":1,"Amount":500}`), false, "this tool is not available"},
		{"clerk", call("drop", "{}"), false, `{"jsonrpc":"2.0","id":"a\"1","error":{"code":-32602,"message":"this tool is not available to this caller","data":{"code":"mcp_call_denied","scope":"admin"}}}`},
		{"clerk", call("SEARCH", "{}"), false, "-32602"},
		{"manager", call("drop", "{}"), true, ""},
		{"clerk", `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///docs/../x"}}`, false, "this resource is not available"},
		{"clerk", `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"other"}}}`, false, "this prompt is not available"},
		{"clerk", `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":["file:///docs/a","file:///etc"]}}}`, false, "this resource"},
		{"clerk", `{"jsonrpc":"2.0","id":1,"method":"server/discover"}`, true, ""},
		{"", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`, true, ""},
		{"clerk", `{"jsonrpc":"2.0","id":1,"result":{}}`, true, ""},
	} {
		r := request("POST", c.body)
		reqctx.SetCalls(r, testRules(t, strings.Fields(c.roles)...))
		w := httptest.NewRecorder()
		passed := ""
		err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			body, _ := io.ReadAll(r.Body)
			passed = string(body)
			w.WriteHeader(202)
			return nil
		}))
		if err != nil || (passed == c.body) != c.passes || !c.passes && (w.Code != 200 || !strings.Contains(w.Body.String(), c.want)) {
			t.Errorf("%s: %s: passed %q, got %d %s, %v", c.roles, c.body, passed, w.Code, w.Body, err)
		}
	}
	// A call that is a notification has nobody who waits for a response.
	r := request("POST", `{"jsonrpc":"2.0","method":"tools/call","params":{"name":"drop"}}`)
	reqctx.SetCalls(r, testRules(t, "clerk"))
	w := httptest.NewRecorder()
	if err := h.ServeHTTP(w, r, nil); err != nil || w.Code != 202 || w.Body.Len() > 0 {
		t.Errorf("got %d %s, %v", w.Code, w.Body, err)
	}
}

func TestMessagesThatCannotBeReadAreRefused(t *testing.T) {
	h := provision(t, "mcp {\n max_body 1KiB\n}")
	for _, c := range []struct {
		body   string
		fields []string
		status int
		want   string
	}{
		{"[" + list + "]", nil, 400, "-32600"},
		{"{", nil, 400, "-32700"},
		{`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","arguments":{"x":"` + strings.Repeat("y", 1024) + `"}}}`, nil, 413, "too large"},
		{list, []string{"Mcp-Method", "tools/call"}, 400, `"id":1,"error":{"code":-32020`},
		{list, []string{"MCP-Protocol-Version", "2026-07-28"}, 400, "-32020"},
		{list, []string{"MCP-Protocol-Version", "draft"}, 400, `"supported":["2026-07-28"`},
		{list, []string{"Content-Encoding", "gzip"}, 415, "-32600"},
		{list, []string{"Content-Type", "text/plain"}, 415, "-32600"},
		{`{"jsonrpc":"2.0","id":1,"method":"Tools/List"}`, nil, 200, "-32601"},
		{`{"jsonrpc":"2.0","id":1,"method":"Tools/List"}`, []string{"MCP-Protocol-Version", "2026-07-28"}, 404, "-32601"},
	} {
		w := httptest.NewRecorder()
		err := h.ServeHTTP(w, request("POST", c.body, c.fields...), nil)
		if err != nil || w.Code != c.status || !strings.Contains(w.Body.String(), c.want) || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%.60s %v: got %d %s, %v", c.body, c.fields, w.Code, w.Body, err)
		}
	}
	w := httptest.NewRecorder()
	if err := h.ServeHTTP(w, request("PUT", list), nil); err != nil || w.Code != 405 || w.Header().Get("Allow") == "" {
		t.Errorf("PUT: got %d, %v", w.Code, err)
	}
}

func TestPagesOfOtherOriginsAreRefused(t *testing.T) {
	for _, c := range []struct {
		block, resource string
		origins         []string
		passes          bool
	}{
		{"mcp", "", nil, true},
		{"mcp", "", []string{"https://mcp.example.com"}, false}, // the Host that a rebound name sends, too
		{"mcp", "https://mcp.example.com", []string{"https://mcp.example.com"}, true},
		{"mcp", "https://mcp.example.com", []string{"https://evil.example"}, false},
		{"mcp", "https://mcp.example.com", []string{"null"}, false},
		{"mcp {\n origin https://app.example.com\n}", "", []string{"https://APP.example.com"}, true},
		{"mcp {\n origin https://app.example.com\n}", "", []string{"https://app.example.com", "https://evil.example"}, false},
		{"mcp {\n origin https://app.example.com\n}", "", []string{"https://app.example.com.evil.example"}, false},
		{"mcp {\n origin any\n}", "", []string{"https://evil.example"}, true},
	} {
		for _, method := range []string{"GET", "POST"} {
			r := request(method, content(method))
			for _, o := range c.origins {
				r.Header.Add("Origin", o)
			}
			if c.resource != "" {
				reqctx.SetResource(r, &reqctx.Resource{Origin: c.resource})
			}
			w := httptest.NewRecorder()
			err := provision(t, c.block).ServeHTTP(w, r, server("application/json", `{}`))
			if want := map[bool]int{true: 200, false: 403}[c.passes]; err != nil || w.Code != want {
				t.Errorf("%s %s from %q: got %d, %v; want %d", method, c.block, c.origins, w.Code, err, want)
			}
		}
	}
}

const tools = `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"drop"}, {"name":"search"},{"name":"refund"}]}}`

func TestResponsesAreFiltered(t *testing.T) {
	h := provision(t, "mcp")
	const shown = `{"jsonrpc":"2.0","id":1,"result":{"tools":[ {"name":"search"},{"name":"refund"}]}}`
	for _, c := range []struct {
		method, kind, body string
		status             int
		want               string
	}{
		{"POST", "application/json", tools, 200, shown},
		{"POST", "application/json; charset=utf-8", tools, 200, shown},
		{"POST", "", tools, 200, shown},
		{"POST", "text/plain", tools, 200, shown},
		{"POST", "text/event-stream", "data: " + tools + "\n\n", 200, "data: " + shown + "\n\n"},
		{"GET", "text/event-stream", "id: 1\ndata: " + tools + "\n\n", 200, "id: 1\ndata: " + shown + "\n\n"},
		{"GET", "application/json", strings.Replace(tools, `"id":1`, `"id":99`, 1), 200, strings.Replace(shown, `"id":1`, `"id":99`, 1)},
		// Nothing that cannot be read leaves.
		{"POST", "application/json", tools[:len(tools)-1], 502, "cannot be read"},
		{"POST", "application/json", tools + "x", 502, "cannot be read"},
		{"POST", "text/html", "<p>drop", 502, "cannot be read"},
		{"POST", "text/event-stream", "data: " + tools + "}\n\ndata: " + tools + "\n\n", 200, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32603,\"message\":\"the response of the server cannot be read\"}}\n\n"},
	} {
		for cut := range len(c.body) {
			r := request(c.method, content(c.method))
			reqctx.SetCalls(r, testRules(t, "clerk"))
			w := httptest.NewRecorder()
			err := h.ServeHTTP(w, r, server(c.kind, c.body[:cut], c.body[cut:]))
			if got := w.Body.String(); err != nil || w.Code != c.status || c.status == 200 && got != c.want || !strings.Contains(got, c.want) {
				t.Fatalf("%s %s cut at %d: got %d %s, %v; want %s", c.kind, c.body, cut, w.Code, w.Body, err, c.want)
			}
		}
	}
}

func TestLongResponsesThatTurnOutBrokenAreAborted(t *testing.T) {
	h := provision(t, "mcp")
	long := `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"` + strings.Repeat("x", 200_000) + `"}]}}`
	for _, body := range []string{long, long[:len(long)-1]} {
		r := request("POST", list)
		reqctx.SetCalls(r, testRules(t, "clerk"))
		w := httptest.NewRecorder()
		var cause any
		func() {
			defer func() { cause = recover() }()
			if err := h.ServeHTTP(w, r, server("application/json", body[:100_000], body[100_000:])); err != nil {
				t.Error(err)
			}
		}()
		if whole := body == long; whole && (w.Body.String() != long || cause != nil) || !whole && cause != http.ErrAbortHandler {
			t.Errorf("whole %t: %d bytes, %v", whole, w.Body.Len(), cause)
		}
	}
}

func TestWithoutRulesNothingIsChanged(t *testing.T) {
	h := provision(t, "mcp")
	for kind, body := range map[string]string{"application/json": tools + "broken", "text/html": "<p>", "text/event-stream": "data: {\n\n"} {
		w := httptest.NewRecorder()
		if err := h.ServeHTTP(w, request("POST", list), server(kind, body)); err != nil || w.Body.String() != body {
			t.Errorf("%s: got %s, %v", kind, w.Body, err)
		}
	}
	fails := errors.New("down")
	if err := h.ServeHTTP(httptest.NewRecorder(), request("POST", list), caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return fails })); !errors.Is(err, fails) {
		t.Errorf("got %v", err)
	}
}

func TestTheRecordHasTheCall(t *testing.T) {
	h := provision(t, "mcp")
	r := request("POST", call("search", `{"q":1}`))
	reqctx.SetCalls(r, testRules(t, "clerk"))
	if err := h.ServeHTTP(httptest.NewRecorder(), r, server("application/json", `{"jsonrpc":"2.0","id":1,"error":{"code":-7,"message":"x"}}`)); err != nil {
		t.Fatal(err)
	}
	got := reqctx.Decisions(r).Call()
	if got == nil || got.Method != "tools/call" || got.Name != "search" || got.Error != -7 || got.Arguments != digest([]byte(`{"q":1}`)) {
		t.Errorf("got %+v", got)
	}
	if tool, _ := reqctx.Replacer(r).GetString("http.mcp.tool"); tool != "search" {
		t.Errorf("placeholder %q", tool)
	}
}

// TestDenialsGoToTheStreamOfHTTPSSE has a client of revision 2024-11-05, which waits
// for answers in the stream that it has opened, and one who knows its address.
func TestDenialsGoToTheStreamOfHTTPSSE(t *testing.T) {
	h := provision(t, "mcp")
	open := func(method, target, body, user string) *http.Request {
		r := httptest.NewRequest(method, target, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), new(caddyhttp.Server))
		reqctx.Identify(r, &principal.Principal{ID: user})
		reqctx.SetCalls(r, testRules(t, "clerk"))
		return r
	}
	post := func(target, user string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		if err := h.ServeHTTP(w, open("POST", target, call("drop", "{}"), user), nil); err != nil {
			t.Error(err)
		}
		return w
	}
	stream := httptest.NewRecorder()
	err := h.ServeHTTP(stream, open("GET", "/sse", "", "alice"), caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "text/event-stream")
		if _, err := io.WriteString(w, "event: endpoint\ndata: /messages?s=1\n\ndata: {\"a\""); err != nil {
			t.Error(err)
		}
		if got := post("/messages?s=1", "alice"); got.Code != 202 || got.Body.Len() > 0 {
			t.Errorf("alice: %d %s", got.Code, got.Body)
		}
		for _, other := range []*httptest.ResponseRecorder{post("/messages?s=1", "mallory"), post("/messages?s=2", "alice")} {
			if other.Code != 200 || !strings.Contains(other.Body.String(), "-32602") {
				t.Errorf("another: %d %s", other.Code, other.Body)
			}
		}
		_, err := io.WriteString(w, ":1}\n\n")
		return err
	}))
	const want = "event: endpoint\ndata: /messages?s=1\n\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"a\\\"1\",\"error\":{\"code\":-32602,"
	if got := stream.Body.String(); err != nil || !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "\n\ndata: {\"a\":1}\n\n") {
		t.Errorf("got %s, %v", got, err)
	}
	if got := post("/messages?s=1", "alice"); got.Code != 200 {
		t.Errorf("after the stream: %d", got.Code)
	}
}

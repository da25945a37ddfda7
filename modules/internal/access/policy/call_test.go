package policy

import (
	"errors"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/access/condition"
)

func mustCompile(t *testing.T, doc *Document) *Policy {
	t.Helper()
	p, err := Compile(doc)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func callPolicy(t *testing.T) *Policy {
	return mustCompile(t, &Document{
		Authenticated: &Block{Allow: []string{"POST /mcp"}},
		Roles: map[string]*Block{
			"clerk":   {Allow: []string{"tool search_orders", "tool order_*", "resource file:///docs/*", "prompt summary"}, Deny: []string{"tool order_delete"}},
			"manager": {Inherits: []string{"clerk"}, Allow: []string{"tool refund when mcp.arguments.amount <= 100", "tool *_report"}},
		},
		Scopes: map[string]*Block{
			"mcp:all": {Allow: []string{"tool *", "resource *", "prompt *"}, Deny: []string{"tool drop_*"}},
		},
	})
}

func TestCallsAreDecidedByTheirNames(t *testing.T) {
	p := callPolicy(t)
	for _, c := range []struct {
		call        Call
		name        string
		roles       []string
		scopes      []string
		want, shown bool
	}{
		{Tool, "search_orders", []string{"clerk"}, nil, true, true},
		{Tool, "search_orders", []string{"manager"}, nil, true, true},
		{Tool, "search_orders", nil, nil, false, false},
		{Tool, "Search_orders", []string{"clerk"}, nil, false, false},
		{Tool, "search_orders ", []string{"clerk"}, nil, false, false},
		{Tool, "order_get", []string{"clerk"}, nil, true, true},
		{Tool, "order_delete", []string{"clerk"}, nil, false, false},
		{Tool, "Order_Delete", []string{"clerk"}, nil, false, false},
		{Tool, "x_order_get", []string{"clerk"}, nil, false, false},
		{Tool, "year_report", []string{"manager"}, nil, true, true},
		{Prompt, "summary", []string{"clerk"}, nil, true, true},
		{Prompt, "search_orders", []string{"clerk"}, nil, false, false},
		{Tool, "summary", []string{"clerk"}, nil, false, false},
		{Resource, "file:///docs/a.md", []string{"clerk"}, nil, true, true},
		{Resource, "file:///docs/../etc/passwd", []string{"clerk"}, nil, false, false},
		{Resource, "file:///docs/%2e%2e/etc/passwd", []string{"clerk"}, nil, false, false},
		{Resource, "file:///docs/..%2fetc/passwd", []string{"clerk"}, nil, false, false},
		{Resource, "file:///docs/..;/etc/passwd", []string{"clerk"}, nil, false, false},
		{Resource, `file:///docs/..\etc`, []string{"clerk"}, nil, false, false},
		{Resource, "file:///docs//x", []string{"clerk"}, nil, false, false},
		{Resource, "file:///etc/passwd", []string{"clerk"}, nil, false, false},
		// Denied in any case, and in every form that some server takes for it.
		{Tool, "drop_table", nil, []string{"mcp:all"}, false, false},
		{Tool, "DROP_TABLE", nil, []string{"mcp:all"}, false, false},
		{Tool, "ｄrop_table", nil, []string{"mcp:all"}, false, false},
		{Tool, "drop\u200b_table", nil, []string{"mcp:all"}, false, false},
		{Tool, "drop_table\n", nil, []string{"mcp:all"}, false, false},
		{Tool, "DROP_TABLEſ", nil, []string{"mcp:all"}, false, false},
		{Tool, "搜索订单", nil, []string{"mcp:all"}, true, true},
		{Tool, "", nil, []string{"mcp:all"}, false, false},
		// Without arguments the condition fails; a list shows what may be allowed.
		{Tool, "refund", []string{"manager"}, nil, false, true},
		{Tool, "refund", []string{"clerk"}, nil, false, false},
	} {
		q := &Request{Authenticated: true, User: "u", Roles: c.roles, Scopes: c.scopes, Env: &condition.Env{}}
		if got := p.DecideCall(c.call, c.name, q); got.Allow != c.want {
			t.Errorf("%s %q for %v %v: got %+v, want %t", c.call, c.name, c.roles, c.scopes, got, c.want)
		}
		if got := p.ListCall(c.call, c.name, q); got.Allow != c.shown {
			t.Errorf("%s %q for %v %v is shown: %+v, want %t", c.call, c.name, c.roles, c.scopes, got, c.shown)
		}
	}
}

// TestDeniedResourcesHaveNoOtherSpelling holds that a server which reads a URI by
// RFC 3986, or as a file of its own, is not asked for a denied one by another name.
func TestDeniedResourcesHaveNoOtherSpelling(t *testing.T) {
	p := mustCompile(t, &Document{Anyone: &Block{
		Allow: []string{"resource *"},
		Deny:  []string{"resource file:///docs/secret.md", "resource file:///etc/*", "resource https://intern.example/*", "resource file:///café"},
	}})
	for uri, want := range map[string]bool{
		"file:///docs/open.md": true, "file:///docs/secret.md2": true, "https://other.example/x?a=b": true, "db://orders/1": true, "urn:isbn:1": true,
		"file:///docs/with%20space.md": true, "https://other.example:8443/x": true, "mailto:a@b.example": true, "file:///caf%C3%A8": true,
		"file:///docs/secret.md": false, "FILE:///DOCS/SECRET.MD": false,
		"file:///docs/%73ecret.md": false, "file:///docs/secret%2Emd": false, "file:///etc%7e": false,
		"file:///docs/secret.md?x": false, "file:///docs/secret.md#x": false, "file:///docs/secret.md/": false, "file:///docs/secret.md?": false,
		"file:/etc/passwd": false, "file://localhost/etc/passwd": false, "file://LOCALHOST/etc/passwd": false, "file://127.0.0.1/etc/passwd": false, "file:etc": false,
		"file://localhost:/etc/passwd": false, "file://x@localhost/etc/passwd": false,
		"https://intern.example:443/x": false, "https://u@intern.example/x": false, "https://intern.example./x": false, "https://intern.example:/x": false,
		"https:/intern.example/x": false, "https:intern.example/x": false, "https://%69ntern.example/x": false, "https://intern.example:0443/x": false,
		"/etc/passwd": false, "//etc/passwd": false, "file:///caf%C3%A9": false, "file:///caf%c3%a9": false,
	} {
		if got := p.DecideCall(Resource, uri, &Request{Env: &condition.Env{}}); got.Allow != want {
			t.Errorf("%s: %+v, want %t", uri, got, want)
		}
	}
}

func TestConditionsReadTheArgumentsOfACall(t *testing.T) {
	p := callPolicy(t)
	for _, c := range []struct {
		args any
		err  error
		want bool
	}{
		{map[string]any{"amount": int64(100)}, nil, true},
		{map[string]any{"amount": int64(101)}, nil, false},
		{map[string]any{"amount": "1"}, nil, false},
		{map[string]any{"Amount": int64(1)}, nil, false},
		{map[string]any{"amount": int64(1), "Amount": int64(1000)}, nil, false},
		{map[string]any{}, nil, false},
		{nil, nil, false},
		{nil, errors.New("too large"), false},
	} {
		env := &condition.Env{Call: &condition.Call{Method: "tools/call", Name: "refund", Arguments: func() (any, error) { return c.args, c.err }}}
		q := &Request{Authenticated: true, Roles: []string{"manager"}, Env: env}
		if got := p.DecideCall(Tool, "refund", q); got.Allow != c.want {
			t.Errorf("%v: got %+v, want %t", c.args, got, c.want)
		}
	}
}

func TestRulesForCallsThatMeetNothingAreRefused(t *testing.T) {
	for _, line := range []string{
		"tool", "tool ", "tool when x", "tool a b", "tool a when", "tool a when mcp.argument.x ==", "tool a when nonsense == 1",
		"resource file:///a/../b", "resource file:///a//b", "resource a%2fb", "tool a\u200bb", "tool ａ",
		"GET /x when mcp.name == 'a'",
	} {
		if _, err := Compile(&Document{Anyone: &Block{Allow: []string{line}}}); err == nil {
			t.Errorf("%q is accepted", line)
		}
	}
}

func TestRulesForCallsAreNoRulesForPaths(t *testing.T) {
	p := mustCompile(t, &Document{Roles: map[string]*Block{"a": {Allow: []string{"tool *", "GET /x"}, Deny: []string{"tool b"}}}})
	if p.Decide(&Request{Method: "POST", Path: "/mcp", Authenticated: true, Roles: []string{"a"}}).Allow {
		t.Error("a rule for tools allows a path")
	}
	if got := p.Warnings(); len(got) != 0 {
		t.Errorf("warnings: %v", got)
	}
	if m := matrix(t, p); len(m.Rows) != 1 {
		t.Errorf("matrix: %+v", m.Rows)
	}
	p.Explain(&Request{Method: "GET", Path: "/x"})
	p.Covers("/x%2Fy")
}

func FuzzCallNames(f *testing.F) {
	for _, s := range []string{"a", "drop_table", "DROP_x", "file:///a/b", "ſ", "\u212a"} {
		f.Add(s)
	}
	p := mustCompile(f2t(f), &Document{Anyone: &Block{Allow: []string{"tool *"}, Deny: []string{"tool drop_*", "tool secret"}}})
	f.Fuzz(func(t *testing.T, name string) {
		// A name that is allowed is none that is denied, in any case.
		d := p.DecideCall(Tool, name, &Request{})
		if folded := foldCase(name); d.Allow && (folded == "secret" || len(folded) >= 5 && folded[:5] == "drop_") {
			t.Errorf("%q is allowed", name)
		}
		if d.Allow && CheckCallName(Tool, name) != nil {
			t.Errorf("%q cannot be decided on and is allowed", name)
		}
	})
}

// f2t lets a fuzz target use helpers of tests.
func f2t(*testing.F) *testing.T { return new(testing.T) }

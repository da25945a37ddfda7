package mcp

import (
	"encoding/base64"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func TestMessagesAreRead(t *testing.T) {
	for body, want := range map[string]Message{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":1}}}`:                                                                        {Method: "tools/call", ID: []byte("1"), Refs: []Ref{{Tool, "a"}}, Arguments: []byte(`{"x":1}`), name: "a", named: true},
		` {"method":"prompts/get" , "id":"é","jsonrpc":"2.0","params":{"name":"p"}} `:                                                                                     {Method: "prompts/get", ID: []byte(`"é"`), Refs: []Ref{{Prompt, "p"}}, name: "p", named: true},
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`:                                                                                                          {Method: "notifications/initialized"},
		`{"jsonrpc":"2.0","id":-3,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`:                                     {Method: "tools/list", ID: []byte("-3"), Version: "2026-07-28"},
		`{"jsonrpc":"2.0","id":3,"result":{"roots":[]}}`:                                                                                                                  {ID: []byte("3")},
		`{"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"a:b"}}`:                                                                                  {Method: "resources/subscribe", ID: []byte("3"), Refs: []Ref{{Resource, "a:b"}}, name: "a:b"},
		`{"jsonrpc":"2.0","id":3,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"x","value":"y"}}}`:                   {Method: "completion/complete", ID: []byte("3"), Refs: []Ref{{Prompt, "p"}}},
		`{"jsonrpc":"2.0","id":3,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["file:///a","file:///b"]}}}`: {Method: "subscriptions/listen", ID: []byte("3"), Refs: []Ref{{Resource, "file:///a"}, {Resource, "file:///b"}}},
		`{"jsonrpc":"2.0","id":3,"method":"ping","params":null}`:                                                                                                          {Method: "ping", ID: []byte("3")},
	} {
		got, err := Parse([]byte(body))
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: got %+v, %v; want %+v", body, got, err, want)
		}
	}
}

func TestMessagesWithTwoReadingsAreRefused(t *testing.T) {
	call := func(params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":` + params + `}`
	}
	for body, code := range map[string]int{
		``:         CodeParse,
		`nonsense`: CodeParse,
		`{}{}`:     CodeParse,
		"\ufeff{}": CodeParse,
		`[]`:       CodeInvalidRequest,
		` [{"jsonrpc":"2.0","id":1,"method":"ping"}]`:                                CodeInvalidRequest,
		`[[{"jsonrpc":"2.0","id":1,"method":"ping"}]]`:                               CodeInvalidRequest,
		`{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}`:             CodeParse,
		`{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}`:             CodeInvalidRequest,
		`{"jsonrpc":"2.0","id":1,"Method":"tools/call"}`:                             CodeInvalidRequest,
		`{"jsonrpc":"2.0","id":1,"method":"ping","param\u017f":{"name":"x"}}`:        CodeInvalidRequest,
		`{"jsonrpc":"2.0","id":1,"m\u0065thod":"ping","method":"tools/call"}`:        CodeParse,
		`{"jsonrpc":"1.0","id":1,"method":"ping"}`:                                   CodeInvalidRequest,
		`{"id":1,"method":"ping"}`:                                                   CodeInvalidRequest,
		`{"jsonrpc":"2.0","id":null,"method":"ping"}`:                                CodeInvalidRequest,
		`{"jsonrpc":"2.0","id":1.5,"method":"ping"}`:                                 CodeInvalidRequest,
		`{"jsonrpc":"2.0","id":{},"method":"ping"}`:                                  CodeInvalidRequest,
		`{"jsonrpc":"2.0","id":1,"method":7}`:                                        CodeInvalidRequest,
		`{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}`:                       CodeInvalidRequest,
		`{"jsonrpc":"2.0","result":{}}`:                                              CodeInvalidRequest,
		`{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"x"}}`:       CodeUnknownMethod,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call ","params":{"name":"x"}}`:      CodeUnknownMethod,
		`{"jsonrpc":"2.0","id":1,"method":"/tools/call","params":{"name":"x"}}`:      CodeUnknownMethod,
		`{"jsonrpc":"2.0","id":1,"method":"tools/callAll"}`:                          CodeUnknownMethod,
		`{"jsonrpc":"2.0","id":1,"method":"tools\u200b/call","params":{"name":"x"}}`: CodeUnknownMethod,
		call(`{"name":"a","name":"b"}`):                                              CodeParse,
		call(`{"name":"a","Name":"b"}`):                                              CodeInvalidParams,
		call(`{"Name":"b"}`):                                                         CodeInvalidParams,
		call(`{"name":"a","arguments":{"x":1},"Arguments":{}}`):                      CodeInvalidParams,
		call(`{"name":"a","arguments":{"x":1,"x":2}}`):                               CodeParse,
		call(`{"name":7}`):             CodeInvalidParams,
		call(`{"name":""}`):            CodeInvalidParams,
		call(`{}`):                     CodeInvalidParams,
		call(`["a"]`):                  CodeInvalidParams,
		call(`null`):                   CodeInvalidParams,
		call(`{"name":"a","_meta":7}`): CodeInvalidParams,
		call(`{"name":"a","_meta":{"io.modelcontextprotocol/ProtocolVersion":"x"}}`): CodeInvalidParams,
		call(`{"name":"a\ud800"}`):                                        CodeParse,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call"}`:                  CodeInvalidParams,
		call(strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)): CodeParse,
	} {
		m, err := Parse([]byte(body))
		if err == nil || err.Code != code {
			t.Errorf("%s: got %+v, %+v; want code %d", body, m, err, code)
		}
	}
}

func TestHeaderAndBodyMustAgree(t *testing.T) {
	const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"搜索","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`
	const old = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}`
	encoded := "=?base64?" + base64.StdEncoding.EncodeToString([]byte("搜索")) + "?="
	for _, c := range []struct {
		body  string
		field string // Version|Method|Name, an empty part is a field that is not there
		code  int
	}{
		{call, "2026-07-28|tools/call|" + encoded, 0},
		{call, "2026-07-28|tools/call|搜索", 0}, // as the Go SDK sends it
		{call, "2026-07-28|tools/call|" + strings.Replace(encoded, "?=", "=?=", 1), CodeHeaderMismatch},
		{call, "2026-07-28|tools/call|=?base64?YQ==?=", CodeHeaderMismatch},
		{call, "2026-07-28|tools/call|", CodeHeaderMismatch},
		{call, "2026-07-28||" + encoded, CodeHeaderMismatch},
		{call, "2026-07-28|tools/list|" + encoded, CodeHeaderMismatch},
		{call, "2026-07-28|Tools/call|" + encoded, CodeHeaderMismatch},
		{call, "|tools/call|" + encoded, CodeHeaderMismatch},
		{call, "2025-11-25|tools/call|" + encoded, CodeHeaderMismatch},
		{call, "2026-07-28,2026-07-28|tools/call|" + encoded, CodeVersion},
		{call, "latest|tools/call|" + encoded, CodeVersion},
		{old, "||", 0},
		{old, "2025-11-25||", 0},
		{old, "2025-11-25|tools/call|a", 0},
		{old, "2025-11-25|tools/list|a", CodeHeaderMismatch},
		{old, "2025-11-25||b", CodeHeaderMismatch},
		{old, "2026-07-28|tools/call|a", 0}, // without a version in the body
		{`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, "2026-07-28|tools/list|", 0},
		{`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, "2026-07-28|tools/list|a", CodeHeaderMismatch},
		{`{"jsonrpc":"2.0","method":"notifications/cancelled"}`, "2026-07-28|notifications/cancelled|", 0},
		{`{"jsonrpc":"2.0","method":"notifications/cancelled"}`, "2026-07-28||", CodeHeaderMismatch},
		{`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`, "||", 0},
		{`{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`, "2025-11-25||", CodeHeaderMismatch},
		{`{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"t"}}`, "2026-07-28|tasks/get|t", 0},
	} {
		m, err := Parse([]byte(c.body))
		if err != nil {
			t.Fatalf("%s: %v", c.body, err)
		}
		h := http.Header{}
		for i, v := range strings.Split(c.field, "|") {
			if v != "" {
				h.Set([]string{"MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"}[i], v)
			}
		}
		err = m.Agree(h)
		if c.code == 0 && err != nil || c.code != 0 && (err == nil || err.Code != c.code || err.Status != 400) {
			t.Errorf("%s with %s: got %+v, want code %d", c.body, c.field, err, c.code)
		}
	}
	m, _ := Parse([]byte(call))
	h := http.Header{"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"a", encoded}}
	if err := m.Agree(h); err == nil {
		t.Error("two names agree")
	}
}

// TestVersionsHaveOneForm holds what is read by hand against the form as it is said.
func TestVersionsHaveOneForm(t *testing.T) {
	form := regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
	for _, v := range []string{"2026-07-28", "2026-07-2", "2026-07-281", "2026_07-28", "2026-07-2a", "", "----------", "20260-7-28", "2026-07-28\n", "２026-07-28", "2026-0728-", "DRAFT-2026"} {
		if got, want := isVersion(v), form.MatchString(v); got != want {
			t.Errorf("%q: %t, want %t", v, got, want)
		}
	}
}

func TestAliasesOfFieldsAreDropped(t *testing.T) {
	h := http.Header{"Mcp_method": {"x"}, "mcp.name": {"x"}, "Mcp-Name": {"a"}, "Mcp-Param-X_y": {"b"}, "Other_x": {"c"}}
	DropAliases(h)
	if want := (http.Header{"Mcp-Name": {"a"}, "Other_x": {"c"}}); !reflect.DeepEqual(h, want) {
		t.Errorf("got %v, want %v", h, want)
	}
}

// FuzzParse holds that what is read says in the body what it says here: encoding/json,
// which does not care about case and takes the last of two, reads the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":1}}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///a","Uri":1}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := Parse(body)
		if err != nil || m.IsResponse() {
			return
		}
		checkLenient(t, body, m)
	})
}

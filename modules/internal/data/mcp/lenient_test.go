package mcp

import (
	"encoding/json"
	"testing"
)

// checkLenient reads a body as careless servers do.
func checkLenient(t *testing.T, body []byte, m *Message) {
	t.Helper()
	var lenient struct {
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
	}
	if err := json.Unmarshal(body, &lenient); err != nil {
		t.Fatalf("%q is read, and not by encoding/json: %v", body, err)
	}
	if lenient.Method != m.Method {
		t.Errorf("%q: method %q, elsewhere %q", body, m.Method, lenient.Method)
	}
	var params struct {
		Name string `json:"name"`
		URI  string `json:"uri"`
	}
	how, calls := methods[m.Method]
	if !calls {
		return
	}
	_ = json.Unmarshal(lenient.Params, &params) // of another type where it is not what counts
	got := params.Name
	if how.member == "uri" {
		got = params.URI
	}
	if got != m.Name() {
		t.Errorf("%q: name %q, elsewhere %q", body, m.Name(), got)
	}
}

package mcp

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// Shows is a function that is a Viewer.
type Shows func(kind Kind, name string) bool

// Shows implements Viewer.
func (s Shows) Shows(kind Kind, name string) bool { return s(kind, name) }

func only(names ...string) Shows {
	return func(kind Kind, name string) bool {
		for _, n := range names {
			if n == string(kind)+" "+name {
				return true
			}
		}
		return false
	}
}

func testFilter(t testing.TB) *Filter {
	t.Helper()
	f, err := NewFilter(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var filterCases = map[string]string{
	`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","inputSchema":{"n":1.0}},{"name":"b"}],"nextCursor":"x"}}`: `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","inputSchema":{"n":1.0}}],"nextCursor":"x"}}`,
	`{"result":{"tools":[{"name":"b"},{"name":"b"},{"name":"a"}]}}`:                                                    `{"result":{"tools":[{"name":"a"}]}}`,
	`{"result":{"tools":[{"n\u0061me":"\u0062"},{"n\u0061me":"\u0061"}]}}`:                                             `{"result":{"tools":[{"n\u0061me":"\u0061"}]}}`,
	`{"result":{"tools":[{"name":"a","name":"b"},{"name":"a","Name":"b"},{"NAME":"a"},{"title":"a"}]}}`:                `{"result":{"tools":[]}}`,
	`{"result":{"tools":["a",7,null,[{"name":"a"}]]}}`:                                                                 `{"result":{"tools":[]}}`,
	`{"Result":{"TOOLS":[{"name":"b"}]},"result":{"tool\u017f":[{"name":"b"}]}}`:                                       `{"Result":{"TOOLS":[]},"result":{"tool\u017f":[]}}`,
	`{"result":{"tools":{"x":{"name":"b"}}}}`:                                                                          `{"result":{"tools":{}}}`,
	`{"result":{"tools":[{"name":"b"}]},"result":{"tools":[{"name":"b"}]}}`:                                            `{"result":{"tools":[]},"result":{"tools":[]}}`,
	`[{"result":{"tools":[{"name":"b"}]}},{"result":{"prompts":[{"name":"p"},{"name":"a"}]}}]`:                         `[{"result":{"tools":[]}},{"result":{"prompts":[{"name":"p"}]}}]`,
	`{"result":{"resources":[{"uri":"file:///r","name":"a"},{"uri":"file:///s","name":"a"}]}}`:                         `{"result":{"resources":[{"uri":"file:///r","name":"a"}]}}`,
	`{"result":{"resourceTemplates":[{"uriTemplate":"file:///{x}"}]}}`:                                                 `{"result":{"resourceTemplates":[]}}`,
	`{"result":{"tools":[{"name":"a"}],"ttlMs":5,"cacheScope":"public"}}`:                                              `{"result":{"tools":[{"name":"a"}],"ttlMs":5,"cacheScope":"private"}}`,
	// What is not a list of the protocol stays.
	`{"result":{"capabilities":{"tools":{"listChanged":true}},"structuredContent":{"tools":[{"name":"b"}]}}}`: `{"result":{"capabilities":{"tools":{"listChanged":true}},"structuredContent":{"tools":[{"name":"b"}]}}}`,
	`{"id":1,"error":{"code":-32602,"message":"x"}}`:                                                          `{"id":1,"error":{"code":-32602,"message":"x"}}`,
}

func TestListsShowWhatTheCallerMaySee(t *testing.T) {
	f := testFilter(t)
	s := f.Open(only("tool a", "prompt p", "resource file:///r"))
	defer s.Close()
	for in, want := range filterCases {
		var out bytes.Buffer
		if _, err := s.Message(&out, []byte(in)); err != nil || out.String() != want {
			t.Errorf("%s:\ngot  %s, %v\nwant %s", in, &out, err, want)
		}
	}
	if s.ErrorCode != -32602 {
		t.Errorf("error code %d", s.ErrorCode)
	}
}

// TestEventsAreFilteredHoweverTheyAreCut writes streams in two pieces, cut at every
// byte, those of characters included.
func TestEventsAreFilteredHoweverTheyAreCut(t *testing.T) {
	f := testFilter(t)
	for in, want := range map[string]string{
		"event: message\nid: 1\ndata: {\"result\":{\"tools\":[{\"name\":\"b\",\"title\":\"搜索\"},{\"name\":\"a\",\"title\":\"搜索\"}]}}\n\n": "event: message\nid: 1\ndata: {\"result\":{\"tools\":[{\"name\":\"a\",\"title\":\"搜索\"}]}}\n\n",
		"data:{\"result\":\r\ndata:{\"tools\":[\r\nx: y\r\ndata:{\"name\":\"b\"}]}}\r\n\r\n: ping\r\n\r\n":                                "data:{\"result\":\r\ndata:{\"tools\":[\r\ndata:]}}\r\nx: y\r\n\r\n: ping\r\n\r\n",
		"\ufeffdata: {\"result\":{\"tools\":[{\"name\":\"b\"}]}}\r\r":                                                                     "\ufeffdata: {\"result\":{\"tools\":[]}}\r\r",
		"event: endpoint\ndata: /messages?sessionId=1\n\n":                                                                                "event: endpoint\ndata: /messages?sessionId=1\n\n",
		"data\n\ndata: x\n\n\n\n":                             "data\n\ndata: x\n\n\n\n",
		"data: {\"result\":{\"tools\":[{\"name\":\"b\"}]}}\n": "", // never ends
	} {
		for cut := range len(in) + 1 {
			var out bytes.Buffer
			s := f.Open(only("tool a"))
			e := NewEvents(&out, s, 1<<16)
			_, err1 := e.Write([]byte(in[:cut]))
			_, err2 := e.Write([]byte(in[cut:]))
			if err1 != nil || err2 != nil || out.String() != want {
				t.Fatalf("%q cut at %d:\ngot  %q, %v, %v\nwant %q", in, cut, &out, err1, err2, want)
			}
			s.Close()
		}
	}
}

func TestEventsThatCannotBeReadEndTheStream(t *testing.T) {
	f := testFilter(t)
	for _, in := range []string{
		"data: {\"result\":{\"tools\":[{\"name\":\"b\"}]}\n\n", // truncated
		"data: {\"result\":\"\xff\"}\n\n",
		"data: {} {\"result\":{\"tools\":[{\"name\":\"b\"}]}}\n\n",
		"data: {\"result\":" + strings.Repeat(" ", 1<<16) + "1}\n\n",
	} {
		var out bytes.Buffer
		s := f.Open(only())
		if _, err := NewEvents(&out, s, 1<<16).Write([]byte(in)); err == nil || out.Len() > 0 {
			t.Errorf("%.60q: got %q, %v", in, &out, err)
		}
		s.Close()
	}
}

// FuzzFilter holds the law of lists: what leaves has no tool that the caller may
// not see, and nothing else is gone.
func FuzzFilter(f *testing.F) {
	for in := range filterCases {
		f.Add([]byte(in))
	}
	filter := testFilter(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		s := filter.Open(only("tool a"))
		defer s.Close()
		var out bytes.Buffer
		changed, err := s.Message(&out, in)
		if err != nil {
			return
		}
		if !changed && !bytes.Equal(in, out.Bytes()) {
			t.Errorf("%q became %q and has not changed", in, &out)
		}
		var lenient struct {
			Result struct {
				Tools []struct{ Name string }
			}
		}
		if !json.Valid(out.Bytes()) {
			t.Fatalf("%q became %q", in, &out)
		}
		_ = json.Unmarshal(out.Bytes(), &lenient)
		for _, tool := range lenient.Result.Tools {
			if tool.Name != "a" {
				t.Errorf("%q became %q, which shows %q", in, &out, tool.Name)
			}
		}
	})
}

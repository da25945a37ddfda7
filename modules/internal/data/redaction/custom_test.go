package redaction

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// TestElementsAreChosen cuts each text at every byte: what leaves is the same.
func TestElementsAreChosen(t *testing.T) {
	p, err := Compile([]Rule{{Name: "list", Selector: "$.r.list[*]", Action: RemoveChosen()}, {Name: "code", Selector: "$.e.code", Action: Watch()}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		`{"r":{"list":[1, 2 ,3]}}`:                               `{"r":{"list":[ 2]}}`,
		`{"r":{"list":[2,2]},"x":[1,3]}`:                         `{"r":{"list":[2,2]},"x":[1,3]}`,
		`{"r":{"list":[]}}`:                                      `{"r":{"list":[]}}`,
		`{"r":{"list":[ 1 ]}}`:                                   `{"r":{"list":[  ]}}`,
		`{"r":{"list":[{"a":[2]},2,{"a":1}]}, "z":1.0}`:          `{"r":{"list":[{"a":[2]},2]}, "z":1.0}`,
		`{"r":{"list":[1]},"r":{"list":[2,1]}}`:                  `{"r":{"list":[]},"r":{"list":[2]}}`,
		`{"r":{"list":{"a":2}}}`:                                 `{"r":{"list":{}}}`,
		`{"r":{"list":"2"},"e":{"code":-32602,"m":"x"}}`:         `{"r":{"list":"2"},"e":{"code":-32602,"m":"x"}}`,
		"{\"\\u0072\":\n{\"li\\u0073t\":\n[1,\n2,\n3\n]\n}\n}\n": "{\"\\u0072\":\n{\"li\\u0073t\":\n[\n2\n]\n}\n}\n",
	} {
		for cut := range len(in) {
			var out bytes.Buffer
			var seen []string
			w := p.NewRewriter(&out)
			w.Choose(func(rule string, element []byte) bool {
				return !strings.Contains(string(element), "2")
			})
			w.Observe(func(rule string, text []byte) { seen = append(seen, rule+" "+string(text)) })
			_, err1 := w.Write([]byte(in[:cut]))
			_, err2 := w.Write([]byte(in[cut:]))
			if err := errors.Join(err1, err2, w.Close()); err != nil || out.String() != want {
				t.Fatalf("%s cut at %d: got %s, %v; want %s", in, cut, &out, err, want)
			}
			if strings.Contains(in, "code") != (strings.Join(seen, ",") == "code -32602") {
				t.Errorf("%s: seen %q", in, seen)
			}
		}
	}
}

func TestNothingStaysThatNobodyChose(t *testing.T) {
	p, err := Compile([]Rule{{Name: "list", Selector: "$[*]", Action: RemoveChosen()}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := p.NewRewriter(&out)
	if _, err := w.Write([]byte(`[1,2]`)); err != nil || w.Close() != nil || out.String() != "[]" {
		t.Errorf("got %s, %v", &out, err)
	}
}

func TestSparedValuesStay(t *testing.T) {
	p, err := Compile([]Rule{
		{Name: "all", Selector: "$..a", Action: Remove()},
		{Name: "mask", Selector: "$.m", Action: Null()},
		{Name: "spare", Selector: "$.keep[*]", Action: Spare()},
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := p.NewRewriter(&out)
	if _, err := w.Write([]byte(`{"a":1,"m":2,"keep":[{"a":1,"b":{"a":[1]}},{"c":2}],"a":{"keep":[{"a":1}]}}`)); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), `{"m":null,"keep":[{"a":1,"b":{"a":[1]}},{"c":2}]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

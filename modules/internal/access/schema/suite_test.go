package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/caddy-moat/caddy-moat/modules/internal/strictjson"
)

// group is a schema of the JSON Schema Test Suite with its cases.
type group struct {
	Description string
	Schema      json.RawMessage
	Tests       []struct {
		Description string
		Data        json.RawMessage
		Valid       bool
	}
}

// decode reads JSON as the compiler takes it.
func decode(t testing.TB, text []byte) any {
	t.Helper()
	var v any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func readJSON(t testing.TB, file string, to any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, to); err != nil {
		t.Fatal(err)
	}
}

// remotes loads what the suite wants to find at its own server.
func remotes(t testing.TB) func(string) (any, error) {
	t.Helper()
	var files map[string]json.RawMessage
	readJSON(t, "testdata/remotes.json", &files)
	return func(url string) (any, error) {
		text, ok := files[strings.TrimPrefix(url, "http://localhost:1234/")]
		if !ok {
			return nil, errors.New("not there")
		}
		return decode(t, text), nil
	}
}

// compile compiles a schema, and gives its slow twin too.
func compile(t testing.TB, text []byte) (*Schema, *jsonschema.Schema, error) {
	t.Helper()
	c, err := NewCompiler("https://test.example/schema", decode(t, text), remotes(t))
	if err != nil {
		return nil, nil, err
	}
	s, err := c.Compile("https://test.example/schema#")
	if err != nil {
		return nil, nil, err
	}
	slow, err := c.c.Compile("https://test.example/schema#")
	return s, slow, err
}

// valid validates a text, plainly and without a closed world.
func valid(t testing.TB, s *Schema, text []byte) bool {
	t.Helper()
	var tape strictjson.Tape
	if err := tape.Read(text, strictjson.Limits{Depth: 64}); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	v := Get()
	defer v.Put()
	ok := v.Validate(s, &tape, 0, Both)
	if ok != (len(v.Faults) == 0) {
		t.Errorf("%s: valid %v with faults %v", text, ok, v.Faults)
	}
	return ok
}

// refused are the schemas of the suite that are refused when they are loaded. They
// are the list that is published in the manual.
var refused = []string{"$dynamicRef"}

// TestJSONSchemaTestSuite runs all required cases of draft 2020-12 but for those
// that are not loaded, and holds that these are what is published.
func TestJSONSchemaTestSuite(t *testing.T) {
	var files map[string][]group
	readJSON(t, "testdata/draft2020-12.json", &files)
	ran, unloaded := 0, map[string]int{}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		for _, g := range files[file] {
			s, _, err := compile(t, g.Schema)
			if err != nil {
				word, _, _ := strings.Cut(err.Error()[strings.LastIndex(err.Error(), ": $")+2:], " ")
				if !slices.Contains(refused, word) {
					t.Errorf("%s: %s: %v", file, g.Description, err)
				}
				unloaded[file] += len(g.Tests)
				continue
			}
			for _, c := range g.Tests {
				ran++
				var tape strictjson.Tape
				if err := tape.Read(c.Data, strictjson.Limits{Depth: 64}); err != nil {
					if !errors.Is(err, strictjson.ErrTwin) {
						t.Errorf("%s: %s: %s: %v", file, g.Description, c.Description, err)
					}
					continue
				}
				if got := valid(t, s, c.Data); got != c.Valid {
					t.Errorf("%s: %s: %s: got %v\n%s\n%s", file, g.Description, c.Description, got, g.Schema, c.Data)
				}
			}
		}
	}
	t.Logf("%d cases, not loaded: %v", ran, unloaded)
	if ran < 1050 {
		t.Errorf("only %d cases", ran)
	}
}

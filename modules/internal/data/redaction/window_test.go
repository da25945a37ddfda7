package redaction

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/jsonpath"
	"github.com/caddy-moat/caddy-moat/modules/internal/data/mask"
)

func TestElementsCountedFromTheEnd(t *testing.T) {
	for _, c := range []struct {
		rules    []Rule
		in, want string
	}{
		{rule(Remove(), "$[-1]"), `[ 1 , 2 , 3 ]`, `[ 1 , 2 ]`},
		{rule(Remove(), "$[-1]"), `[1]`, `[]`},
		{rule(Remove(), "$[-2]"), `[1 , 2]`, `[  2]`},
		{rule(Remove(), "$[-1]"), `[]`, `[]`},
		{rule(Remove(), "$[-3]"), `[1,2,3]`, `[2,3]`},
		{rule(Remove(), "$[-4]"), `[1,2,3]`, `[1,2,3]`},
		{rule(Remove(), "$[:-1]"), `[1,2,3]`, `[3]`},
		{rule(Null(), "$.a[-2:].b"), `{"a":[{"b":1},{"b":2},{"b":3}],"b":4}`, `{"a":[{"b":1},{"b":null},{"b":null}],"b":4}`},
		{rule(Remove(), "$..[-1]"), `[[1,2],[3,[4,5]],[6]]`, `[[1],[3]]`},
	} {
		p := compile(t, Options{}, c.rules...)
		for n := 1; n <= len(c.in); n++ {
			got, err := run(p, c.in, n)
			if err != nil || got != c.want {
				t.Errorf("%s of %s in pieces of %d = %s, %v, want %s", c.rules[0].Selector, c.in, n, got, err, c.want)
			}
		}
	}
}

func TestElementsLeaveWhenTheyAreDecided(t *testing.T) {
	var b strings.Builder
	w := compile(t, Options{}, rule(Remove(), "$[-2]")...).NewRewriter(&b)
	for _, step := range []struct{ in, want string }{{`[1,`, `[`}, {`2,`, `[`}, {`3,`, `[1`}, {`4`, `[1,2`}, {`]`, `[1,2,4]`}} {
		if _, err := w.Write([]byte(step.in)); err != nil {
			t.Fatal(err)
		}
		if b.String() != step.want {
			t.Fatalf("after %s: %s, want %s", step.in, b.String(), step.want)
		}
	}
}

func TestElementsHeldAreBounded(t *testing.T) {
	p := compile(t, Options{MaxValue: 100}, rule(Remove(), "$[-2]", "$..x[-1]")...)
	small := `["` + strings.Repeat("a", 30) + `"` + strings.Repeat(`,"`+strings.Repeat("a", 30)+`"`, 200) + `]`
	if _, err := run(p, small, 17); err != nil {
		t.Errorf("an array of many small elements: %v", err)
	}
	in := `[1,"` + strings.Repeat("a", 200) + `",2,3]`
	for n := 1; n < len(in); n++ {
		got, err := run(p, in, n)
		var e *Error
		if !errors.As(err, &e) || e.Reason != ReasonHeldWindow || !strings.HasPrefix("[1,", got) {
			t.Fatalf("in pieces of %d: %q, %v", n, got, err)
		}
		if e.Offset != 1 {
			t.Fatalf("in pieces of %d: offset %d", n, e.Offset)
		}
	}
	deep := strings.Repeat(`{"x":[`, maxWindows+1) + strings.Repeat(`]}`, maxWindows+1)
	if got, err := run(p, deep, 9); err == nil {
		t.Errorf("%d windows within another: %s", maxWindows, got)
	}
}

func TestEncryptedElementCountedFromTheEnd(t *testing.T) {
	s, err := mask.NewSealer("k", bytes.Repeat([]byte{1}, mask.SealKeySize))
	if err != nil {
		t.Fatal(err)
	}
	p := compile(t, Options{}, append(rule(Encrypt(s), "$.l[-1].b"), rule(Remove(), "$.l[-3]")...)...)
	out, err := run(p, `{"l":[1,2,{"b":[3,4]}]}`, 3)
	var v struct{ L []any }
	if err != nil || json.Unmarshal([]byte(out), &v) != nil {
		t.Fatal(out, err)
	}
	text := v.L[1].(map[string]any)["b"].([]any)[1].(string)
	if plain, err := s.Open(text, "/l/1/b/1", ""); err != nil || string(plain) != "4" {
		t.Errorf("%s = %s, %v", text, plain, err)
	}
}

func TestComplianceSuiteSelectsTheSameNodes(t *testing.T) {
	data, err := os.ReadFile("../../../../../shared/vectors/jsonpath-cts/cts.json")
	if err != nil {
		t.Skip("the JSONPath compliance test suite is not beside this repository:", err)
	}
	var file struct {
		Tests []struct {
			Name, Selector string
			Document       json.RawMessage
			Invalid        bool       `json:"invalid_selector"`
			Paths          []string   `json:"result_paths"`
			Several        [][]string `json:"results_paths"`
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, c := range file.Tests {
		rules := []Rule{{"r", c.Selector, Replace("selected")}}
		if !strings.HasPrefix(c.Selector, "$") {
			continue // for which a bare name has its own rules
		}
		p, err := Compile(rules, Options{})
		switch {
		case c.Invalid && err == nil:
			t.Errorf("%s: %q was compiled", c.Name, c.Selector)
			continue
		case c.Invalid:
			counts["invalid"]++
			continue
		case err != nil && (strings.Contains(err.Error(), "filters") || strings.Contains(err.Error(), "steps of more than one")):
			counts["not supported"]++
			continue
		case err != nil:
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		paths := c.Paths
		if len(c.Several) > 0 {
			paths = c.Several[0] // which differ in order only
		}
		root := parseTree(t, c.Document)
		for _, text := range paths {
			path, err := jsonpath.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range selectNodes(root, path) {
				n.hits = []int{0}
			}
		}
		want := referenceWrite(t, rules, root, nil)
		for _, n := range []int{1, 1000} {
			got, err := run(p, string(c.Document), n)
			if err != nil || withoutSpace(t, []byte(got)) != want {
				t.Errorf("%s: %s of %s = %s, %v, want %s", c.Name, c.Selector, c.Document, got, err, want)
			}
		}
		counts["compared"]++
	}
	t.Log(counts)
	if counts["compared"] < 150 {
		t.Errorf("only %d selectors were compared", counts["compared"])
	}
}

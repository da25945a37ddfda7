package jsonpath

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestBareNameIsThatMemberAnywhere(t *testing.T) {
	for _, name := range []string{"password", "id_card", "x-request-id", "身份证", "0a"} {
		got, err := ParseSelector(name)
		want := Path{{Descendant: true, Selectors: []Selector{{Kind: Name, Name: name}}}}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseSelector(%q) = %v, %v, want %v", name, got, err, want)
		}
	}
}

func TestBareNameThatLooksLikeAPathIsRefused(t *testing.T) {
	for _, name := range []string{"", "a.b", "*", "a[0]", "a b", "'a'", "..a", "\xff", "a$", "$ref"} {
		if got, err := ParseSelector(name); err == nil {
			t.Errorf("ParseSelector(%q) = %v, want an error", name, got)
		}
	}
}

func TestFilterIsRefusedByName(t *testing.T) {
	_, err := Parse("$[?@.a==1]")
	var e *Error
	if !errors.As(err, &e) || e.Offset != 2 || !strings.Contains(e.Reason, "filters") {
		t.Errorf("Parse of a filter: %v, want a word about filters at byte 2", err)
	}
}

func TestLookaheadIsEnough(t *testing.T) {
	bounds := []int64{-4, -3, -2, -1, 0, 1, 2, 3, 4}
	var all []Selector
	for _, start := range bounds {
		all = append(all, Selector{Kind: Index, Start: start, HasStart: true, Step: 1})
		for _, end := range bounds {
			for step := int64(-3); step <= 3; step++ {
				for has := range 4 {
					all = append(all, Selector{Kind: Slice, Start: start, End: end, Step: step, HasStart: has&1 != 0, HasEnd: has&2 != 0})
				}
			}
		}
	}
	for _, s := range all {
		k, ok := s.Lookahead()
		if !ok {
			continue
		}
		for i := int64(0); i < 12; i++ {
			first := i + 1 + k // the shortest array in which k elements follow i
			want := s.MatchIndex(i, first)
			for n := first; n < first+12; n++ {
				if got := s.MatchIndex(i, n); got != want {
					t.Fatalf("%+v: element %d: %v of %d elements, %v of %d, with a lookahead of %d", s, i, want, first, got, n, k)
				}
			}
		}
	}
}

type ctsCase struct {
	Name     string `json:"name"`
	Selector string `json:"selector"`
	Invalid  bool   `json:"invalid_selector"`
}

func cts(t testing.TB) []ctsCase {
	data, err := os.ReadFile("../../../../../shared/vectors/jsonpath-cts/cts.json")
	if err != nil {
		t.Skip("the JSONPath compliance test suite is not beside this repository:", err)
	}
	var file struct{ Tests []ctsCase }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	return file.Tests
}

func TestComplianceSuiteIsReadOrRefused(t *testing.T) {
	read, refused := 0, 0
	for _, c := range cts(t) {
		p, err := Parse(c.Selector)
		filter := err != nil && strings.Contains(err.Error(), "filters")
		switch {
		case c.Invalid && err == nil:
			t.Errorf("%s: %q was read as %v", c.Name, c.Selector, p)
		case !c.Invalid && err != nil && !filter:
			t.Errorf("%s: %v", c.Name, err)
		case err == nil:
			read++
		default:
			refused++
		}
	}
	t.Logf("%d read, %d refused", read, refused)
	if read < 150 {
		t.Errorf("only %d selectors were read", read)
	}
}

func FuzzStringReadsBack(f *testing.F) {
	for _, s := range []string{"$", "$.a", "$..a", "$[0,-1,1:2,::-1,*,'a\\'b',\"\\u00e9\\ud83d\\ude00\"]", "$..[*]", "$ [ 'a' , 1 : 2 : 3 ] .b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			return
		}
		q, err := Parse(p.String())
		if err != nil {
			t.Fatalf("%q prints as %q, which is refused: %v", text, p, err)
		}
		if p.String() != q.String() {
			t.Fatalf("%q prints as %q, and that as %q", text, p, q)
		}
	})
}

package redaction

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

func compile(t testing.TB, o Options, rules ...Rule) *Program {
	t.Helper()
	p, err := Compile(rules, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func rule(action Action, selectors ...string) []Rule {
	var list []Rule
	for _, s := range selectors {
		list = append(list, Rule{Name: s, Selector: s, Action: action})
	}
	return list
}

func masked(t testing.TB, preset string) Action {
	t.Helper()
	a, err := Mask(preset)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// run writes text in pieces of n bytes.
func run(p *Program, text string, n int) (string, error) {
	var b strings.Builder
	w := p.Get(&b)
	defer p.Put(w)
	var failed error
	for len(text) > 0 && failed == nil {
		k := min(n, len(text))
		if _, failed = w.Write(nil); failed == nil {
			_, failed = w.Write([]byte(text[:k]))
		}
		text = text[k:]
	}
	if err := w.Close(); failed == nil {
		failed = err
	}
	return b.String(), failed
}

func TestRemovalKeepsCommasRight(t *testing.T) {
	p := compile(t, Options{}, rule(Remove(), "x", "$.list[1,3]")...)
	for _, c := range []struct{ in, want string }{
		{`{"x":1}`, `{}`},
		{`{ "x" : 1 }`, `{  }`},
		{`{"x":1,"a":2}`, `{"a":2}`},
		{`{"a":2,"x":1}`, `{"a":2}`},
		{`{"a":2,"x":1,"b":3}`, `{"a":2,"b":3}`},
		{`{"x":0,"x":1,"a":2}`, `{"a":2}`},
		{`{"a":2,"x":0,"x":1}`, `{"a":2}`},
		{`{"x":0,"a":2,"x":1}`, `{"a":2}`},
		{`{"x":{"a":[1,"]}"]},"a":{"x":3}}`, `{"a":{}}`},
		{`{"s":"x","x":"s"}`, `{"s":"x"}`},
		{`{"\u0078":1,"a":2}`, `{"a":2}`},
		{`{"list":[0,1,2,3,4]}`, `{"list":[0,2,4]}`},
		{`{"list":[0,1]}`, `{"list":[0]}`},
		{`[{"x":1},{"x":2}]`, `[{},{}]`},
		{`"x"`, `"x"`},
	} {
		for n := 1; n <= len(c.in); n++ {
			got, err := run(p, c.in, n)
			if err != nil || got != c.want {
				t.Errorf("%s in pieces of %d = %s, %v, want %s", c.in, n, got, err, c.want)
			}
		}
	}
}

func TestActions(t *testing.T) {
	for _, c := range []struct {
		action   Action
		in, want string
	}{
		{Null(), `{"x":[1,{"y":2}],"z":"x"}`, `{"x":null,"z":"x"}`},
		{Replace(`<"gone">`), `{"x":-1.5e3,"z":1}`, `{"x":"<\"gone\">","z":1}`},
		{masked(t, "last4"), `{"x":"13812345678"}`, `{"x":"*******5678"}`},
		{masked(t, "last4"), `{"x":13812345678}`, `{"x":"*******5678"}`},
		{masked(t, "last4"), `{"x":true,"y":true}`, `{"x":"****","y":true}`},
		{masked(t, "last4"), `{"x":null}`, `{"x":"****"}`},
		{masked(t, "last4"), `{"x":["123456",{"y":"abcdef","x":[123456]}],"y":"abcdef"}`, `{"x":["**3456",{"y":"**cdef","x":["**3456"]}],"y":"abcdef"}`},
		{masked(t, "name"), `{"x":"\u6bb5\u6b63\u6df3"}`, `{"x":"段**"}`},
		{masked(t, "name"), `{"x":"\"\n\\"}`, `{"x":"\"**"}`},
		{Keep(1, 1, '#'), `{"x":"abcd"}`, `{"x":"a##d"}`},
	} {
		p := compile(t, Options{}, rule(c.action, "x")...)
		for n := 1; n <= len(c.in); n++ {
			got, err := run(p, c.in, n)
			if err != nil || got != c.want {
				t.Errorf("%s in pieces of %d = %s, %v, want %s", c.in, n, got, err, c.want)
			}
		}
	}
}

func TestStrictestActionWins(t *testing.T) {
	p := compile(t, Options{},
		Rule{"mask", "a", masked(t, "last4")},
		Rule{"replace", "$.a", Replace("r")},
		Rule{"null", "$.*", Null()},
		Rule{"remove", "$.b.a", Remove()},
		Rule{"mask2", "$[0]", masked(t, "name")},
	)
	for _, c := range []struct{ in, want, fired string }{
		{`{"a":"123456"}`, `{"a":null}`, "[null]"},
		{`[{"a":"123456","b":"123456"}]`, `[null]`, "[null]"},
		{`[]`, `[]`, "[]"},
	} {
		var b strings.Builder
		w := p.NewRewriter(&b)
		_, err := w.Write([]byte(c.in))
		if err == nil {
			err = w.Close()
		}
		if got, fired := b.String(), fmt.Sprint(w.Fired()); err != nil || got != c.want || fired != c.fired {
			t.Errorf("%s = %s %s, %v, want %s %s", c.in, got, fired, err, c.want, c.fired)
		}
	}
}

func TestWholeDocumentCannotBeRemoved(t *testing.T) {
	for _, in := range []string{`{"a":1}`, `"x"`, `17`} {
		if got, err := run(compile(t, Options{}, rule(Remove(), "$")...), in, 1); err != nil || got != "null" {
			t.Errorf("%s = %s, %v, want null", in, got, err)
		}
	}
}

func TestMalformedTextIsRefusedAndNothingAfterTheFaultLeaves(t *testing.T) {
	p := compile(t, Options{MaxDepth: 8}, append(rule(Remove(), "x"), rule(masked(t, "last4"), "y")...)...)
	for _, c := range []struct {
		in      string
		offset  int64
		pointer string
		reason  Reason
	}{
		{``, 0, "", ReasonTruncated},
		{` `, 1, "", ReasonTruncated},
		{`{"a":1`, 6, "/a", ReasonTruncated},
		{`{"a":1}}`, 7, "", ReasonTrailing},
		{`{"a":1} null`, 8, "", ReasonTrailing},
		{"\xef\xbb{}", 2, "", ReasonSyntax},
		{"\xef\xbb\xbf\xef\xbb\xbf{}", 3, "", ReasonSyntax},
		{" \xef\xbb\xbf{}", 1, "", ReasonSyntax},
		{"[\xef\xbb\xbf]", 1, "/0", ReasonSyntax},
		{"\xff\xfe{\x00", 0, "", ReasonSyntax},
		{`{"a":NaN}`, 5, "/a", ReasonSyntax},
		{`{"a":[1,2,]}`, 10, "/a/2", ReasonSyntax},
		{`{"a":1,}`, 7, "/a", ReasonSyntax},
		{`{'a':1}`, 1, "", ReasonSyntax},
		{"{\"a\":\"\x01\"}", 6, "/a", ReasonControl},
		{"{\"a\":\"\xff\"}", 6, "/a", ReasonUTF8},
		{"{\"a\":\"\xc0\xaf\"}", 6, "/a", ReasonUTF8},
		{"{\"a\":\"\xed\xa0\x80\"}", 7, "/a", ReasonUTF8},
		{"{\"a\":\"\xf4\x90\x80\x80\"}", 7, "/a", ReasonUTF8},
		{"{\"a\":\"\xe4\xb8\"}", 8, "/a", ReasonUTF8},
		{`{"\ud800":1}`, 8, "", ReasonSurrogate},
		{`{"\udc00":1}`, 7, "", ReasonSurrogate},
		{`{"a\ud800\u0041":1}`, 14, "", ReasonSurrogate},
		{`{"a\ud800\n":1}`, 10, "", ReasonSurrogate},
		{`{"a":"\ud800\q"}`, 13, "/a", ReasonEscape},
		{`{"a":"\ud800\u00g0"}`, 16, "/a", ReasonEscape},
		{`{"a":"\q"}`, 7, "/a", ReasonEscape},
		{`{"a":"\u00g0"}`, 10, "/a", ReasonEscape},
		{`{"a":01}`, 6, "/a", ReasonSyntax},
		{`{"a":1.}`, 7, "/a", ReasonNumber},
		{`{"a":-}`, 6, "/a", ReasonNumber},
		{`{"a":1e+}`, 8, "/a", ReasonNumber},
		{`{"a/b":{"~":[0,tru]}}`, 18, "/a~1b/~0/1", ReasonSyntax},
		{`[[[[[[[[[1]]]]]]]]]`, 8, "/0/0/0/0/0/0/0/0", ReasonDepth},
		{`{"x":[1,2}`, 9, "/x/1", ReasonSyntax},
		{`{"y":"1234567`, 13, "/y", ReasonTruncated},
		{`[1}`, 2, "/0", ReasonSyntax},
		{`{"a":1]`, 6, "/a", ReasonSyntax},
		{`{"a" 1}`, 5, "/a", ReasonSyntax},
		{`12 3`, 3, "", ReasonTrailing},
		{`-`, 1, "", ReasonTruncated},
	} {
		for n := 1; n <= len(c.in)+1; n++ {
			got, err := run(p, c.in, n)
			var e *Error
			if !errors.As(err, &e) || e.Offset != c.offset || e.Pointer != c.pointer || e.Reason != c.reason {
				t.Errorf("%q in pieces of %d: %#v, want %+v", c.in, n, err, c)
				break
			}
			if int64(len(got)) > c.offset {
				t.Errorf("%q in pieces of %d: %q left", c.in, n, got)
			}
		}
	}
}

func TestWriterStaysBroken(t *testing.T) {
	var b bytes.Buffer
	w := compile(t, Options{}).NewRewriter(&b)
	_, err := w.Write([]byte(`{"a":,`))
	if _, again := w.Write([]byte(`1}`)); again != err || err == nil {
		t.Errorf("second Write: %v, want the error of the first: %v", again, err)
	}
	if again := w.Close(); again != err {
		t.Errorf("Close: %v, want the error of the first Write: %v", again, err)
	}
	if b.Len() > 5 {
		t.Errorf("%q left", b.String())
	}
}

// TestEverySplit cuts short texts into any number of pieces and longer ones into
// two and three, everywhere. What leaves, and what is said of a
// fault, must be the same.
func TestEverySplit(t *testing.T) {
	write := func(p *Program, text string, cuts []int) (string, error) {
		var b strings.Builder
		w := p.Get(&b)
		defer p.Put(w)
		from := 0
		for _, to := range append(cuts, len(text)) {
			if _, err := w.Write([]byte(text[from:to])); err != nil {
				return b.String(), err
			}
			from = to
		}
		err := w.Close()
		return b.String(), err
	}
	same := func(p *Program, text string, cuts ...int) {
		t.Helper()
		want, wantErr := run(p, text, len(text)+1)
		got, err := write(p, text, cuts)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) || err == nil && got != want {
			t.Fatalf("%q cut at %v = %q, %v, whole %q, %v", text, cuts, got, err, want, wantErr)
		}
	}
	short := []string{
		`{"a":1,"b":"x"}`, `{"\u0061":[0]}`, `[1,{"a":2},3]`, `{"a":"\ud83d\ude00"}`, `["中",-1.5e9]`, `{"b":[],"a":{}}`,
		` [ true , nul]`, `{"a":"\ud83d"}`, `{"a":01}`, `{"a":1}}`, "[\"\xe4\xb8\"]", `[13812345678]`,
	}
	long := []string{
		`{"a":{"b":[1,2,{"a":"13812345678"}],"":null},"b":"tel 13812345678, 2026-11-22"}`,
		`[[0,1,2,3,4,5],{"a":[{"a":"x"},{"b":{"b":"é"}}]},"\u0031\u0033812345678",12.345]`,
		`{"b":"{\"a\":\"13812345678\"}","a":"2026-11-22T00:00:00Z","a":[[[1]]]} `,
	}
	count := 0
	for _, p := range programs(t) {
		for _, text := range short {
			// Of more than 4096 ways an evenly spread 4096.
			all := 1 << (len(text) - 1)
			for set := 0; set < all; set += all>>12 | 1 {
				var cuts []int
				for i := range len(text) - 1 {
					if set>>i&1 == 1 {
						cuts = append(cuts, i+1)
					}
				}
				same(p, text, cuts...)
				count++
			}
		}
		for _, text := range long {
			for i := range len(text) {
				for j := i; j < len(text); j++ {
					same(p, text, i, j)
					count++
				}
			}
		}
	}
	t.Log(count, "splits")
}

func TestSequence(t *testing.T) {
	p := compile(t, Options{Sequence: true}, rule(Remove(), "x")...)
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"\n", "\n"},
		{"{\"x\":1}\n{\"a\":1,\"x\":2}\n", "{}\n{\"a\":1}\n"},
		{`{"x":1}{"x":1}[]"a""b"`, `{}{}[]"a""b"`},
		{"1 2 true\nfalse", "1 2 true\nfalse"},
		{"\x1e{\"x\":1}\n\x1e2\n", "\x1e{}\n\x1e2\n"},
	} {
		for n := 1; n <= len(c.in)+1; n++ {
			got, err := run(p, c.in, n)
			if err != nil || got != c.want {
				t.Errorf("%q in pieces of %d = %q, %v, want %q", c.in, n, got, err, c.want)
			}
		}
	}
	for _, in := range []string{"12true", "truefalse", `1"a"`, "true{}", "01", "1-1", "{} ,", "[1\x1e]"} {
		for n := 1; n <= len(in); n++ {
			if got, err := run(p, in, n); err == nil {
				t.Errorf("%q in pieces of %d = %q, want an error", in, n, got)
			}
		}
	}
}

func TestValuesOfLinesBeginOnLinesOfTheirOwn(t *testing.T) {
	p := compile(t, Options{Sequence: true}, rule(Remove(), "x")...)
	for _, c := range []struct {
		in    string
		texts int64
		at    int64 // of the fault, -1 for none
	}{
		{"", 0, -1},
		{" \n", 0, -1},
		{`{"x":1}`, 1, -1},
		{"{\"x\":1}\n{\"x\":2}\r\n\r\n3\n", 3, -1},
		{"\n1\r2 \t\n \"a\"", 3, -1},
		{`{}{}`, 1, 2},
		{`{} {}`, 1, 3},
		{"1 2\n", 1, 2},
		{"{}\n[] \"a\"", 2, 6},
	} {
		for n := 1; n <= len(c.in)+1; n++ {
			w := p.NewRewriter(io.Discard)
			w.SetLines()
			var err error
			for rest := c.in; rest != "" && err == nil; rest = rest[min(n, len(rest)):] {
				_, err = w.Write([]byte(rest[:min(n, len(rest))]))
			}
			if err == nil {
				err = w.Close()
			}
			var e *Error
			if errors.As(err, &e); (e == nil) != (c.at < 0) || e != nil && (e.Offset != c.at || e.Reason != ReasonTrailing) || w.Texts() != c.texts {
				t.Errorf("%q in pieces of %d: %v after %d texts", c.in, n, err, w.Texts())
			}
		}
	}
}

func TestLineOfASequenceIsOutWithItsNewline(t *testing.T) {
	var b strings.Builder
	w := compile(t, Options{Sequence: true}, append(rule(Remove(), "x"), rule(masked(t, "last4"), "y")...)...).NewRewriter(&b)
	want := ""
	for _, line := range []struct{ in, want string }{
		{"{\"a\":1,\"x\":2}\n", "{\"a\":1}\n"},
		{"17\n", "17\n"},
		{"{\"y\":\"123456\"}\n", "{\"y\":\"**3456\"}\n"},
	} {
		if _, err := w.Write([]byte(line.in)); err != nil {
			t.Fatal(err)
		}
		if want += line.want; b.String() != want {
			t.Fatalf("after %q: %q, want %q", line.in, b.String(), want)
		}
	}
}

func TestValueBeyondMaxValueIsReplacedEntirely(t *testing.T) {
	p := compile(t, Options{MaxValue: 16}, rule(masked(t, "last4"), "y")...)
	for _, c := range []struct{ in, want string }{
		{`{"y":"01234567890123"}`, `{"y":"**********0123"}`},
		{`{"y":"012345678901234"}`, `{"y":"****"}`},
		{`{"y":0123}`, ``},
		{`{"y":1234567890123456}`, `{"y":"************3456"}`},
		{`{"y":12345678901234567}`, `{"y":"****"}`},
	} {
		for n := 1; n <= len(c.in); n++ {
			got, err := run(p, c.in, n)
			if c.want == "" && err != nil {
				continue
			}
			if err != nil || got != c.want {
				t.Errorf("%s in pieces of %d = %s, %v, want %s", c.in, n, got, err, c.want)
			}
		}
	}
}

func TestSpaceBeforeWhatMayBeRemovedIsBounded(t *testing.T) {
	p := compile(t, Options{MaxValue: 16}, rule(Remove(), "x", "$[1]")...)
	for _, c := range []struct {
		in string
		ok bool
	}{
		{`{"a":1,` + strings.Repeat(" ", 15) + `"b":2}`, true},
		{`{"a":1,` + strings.Repeat(" ", 16) + `"b":2}`, false},
		{`[1,` + strings.Repeat(" ", 15) + `2]`, true},
		{`[1,` + strings.Repeat(" ", 16) + `2]`, false},
		{`[1` + strings.Repeat(" ", 99) + `,2` + strings.Repeat(" ", 99) + `]`, true},
		{`{"` + strings.Repeat("a", 5000) + `":1,"` + strings.Repeat("b", 5000) + `":1}`, true},
	} {
		for n := 1; n <= len(c.in); n++ {
			_, err := run(p, c.in, n)
			if (err == nil) != c.ok {
				t.Errorf("%.40q… in pieces of %d: %v", c.in, n, err)
				break
			}
		}
	}
}

func TestSuite(t *testing.T) {
	files, _ := filepath.Glob("../../../../../shared/vectors/JSONTestSuite/test_parsing/*.json")
	if len(files) == 0 {
		t.Skip("JSONTestSuite is not beside this repository")
	}
	p := compile(t, Options{}, append(rule(Remove(), "no_such_name"), rule(Null(), "$..nowhere[1:3]")...)...)
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(f)
		for _, n := range []int{1, 2, 3, 7, 64, len(data) + 1} {
			got, err := run(p, string(data), n)
			switch {
			case name[0] == 'y' && (err != nil || got != string(data)):
				t.Errorf("%s in pieces of %d = %q, %v", name, n, got, err)
			case name[0] == 'n' && err == nil:
				t.Errorf("%s in pieces of %d was taken for good", name, n)
			case err == nil && got != string(data):
				t.Errorf("%s in pieces of %d = %q", name, n, got)
			}
		}
	}
}

// check holds every law for one text and one set of rules, and for the same text
// with space round it: without, it is near its ends that much is done byte by
// byte.
func check(t testing.TB, p *Program, text []byte) {
	t.Helper()
	checkOne(t, p, text, 1, 2, 3, 5, 63, 64, 65)
	wide := append(bytes.Repeat([]byte(" "), 9), text...)
	checkOne(t, p, append(wide, strings.Repeat(" ", 70)...), 64)
}

func checkOne(t testing.TB, p *Program, text []byte, sizes ...int) {
	t.Helper()
	want, wantErr := run(p, string(text), len(text)+1)
	valid := isValid(text)
	if valid != (wantErr == nil) {
		t.Fatalf("%q: %v, but valid is %v", text, wantErr, valid)
	}
	for _, n := range sizes {
		if n > len(text) {
			break
		}
		got, err := run(p, string(text), n)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("%q in pieces of %d: %v, whole: %v", text, n, err, wantErr)
		}
		if err == nil && got != want {
			t.Fatalf("%q in pieces of %d = %q, whole %q", text, n, got, want)
		}
		if e := new(Error); errors.As(err, &e) && e.Reason != ReasonTruncated {
			// Nothing that was written depends on what follows the fault.
			other := append(bytes.Clone(text[:e.Offset]), "#$%"...)
			if same, _ := run(p, string(other), n); !strings.HasPrefix(got, same) && !strings.HasPrefix(same, got) {
				t.Fatalf("%q in pieces of %d: %q left, for %q it was %q", text, n, got, other, same)
			}
		}
	}
	if wantErr != nil {
		return
	}
	if !isValid([]byte(want)) {
		t.Fatalf("%q = %q, which is not JSON", text, want)
	}
	text, want = bytes.TrimPrefix(text, []byte(byteOrderMark)), strings.TrimPrefix(want, byteOrderMark)
	if got, ref := withoutSpace(t, []byte(want)), reference(t, p.rules, text, p.options.FoldCase); got != ref {
		t.Fatalf("%q = %q, the reference says %q", text, got, ref)
	}
}

// isValid reports whether text is JSON to the letter, perhaps behind a byte order
// mark, and with halves of surrogate pairs in values.
func isValid(text []byte) bool {
	text = bytes.TrimPrefix(text, []byte(byteOrderMark))
	if !utf8.Valid(text) {
		return false
	}
	d := jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for first := true; ; first = false {
		if !first && d.StackDepth() == 0 {
			_, err := d.ReadToken()
			return err == io.EOF
		}
		kind, n := d.StackIndex(d.StackDepth())
		if d.PeekKind() == '"' {
			s, err := d.ReadValue()
			if err != nil || kind == '{' && n%2 == 0 && !s.IsValid() {
				return false
			}
			continue
		}
		if _, err := d.ReadToken(); err != nil {
			return false
		}
	}
}

func TestHalvesOfSurrogatePairsAreCopied(t *testing.T) {
	p := compile(t, Options{}, append(rule(masked(t, "name"), "a"), rule(Remove(), "ssn")...)...)
	for in, want := range map[string]string{
		`{"t":"Hello \ud83d","ssn":1}`:                  `{"t":"Hello \ud83d"}`,
		`["\udc00\ud83d\ud83d\ude00\ud83dx",{"ssn":1}]`: `["\udc00\ud83d\ud83d\ude00\ud83dx",{}]`,
		`["\ud83d\n\ud83d\"",{"ssn":1}]`:                `["\ud83d\n\ud83d\"",{}]`,
		`{"ssn":"\ud83d"}`:                              `{}`,
		`{"a":"\ud83dbc"}`:                              `{"a":"�**"}`,
		"\ufeff{\"ssn\":1}":                             "\ufeff{}",
		"\ufeff \n[]":                                   "\ufeff \n[]",
	} {
		for n := 1; n <= len(in)+1; n++ {
			if got, err := run(p, in, n); err != nil || got != want {
				t.Errorf("%s in pieces of %d = %s (%v), want %s", in, n, got, err, want)
			}
		}
	}
}

func programs(t testing.TB) []*Program {
	cat := func(lists ...[]Rule) (all []Rule) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	return []*Program{
		compile(t, Options{}),
		compile(t, Options{}, rule(Remove(), "a")...),
		compile(t, Options{}, rule(Remove(), "$.*", "$..b[0]")...),
		compile(t, Options{}, cat(rule(Remove(), "$[1]", "$.a.a"), rule(Null(), "$..['a','']"))...),
		compile(t, Options{}, cat(rule(Remove(), "$..[0:2]"), rule(masked(t, "name"), "$.a", "$..[2]"))...),
		compile(t, Options{}, cat(rule(Keep(0, 1, '#'), "$"), rule(Remove(), "$[::2]"))...),
		compile(t, Options{}, cat(rule(Keep(1, 0, '#'), "$..[1:]"), rule(Replace("é"), "$..a..a", "$[3:0:-1]"), rule(Remove(), "$.*.*"))...),
		compile(t, Options{}, cat(rule(Remove(), "$[-1]", "$..a[-2:]"), rule(Null(), "$..b[:-1]"))...),
		compile(t, Options{}, cat(rule(Remove(), "$..[-2]", "$[5:1:-2]"), rule(masked(t, "last4"), "$[-3:-1].*"))...),
		compile(t, Options{}, cat(rule(Remove(), "$..[-1]", "a"), rule(Keep(0, 0, 'x'), "$..[-3::2]", "$..[::-1]"))...),
		compile(t, Options{}, cat(rule(Hash([]byte("k")), "a"), rule(Truncate(3), "$.*.*", "$[1]"), rule(detecting(t, masked(t, "mobile"), "mobile"), "$"))...),
		compile(t, Options{}, cat(rule(detecting(t, Null(), "mobile"), "$..b"), rule(Truncate(9), "$..*"), rule(detecting(t, Remove(), "mobile"), "$..[0]"))...),
		compile(t, Options{}, cat(rule(Round(0), "$..*"), rule(ShiftDates([]byte("k"), 9), "a"), rule(Remove(), "$..b.b"))...),
		compile(t, Options{FoldCase: true}, cat(rule(Remove(), "a", "$.B.b"), rule(Null(), "$..['K',''].Skis", "é"))...),
	}
}

func TestEveryShortText(t *testing.T) {
	alphabet := []string{`{`, `}`, `[`, `]`, `,`, `:`, `"a"`, `""`, `1`, ` `, `"`, `-`, `0`, `.`, `true`, `\`}
	const most = 4
	all := programs(t)
	text := make([]byte, 0, 64)
	var walk func(n int)
	count := 0
	walk = func(n int) {
		if len(text) > 0 {
			count++
			check(t, all[count%len(all)], text)
		}
		if n == most {
			return
		}
		for _, a := range alphabet {
			was := len(text)
			text = append(text, a...)
			walk(n + 1)
			text = text[:was]
		}
	}
	walk(0)
	t.Log(count, "texts")
}

func TestEveryShortValidText(t *testing.T) {
	all := programs(t)
	count := 0
	for i, text := range documents(5) {
		for j := range 3 {
			check(t, all[(i+3*j)%len(all)], []byte(text))
			count++
		}
	}
	t.Log(count, "cases")
}

// documents returns every document of up to n nodes, of few scalars and names.
func documents(n int) []string {
	if n == 0 {
		return nil
	}
	list := []string{`1`, `"x"`, `[]`, `{}`}
	seqs := sequences(n - 1)
	for _, s := range seqs {
		list = append(list, "["+strings.Join(s, ",")+"]")
		for _, names := range [][]string{{`"a"`, `"b"`, `""`}, {`"b"`, ` "\u0061" `, `"a"`}} {
			var m []string
			for i, v := range s {
				m = append(m, names[i%3]+":"+v)
			}
			list = append(list, "{"+strings.Join(m, " , ")+"}")
		}
	}
	return list
}

// sequences returns every non-empty list of documents with n nodes in all.
func sequences(n int) [][]string {
	var list [][]string
	for first := 1; first <= n; first++ {
		for _, d := range exactly(first) {
			list = append(list, []string{d})
			if rest := n - first; rest > 0 {
				for _, s := range sequences(rest) {
					list = append(list, append([]string{d}, s...))
				}
			}
		}
	}
	return list
}

func exactly(n int) []string {
	if n == 1 {
		return []string{`1`, `"x"`, `[]`}
	}
	return documents(n)[4:]
}

// randomDocument is deeper and longer than what can be enumerated.
func randomDocument(r *rand.Rand, depth int) string {
	space := func() string { return []string{"", "", "", " ", "\n\t"}[r.IntN(5)] }
	name := func() string {
		return []string{`"a"`, `"b"`, `""`, `"\u0061"`, `"é"`, `"` + strings.Repeat("n", r.IntN(90)) + `"`}[r.IntN(6)]
	}
	k := r.IntN(9)
	if depth == 0 {
		k = 2 + r.IntN(7)
	}
	switch k {
	case 0, 1:
		var parts []string
		for range r.IntN(6) {
			part := space() + randomDocument(r, depth-1) + space()
			if k == 0 {
				part = space() + name() + space() + ":" + part
			}
			parts = append(parts, part)
		}
		if k == 0 {
			return "{" + space() + strings.Join(parts, ",") + "}"
		}
		return "[" + space() + strings.Join(parts, ",") + "]"
	case 2:
		return []string{"true", "false", "null"}[r.IntN(3)]
	case 3:
		return fmt.Sprint(r.Int64() >> r.IntN(64))
	case 4:
		return fmt.Sprint(r.NormFloat64()) + []string{"", "e7", "E-12", "e+0"}[r.IntN(4)]
	case 5:
		return []string{
			`"tel 13812345678"`, `"\u0031381234567\u0038"`, `"{\"a\":\"13812345678\",\"b\":1}"`, `"138123456789"`,
			`"2026-11-22T00:00:00Z"`, `"20261122"`, `"12.5"`, `1700000000`,
		}[r.IntN(8)]
	case 6:
		return `"` + strings.Repeat("中", r.IntN(40)) + `\ud83d\ude00\n"`
	}
	return `"` + strings.Repeat("ab \\\\", r.IntN(20)) + `"`
}

func TestEveryKindOfCharacter(t *testing.T) {
	p := compile(t, Options{}, rule(masked(t, "name"), "$[0]")...)
	next := []byte{0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xed}
	var grow func(char []byte)
	grow = func(char []byte) {
		for _, pad := range []string{"", "abcdefgh"} {
			in := `[1,"` + string(char) + pad + `"]`
			got, err := run(p, in, 99)
			if valid := utf8.Valid(char); valid != (err == nil) || valid && got != `["*",`+in[3:] {
				t.Fatalf("%q = %q, %v, valid is %v", in, got, err, valid)
			}
			if _, split := run(p, in, 1); fmt.Sprint(split) != fmt.Sprint(err) {
				t.Fatalf("%q: %v, in pieces of 1: %v", in, err, split)
			}
		}
		if len(char) == 4 || len(char) == 3 && char[0] < 0xf0 || len(char) == 2 && char[0] < 0xe0 {
			return
		}
		for _, c := range next {
			grow(append(char, c))
		}
	}
	for first := 0x80; first < 0x100; first++ {
		grow(append(make([]byte, 0, 4), byte(first)))
	}
}

func TestEveryEscape(t *testing.T) {
	p := compile(t, Options{}, rule(masked(t, "name"), "x")...)
	try := func(escape string) {
		for _, in := range []string{`["` + escape + `"]`, `["` + escape + `abcdefgh"]`, `{"` + escape + `":1}`} {
			valid := json.Valid([]byte(in)) && isValid([]byte(in))
			for _, n := range []int{1, 4, 99} {
				if got, err := run(p, in, n); valid != (err == nil) || valid && got != in {
					t.Fatalf("%q in pieces of %d = %q, %v, valid is %v", in, n, got, err, valid)
				}
			}
		}
	}
	for c := range 256 {
		try(`\` + string(rune(c)))
	}
	for unit := range 1 << 16 {
		if unit%7 == 0 || unit>>11 == 0x1b && unit%3 == 0 {
			try(fmt.Sprintf(`\u%04x`, unit))
			try(fmt.Sprintf(`\ud83d\u%04X`, unit))
		}
	}
	for _, digit := range "/:@G`g \"" {
		for at := range 4 {
			try(`\u` + "0000"[:at] + string(digit) + "0000"[at+1:])
		}
	}
}

func TestNumbers(t *testing.T) {
	p := compile(t, Options{}, rule(Remove(), "x")...)
	parts := [][]string{
		{"", "-", "+", "--"},
		{"", "0", "1", "01", "10", "1234567", "12345678", "123456789012345678901234567890"},
		{"", ".", ".0", ".1234567", ".12345678", ".1234567890123456", ".12345678901234567", "..1", ".e1"},
		{"", "e", "e1", "E+1", "e-", "e-0012345678901234567", "e1.5", "ee1"},
	}
	for _, sign := range parts[0] {
		for _, whole := range parts[1] {
			for _, frac := range parts[2] {
				for _, exp := range parts[3] {
					number := sign + whole + frac + exp
					if number == "" {
						continue
					}
					valid := json.Valid([]byte(number))
					for _, in := range []string{number, "[" + number + "]", "[" + number + strings.Repeat(" ", 64) + "]"} {
						for _, n := range []int{1, 5, 999} {
							if got, err := run(p, in, n); valid != (err == nil) || valid && got != in {
								t.Fatalf("%q in pieces of %d = %q, %v, valid is %v", in, n, got, err, valid)
							}
						}
					}
				}
			}
		}
	}
}

func TestRandomDocuments(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	all := programs(t)
	for range 3000 {
		check(t, all[r.IntN(len(all))], []byte(randomDocument(r, 6)))
	}
}

func TestSequenceIsItsTextsOneByOne(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, p := range programs(t) {
		q := compile(t, Options{Sequence: true, FoldCase: p.options.FoldCase}, p.rules...)
		for range 100 {
			var in, want strings.Builder
			for range r.IntN(5) {
				doc := randomDocument(r, 4)
				out, err := run(p, doc, 1000)
				if err != nil {
					t.Fatal(doc, err)
				}
				end := []string{"\n", " ", "\r\n\x1e"}[r.IntN(3)]
				in.WriteString(doc + end)
				want.WriteString(out + end)
			}
			for _, n := range []int{1, 7, 1000} {
				if got, err := run(q, in.String(), n); err != nil || got != want.String() {
					t.Fatalf("%q in pieces of %d = %q, %v, want %q", in.String(), n, got, err, want.String())
				}
			}
		}
	}
}

func FuzzRewriter(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 30 {
		f.Add([]byte(randomDocument(r, 4)), uint8(i))
	}
	all := programs(f)
	f.Fuzz(func(t *testing.T, text []byte, which uint8) {
		if len(text) < 10000 {
			check(t, all[int(which)%len(all)], text)
		}
	})
}

package strictjson

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

func nest(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func many(n int, last string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"n%d":%d,`, i, i)
	}
	return "{" + b.String() + `"` + last + `":0}`
}

func TestTextsThatAreNotOneStrictObjectAreRefused(t *testing.T) {
	for text, want := range map[string]error{
		``:                             ErrSyntax,
		` `:                            ErrSyntax,
		`[]`:                           ErrSyntax,
		`"a"`:                          ErrSyntax,
		`1`:                            ErrSyntax,
		`null`:                         ErrSyntax,
		`{`:                            ErrSyntax,
		`{"a"`:                         ErrSyntax,
		`{"a":`:                        ErrSyntax,
		`{"a":1`:                       ErrSyntax,
		`{"a":1,`:                      ErrSyntax,
		`{"a":1,}`:                     ErrSyntax,
		`{,"a":1}`:                     ErrSyntax,
		`{"a":1 "b":2}`:                ErrSyntax,
		`{"a" 1}`:                      ErrSyntax,
		`{"a":1}{}`:                    ErrSyntax,
		`{"a":1},`:                     ErrSyntax,
		"{\"a\":1}\x00":                ErrSyntax,
		"{\"a\":\x00}":                 ErrSyntax,
		"\ufeff{}":                     ErrSyntax,
		"{}\ufeff":                     ErrSyntax,
		"{\v}":                         ErrSyntax,
		"{\u00a0}":                     ErrSyntax,
		`{a:1}`:                        ErrSyntax,
		`{'a':1}`:                      ErrSyntax,
		`{"a":'b'}`:                    ErrSyntax,
		`{1:1}`:                        ErrSyntax,
		`{null:1}`:                     ErrSyntax,
		`{"a":tru}`:                    ErrSyntax,
		`{"a":True}`:                   ErrSyntax,
		`{"a":truex}`:                  ErrSyntax,
		`{"a":nul`:                     ErrSyntax,
		`{"a":undefined}`:              ErrSyntax,
		`{"a":NaN}`:                    ErrSyntax,
		`{"a":Infinity}`:               ErrSyntax,
		`{"a":-}`:                      ErrSyntax,
		`{"a":+1}`:                     ErrSyntax,
		`{"a":01}`:                     ErrSyntax,
		`{"a":-01}`:                    ErrSyntax,
		`{"a":.5}`:                     ErrSyntax,
		`{"a":1.}`:                     ErrSyntax,
		`{"a":1.e1}`:                   ErrSyntax,
		`{"a":1e}`:                     ErrSyntax,
		`{"a":1e+}`:                    ErrSyntax,
		`{"a":0x1}`:                    ErrSyntax,
		`{"a":1_0}`:                    ErrSyntax,
		`{"a":[1,]}`:                   ErrSyntax,
		`{"a":[,1]}`:                   ErrSyntax,
		`{"a":[1 2]}`:                  ErrSyntax,
		`{"a":[1}`:                     ErrSyntax,
		`{"a":{]}`:                     ErrSyntax,
		`{"a":"`:                       ErrSyntax,
		`{"a":"\`:                      ErrSyntax,
		`{"a":"\"}`:                    ErrSyntax,
		`{"a":"\x41"}`:                 ErrSyntax,
		`{"a":"\'"}`:                   ErrSyntax,
		`{"a":"\u"}`:                   ErrSyntax,
		`{"a":"\u12"}`:                 ErrSyntax,
		`{"a":"\u12G4"}`:               ErrSyntax,
		`{"a":"\U0041"}`:               ErrSyntax,
		`{"a":"\ud800"}`:               ErrSyntax,
		`{"a":"\udc00"}`:               ErrSyntax,
		`{"a":"\ud800\u0041"}`:         ErrSyntax,
		`{"a":"\ud800\ud800"}`:         ErrSyntax,
		`{"a":"\udc00\ud800"}`:         ErrSyntax,
		`{"a":"\ud800x\udc00"}`:        ErrSyntax,
		`{"a":"\ud800\udc0"}`:          ErrSyntax,
		"{\"a\":\"\n\"}":               ErrSyntax,
		"{\"a\":\"\x1f\"}":             ErrSyntax,
		"{\"a\":\"\xff\"}":             ErrSyntax,
		"{\"a\":\"\xc0\x80\"}":         ErrSyntax,
		"{\"a\":\"\xe9\"}":             ErrSyntax,
		"{\"a\":\"\xed\xa0\x80\"}":     ErrSyntax,
		"{\"a\":\"\xf4\x90\x80\x80\"}": ErrSyntax,
		"{\"\xff\":1}":                 ErrSyntax,
		`{"a":1/* c */}`:               ErrSyntax,
		"{\"a\":1} // c":               ErrSyntax,

		`{"a":1,"a":1}`:                     ErrDuplicate,
		`{"a":1,"\u0061":1}`:                ErrDuplicate,
		`{"\u0061":1,"a":1}`:                ErrDuplicate,
		`{"":1,"":1}`:                       ErrDuplicate,
		`{"a":{"b":1,"c":2,"b":3}}`:         ErrDuplicate,
		`{"a":[0,{"b":1,"b":3}]}`:           ErrDuplicate,
		`{"a":{"x":{"y":1}},"b":1,"a":2}`:   ErrDuplicate,
		"{\"é\":1,\"\\u00e9\":1}":           ErrDuplicate,
		`{"😀":1,"\ud83d\ude00":1}`:          ErrDuplicate,
		many(23, "n0"):                      ErrDuplicate,
		many(24, "n23"):                     ErrDuplicate,
		many(25, "n24"):                     ErrDuplicate,
		many(100, "n0"):                     ErrDuplicate,
		many(100, "n99"):                    ErrDuplicate,
		many(1000, `\u006e500`):             ErrDuplicate,
		`{"a":` + many(100, "n50") + `}`:    ErrDuplicate,
		`{"a":` + nest(MaxDepth) + `}`:      ErrDepth,
		`{"a":` + strings.Repeat("[", 1e5):  ErrDepth,
		strings.Repeat(`{"a":`, MaxDepth+1): ErrDepth,
	} {
		var s Scanner
		if err := s.Object([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%.100q: got %v, want %v", text, err, want)
		}
		if s.Len() != 0 {
			t.Errorf("%.100q: members of a refused text", text)
		}
	}
}

func TestMembersAreThoseOfTheText(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                                  ``,
		" \t\r\n{ \n} ":                       ``,
		`{"a":1}`:                             `a=1;`,
		` { "a" : 1 , "b" : [ 1 , 2 ] } `:     `a=1;b=[ 1 , 2 ];`,
		`{"a":{"a":{"a":-0.5e+3}},"b":"\""}`:  `a={"a":{"a":-0.5e+3}};b="\"";`,
		`{"":true,"\u0000":false,"\"":null}`:  "=true;\x00=false;\"=null;",
		`{"\ud83d\ude00\/\\\b\f\n\r\t":"é"}`:  "😀/\\\b\f\n\r\t=\"é\";",
		`{"a":"}","b":"]","c":",:{["}`:        `a="}";b="]";c=",:{[";`,
		`{"A":1,"a":2}`:                       `A=1;a=2;`,
		`{"a":` + nest(MaxDepth-1) + `}`:      `a=` + nest(MaxDepth-1) + `;`,
		`{"x":` + many(50, "y") + `,"n0":12}`: `x=` + many(50, "y") + `;n0=12;`,
	} {
		var s Scanner
		if err := s.Object([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		var got strings.Builder
		for i := range s.Len() {
			m := s.Member(i)
			fmt.Fprintf(&got, "%s=%s;", m.Name, m.Value)
			if v, ok := s.Find(string(m.Name)); !ok || !bytes.Equal(v, m.Value) {
				t.Errorf("%s: Find(%q) = %s, %v", text, m.Name, v, ok)
			}
		}
		if got.String() != want {
			t.Errorf("%s: got %s, want %s", text, &got, want)
		}
		if _, ok := s.Find("not there"); ok {
			t.Errorf("%s: found what is not there", text)
		}
	}
}

// TestPublicSuite runs nst/JSONTestSuite, each text as the value of a member.
func TestPublicSuite(t *testing.T) {
	files, _ := filepath.Glob("../../../../shared/vectors/JSONTestSuite/test_parsing/*.json")
	if len(files) == 0 {
		t.Skip("the files of JSONTestSuite are not beside the repository")
	}
	ran := 0
	for _, file := range files {
		name := filepath.Base(file)
		doc, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".gitattributes") || len(name) < 2 {
			continue
		}
		var s Scanner
		refused := s.Object(wrap(`{"a":`, doc, `}`)) != nil
		ran++
		switch {
		case name[0] == 'n' && !refused:
			t.Errorf("%s: accepted", name)
		case name[0] == 'y' && refused && !strings.HasPrefix(name, "y_object_duplicated_key"):
			t.Errorf("%s: refused", name)
		case strings.HasPrefix(name, "y_object_duplicated_key") && !refused:
			t.Errorf("%s: duplicate names accepted", name)
		}
	}
	if ran < 300 {
		t.Errorf("only %d files", ran)
	}
}

func wrap(before string, doc []byte, after string) []byte {
	return append(append([]byte(before), doc...), after...)
}

func TestLookupIsAStepOfAPointer(t *testing.T) {
	const doc = `{"a": {"b" : [10, "x", {"c":null}], "":1, "d\u0065":2 }, "0":3, "e":"s"}`
	for path, want := range map[string]string{
		"a/b/0": "10", "a/b/1": `"x"`, "a/b/2/c": "null", "a/": "1", "a/de": "2", "0": "3", "e": `"s"`,
		"a/b/2": `{"c":null}`, "a/b/3": "", "a/b/-": "", "a/b/00": "", "a/b/01": "", "a/b/+1": "", "a/b/-1": "", "a/b/1.0": "",
		"a/b/ 1": "", "a/b/": "", "a/b/9999999999": "", "a/b/18446744073709551616": "", "a/x": "", "e/0": "", "e/s": "", "0/0": "", "A": "",
	} {
		value, ok := []byte(doc), true
		for _, step := range strings.Split(path, "/") {
			if ok {
				value, ok = Lookup(value, step)
			}
		}
		if ok != (want != "") || ok && string(value) != want {
			t.Errorf("%s: got %s, %v, want %s", path, value, ok, want)
		}
	}
}

func TestEightBytesAreReadAsOneByOne(t *testing.T) {
	for c := range 256 {
		for at := range 8 {
			for _, after := range []byte{'a', '"', 0, 0xff, '!', '#', 0x1f, 0x20} {
				w := []byte("abcdefgh")
				w[at] = byte(c)
				for i := at + 1; i < 8; i++ {
					w[i] = after
				}
				want := 0
				for want < 8 && plainByte[w[want]] {
					want++
				}
				if got := plainPrefix(binary.LittleEndian.Uint64(w)); got != want {
					t.Fatalf("%q: got %d, want %d", w, got, want)
				}
			}
		}
	}
}

func TestAppendStringIsReadBack(t *testing.T) {
	for _, text := range []string{"", "a", "\"\\/\x00\x1f\x7f é😀\u2028", "\b\f\n\r\t"} {
		quoted := AppendString(nil, text)
		var back string
		if err := json.Unmarshal(quoted, &back); err != nil || back != text {
			t.Errorf("%q: %s", text, quoted)
		}
		if got, ok := Text(quoted); !ok || string(got) != text {
			t.Errorf("%q: read back as %q", text, got)
		}
	}
}

// strictTwin says what the strict decoder of go-json-experiment says.
func strictTwin(doc []byte) bool {
	d := jsontext.NewDecoder(bytes.NewReader(doc))
	if d.PeekKind() != '{' {
		return false
	}
	if err := d.SkipValue(); err != nil {
		return false
	}
	rest := doc[d.InputOffset():]
	return len(bytes.TrimLeft(rest, " \t\r\n")) == 0
}

func depth(doc []byte) (deepest int) {
	d := jsontext.NewDecoder(bytes.NewReader(doc), jsontext.AllowDuplicateNames(true))
	for {
		if _, err := d.ReadToken(); err != nil {
			return deepest
		}
		deepest = max(deepest, d.StackDepth())
	}
}

// FuzzObject holds that the scanner accepts exactly what another strict
// implementation accepts, and reads out of it what encoding/json does.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1,"b":[true,false,null],"c":{"d":"e"}}`, `{"a":"\ud83d\ude00\u00e9é"}`, `{"a":1,"\u0061":2}`,
		`{"a":-0.1e-5}`, "{\"a\":\"\xff\"}", `{"a":"\ud800"}`, many(30, "n29"), many(30, "x"), ` { "a" : [ ] } x`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		var s Scanner
		before := bytes.Clone(doc)
		err := s.Object(doc)
		if !bytes.Equal(before, doc) {
			t.Fatal("the text has been changed")
		}
		if strict := strictTwin(doc); strict != (err == nil) && !(strict && depth(doc) > MaxDepth) {
			t.Fatalf("%q: %v, the other says %v", doc, err, strict)
		}
		if err != nil {
			return
		}
		var std map[string]json.RawMessage
		if err := json.Unmarshal(doc, &std); err != nil {
			t.Fatalf("%q: %v", doc, err)
		}
		if len(std) != s.Len() {
			t.Fatalf("%q: %d members, want %d", doc, s.Len(), len(std))
		}
		for i := range s.Len() {
			m := s.Member(i)
			if !bytes.Equal(m.Value, std[string(m.Name)]) {
				t.Fatalf("%q: member %q is %q, want %q", doc, m.Name, m.Value, std[string(m.Name)])
			}
			walk(t, m.Value)
		}
		if n := Count(bytes.TrimSpace(doc)); n != len(std) {
			t.Fatalf("%q: Count = %d, want %d", doc, n, len(std))
		}
		for name, want := range std {
			if got, ok := Lookup(bytes.TrimSpace(doc), name); !ok || !bytes.Equal(got, want) {
				t.Fatalf("%q: Lookup(%q) = %q, want %q", doc, name, got, want)
			}
		}
	})
}

// walk reads value with the functions for valid texts and compares with
// encoding/json.
func walk(t *testing.T, value []byte) {
	switch value[0] {
	case '"':
		var want string
		if err := json.Unmarshal(value, &want); err != nil {
			t.Fatal(err)
		}
		if got, ok := Text(value); !ok || string(got) != want {
			t.Fatalf("%q: got %q, want %q", value, got, want)
		}
	case '[':
		var want []json.RawMessage
		if err := json.Unmarshal(value, &want); err != nil {
			t.Fatal(err)
		}
		list, _ := Array(value)
		for i := 0; ; i++ {
			e, ok := list.Next()
			if !ok {
				if i != len(want) {
					t.Fatalf("%q: %d elements, want %d", value, i, len(want))
				}
				return
			}
			if !bytes.Equal(e, want[i]) {
				t.Fatalf("%q: element %d is %q, want %q", value, i, e, want[i])
			}
			walk(t, e)
		}
	}
}

func BenchmarkObject(b *testing.B) {
	doc := []byte(`{"iss":"https://id.example.com","sub":"3fa85f64-5717-4562-b3fc-2c963f66afa6","aud":["orders-api","account"],"exp":1795342500,"iat":1795341500,"scope":"openid profile","realm_access":{"roles":["clerk","manager"]}}`)
	var s Scanner
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if s.Object(doc) != nil {
			b.Fatal("refused")
		}
	}
}

package strictjson

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestTapeRefusesWhatHasTwoReadings(t *testing.T) {
	limits := Limits{Depth: 4, Values: 20, Members: 5, Items: 6, String: 10}
	for text, want := range map[string]error{
		`{"a":1,"b":[true,null,"x"]}`:           nil,
		`12`:                                    nil,
		` "é" `:                                 nil,
		`{"a":1,"a":2}`:                         ErrDuplicate,
		`{"a":1,"\u0061":2}`:                    ErrDuplicate,
		`{"a":1,"A":2}`:                         ErrTwin,
		`{"id":1,"ID":2}`:                       ErrTwin,
		`{"k":1,"\u212a":2}`:                    ErrTwin, // the sign for kelvin
		`{"\u212a":1,"k":2}`:                    ErrTwin,
		`{"straße":1,"STRASSE":2}`:              nil, // nobody folds these
		`{"é":1,"É":2}`:                         ErrTwin,
		`{"a-b":1,"a_b":2}`:                     nil,
		`{"[":1,"{":2}`:                         nil, // which differ in one bit as letters do
		`{"":1,"":2}`:                           ErrDuplicate,
		`[{"a":1},{"A":2}]`:                     nil,
		`[[[[1]]]]`:                             nil,
		`[[[[[1]]]]]`:                           ErrDepth,
		`{"a":{"a":{"a":{"a":{}}}}}`:            ErrDepth,
		`[1,2,3,4,5,6]`:                         nil,
		`[1,2,3,4,5,6,7]`:                       ErrItems,
		`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1}`: ErrMembers,
		`"12345678901"`:                         ErrString,
		`[[1,2,3,4,5],[1,2,3,4,5],[1,2,3,4,5],[1,2]]`: ErrValues,
		`1e400`:                  ErrNumber,
		`-1e309`:                 ErrNumber,
		`1e-400`:                 ErrNumber,
		`0e-400`:                 nil,
		`0.0e999`:                nil,
		strings.Repeat("9", 400): ErrNumber,
		`1e308`:                  nil,
		`{`:                      ErrSyntax,
		``:                       ErrSyntax,
		`{} {}`:                  ErrSyntax,
		`01`:                     ErrSyntax,
		`"\ud800"`:               ErrSyntax,
		"\"\xff\"":               ErrSyntax,
		`nul`:                    ErrSyntax,
	} {
		var tape Tape
		if err := tape.Read([]byte(text), limits); !errors.Is(err, want) || err == nil != (want == nil) {
			t.Errorf("%s: got %v, want %v", text, err, want)
		}
	}
}

// TestManyNamesAreCompared has more names than are compared with each other.
func TestManyNamesAreCompared(t *testing.T) {
	for _, last := range []string{"name7", "NAME7", "name_7"} {
		var b strings.Builder
		b.WriteString("{")
		for i := range 200 {
			fmt.Fprintf(&b, `"name%d":1,`, i)
		}
		b.WriteString(`"` + last + `":1}`)
		want := map[string]error{"name7": ErrDuplicate, "NAME7": ErrTwin}[last]
		var tape Tape
		if err := tape.Read([]byte(b.String()), Limits{Depth: 2}); !errors.Is(err, want) || err == nil != (want == nil) {
			t.Errorf("%s: got %v, want %v", last, err, want)
		}
	}
}

// FuzzTape holds that a Tape accepts what a Scanner accepts but for what it refuses
// on purpose, and that its values are the text.
func FuzzTape(f *testing.F) {
	for _, text := range []string{`{}`, `{"a":[1,{"b":null}],"c":"\u00e9"}`, `{"a":1,"A":2}`, `{"a":1e999}`, ` { "a" : [ ] } `, `{"a":{"a":1},"b":"\"\\"}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var s Scanner
		var tape Tape
		errScan, err := s.Object(text), tape.Read(text, Limits{Depth: MaxDepth})
		switch {
		case errors.Is(err, ErrTwin), errors.Is(err, ErrNumber):
			return
		case err == nil && tape.Values[0].Kind != KindObject:
			return // of which a Scanner knows nothing
		case (err == nil) != (errScan == nil):
			t.Fatalf("%q: tape %v, scanner %v", text, err, errScan)
		case err != nil:
			return
		}
		if int(tape.Values[0].Len) != s.Len() || int(tape.Values[0].Next) != len(tape.Values) {
			t.Fatalf("%q: %d members, want %d", text, tape.Values[0].Len, s.Len())
		}
		at := 1
		for i := range s.Len() {
			m := s.Member(i)
			if string(tape.Name(at)) != string(m.Name) || string(tape.Text(at)) != string(m.Value) || tape.Find(0, string(m.Name)) != at {
				t.Fatalf("%q: member %d is %q: %q", text, i, tape.Name(at), tape.Text(at))
			}
			if want, ok := Text(m.Value); ok && string(tape.String(at, nil)) != string(want) {
				t.Fatalf("%q: member %d stands for %q, want %q", text, i, tape.String(at, nil), want)
			}
			at = int(tape.Values[at].Next)
		}
	})
}

// go test ./modules/internal/strictjson -run '^$' -bench Bomb -benchmem
func BenchmarkDepthBomb(b *testing.B) {
	for name, text := range map[string]string{"arrays": strings.Repeat("[", 100_000), "objects": strings.Repeat(`{"a":`, 20_000)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var tape Tape
			doc := []byte(text)
			for b.Loop() {
				if err := tape.Read(doc, Limits{Depth: 32}); !errors.Is(err, ErrDepth) {
					b.Fatal(err)
				}
			}
		})
	}
}

package redaction

import (
	"bytes"
	"fmt"
	"testing"
)

func TestPiecesAreHandedOutAsTheyStand(t *testing.T) {
	detect, err := Detect([]string{"mobile"}, Remove())
	if err != nil {
		t.Fatal(err)
	}
	p := compile(t, Options{}, append(rule(Remove(), "x"), rule(detect, "$")...)...)
	in := `{"x":1, "c":[ {"t":"call \u00e9\n138"} ], "o":"13812345678", "j":"{\"a\":\"13812345678\"}"}`
	want := `{ "c":[ {"t":"call \u00e9\n138"} ], "o":"", "j":"{\"a\":\"\"}"}`
	for n := 1; n <= len(in); n++ {
		var out bytes.Buffer
		w := p.NewRewriter(&out)
		w.Join(func(pointer string) bool { return pointer == "/c/0/t" || pointer == "/j" })
		for rest := in; rest != ""; rest = rest[min(n, len(rest)):] {
			if _, err := w.Write([]byte(rest[:min(n, len(rest))])); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil || out.String() != want {
			t.Fatalf("in pieces of %d: %s (%v)", n, out.String(), err)
		}
		list := w.Pieces()
		if len(list) != 1 || string(list[0].Text) != "call \u00e9\n138" || list[0].Pointer != "/c/0/t" || want[list[0].From:list[0].To] != `"call \u00e9\n138"` {
			t.Fatalf("in pieces of %d: %+v", n, list)
		}
		w.Reset(&out)
		if len(w.Pieces()) > 0 || w.take != nil {
			t.Fatal("Reset has not forgotten")
		}
	}
}

func TestTailDecidesOnce(t *testing.T) {
	detect, err := Detect([]string{"mobile"}, Replace("[x]"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := compile(t, Options{}, rule(detect, "$")...).NewRewriter(&out)
	w.Join(func(string) bool { return true })
	if _, err := w.Write([]byte(`["a"]`)); err != nil {
		t.Fatal(err)
	}
	tail := w.NewTail(&w.Pieces()[0])
	for _, step := range []struct {
		text string
		end  bool
		want string
	}{
		{"to 138", false, "3"},
		{"1234 5678", false, "0"},
		{", 7", false, "0-12 [x], 14"},
		{"", true, "1"},
	} {
		tail.Add([]byte(step.text))
		edits, n := tail.Decide(step.end)
		got := ""
		for _, e := range edits {
			got += fmt.Sprintf("%d-%d %s, ", e.From, e.To, e.Text)
		}
		if got += fmt.Sprint(n); got != step.want {
			t.Errorf("%q: %s, want %s", step.text, got, step.want)
		}
	}
}

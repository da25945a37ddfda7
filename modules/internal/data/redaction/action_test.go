package redaction

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/mask"
)

func detecting(t testing.TB, inner Action, kinds ...string) Action {
	t.Helper()
	a, err := Detect(kinds, inner)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestActionsOnEveryScalarType(t *testing.T) {
	for _, c := range []struct {
		name     string
		action   Action
		in, want string
	}{
		{"truncate", Truncate(3), `"abcdef"`, `"abc"`},
		{"truncate", Truncate(3), `"\u4e2d\u6587"`, `"\u4e2d\u6587"`},
		{"truncate", Truncate(1), `"中文"`, `"中"`},
		{"truncate", Truncate(3), `12345`, `"123"`},
		{"truncate", Truncate(3), `12`, `12`},
		{"truncate", Truncate(3), `true`, `"****"`},
		{"truncate", Truncate(9), `[true,null,{"a":"0123456789"}]`, `[true,null,{"a":"012345678"}]`},
		{"round", Round(1), `12.345`, `12.3`},
		{"round", Round(-2), `1250`, `1300`},
		{"round", Round(0), `"99.5"`, `"100"`},
		{"round", Round(0), `"99 Main St"`, `"****"`},
		{"round", Round(0), `null`, `null`},
		{"round", Round(0), `true`, `"****"`},
		{"round", Round(0), `1e99999999999`, `"****"`},
		{"mask", masked(t, "last4"), `-1.5e300`, `"****e300"`},
		{"mask", masked(t, "email"), `"a\u0062c@example.com"`, `"a**@example.com"`},
		{"keep", Keep(1, 0, '●'), `"秘密です"`, `"秘●●●"`},
		{"keep", Keep(1, 0, '#'), `[true,false,null]`, `["****","****","****"]`},
	} {
		p := compile(t, Options{}, rule(c.action, "$")...)
		for n := 1; n <= len(c.in); n++ {
			got, err := run(p, c.in, n)
			if err != nil || got != c.want {
				t.Errorf("%s of %s in pieces of %d = %s, %v, want %s", c.name, c.in, n, got, err, c.want)
			}
		}
	}
}

func TestHashIsTheSameForEqualValuesOnly(t *testing.T) {
	p := compile(t, Options{}, rule(Hash([]byte("k")), "$.*")...)
	values := []string{`"1"`, `1`, `true`, `null`, `"true"`, `""`, `2`, `"\u00e9"`, `1e400`, `10`}
	equal := []string{`"\u0031"`, `1.0`, `true`, `null`, `"\u0074rue"`, `""`, `0.2e1`, `"é"`, `10E399`, `1e1`}
	read := func(list []string) []string {
		out, err := run(p, "["+strings.Join(list, ",")+"]", 1000)
		var names []string
		if err != nil || json.Unmarshal([]byte(out), &names) != nil {
			t.Fatal(out, err)
		}
		return names
	}
	a, b := read(values), read(equal)
	seen := map[string]string{}
	for i := range a {
		if a[i] != b[i] {
			t.Errorf("%s is %s, %s is %s", values[i], a[i], equal[i], b[i])
		}
		if seen[a[i]] != "" {
			t.Errorf("%s and %s are both %s", values[i], seen[a[i]], a[i])
		}
		seen[a[i]] = values[i]
	}
}

func TestShiftedDatesKeepTheirDistance(t *testing.T) {
	p := compile(t, Options{}, rule(ShiftDates([]byte("k"), 30), "$.*")...)
	days := mask.ShiftDays([]byte("k"), 30)
	want := func(text string) string {
		out, ok := mask.ShiftDate(nil, []byte(text), days)
		if !ok {
			t.Fatal(text)
		}
		return string(out)
	}
	got, err := run(p, `["2026-11-22","2026-11-23T10:00:00Z",1700000000,"soon",null,false]`, 3)
	if w := fmt.Sprintf(`["%s","%s",%d,"****",null,"****"]`, want("2026-11-22"), want("2026-11-23T10:00:00Z"), 1700000000+86400*days); err != nil || got != w {
		t.Errorf("%s, %v, want %s", got, err, w)
	}
}

func TestEncryptedValueOpensAtItsPlaceInTheOutput(t *testing.T) {
	s, err := mask.NewSealer("2026", bytes.Repeat([]byte{1}, mask.SealKeySize))
	if err != nil {
		t.Fatal(err)
	}
	p := compile(t, Options{}, append(rule(Encrypt(s), "ssn", "$.list[*]"), rule(Remove(), "$.list[0]", "gone")...)...)
	in := `{"gone":1,"list":["x","\u0079",12.50],"a/b":{"ssn":true},"ssn":null,"` + strings.Repeat("n", 5000) + `":{"ssn":1}}`
	for n := 1; n <= len(in)+1; n += 1 + n/40*100 {
		var b strings.Builder
		w := p.NewRewriter(&b)
		w.SetCaller(Caller{ID: "alice"})
		for at := 0; at < len(in); at += n {
			if _, err := w.Write([]byte(in[at:min(at+n, len(in))])); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		var out struct {
			List []string
			AB   struct{ SSN string } `json:"a/b"`
			SSN  string               `json:"ssn"`
			Long struct{ SSN string } `json:"-"`
		}
		if err := json.Unmarshal([]byte(b.String()), &out); err != nil {
			t.Fatal(err, b.String())
		}
		for _, c := range []struct{ text, path, want string }{
			{out.List[0], "/list/0", `"\u0079"`},
			{out.List[1], "/list/1", `12.50`},
			{out.AB.SSN, "/a~1b/ssn", `true`},
			{out.SSN, "/ssn", `null`},
		} {
			if plain, err := s.Open(c.text, c.path, "alice"); err != nil || string(plain) != c.want {
				t.Fatalf("in pieces of %d: %s = %s, %v, want %s", n, c.path, plain, err, c.want)
			}
		}
		if !strings.HasSuffix(b.String(), `n":{"ssn":"****"}}`) {
			t.Fatalf("in pieces of %d: a place that cannot be named: …%s", n, b.String()[b.Len()-40:])
		}
	}
}

func TestDetectLooksIntoEveryString(t *testing.T) {
	pan := detecting(t, masked(t, "last4"), "pan")
	mobile := detecting(t, masked(t, "mobile"), "mobile", "email")
	for _, c := range []struct {
		name     string
		rules    []Rule
		in, want string
	}{
		{
			"in any string", rule(pan, "$"),
			`{"note":"card 4111 1111 1111 1111 ok","n":4111111111111111,"a":["4111111111111112"]}`,
			`{"note":"card ***************1111 ok","n":4111111111111111,"a":["4111111111111112"]}`,
		},
		{"spelt with escapes", rule(pan, "$"), `"\u0034111111111111111"`, `"************1111"`},
		{"untouched where nothing is", rule(mobile, "$"), `["\u0041\/","x"]`, `["\u0041\/","x"]`},
		{"two rules", append(rule(pan, "$"), rule(mobile, "$")...), `"4111111111111111, 13812345678"`, `"************1111, 138****5678"`},
		{"JSON in a string", rule(mobile, "$"), `"{\"t\":\"13812345678\",\"k\":\"x\"}"`, `"{\"t\":\"138****5678\",\"k\":\"x\"}"`},
		{"escapes in JSON in a string", rule(mobile, "$"), `"{\"t\":\"\\u0031 13812345678 1\\u003381234\\u0035678\"}"`, `"{\"t\":\"1 138****5678 138****5678\"}"`},
		{"number of JSON in a string", rule(mobile, "$"), `"[13812345678]"`, `"[\"138****5678\"]"`},
		{"JSON in JSON in a string", rule(mobile, "$"), `"[\"[\\\"13\\\\u0038123\\\\u00345678\\\"]\"]"`, `"[\"[\\\"138****5678\\\"]\"]"`},
		{"broken JSON in a string", rule(mobile, "$"), `"{\"t\":13812345678"`, `"{\"t\":138****5678"`},
		{"remove", rule(detecting(t, Remove(), "mobile"), "$"), `"call 13812345678!"`, `"call !"`},
		{"null", rule(detecting(t, Null(), "mobile"), "$"), `"call 13812345678!"`, `null`},
		{"replace", rule(detecting(t, Replace(`"x"`), "mobile"), "$"), `"call 13812345678!"`, `"call \"x\"!"`},
		{"where selected", rule(mobile, "$.a"), `{"a":"13812345678","b":"13812345678"}`, `{"a":"138****5678","b":"13812345678"}`},
		{"after a stricter rule", append(rule(mobile, "$"), rule(masked(t, "name"), "a")...), `{"a":"13812345678"}`, `{"a":"1**********"}`},
		{"before it is cut off", append(rule(mobile, "$"), rule(Truncate(11), "$")...), `"13812345678 x"`, `"138****5678"`},
	} {
		p := compile(t, Options{}, c.rules...)
		for n := 1; n <= len(c.in); n++ {
			got, err := run(p, c.in, n)
			if err != nil || got != c.want {
				t.Errorf("%s: %s in pieces of %d = %s, %v, want %s", c.name, c.in, n, got, err, c.want)
				break
			}
		}
	}
	if _, err := Detect([]string{"tel"}, Remove()); err == nil {
		t.Error("an unknown kind was taken")
	}
}

func TestTraceTellsRuleAndPlace(t *testing.T) {
	p := compile(t, Options{}, append(append(rule(Remove(), "gone", "$.l[-2]", "$.f[0]"), rule(masked(t, "last4"), "x")...), rule(Null(), "$.l[-1].n")...)...)
	in := `{"gone":{"x":1},"a/b":[0,{"x":[1,2]}],"l":[1,2,{"n":0,"x":"y"}],"f":[1,2],"x":"z"}`
	const want = `gone /gone; x /a~1b/1/x/0; x /a~1b/1/x/1; $.l[-2] /l/1; $.l[-1].n /l/2/n; x /l/2/x; $.f[0] /f/0; x /x`
	for n := 1; n <= len(in); n++ {
		var got []string
		w := p.NewRewriter(io.Discard)
		w.SetTrace(func(rule, pointer string) { got = append(got, rule+" "+pointer) })
		for at := 0; at < len(in); at += n {
			if _, err := w.Write([]byte(in[at:min(at+n, len(in))])); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if s := strings.Join(got, "; "); s != want {
			t.Fatalf("in pieces of %d: %s, want %s", n, s, want)
		}
		if w.Count() != len(got) {
			t.Errorf("Count is %d, want %d", w.Count(), len(got))
		}
	}
}

func TestResetForgetsTheLastText(t *testing.T) {
	p := compile(t, Options{MaxValue: 20}, append(rule(Remove(), "a"), rule(detecting(t, Remove(), "pan"), "$")...)...)
	var b strings.Builder
	w := p.NewRewriter(&b)
	if _, err := w.Write([]byte(`{"a":1,"b":["` + strings.Repeat("x", 30) + `",{"c":`)); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(w.Count(), w.Fired()); got != "2 [a $]" {
		t.Errorf("of a string that is too long and one removed: %s", got)
	}
	w.Close()
	b.Reset()
	w.Reset(&b)
	if _, err := w.Write([]byte(`[1]`)); err != nil || w.Close() != nil || b.String() != `[1]` || w.Count() != 0 || w.Fired() != nil {
		t.Errorf("after Reset: %s, %v, %d, %v", b.String(), err, w.Count(), w.Fired())
	}
}

func TestProgramIsSharedByGoroutines(t *testing.T) {
	rules := append(rule(Remove(), "$..a.*.*.a", "$..[-1]"), rule(masked(t, "last4"), "b", "$..a[2]")...)
	p := compile(t, Options{}, rules...)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(9, uint64(g%3)))
			for range 60 {
				in := randomDocument(r, 5)
				got, err := run(p, in, 1+r.IntN(100))
				if err != nil {
					t.Error(in, err)
					return
				}
				if want := reference(t, p.rules, []byte(in), false); withoutSpace(t, []byte(got)) != want {
					t.Errorf("%s = %s, want %s", in, got, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestRulesThatCannotBeCompiledAreNamed(t *testing.T) {
	for _, selector := range []string{"", "a.b", "$[?@.a]", "$[", "$..", "$[::-2]", "$..a[-1::-3]"} {
		_, err := Compile([]Rule{{Name: "fine", Selector: "a"}, {Name: "bad one", Selector: selector}}, Options{})
		if err == nil || !strings.Contains(err.Error(), `"bad one"`) {
			t.Errorf("%q: %v, want an error that names the rule", selector, err)
		}
	}
	if _, err := Mask("nose"); err == nil || !strings.Contains(err.Error(), "last4") {
		t.Errorf("Mask of an unknown preset: %v, want an error that lists the presets", err)
	}
}

func TestExponentialRulesStayBounded(t *testing.T) {
	p := compile(t, Options{}, rule(Keep(0, 1, 0), "$..a"+strings.Repeat(".*", 16))...)
	root := p.auto.root.Load()
	var b strings.Builder
	state := uint32(1)
	for range 400 {
		for range 200 {
			state = state*1664525 + 1013904223
			b.WriteString(`{"` + string('a'+rune(state>>31)) + `":`)
		}
		b.WriteString("0" + strings.Repeat("}", 200) + "\n")
	}
	p.options.Sequence = true
	in := b.String()
	if _, err := run(p, in, 4096); err != nil {
		t.Fatal(err)
	}
	if n := p.auto.size(); n > maxStates {
		t.Errorf("%d states are kept", n)
	}
	if p.auto.root.Load() == root {
		t.Error("the states never became too many, nothing was tested")
	}
	short := in[:strings.IndexByte(in, '\n')+1]
	got, err := run(p, short, 100)
	if want := reference(t, p.rules, []byte(short), false); err != nil || strings.TrimSpace(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}

// size returns the number of states kept.
func (a *automaton) size() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.states)
}

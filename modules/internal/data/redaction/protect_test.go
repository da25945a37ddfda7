package redaction

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/mask"
)

var tokenKey = []byte("0123456789abcdef0123456789abcdef")

func tokenizer(t testing.TB, format string) *mask.Tokenizer {
	t.Helper()
	tok, err := mask.NewTokenizer(format, tokenKey)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func noise(t testing.TB, most string) Action {
	t.Helper()
	n, err := mask.NewNoise(tokenKey, most)
	if err != nil {
		t.Fatal(err)
	}
	return Noise(n)
}

func buckets(t testing.TB, numbers ...string) Action {
	t.Helper()
	b, err := mask.NewBuckets(numbers)
	if err != nil {
		t.Fatal(err)
	}
	return Bucket(b)
}

func generalization(t testing.TB, name string) Action {
	t.Helper()
	g, err := mask.Generalize(name)
	if err != nil {
		t.Fatal(err)
	}
	return Generalize(g)
}

func fake(t testing.TB, kind string) Action {
	t.Helper()
	f, err := mask.NewFaker(kind, tokenKey)
	if err != nil {
		t.Fatal(err)
	}
	return Fake(f)
}

func TestFakesInDocuments(t *testing.T) {
	got := everyWay(t, compile(t, Options{}, rule(fake(t, "mobile"), "$")...), `["13812345678","1381234567\u0038",13812345678,"","\uff11"]`)
	list := strings.Split(strings.Trim(got, "[]"), ",")
	if len(list) != 5 || list[0] != list[1] || list[0] != `"`+list[2]+`"` || list[3] == list[4] || strings.Count(got, "154") < 5 || strings.Contains(got, "138123") {
		t.Errorf("became %s", got)
	}
	if got := everyWay(t, compile(t, Options{}, rule(fake(t, "name"), "$")...), `13812345678`); got[0] != '"' {
		t.Errorf("a name in place of a number: %s", got)
	}
}

// everyWay runs a text in pieces of every size, and gives back what it becomes
// if that is always the same.
func everyWay(t *testing.T, p *Program, in string) string {
	t.Helper()
	first, err := run(p, in, len(in))
	if err != nil {
		t.Fatalf("%.60s: %v", in, err)
	}
	for n := 1; n < min(len(in), 40); n++ {
		if got, err := run(p, in, n); err != nil || got != first {
			t.Fatalf("%.60s in pieces of %d became %s (%v), and at once %s", in, n, got, err, first)
		}
	}
	return first
}

// Whatever a value looks like, it is a token, or it is hidden.
func TestTokensInDocuments(t *testing.T) {
	tok := tokenizer(t, "bank_card")
	seal := compile(t, Options{}, rule(Tokenize(tok), "card")...)
	misfits := 0
	open := compile(t, Options{}, rule(Detokenize(tok, func(string) { misfits++ }), "card")...)
	const card = "4111111111111111"
	for _, c := range []struct{ in, hidden string }{
		{`{"card":"4111111111111111"}`, ""},
		{`{"card":4111111111111111}`, ""},
		{`{"card":"4111 1111 1111 1111"}`, ""},
		{`{"a":[{"c\u0061rd":["4111111111111111",[4111111111111111]]}]}`, ""},
		{`{"card":{"0":"4111111111111111"}}`, ""},
		{`{"card":"4111\u0031111\u00311111111"}`, `"4111111111111111"`},
		{`{"card":"\uFF14111111111111111"}`, `{"card":"****"}`},
		{`{"card":"４１１１１１１１１１１１１１１１"}`, `{"card":"****"}`},
		{`{"card":"4111111111111112"}`, `{"card":"****"}`},
		{`{"card":"4111111111111111 "}`, `{"card":"****"}`},
		{`{"card":"41111111\u00001111111"}`, `{"card":"****"}`},
		{`{"card":-4111111111111111}`, `{"card":"****"}`},
		{`{"card":4111111111111111.0}`, `{"card":"****"}`},
		{`{"card":4.111111111111111e15}`, `{"card":"****"}`},
		{`{"card":""}`, `{"card":"****"}`},
		{`{"card":[null,true,false,0,{},[]]}`, `{"card":["****","****","****","****",{},[]]}`},
		{`{"card":"` + strings.Repeat("4", 1<<17) + `"}`, `{"card":"****"}`},
		{`{"card":` + strings.Repeat("4", 1<<17) + `}`, `{"card":"****"}`},
	} {
		got := everyWay(t, seal, c.in)
		if strings.HasPrefix(c.hidden, "{") {
			if got != c.hidden {
				t.Errorf("%.60s became %s", c.in, got)
			}
			continue
		}
		want := c.in
		if c.hidden != "" {
			want = `{"card":` + c.hidden + `}`
		}
		if strings.Contains(got, card) || strings.Contains(got, mask.Fixed) || len(got) != len(want) {
			t.Errorf("%s became %s", c.in, got)
		}
		if back := everyWay(t, open, got); back != want {
			t.Errorf("%s became %s and then %s", c.in, got, back)
		}
	}
	if misfits != 0 {
		t.Errorf("%d tokens were none", misfits)
	}
	if got := everyWay(t, open, `{"card":["x","****"]}`); got != `{"card":["x","****"]}` || misfits == 0 {
		t.Errorf("no tokens: %s (%d)", got, misfits)
	}
	// A name that is too long to be known cannot be part of a token.
	long := compile(t, Options{}, rule(Tokenize(tok), "$..*")...)
	name := strings.Repeat("n", 5000)
	if got := everyWay(t, long, `{"`+name+`":"`+card+`"}`); got != `{"`+name+`":"****"}` {
		t.Errorf("under a long name: %s", got[5000:])
	}
}

func TestTokensFollowFromTheNameAlone(t *testing.T) {
	p := compile(t, Options{Sequence: true}, rule(Tokenize(tokenizer(t, "digits")), "$..*")...)
	got := everyWay(t, p, `{"a":"123456","b":"123456","c":{"a":["123456"],"7":"123456"}}`+"\n"+`{"x":[{"a":"123456"}]}`)
	var a, b string
	if _, err := fmt.Sscanf(got, `{"a":"%6s","b":"%6s"`, &a, &b); err != nil || a == b {
		t.Fatalf("%s: %v", got, err)
	}
	if n := strings.Count(got, a); n != 3 {
		t.Errorf("%s has %s %d times", got, a, n)
	}
	for pointer, want := range map[string]string{"": "", "/0": "", "/a/0": "a", "/a/b~1c": "b~1c", "/a/12/7": "a", "/1a": "1a", "/a/": "a"} {
		if got := MemberName(pointer); got != want {
			t.Errorf("the name at %s is %q, not %q", pointer, got, want)
		}
	}
}

func TestCoarseValuesInDocuments(t *testing.T) {
	for _, c := range []struct {
		name     string
		action   Action
		in, want string
	}{
		{"bucket", buckets(t, "10"), `[37,"37",37.5e0,-1,null]`, `["[30,40)","[30,40)","[30,40)","[-10,0)",null]`},
		{"bucket", buckets(t, "18", "65"), `[3,18,99,"x",true,"",1e400,"３７"]`, `["<18","[18,65)",">=65","****","****","****","****","****"]`},
		{"month", generalization(t, "month"), `["2024-05-17","2024\u002d05-17T00:00:00Z",1715938200,20240517,null]`, `["2024-05","2024-05",1714521600,202405,null]`},
		{"month", generalization(t, "month"), `["x",true,"",5,"2024-13-01","２０２４-05-17"]`, `["****","****","****","****","****","****"]`},
		{"region", generalization(t, "region"), `["440305",440305,"4403","深圳"]`, `["440000",440000,"****","****"]`},
		{"ip24", generalization(t, "ip24"), `["192.0.2.1",{"a":"2001:db8::1"},1]`, `["192.0.2.0/24",{"a":"2001:db8::/48"},"****"]`},
		{"fake", fake(t, "mobile"), `[null,true,{"a":null}]`, `[null,"****",{"a":null}]`},
		{"noise", noise(t, "5"), `["x",true,"",1e99,"1e99","１"]`, `["****","****","****","****","****","****"]`},
		{"noise", noise(t, "5"), `null`, `null`},
	} {
		if got := everyWay(t, compile(t, Options{}, rule(c.action, "$")...), c.in); got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.name, c.in, got, c.want)
		}
	}
}

func TestNoiseIsOfTheCallerAndTheNumber(t *testing.T) {
	p := compile(t, Options{}, rule(noise(t, "1000"), "$")...)
	see := func(caller, in string) string {
		var b bytes.Buffer
		w := p.NewRewriter(&b)
		w.SetCaller(Caller{ID: caller})
		if _, err := w.Write([]byte(in)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	alice := see("alice", `[5000,{"a":5000},5000.0,"5000"]`)
	var x [4]string
	if _, err := fmt.Sscanf(strings.NewReplacer("[", "", "]", "", `{"a":`, "", "}", "", `"`, "", ",", " ").Replace(alice), "%s %s %s %s", &x[0], &x[1], &x[2], &x[3]); err != nil {
		t.Fatal(err)
	}
	if x[0] == "5000" || x[1] != x[0] || x[2] != x[0] || x[3] != x[0] {
		t.Errorf("one number became %s", alice)
	}
	if again := see("alice", `[5000,{"a":5000},5000.0,"5000"]`); again != alice {
		t.Errorf("once %s, and then %s", alice, again)
	}
	if bob := see("bob", `5000`); bob == x[0] {
		t.Errorf("alice and bob both see %s", bob)
	}
}

// The order of actions, strictest first; those of one line are equal, and the
// first rule wins.
func TestOrderOfActions(t *testing.T) {
	seal, err := mask.NewSealer("1", tokenKey)
	if err != nil {
		t.Fatal(err)
	}
	order := [][]Action{
		{Remove()},
		{Null()},
		{Replace("x")},
		{Hash(tokenKey), HashSM3(tokenKey), Encrypt(seal), Placeholder(), fake(t, "mobile")},
		{Tokenize(tokenizer(t, "digits"))},
		{masked(t, "last4"), Keep(1, 1, 0)},
		{Round(-3), ShiftDates(tokenKey, 3), buckets(t, "10"), generalization(t, "month"), noise(t, "5")},
		{Truncate(2)},
		{detecting(t, Null(), "pan")},
	}
	const in = `{"a":"4111111111111111"}`
	alone := func(a Action) string {
		// An encrypted value is never the same twice.
		return strings.SplitN(everyOnce(t, []Action{a}, in), "moat:v1:1:", 2)[0]
	}
	for i, stricter := range order {
		for j, same := range order[i:] {
			if i == len(order)-2 && j == 1 {
				continue // what is detected goes before it is cut
			}
			for _, a := range stricter {
				for _, b := range same {
					want := alone(a)
					if got := strings.SplitN(everyOnce(t, []Action{a, b}, in), "moat:v1:1:", 2)[0]; got != want {
						t.Errorf("rules of place %d and %d: %s, want %s", i, i+j, got, want)
					}
					if j == 0 {
						continue
					}
					if got := strings.SplitN(everyOnce(t, []Action{b, a}, in), "moat:v1:1:", 2)[0]; got != want {
						t.Errorf("rules of place %d and %d: %s, want %s", i+j, i, got, want)
					}
				}
			}
		}
	}
}

func everyOnce(t *testing.T, actions []Action, in string) string {
	t.Helper()
	var rules []Rule
	for _, a := range actions {
		rules = append(rules, rule(a, "a")...)
	}
	got, err := run(compile(t, Options{}, rules...), in, len(in))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// BenchmarkTokens is an array of card numbers with each of the actions that
// can be undone, and copied:
//
//	go test ./modules/internal/data/redaction -run '^$' -bench Tokens -cpu 1
func BenchmarkTokens(b *testing.B) {
	seal, err := mask.NewSealer("1", tokenKey)
	if err != nil {
		b.Fatal(err)
	}
	sm, err := mask.NewSealerSM4("1", tokenKey[:16])
	if err != nil {
		b.Fatal(err)
	}
	const cards = 100
	text := []byte("[" + strings.Repeat(`{"card":"4111111111111111","n":12345},`, cards) + "0]")
	for _, c := range []struct {
		name   string
		action Action
	}{{"tokenize", Tokenize(tokenizer(b, "bank_card"))}, {"encrypt", Encrypt(seal)}, {"encrypt-sm4", Encrypt(sm)}, {"hash", Hash(tokenKey)}, {"hash-sm3", HashSM3(tokenKey)}} {
		b.Run(c.name, func(b *testing.B) {
			p := compile(b, Options{}, rule(c.action, "card")...)
			var out bytes.Buffer
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				out.Reset()
				w := p.Get(&out)
				if _, err := w.Write(text); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
				p.Put(w)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/cards, "ns/card")
		})
	}
}

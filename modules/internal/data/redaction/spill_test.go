package redaction

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/data/mask"
)

func TestLongStringIsLookedIntoInPieces(t *testing.T) {
	all := func() []Rule {
		return append(rule(detecting(t, masked(t, "last4"), "pan", "mobile"), "$"), rule(detecting(t, Remove(), "email", "jwt", "api_key", "id_card"), "$.note")...)
	}
	short, long := compile(t, Options{MaxValue: 200}, all()...), compile(t, Options{}, all()...)
	things := []string{
		"4111 1111 1111 1111", "13812345678", "+86 138-1234-5678", "a.b@example.com", "51343620000320711X",
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbg", "sk-abcdefghijklmnopqrstuvwx", `\u0031\u00338\u0031\u0032345678`,
		`word `, `中文，`, `é`, `\/`, `\n`, `\"`, `\\`, `\ud83d\ude00`, ", ", ": ", "(x)", "12 34", "-",
		`-----BEGIN PRIVATE KEY-----\nMHc\/a,=\n-----END PRIVATE KEY-----`,
	}
	r := rand.New(rand.NewPCG(11, 12))
	pieces := 0
	for range 400 {
		var text strings.Builder
		text.WriteString("text ")
		for range 20 + r.IntN(100) {
			text.WriteString(things[r.IntN(len(things))])
			if r.IntN(3) == 0 {
				text.WriteString(",")
			}
		}
		in := `{"note":"` + text.String() + `","n":1}`
		want, err := run(long, in, 1000)
		if err != nil {
			t.Fatal(in, err)
		}
		whole, err := run(short, in, len(in))
		if err != nil {
			t.Fatal(in, err)
		}
		for _, n := range []int{1, 7, 199, 201} {
			if got, err := run(short, in, n); err != nil || got != whole {
				t.Fatalf("%s in pieces of %d = %s, %v, whole %s", in, n, got, err, whole)
			}
		}
		// What is not hidden is as if the string had been held.
		var a, b struct{ Note string }
		if json.Unmarshal([]byte(whole), &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
			t.Fatal(whole, want)
		}
		if shown, ok := strings.CutSuffix(a.Note, mask.Fixed); ok {
			a.Note = shown
			b.Note = b.Note[:min(len(shown), len(b.Note))]
		} else {
			pieces++
		}
		if a.Note != b.Note {
			t.Fatalf("%s:\n%q, held:\n%q", in, a.Note, b.Note)
		}
	}
	if pieces < 50 {
		t.Errorf("only %d strings left in pieces", pieces)
	}
}

func TestLongStringThatCannotBeCutIsHidden(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no boundary", strings.Repeat("a", 300), "****"},
		{"no boundary after a while", "a,b," + strings.Repeat("a", 300), "a,b,****"},
		{"JSON", `{\"a\":\"13812345678\",` + strings.Repeat("1,", 200), "****"},
		{"JSON after escaped space", `\n [` + strings.Repeat("1,", 200), "****"},
		{"a private key", "a, -----BEGIN RSA PRIVATE KEY-----" + strings.Repeat("a/b", 100), "****"},
		{"a certificate", "-----BEGIN CERTIFICATE-----" + strings.Repeat("a/b", 100), "-----BEGIN CERTIFICATE-----" + strings.Repeat("a/b", 100)},
	} {
		p := compile(t, Options{MaxValue: 100}, rule(detecting(t, masked(t, "last4"), mask.Kinds()...), "$")...)
		in := `["` + c.text + `"]`
		for _, n := range []int{1, 50, 99, 100, 101, 1000} {
			if got, err := run(p, in, n); err != nil || got != `["`+c.want+`"]` {
				t.Errorf("%s in pieces of %d = %s, %v, want %s", c.name, n, got, err, c.want)
			}
		}
	}
	p := compile(t, Options{MaxValue: 100}, rule(detecting(t, Null(), "pan"), "$")...)
	if got, err := run(p, `["`+strings.Repeat("a,", 100)+`"]`, 30); err != nil || got != `["****"]` {
		t.Errorf("where it could become null: %s, %v", got, err)
	}
}

func TestLongStringCountsOnceForEachRule(t *testing.T) {
	p := compile(t, Options{MaxValue: 100}, append(rule(detecting(t, Remove(), "mobile"), "$"), rule(detecting(t, Remove(), "email"), "$..*")...)...)
	w := p.NewRewriter(&sliceWriter{})
	if _, err := w.Write([]byte(`["` + strings.Repeat("13812345678, a@b.com, ", 50) + `"]`)); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(w.Count(), w.Fired()); got != "2 [$ $..*]" {
		t.Errorf("fired %s", got)
	}
}

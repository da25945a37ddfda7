package graphql

import (
	"slices"
	"strings"
	"testing"
)

func TestNamesOfDocuments(t *testing.T) {
	for in, want := range map[string][2]string{
		`{user{p:phone pw:password}}`:                                            {"phone password", ""},
		`query Q($id: ID = 1){ u : user ( id : $id ) { phone } }`:                {"user", "id"},
		"{a#x\n:#y\nphone}":                                                      {"phone", ""},
		"{a,,:,\ufeffphone}":                                                     {"phone", ""},
		`{a(t:"} p:phone",u:"""\""" { q:x } """){b:c}}`:                          {"c", "t u"},
		`mutation{update(input:{is_admin:true,nested:{role:X}}){id}}`:            {"", "input is_admin nested role"},
		`{ ...F ... on User @include(if:$x){ p:phone } } fragment F on U{q:ssn}`: {"phone ssn", "if"},
		`{phone:phone}`:                        {"", ""},
		`{user{phone}}`:                        {"", ""},
		`{a(x:-1.5e+3,y:[1,{z:2}])}`:           {"", "x y z"},
		`{a(t:"\\"){p:phone}}`:                 {"phone", "t"},
		`{a(t:"\""){p:phone}}`:                 {"phone", "t"},
		`{a(t:""){p:phone}b(t:""""""){q:ssn}}`: {"phone ssn", "t t"},
		"":                                     {"", ""},
	} {
		n, err := Read(in)
		if err != nil || strings.Join(n.Aliased, " ") != want[0] || strings.Join(n.Given, " ") != want[1] {
			t.Errorf("%s: %q (%v), want %q", in, n, err, want)
		}
	}
	for _, bad := range []string{"{", "}", "{)", `{a(t:"x)}`, "{a(t:\"\n\")}", `{a(t:"""x)}`, "{é}", "{a;b}", "{`}"} {
		if n, err := Read(bad); err == nil {
			t.Errorf("%q: %v, want an error", bad, n)
		}
	}
}

// FuzzRead: what is ignored between tokens may stand anywhere between them, and
// changes nothing.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{`{user{p:phone}}`, `query Q($a:[I!]!=1){a(b:"c"){...D@e(f:"""g""")}}`, "{a#\n:b}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want, err := Read(text)
		l := lexer{text: strings.TrimPrefix(text, "\ufeff")}
		var spaced strings.Builder
		for {
			from := l.at
			tok := l.next()
			if tok.kind == bad || tok.kind == end {
				spaced.WriteString(l.text[from:])
				break
			}
			spaced.WriteString(l.text[from:l.at] + "\n#}{):\"\n,\ufeff ")
		}
		got, gotErr := Read(spaced.String())
		if (err == nil) != (gotErr == nil) || err == nil && (!slices.Equal(got.Aliased, want.Aliased) || !slices.Equal(got.Given, want.Given)) {
			t.Fatalf("%q: %q (%v), spaced %q: %q (%v)", text, want, err, spaced.String(), got, gotErr)
		}
	})
}

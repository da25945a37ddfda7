package redaction

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestFoldedNamesMatchWhateverTheirCase(t *testing.T) {
	p := compile(t, Options{FoldCase: true}, rule(Remove(), "is_admin", "$.user.Skill", "größe", "$..['']", "Ångström", "ΣΊΣΥΦΟΣ")...)
	for in, want := range map[string]string{
		`{"is_admin":1}`:                           `{}`,
		`{"IS_ADMIN":1}`:                           `{}`,
		`{"Is_Admin":1,"a":2}`:                     `{"a":2}`,
		"{\"iſ_admin\":1}":                         `{}`,
		"{\"ı\u017f_admin\":1}":                    `{}`,
		"{\"İs_adMin\":1}":                         `{}`,
		`{"i\u017f_admin":1}`:                      `{}`,
		`{"\u0049\u0053\u005f\u0041dmin":1}`:       `{}`,
		`{"\u0131\u017f\u005f\u0041dm\u0130n":1}`:  `{}`,
		`{"x":[{"y":{"IS_admin":[{}]}}]}`:          `{"x":[{"y":{}}]}`,
		`{"is_admin ":1,"isadmins":2,"s_admin":3}`: `{"is_admin ":1,"isadmins":2,"s_admin":3}`,
		`{"isAdmin":1,"isadmin":2,"is-admin":3}`:   `{}`,
		`{"i_s-a_d-m_i-n":1,"\u0069\u005f\u0073\u002d\u0061\u005f\u0064\u002d\u006d\u005f\u0069\u002d\u006e":2}`: `{}`,
		`{"_is_admin":1,"is_admin_":2,"is__admin":3,"is_-admin":4}`:                                              `{"_is_admin":1,"is_admin_":2,"is__admin":3,"is_-admin":4}`,
		"{\"USER\":{\"\u017f\u212aILL\":1}}":                                                                     `{"USER":{}}`,
		`{"x":{"skill":1}}`:                                                                                      `{"x":{"skill":1}}`,
		`{"GRÖSSE":1,"GRÖẞE":2}`:                                                                                 `{"GRÖSSE":1}`,
		`{"":1}`:                                                                                                 `{}`,
		"{\"\u212bNGSTRÖM\":1}":                                                                                  `{}`,
		`{"σίσυφος":1,"σίσυφοσ":2}`:                                                                              `{}`,
	} {
		for n := 1; n <= len(in)+1; n++ {
			if got, err := run(p, in, n); err != nil || got != want {
				t.Errorf("%s in pieces of %d = %s (%v), want %s", in, n, got, err, want)
			}
		}
	}
}

func TestNamesDifferByCaseUnlessFolded(t *testing.T) {
	p := compile(t, Options{}, rule(Remove(), "is_admin")...)
	const in = `{"Is_Admin":1,"iſ_admin":2}`
	if got, err := run(p, in, len(in)); err != nil || got != in {
		t.Errorf("got %s (%v)", got, err)
	}
}

// Every character that folds to one of a name passes the filter and is found,
// as it is and escaped.
func TestFilterPassesEverySpelling(t *testing.T) {
	for r := rune(1); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) || unicode.SimpleFold(r) == r && r > 0x131 {
			continue
		}
		name := string(foldRune(r)) + "x"
		n := newNames(true)
		n.add(name)
		n.build()
		for f := r; ; {
			spelt := string(f) + "X"
			if n.filter[spelt[0]]>>(len(spelt)%64)&1 == 0 {
				t.Fatalf("%q does not pass the filter of %q", spelt, name)
			}
			if n.find([]byte(spelt)) != 1 {
				t.Fatalf("%q is not found as %q", spelt, name)
			}
			if f = unicode.SimpleFold(f); f == r {
				break
			}
		}
	}
}

// joined takes what stands between words out, one character at a time.
func joined(name string) string {
	r := []rune(name)
	for i := 1; i+1 < len(r); i++ {
		if strings.ContainsRune("_-", r[i]) && !strings.ContainsRune("_-", r[i-1]) && !strings.ContainsRune("_-", r[i+1]) {
			r = slices.Delete(r, i, i+1)
		}
	}
	return string(r)
}

func FuzzFoldName(f *testing.F) {
	f.Add("Is_Admin", "iſ_admın")
	f.Add("is_admin-x", "isAdminX")
	f.Add("a_-b_", "a_-b")
	f.Add("ΣΊΣΥΦΟΣ", "σίσυφος")
	f.Fuzz(func(t *testing.T, a, b string) {
		folded := FoldName(a)
		if again := FoldName(folded); again != folded {
			t.Fatalf("%q folds to %q and that to %q", a, folded, again)
		}
		a, b = joined(a), joined(b)
		if strings.EqualFold(a, b) && utf8.ValidString(a+b) && FoldName(b) != folded {
			t.Fatalf("%q and %q are equal but for case, folded %q and %q", a, b, folded, FoldName(b))
		}
		if (caseless(a) == caseless(b)) != (FoldName(b) == folded) && utf8.ValidString(a+b) {
			t.Fatalf("%q and %q", a, b)
		}
	})
}

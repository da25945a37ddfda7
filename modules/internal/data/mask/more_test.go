package mask

import (
	"bytes"
	"math/big"
	"strings"
	"testing"
)

func TestPseudonymDependsOnKeyDomainAndText(t *testing.T) {
	p := NewPseudonym([]byte("key"))
	const golden = "ev8sf8sp205ge6hi4jt7n6q800"
	got := string(p.Append(nil, "string", []byte("text")))
	if got != golden {
		t.Errorf("pseudonym = %s, want %s: those given out before no longer match", got, golden)
	}
	seen := map[string]string{got: "itself"}
	for name, other := range map[string]string{
		"another key":    string(NewPseudonym([]byte("kez")).Append(nil, "string", []byte("text"))),
		"another domain": string(p.Append(nil, "number", []byte("text"))),
		"another text":   string(p.Append(nil, "string", []byte("texu"))),
		"moved boundary": string(p.Append(nil, "strin", []byte("gtext"))),
	} {
		if seen[other] != "" {
			t.Errorf("%s has the pseudonym of %s", name, seen[other])
		}
		seen[other] = name
	}
	if again := string(p.Append(nil, "string", []byte("text"))); again != got {
		t.Errorf("the second time it is %s, not %s", again, got)
	}
}

func TestEqualNumbersHaveOneForm(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"0", "0"},
		{"-0", "0"},
		{"0.0e9", "0"},
		{"1", "1"},
		{"1.0", "1"},
		{"10e-1", "1"},
		{"0.01e2", "1"},
		{"1200", "1200"},
		{"1.2e3", "1200"},
		{"-12.50", "-12.5"},
		{"0.001", "0.001"},
		{"1e-3", "0.001"},
		{"1e400", "1e400"},
		{"10E+399", "1e400"},
		{"12.5e-400", "1.25e-399"},
	} {
		d, ok := ParseDecimal([]byte(c.in))
		if got := string(d.Append(nil)); !ok || got != c.want {
			t.Errorf("%s = %s, %v, want %s", c.in, got, ok, c.want)
		}
	}
	for _, in := range []string{"", "-", "01", "1.", ".5", "1e", "1e+", "+1", "1x", "1e9999999999", "0x1"} {
		if d, ok := ParseDecimal([]byte(in)); ok {
			t.Errorf("%q was read as %s", in, d.Append(nil))
		}
	}
}

func TestRoundAgreesWithExactArithmetic(t *testing.T) {
	for _, in := range []string{"0", "5", "-5", "4.5", "9.995", "-9.995", "12345.678", "99999.5", "0.05", "0.049", "1e3", "123e-5", "-0.5", "999"} {
		for places := -6; places <= 6; places++ {
			d, _ := ParseDecimal([]byte(in))
			got := string(d.Round(places).Append(nil))
			// Halves away from zero: floor(|x| * 10^places + 1/2).
			x, _ := new(big.Rat).SetString(in)
			sign := x.Sign()
			scale := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(places, -places))), nil))
			if places < 0 {
				scale.Inv(scale)
			}
			x.Abs(x).Mul(x, scale).Add(x, big.NewRat(1, 2))
			n := new(big.Int).Quo(x.Num(), x.Denom())
			want := new(big.Rat).Quo(new(big.Rat).SetInt(n), scale)
			if sign < 0 {
				want.Neg(want)
			}
			if r, ok := new(big.Rat).SetString(got); !ok || r.Cmp(want) != 0 {
				t.Errorf("%s to %d places = %s, want %s", in, places, got, want.FloatString(8))
			}
		}
	}
}

func TestDatesAreShiftedAndKeepTheirForm(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"2026-11-22", "2026-12-02"},
		{"2026-11-22T10:00:00.120+08:00", "2026-12-02T10:00:00.120+08:00"},
		{"2026-12-31 23:59", "2027-01-10 23:59"},
		{"2024/02/28", "2024/03/09"},
		{"20261122", "20261202"},
		{"20261122T101500Z", "20261202T101500Z"},
		{"1980年1月5日", "1980年1月15日"},
		{"2026-02-30", ""},
		{"2026-11-22 John", ""},
		{"yesterday", ""},
		{"9999-12-31", ""},
		{"22.11.2026", ""},
	} {
		got, ok := ShiftDate(nil, []byte(c.in), 10)
		if string(got) != c.want || ok != (c.want != "") {
			t.Errorf("%s = %s, %v, want %s", c.in, got, ok, c.want)
		}
	}
	for _, c := range []struct{ in, want string }{
		{"1700000000", "1700864000"}, {"1700000000123", "1700864000123"}, {"17", ""}, {"1.5e9", ""}, {"-1700000000", ""},
	} {
		if got, ok := ShiftUnix(nil, []byte(c.in), 10); string(got) != c.want || ok != (c.want != "") {
			t.Errorf("%s = %s, %v, want %s", c.in, got, ok, c.want)
		}
	}
	for i := range 1000 {
		if d := ShiftDays([]byte{byte(i), byte(i >> 8)}, 30); d == 0 || d > 30 || d < -30 {
			t.Errorf("shifted by %d days", d)
		}
	}
}

func TestSealedValueOpensOnlyWhereItBelongs(t *testing.T) {
	key := bytes.Repeat([]byte{7}, SealKeySize)
	s, err := NewSealer("k-1", key)
	if err != nil {
		t.Fatal(err)
	}
	text := string(s.Seal(nil, []byte(`"secret"`), "/a/0", "alice"))
	if plain, err := s.Open(text, "/a/0", "alice"); err != nil || string(plain) != `"secret"` {
		t.Fatalf("Open = %s, %v", plain, err)
	}
	if kid, ok := KeyID(text); !ok || kid != "k-1" {
		t.Errorf("KeyID = %s, %v", kid, ok)
	}
	if strings.Contains(text, "secret") || string(s.Seal(nil, []byte(`"secret"`), "/a/0", "alice")) == text {
		t.Error("the same value was sealed alike twice, or not at all")
	}
	other, _ := NewSealer("k-1", bytes.Repeat([]byte{8}, SealKeySize))
	second, _ := NewSealer("k-2", key)
	for name, err := range map[string]error{
		"path":    second1(s.Open(text, "/a/1", "alice")),
		"caller":  second1(s.Open(text, "/a/0", "bob")),
		"between": second1(s.Open(text, "/a/0a", "lice")),
		"key":     second1(other.Open(text, "/a/0", "alice")),
		"kid":     second1(second.Open(strings.Replace(text, "k-1", "k-2", 1), "/a/0", "alice")),
		"plain":   second1(s.Open("secret", "/a/0", "alice")),
		"empty":   second1(s.Open("moat:v1:k-1:", "/a/0", "alice")),
		"newline": second1(s.Open(text+"\n", "/a/0", "alice")),
	} {
		if err != ErrSealed {
			t.Errorf("with another %s: %v", name, err)
		}
	}
	for i := range text {
		b := []byte(text)
		b[i] ^= 1
		if _, err := s.Open(string(b), "/a/0", "alice"); err == nil {
			t.Errorf("opens with byte %d altered", i)
		}
	}
	for _, kid := range []string{"", "a:b", "a b", strings.Repeat("a", 65)} {
		if _, err := NewSealer(kid, key); err == nil {
			t.Errorf("key id %q was taken", kid)
		}
	}
	if _, err := NewSealer("k", key[1:]); err == nil {
		t.Error("a short key was taken")
	}
}

func second1(_ []byte, err error) error { return err }

func TestDetector(t *testing.T) {
	const token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
	for _, c := range []struct {
		kind, in string
		want     []string
	}{
		{"pan", "card 4111 1111 1111 1111, thanks", []string{"4111 1111 1111 1111"}},
		{"pan", "4111111111111111", []string{"4111111111111111"}},
		{"pan", "378282246310005;6011-1111-1111-1117", []string{"378282246310005", "6011-1111-1111-1117"}},
		{"pan", "4111111111111111 12", []string{"4111111111111111"}},
		{"pan", "4111111111111112", nil},
		{"pan", "94111111111111111", nil},
		{"pan", "41111111111111110000000", nil},
		{"pan", "1700000000123", nil},
		{"pan", "0000000000000000", nil},
		{"pan", `{"card":"4111111111111111"}`, []string{"4111111111111111"}},
		{"id_card", "号51343620000320711X。", []string{"51343620000320711X"}},
		{"id_card", "11010519491231002x", []string{"11010519491231002x"}},
		{"id_card", "110105194912310021", nil},
		{"id_card", "11010519491331002X", nil},
		{"id_card", "11010519491231002X9", nil},
		{"mobile", "tel 13812345678.", []string{"13812345678"}},
		{"mobile", "+86 138-1234-5678 or 8613812345679", []string{"+86 138-1234-5678", "8613812345679"}},
		{"mobile", "13812345678 13812345679", []string{"13812345678", "13812345679"}},
		{"mobile", "+442071838750", []string{"+442071838750"}},
		{"mobile", "12812345678 113812345678 138123456789", nil},
		{"email", "to <a.b+c@example.co.uk>.", []string{"a.b+c@example.co.uk"}},
		{"email", "a@b, a@b.c, @example.com", nil},
		{"email", "x@y.org. y@z.org", []string{"x@y.org", "y@z.org"}},
		{"email", "邮箱a@b.com谢谢", []string{"a@b.com"}},
		{"jwt", "Bearer " + token + " x", []string{token}},
		{"jwt", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", []string{"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."}},
		{"jwt", "eyJhbGciOiJub25lIn0.x", nil},
		{"api_key", "AKIAIOSFODNN7EXAMPLE", []string{"AKIAIOSFODNN7EXAMPLE"}},
		{"api_key", "key=sk-abcdefghijklmnopqrstuvwx;", []string{"sk-abcdefghijklmnopqrstuvwx"}},
		{"api_key", "risk-abcdefghijklmnopqrstuvwx", nil},
		{"api_key", "a -----BEGIN EC PRIVATE KEY-----\nMHc=\n-----END EC PRIVATE KEY----- b", []string{"-----BEGIN EC PRIVATE KEY-----\nMHc=\n-----END EC PRIVATE KEY-----"}},
		{"api_key", "-----BEGIN PRIVATE KEY-----\nMHc=", []string{"-----BEGIN PRIVATE KEY-----\nMHc="}},
		{"api_key", "-----BEGIN CERTIFICATE-----", nil},
	} {
		d, err := NewDetector([]string{c.kind})
		if err != nil {
			t.Fatal(err)
		}
		all, _ := NewDetector(Kinds())
		for _, d := range []*Detector{d, all} {
			var got []string
			for at := 0; ; {
				start, end, ok := d.Find([]byte(c.in), at)
				if !ok {
					break
				}
				got = append(got, c.in[start:end])
				at = end
			}
			if d == all && len(c.want) == 0 {
				continue
			}
			if strings.Join(got, "|") != strings.Join(c.want, "|") {
				t.Errorf("%s in %q: %q, want %q", c.kind, c.in, got, c.want)
			}
		}
	}
	for _, kinds := range [][]string{nil, {"pan", "cheese"}} {
		if _, err := NewDetector(kinds); err == nil {
			t.Errorf("kinds %q were taken", kinds)
		}
	}
}

func FuzzDetectorStaysWithinTheText(f *testing.F) {
	f.Add([]byte("+86 138-1234-5678 4111 1111 1111 1111 a@b.cd 51343620000320711X"))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, _ := NewDetector(Kinds())
		for at := 0; ; {
			start, end, ok := d.Find(text, at)
			if !ok {
				return
			}
			if start < at || end <= start || end > len(text) {
				t.Fatalf("in %q from %d: %d to %d", text, at, start, end)
			}
			at = end
		}
	})
}

package mask

import (
	"fmt"
	"strings"
	"testing"
)

func parsed(t testing.TB, text string) Decimal {
	t.Helper()
	d, ok := ParseDecimal([]byte(text))
	if !ok {
		t.Fatalf("%q is not a number", text)
	}
	return d
}

func TestBuckets(t *testing.T) {
	for _, c := range []struct{ numbers, value, want string }{
		{"10", "37", "[30,40)"},
		{"10", "30", "[30,40)"},
		{"10", "39.999", "[30,40)"},
		{"10", "0", "[0,10)"},
		{"10", "-1", "[-10,0)"},
		{"10", "-10", "[-10,0)"},
		{"0.5", "1.25", "[1,1.5)"},
		{"10", "1e3", "[1000,1010)"},
		{"5000", "123456789012345678901234567890", "[123456789012345678901234565000,123456789012345678901234570000)"},
		{"18 65", "17.9", "<18"},
		{"18 65", "18", "[18,65)"},
		{"18 65", "64.99", "[18,65)"},
		{"18 65", "65", ">=65"},
		{"-5 0 0.1", "-5", "[-5,0)"},
		{"-5 0 0.1", "-0.0", "[0,0.1)"},
	} {
		b, err := NewBuckets(strings.Fields(c.numbers))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := b.Append([]byte("+"), parsed(t, c.value)); !ok || string(got) != "+"+c.want {
			t.Errorf("bucket %s of %s: %s (%v), want %s", c.numbers, c.value, got, ok, c.want)
		}
	}
	b, _ := NewBuckets([]string{"10"})
	for _, huge := range []string{"1e41", "1e999999999", "1e-999999999", strings.Repeat("1", 61)} {
		if got, ok := b.Append(nil, parsed(t, huge)); ok || len(got) > 0 {
			t.Errorf("%s: %s", huge, got)
		}
	}
	for _, bad := range []string{"", "0", "-1", "x", "1e99", "3 3", "5 1", "1 2 x", strings.Repeat("1 ", 65)} {
		if _, err := NewBuckets(strings.Fields(bad)); err == nil {
			t.Errorf("buckets %q were accepted", bad)
		}
	}
}

func TestNoiseIsBoundedAndStays(t *testing.T) {
	key := []byte("0123456789abcdef")
	for _, c := range []struct {
		most, value string
		places      int
	}{{"5", "42", 0}, {"1", "0", 0}, {"0.5", "42", 1}, {"500", "1234.56", 2}, {"3", "-1", 0}, {"2", "1e20", 0}} {
		n, err := NewNoise(key, c.most)
		if err != nil {
			t.Fatal(err)
		}
		v, most := parsed(t, c.value), parsed(t, c.most)
		seen, sum := map[string]bool{}, 0
		for i := range 400 {
			caller := fmt.Sprint("caller", i)
			got, ok := n.Append(nil, v, caller)
			again, _ := n.Append(nil, parsed(t, c.value), caller)
			if !ok || string(got) != string(again) {
				t.Fatalf("%s: %s, then %s", c.value, got, again)
			}
			d := parsed(t, string(got))
			if d.places() > c.places {
				t.Errorf("%s became %s", c.value, got)
			}
			diff := d.integer(9)
			diff.Sub(diff, v.integer(9))
			if diff.CmpAbs(most.integer(9)) > 0 || diff.Sign() == 0 {
				t.Errorf("%s with noise of %s became %s", c.value, c.most, got)
			}
			sum += diff.Sign()
			seen[string(got)] = true
		}
		if len(seen) < 2 || sum > 120 || sum < -120 {
			t.Errorf("noise of %s on %s: %d values, to one side %d", c.most, c.value, len(seen), sum)
		}
	}
	// Of one number there is one draw, however it is written and whatever the rule.
	n, _ := NewNoise(key, "100")
	a, _ := n.Append(nil, parsed(t, "50"), "alice")
	b, _ := n.Append(nil, parsed(t, "5.0e1"), "alice")
	if string(a) != string(b) {
		t.Errorf("50 became %s, and 5.0e1 %s", a, b)
	}
	wide, _ := NewNoise(key, "1000")
	w, _ := wide.Append(nil, parsed(t, "50"), "alice")
	x, y := parsed(t, string(a)).integer(0).Int64()-50, parsed(t, string(w)).integer(0).Int64()-50
	if x*10-y > 10 || y-x*10 > 10 {
		t.Errorf("noise of 100 and of 1000: %d and %d", x, y)
	}
	for _, bad := range []string{"", "0", "-1", "x", "1e99", "0.0"} {
		if _, err := NewNoise(key, bad); err == nil {
			t.Errorf("noise %q was accepted", bad)
		}
	}
	if got, ok := n.Append(nil, parsed(t, "1e100"), ""); ok || len(got) > 0 {
		t.Errorf("1e100 became %s", got)
	}
}

func TestGeneralize(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"region", "440305", "440000"},
		{"region", "440305001002", "440000000000"},
		{"city", "440305", "440300"},
		{"region", "990305", ""},
		{"region", "44030", ""},
		{"region", "44030x", ""},
		{"region", "４４０３０５", ""},
		{"region", "", ""},
		{"month", "2024-05-17", "2024-05"},
		{"month", "2024-05-17T10:00:00+08:00", "2024-05"},
		{"month", "2024/05/17 10:00", "2024/05"},
		{"month", "20240517", "202405"},
		{"month", "2024年5月7日", "2024年5月"},
		{"year", "2024年5月7日", "2024年"},
		{"year", "2024-05-17", "2024"},
		{"year", "2024/05/17", "2024"},
		{"day", "2024-05-17T10:00:00Z", "2024-05-17"},
		{"day", "2024年5月7日 10:00", "2024年5月7日"},
		{"month", "2024-02-30", ""},
		{"month", "2024-05", ""},
		{"month", "17.05.2024", ""},
		{"month", "yesterday", ""},
		{"month", "1715938200", "1714521600"},
		{"day", "1715938200123", "1715904000000"},
		{"year", "1715938200", "1704067200"},
		{"ip24", "192.0.2.77", "192.0.2.0/24"},
		{"ip24", "::ffff:192.0.2.77", "192.0.2.0/24"},
		{"ip24", "2001:db8:1:2:3::4%eth0", "2001:db8:1::/48"},
		{"ip16", "192.0.2.77", "192.0.0.0/16"},
		{"ip16", "2001:db8:1::4", "2001:db8::/32"},
		{"ip24", "192.0.2.77:80", ""},
		{"ip24", "192.0.2.1, 192.0.2.2", ""},
		{"ip24", "192.0.2.077", ""},
		{"ip24", "", ""},
	} {
		f, err := Generalize(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := f([]byte("+"), []byte(c.text), false); ok != (c.want != "") || string(got) != "+"+c.want {
			t.Errorf("%s of %q: %q (%v), want %q", c.name, c.text, got, ok, c.want)
		}
	}
	if _, err := Generalize("week"); err == nil || !strings.Contains(err.Error(), "month") {
		t.Errorf("week: %v", err)
	}
}

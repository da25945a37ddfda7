package mask

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestFakesAreOfTheirForm(t *testing.T) {
	forms := map[string]string{
		"name": `^\p{Han}{2,3}$`, "name_en": `^[A-Z][a-z]+ [A-Z][a-z]+$`, "email": `^[a-z]+\.\d{9}@example\.com$`, "mobile": `^154\d{8}$`,
		"id_card": `^\d\d0000\d{11}[0-9X]$`, "bank_card": `^999999\d{10}$`, "uscc": `^91\d\d0000[0-9]{8}[0-9X][0-9A-HJ-NP-RTUWXY]$`,
		"date": `^\d{4}-\d\d-\d\d$`, "ip": `^\d+\.\d+\.\d+\.\d+$`,
	}
	key := []byte("0123456789abcdef")
	for _, kind := range FakeKinds() {
		f, err := NewFaker(kind, key)
		if err != nil {
			t.Fatal(err)
		}
		form, seen := regexp.MustCompile(forms[kind]), map[string]int{}
		for i := range 1000 {
			text := fmt.Sprint("value ", i)
			got := string(f.Append([]byte("+"), []byte(text)))
			if again := string(f.Append([]byte("+"), []byte(text))); again != got || got[0] != '+' {
				t.Fatalf("%s: %s and %s", kind, got, again)
			}
			got = got[1:]
			if !form.MatchString(got) {
				t.Fatalf("%s: %s is not %s", kind, got, forms[kind])
			}
			switch kind {
			case "id_card":
				if !IsIDCard([]byte(got)) {
					t.Fatalf("%s is not an identity number", got)
				}
			case "bank_card":
				if !luhn([]byte(got)) {
					t.Fatalf("%s is not a card number", got)
				}
			case "date":
				if d, err := time.Parse(time.DateOnly, got); err != nil || d.Year() < 1950 || d.Year() > 2005 {
					t.Fatalf("%s is not a date (%v)", got, err)
				}
			}
			seen[got]++
		}
		if len(seen) < 500 {
			t.Errorf("%s: %d of 1000 values", kind, len(seen))
		}
		other, _ := NewFaker(kind, []byte("another key of it"))
		if a, b := f.Append(nil, []byte("a b c")), other.Append(nil, []byte("a b c")); string(a) == string(b) {
			t.Errorf("%s: another key makes %s, too", kind, a)
		}
	}
	if _, err := NewFaker("address", key); err == nil || !strings.Contains(err.Error(), "id_card") {
		t.Errorf("an unknown kind: %v", err)
	}
}

func TestFakesFollowTheirValue(t *testing.T) {
	card, _ := NewFaker("bank_card", nil)
	for text, want := range map[string]int{"6222 0212 3456 7890 128": 19, "411111111111": 12, "": 16, "x": 16, strings.Repeat("1", 100): 16} {
		if got := card.Append(nil, []byte(text)); len(got) != want || luhnDigit(got[:want-1]) != got[want-1] {
			t.Errorf("of %q: %s", text, got)
		}
	}
	ip, _ := NewFaker("ip", nil)
	if addr, err := netip.ParseAddr(string(ip.Append(nil, []byte("2001:db8::1")))); err != nil || !addr.Is6() {
		t.Errorf("of IPv6: %s (%v)", addr, err)
	}
}

// Codes of companies that everybody can look up.
func TestChecksOfUSCC(t *testing.T) {
	for _, code := range []string{"91440300708461136T", "91110000802100433B"} {
		if got := usccCheck([]byte(code[:17])); got != code[17] {
			t.Errorf("%s: check character %c", code, got)
		}
		if got := organizationCheck([]byte(code[8:16])); got != code[16] {
			t.Errorf("%s: organization code with %c", code, got)
		}
	}
}

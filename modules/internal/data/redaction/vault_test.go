package redaction

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// hide runs a rule with Placeholder over a text.
func hide(t testing.TB, v *Vault, kinds []string, text string) string {
	t.Helper()
	action, err := Detect(kinds, Placeholder())
	if err != nil {
		t.Fatal(err)
	}
	return through(t, action, v, text)
}

func through(t testing.TB, action Action, v *Vault, text string) string {
	t.Helper()
	p, err := Compile([]Rule{{Selector: "$", Action: action}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := p.NewRewriter(&out)
	w.SetCaller(Caller{Vault: v})
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if err := w.Close(); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return out.String()
}

func TestPlaceholdersAreTurnedBack(t *testing.T) {
	for _, text := range []string{
		`{"messages":[{"content":"write to ann@example.com and bob@example.com, then to ann@example.com"}]}`,
		`"4111 1111 1111 1111"`,
		`{"arguments":"{\"to\":\"ann@example.com\",\"note\":\"a \\\"b\\\"\"}"}`,
		`["key:\n-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END EC PRIVATE KEY-----\n"]`,
	} {
		v := NewVault()
		hidden := hide(t, v, []string{"email", "pan", "api_key"}, text)
		if strings.Contains(hidden, "@example") || strings.Contains(hidden, "4111") || strings.Contains(hidden, "PRIVATE") || v.Len() == 0 {
			t.Errorf("%s leaves as %s", text, hidden)
		}
		if back := through(t, Restore(), v, hidden); back != text {
			t.Errorf("%s came back as %s", text, back)
		}
		if other := through(t, Restore(), NewVault(), hidden); other != hidden {
			t.Errorf("another exchange has turned %s into %s", hidden, other)
		}
		if none := through(t, Restore(), nil, hidden); none != hidden {
			t.Errorf("without a vault %s became %s", hidden, none)
		}
	}
}

func TestPlaceholdersSayWhatTheyStandFor(t *testing.T) {
	v := NewVault()
	hidden := hide(t, v, []string{"email", "pan"}, `"ann@example.com bob@example.com 4111111111111111 ann@example.com"`)
	nonce := v.nonce
	want := strings.ReplaceAll(`"<EMAIL_1_N> <EMAIL_2_N> <PAN_1_N> <EMAIL_1_N>"`, "_N", "_"+nonce)
	if hidden != want {
		t.Errorf("%s, want %s", hidden, want)
	}
	if got := through(t, Placeholder(), v, `["x","x",12,true]`); !strings.Contains(got, "VALUE_1_") || !strings.Contains(got, "VALUE_3_") || strings.Contains(got, "VALUE_4_") {
		t.Error(got)
	}
}

// TestFullVaultHidesForGood: what there is no room for does not leave as it is.
func TestFullVaultHidesForGood(t *testing.T) {
	v := NewVault()
	var text strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&text, `"user%d@example.com",`, i)
	}
	hidden := hide(t, v, []string{"email"}, "["+strings.TrimSuffix(text.String(), ",")+"]")
	if strings.Contains(hidden, "@") {
		t.Error("an address leaves")
	}
	if n := v.Len(); n < 1000 || n > vaultRoom/vaultEntry {
		t.Errorf("%d placeholders", n)
	}
	if got := hide(t, nil, []string{"email"}, `"ann@example.com"`); strings.Contains(got, "ann") {
		t.Errorf("without a vault %s leaves", got)
	}
}

func TestVaultIsForSeveralGoroutines(t *testing.T) {
	v := NewVault()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				text := fmt.Sprintf("text %d", (i+j)%50)
				name, ok := v.put("VALUE", []byte(text))
				if back, known := v.get([]byte(name)); !ok || !known || back != text {
					t.Errorf("%s is %s", text, back)
				}
			}
		})
	}
	wg.Wait()
	if v.Len() != 50 {
		t.Errorf("%d placeholders of 50 texts", v.Len())
	}
}

func TestFormOfPlaceholders(t *testing.T) {
	for text, whole := range map[string]bool{
		"<EMAIL_1_ABCDEF>": true, "<PAN_123456_234567>": true, "<A_1_AAAAAA>": true,
		"<": false, "<>": false, "<EMAIL>": false, "<EMAIL_1_ABCDE>": false, "<EMAIL_1_ABCDEFG>": false, "<email_1_ABCDEF>": false,
		"<EMAIL__ABCDEF>": false, "<EMAIL_1_ABCDE1>": false, "<_1_ABCDEF>": false, "<EMAIL_1234567_ABCDEF>": false,
	} {
		_, _, ok := placeholders{}.Find([]byte("a <b> "+text+" <"), 0)
		if ok != whole {
			t.Errorf("%s: %t", text, ok)
		}
	}
	for i := 1; i < len("<EMAIL_1_ABCDEF>"); i++ {
		text := "a <b> " + "<EMAIL_1_ABCDEF>"[:i]
		if open := (placeholders{}).Open([]byte(text)); open != 6 {
			t.Errorf("%q is open from %d", text, open)
		}
	}
	for _, text := range []string{"", "a", "a < b", "<b>", "<EMAIL_1_ABCDEF>", "<EMAIL_1_ABCDEF> and more", "<" + strings.Repeat("A", 40)} {
		if open := (placeholders{}).Open([]byte(text)); open != len(text) {
			t.Errorf("%q is open from %d", text, open)
		}
	}
}

// FuzzPlaceholders holds that hiding and restoring is the identity for what a
// model repeats, and that Open is right: what is not open stays as Find says
// whatever follows.
func FuzzPlaceholders(f *testing.F) {
	f.Add("mail ann@example.com", "<EMAIL_1_")
	f.Add("<EMAIL_1_ABCDEF>", "x")
	f.Fuzz(func(t *testing.T, text, more string) {
		v := NewVault()
		if !strings.Contains(text, v.nonce) {
			doc := string(AppendString(nil, []byte(strings.ToValidUTF8(text, "?"))))
			hidden := hide(t, v, []string{"email", "pan"}, doc)
			if back := through(t, Restore(), v, hidden); back != doc && v.Len() > 0 && !strings.ContainsAny(text, `\{[`) {
				t.Fatalf("%s, %s, %s", doc, hidden, back)
			}
		}
		p := placeholders{}
		open := p.Open([]byte(text))
		for from := 0; ; {
			start, end, ok := p.Find([]byte(text+more), from)
			if !ok || start >= open {
				break
			}
			if s, e, ok := p.Find([]byte(text), from); !ok || s != start || e != end {
				t.Fatalf("%q, %q: [%d:%d] is not there before", text, more, start, end)
			}
			from = end
		}
	})
}

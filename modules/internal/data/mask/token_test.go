package mask

import (
	"bytes"
	"strings"
	"testing"
)

func newTokenizer(t testing.TB, format string) *Tokenizer {
	t.Helper()
	tok, err := NewTokenizer(format, []byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// checkToken returns the token of text, and holds it to what is promised of all.
func checkToken(t *testing.T, tok *Tokenizer, text string, number bool) string {
	t.Helper()
	out, ok := tok.Tokenize([]byte("+"), []byte(text), "card", number)
	if !ok || out[0] != '+' {
		t.Fatalf("%s: %q has no token", tok.format, text)
	}
	token := string(out[1:])
	back, ok := tok.Detokenize(nil, []byte(token), "card", number)
	want := text
	if tok.format == "id_card" {
		want = strings.ToUpper(text)
	}
	if !ok || string(back) != want {
		t.Fatalf("%s: %q became %q and then %q (%v)", tok.format, text, token, back, ok)
	}
	again, ok := tok.Tokenize(nil, []byte(text), "card", number)
	if !ok || string(again) != token {
		t.Fatalf("%s: %q became %q and %q", tok.format, text, token, again)
	}
	return token
}

func TestTokensAreOfTheirFormat(t *testing.T) {
	for _, c := range []struct{ format, text, kept string }{
		{"digits", "000000", "......"},
		{"digits", "0915-7518479", "....-......."},
		{"digits", strings.Repeat("12 ", 40) + "3", strings.Repeat(".. ", 40) + "."},
		{"bank_card", "4111111111111111", "4..............."},
		{"bank_card", "6222 0212 3456 7894", "6... .... .... ...."},
		{"bank_card", "6222021234567890128", "6.................."},
		{"bank_card_bin", "4111-1111-1111-1111", "4111-11..-....-...."},
		{"mobile", "13812345678", "138........"},
		{"mobile", "+86 138-1234-5678", "+86 138-....-...."},
		{"mobile", "008619912345678", "0086199........"},
		{"id_card", "11010519491231002X", ".................."},
		{"id_card", "11010519491231002x", ".................."},
		{"letters", "smith", "....."},
		{"letters", "SMITH JONES", "..... ....."},
		{"letters", "Smith", "....."},
		{"alphanumeric", "ab12", "...."},
		{"alphanumeric", "XK-4711-Z", "..-....-."},
		{"alphanumeric", "1234", "...."},
		{"alphabet=甲乙丙丁戊己庚辛壬癸", "甲甲乙乙丙丙", "......"},
		{"alphabet=01", strings.Repeat("01", 10), strings.Repeat("..", 10)},
	} {
		tok := newTokenizer(t, c.format)
		token := []rune(checkToken(t, tok, c.text, false))
		if len(token) != len(c.kept) {
			t.Errorf("%s: %s became %s", c.format, c.text, string(token))
			continue
		}
		for i, k := range c.kept {
			if k != '.' && token[i] != k {
				t.Errorf("%s: %s became %s, of %s", c.format, c.text, string(token), c.kept)
			}
		}
		if strings.HasPrefix(c.format, "bank_card") && !luhn(bytes.NewBufferString(strings.NewReplacer(" ", "", "-", "").Replace(string(token))).Bytes()) {
			t.Errorf("%s is not a card number", string(token))
		}
		if c.format == "id_card" && !IsIDCard([]byte(string(token))) {
			t.Errorf("%s is not an identity number", string(token))
		}
		if c.text == "smith" && strings.ToLower(string(token)) != string(token) || c.text == "SMITH JONES" && strings.ToUpper(string(token)) != string(token) {
			t.Errorf("%s became %s", c.text, string(token))
		}
	}
}

func TestNumbersBecomeNumbers(t *testing.T) {
	for format, texts := range map[string][]string{
		"digits": {"100000", "999999", "1234567890123456789012345"}, "bank_card": {"4111111111111111"}, "bank_card_bin": {"4111111111111111"},
		"mobile": {"13812345678", "8613812345678"}, "id_card": {"110105194912310003"},
	} {
		tok := newTokenizer(t, format)
		for _, text := range texts {
			if format == "id_card" {
				last := idCardCheck([]byte(text))
				text = text[:17] + string(last)
			}
			token := checkToken(t, tok, text, true)
			if d, ok := ParseDecimal([]byte(token)); !ok || len(token) != len(text) || d.Negative {
				t.Errorf("%s: %s became %s", format, text, token)
			}
		}
	}
}

func TestWhatIsNotOfTheFormatHasNoToken(t *testing.T) {
	for format, texts := range map[string][]string{
		"digits":          {"", " ", "-", "12345", "12345x", "123456 ", " 123456", "123  456", "-123456", "123.456", "1e10000", "１２３４５６７", "٣٤٥٦٧٨٩", "123\x00456", "\xff123456", strings.Repeat("1", 129), strings.Repeat("1", 1<<16)},
		"bank_card":       {"", "4111111111111112", "41111111111", "411111111111111111116", "4111 1111 1111 111x", "４１１１１１１１１１１１１１１１"},
		"bank_card_bin":   {"411111111114", "4111111111111112"},
		"mobile":          {"", "12812345678", "1381234567", "138123456789", "+1 202 555 0147", "+13812345678", "85213812345678", "１３８１２３４５６７８"},
		"id_card":         {"", "110105194912310021", "110105491231002", "99010519491231002X", "11010519490231002X", "110105-19491231-0021"},
		"letters":         {"", "abcd", "ABC", "abc", "ab1cd", "müller", "王小明王小明", "a.bcdef"},
		"alphanumeric":    {"", "abc", "a_bcdef", "ａｂｃｄｅｆ"},
		"alphabet=abcdef": {"", "abcdefg", "abcdefab c", "abc", "ABCDEFAB", "\xffabcdefab", strings.Repeat("a", 129)},
	} {
		tok := newTokenizer(t, format)
		for _, text := range texts {
			if out, ok := tok.Tokenize([]byte("x"), []byte(text), "n", false); ok || string(out) != "x" {
				t.Errorf("%s: %.40q became %q", format, text, out)
			}
			if out, ok := tok.Detokenize(nil, []byte(text), "n", false); ok || len(out) > 0 {
				t.Errorf("%s: %.40q was the token of %q", format, text, out)
			}
		}
	}
	for _, format := range []string{"letters", "alphanumeric", "alphabet=0123456789"} {
		if out, ok := newTokenizer(t, format).Tokenize(nil, []byte("12345678"), "n", true); ok {
			t.Errorf("%s: the number 12345678 became %q", format, out)
		}
	}
}

func TestTokensDifferByNameFormatAndKey(t *testing.T) {
	seen := map[string]string{}
	add := func(what, token string, ok bool) {
		if !ok || seen[token] != "" {
			t.Errorf("%s: %q, as of %s (%v)", what, token, seen[token], ok)
		}
		seen[token] = what
	}
	const card = "4111111111111111"
	for _, format := range []string{"digits", "bank_card", "bank_card_bin"} {
		for _, name := range []string{"", "card", "pan"} {
			out, ok := newTokenizer(t, format).Tokenize(nil, []byte(card), name, false)
			add(format+" "+name, string(out), ok)
		}
	}
	other, err := NewTokenizer("digits", make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	out, ok := other.Tokenize(nil, []byte(card), "card", false)
	add("another key", string(out), ok)
	// A country code and what groups digits do not make another number of it.
	mobile := newTokenizer(t, "mobile")
	a, _ := mobile.Tokenize(nil, []byte("13812345678"), "", false)
	b, _ := mobile.Tokenize(nil, []byte("+86 138 1234 5678"), "", false)
	if got := "+86" + string(a); got != strings.ReplaceAll(string(b), " ", "") {
		t.Errorf("tokens of one number: %s and %s", a, b)
	}
}

// Tokens of a format are a permutation: over all numbers of a block no two
// have the same.
func TestTokensAreUnique(t *testing.T) {
	tok := newTokenizer(t, "id_card")
	seen := map[string]bool{}
	card := []byte("11010519491231000X")
	for serial := range 1000 {
		card[14], card[15], card[16] = byte('0'+serial/100), byte('0'+serial/10%10), byte('0'+serial%10)
		card[17] = idCardCheck(card)
		token := checkToken(t, tok, string(card), false)
		if seen[token] || !IsIDCard([]byte(token)) {
			t.Fatalf("%s is twice, or none", token)
		}
		seen[token] = true
	}
}

func TestBadFormatsAndKeysAreRefused(t *testing.T) {
	for _, format := range []string{"", "card", "alphabet=", "alphabet=a", "alphabet=abca", "alphabet=\xff\xfe"} {
		if _, err := NewTokenizer(format, make([]byte, 32)); err == nil {
			t.Errorf("format %q was accepted", format)
		}
	}
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := NewTokenizer("digits", make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes was accepted", n)
		}
	}
}

// A value has a token of its format, of the same length, that becomes the value
// again, or it has none.
func FuzzTokensComeBack(f *testing.F) {
	for _, s := range []string{"4111111111111111", "+86 138-1234-5678", "11010519491231002X", "Smith-Jones", "AB12", "000000", "１２３４５６", "12 34 56", "1e5"} {
		f.Add([]byte(s), "card", false)
		f.Add([]byte(s), "", true)
	}
	var all []*Tokenizer
	for _, format := range append(TokenFormats(), "alphabet=0123456789 -", "alphabet=甲乙丙abc") {
		all = append(all, newTokenizer(f, format))
	}
	f.Fuzz(func(t *testing.T, text []byte, name string, number bool) {
		if _, ok := ParseDecimal(text); number && !ok {
			return
		}
		for _, tok := range all {
			token, ok := tok.Tokenize(nil, text, name, number)
			if !ok {
				continue
			}
			if _, ok := ParseDecimal(token); number && !ok {
				t.Fatalf("%s: the number %s became %q", tok.format, text, token)
			}
			if len(token) != len(text) && tok.format != customFormat {
				t.Fatalf("%s: %q became %q", tok.format, text, token)
			}
			want := text
			if tok.format == "id_card" {
				want = bytes.ToUpper(text)
			}
			back, ok := tok.Detokenize(nil, token, name, number)
			if !ok || !bytes.Equal(back, want) {
				t.Fatalf("%s: %q became %q and then %q (%v)", tok.format, text, token, back, ok)
			}
		}
	})
}

// BenchmarkToken is a card number beside the same sealed:
//
//	go test ./modules/internal/data/mask -run '^$' -bench Token -benchmem -cpu 1
func BenchmarkToken(b *testing.B) {
	for format, text := range map[string]string{"bank_card": "4111111111111111", "id_card": "11010519491231002X", "mobile": "13812345678"} {
		b.Run(format, func(b *testing.B) {
			tok, buf := newTokenizer(b, format), make([]byte, 0, 64)
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := tok.Tokenize(buf, []byte(text), "card", false); !ok {
					b.Fatal("no token")
				}
			}
		})
	}
	b.Run("aes-gcm", func(b *testing.B) {
		s, err := NewSealer("1", make([]byte, SealKeySize))
		if err != nil {
			b.Fatal(err)
		}
		text, buf := []byte(`"4111111111111111"`), make([]byte, 0, 256)
		b.ReportAllocs()
		for b.Loop() {
			_ = s.Seal(buf, text, "/card", "alice")
		}
	})
}

package mask

import (
	"bytes"
	"strings"
	"testing"
)

func TestPresets(t *testing.T) {
	for _, c := range []struct{ preset, in, want string }{
		{"name", "段正淳", "段**"},
		{"name", "张三", "张*"},
		{"name", "段", "*"},
		{"name", "e\u0301a", "e\u0301*"}, // an accent of its own is not a character
		{"name", "👨‍👩‍👧x", "👨‍👩‍👧*"},
		{"id_card", "51343620000320711X", "5***************1X"},
		{"id_card", "513436", "******"},
		{"mobile", "18049531999", "180****1999"},
		{"mobile", "1804953", "*******"},
		{"mobile", "18049531", "********"},
		{"landline", "09157518479", "0915*****79"},
		{"landline", "7518479", "*******"},
		{"address", "北京市海淀区马连洼街道289号", "北京市海淀区马********"},
		{"address", "海淀区", "***"},
		{"email", "duandazhi-jack@gmail.com.cn", "d*************@gmail.com.cn"},
		{"email", "d@gmail.com", "*@gmail.com"},
		{"email", "nobody", "******"},
		{"email", "name@bücher.example", "n***@bücher.example"},
		{"email", "@x", "**"}, // a name elsewhere, and no address
		{"email", "name@", "*****"},
		{"email", "a@b.c, 13812345678", "******************"},
		{"email", "a@b.c <13812345678>", "*******************"},
		{"email", "pass:word@\n13812345678", "**********************"},
		{"email", "name@[192.0.2.1]", "****************"},
		{"email", "a@b.c.13812345678", "*****************"},
		{"plate", "苏D40000", "苏D4***0"},
		{"plate", "苏D4", "***"},
		{"bank_card", "11011111222233333256", "1101 **** **** **** 3256"},
		{"bank_card", "6217 0001 3000 8255 666", "6217 **** **** *** 5666"},
		{"bank_card", "12345678", "********"},
		{"bank_card", "1101111122223333x256", "********************"},
		{"last4", "13812345678", "*******5678"},
		{"last4", "5678", "****"},
		{"last4", "", ""},
		{"first3last4", "13812345678", "138****5678"},
		{"first3last4", "1381234", "*******"},
		{"ip", "192.0.2.33", "192.*.*.*"},
		{"ip", "::ffff:192.0.2.33", "192.*.*.*"},
		{"ip", "2001:db8::1", "2001:*:*:*:*:*:*:*"},
		{"ip", "fe80::1%eth0", "fe80:*:*:*:*:*:*:*"},
		{"ip", "192.0.2", "*******"},
	} {
		f, ok := Preset(c.preset)
		if !ok {
			t.Fatalf("no preset %s", c.preset)
		}
		if got := string(f([]byte("x"), []byte(c.in))); got != "x"+c.want {
			t.Errorf("%s of %q = %q, want %q", c.preset, c.in, got[1:], c.want)
		}
	}
}

func TestShortTextIsMaskedEntirely(t *testing.T) {
	for _, name := range Presets() {
		f, _ := Preset(name)
		for n := 1; n <= 4; n++ {
			in := []byte(strings.Repeat("7", n))
			if got := f(nil, in); bytes.Equal(got, in) {
				t.Errorf("%s of %q shows it", name, in)
			}
		}
	}
	for n := range 5 {
		if got, want := string(Keep(3, 1, '#')(nil, []byte("甲乙丙丁"[:3*n]))), strings.Repeat("#", n); got != want {
			t.Errorf("keep 3 1 of %d characters = %q, want %q", n, got, want)
		}
	}
}

package mask

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/keyform"
)

type found struct{ start, end int }

func findAll(d *Detector, text []byte) (list []found) {
	for from := 0; ; {
		s, e, ok := d.Find(text, from)
		if !ok {
			return list
		}
		list = append(list, found{s, e})
		from = e
	}
}

// ownKey is a key of api_key_auth.
func ownKey() string {
	key := "moat_" + strings.Repeat("aB3", 4) + "_" + strings.Repeat("xY7z", 8)
	sum := keyform.Checksum(key)
	return key + string(sum[:])
}

// checkOpen holds Open to its law at every place where text can end.
func checkOpen(t *testing.T, d *Detector, text string) {
	t.Helper()
	all := findAll(d, []byte(text))
	for k := range len(text) {
		open := d.Open([]byte(text[:k]))
		if open < 0 || open > k {
			t.Fatalf("%q is open from %d", text[:k], open)
		}
		before := func(list []found) (n int) {
			for n < len(list) && list[n].start < open {
				n++
			}
			return n
		}
		part := findAll(d, []byte(text[:k]))
		n := before(part)
		if n != before(all) {
			t.Fatalf("%q, cut at %d, open from %d: %v, in all %v", text, k, open, part, all)
		}
		for i := range n {
			if part[i] != all[i] {
				t.Fatalf("%q, cut at %d, open from %d: %v, in all %v", text, k, open, part, all)
			}
		}
	}
}

func TestWhatIsNotOpenStaysAsItIs(t *testing.T) {
	pem := "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"
	things := []string{
		"13812345678", "+86 138-1234-5678", "008613812345678", "+1 202 555 0147", "4111 1111 1111 1111", "4111111111111111", "11010519491231002X",
		"alice@example.com", "a.b+c@sub.example.co.uk", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc_-", "sk-" + strings.Repeat("a1", 12),
		"AKIAIOSFODNN7EXAMPLE", "SG." + strings.Repeat("x", 22) + "." + strings.Repeat("y", 22), ownKey(), pem,
	}
	glue := []string{"", " ", ",", "-", "x", "9", "@", ".", "_", "+", " call ", "e", "\u00e9", "--", "  ", "X"}
	kinds := append(append([][]string{}, Kinds()), []string{"mobile"}, []string{"pan"}, []string{"id_card"}, []string{"email"}, []string{"jwt"}, []string{"api_key"})
	r := rand.New(rand.NewPCG(1, 2))
	for _, k := range kinds {
		d, err := NewDetector(k)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range things {
			for _, g := range glue {
				checkOpen(t, d, g+a+g)
			}
		}
		for range 300 {
			var b strings.Builder
			for range 1 + r.IntN(4) {
				b.WriteString(glue[r.IntN(len(glue))])
				thing := things[r.IntN(len(things))]
				b.WriteString(thing[r.IntN(2):])
			}
			checkOpen(t, d, b.String())
		}
		for range 3000 {
			const letters = "1388 -+@.eyJx_a4,X-s"
			text := make([]byte, r.IntN(40))
			for i := range text {
				text[i] = letters[r.IntN(len(letters))]
			}
			checkOpen(t, d, string(text))
		}
	}
}

// What can begin nothing is not kept.
func TestNothingIsOpenAfterPlainText(t *testing.T) {
	for kind, texts := range map[string][]string{
		"mobile":  {"hello", "a b c ", "call me", "1, ", "x-"},
		"pan":     {"hello", "12 . "},
		"email":   {"hello ", "a@b.c, ", "x: "},
		"jwt":     {"hello", "an appl", "x"},
		"api_key": {"hello ", "x. ", "- "},
	} {
		d, err := NewDetector([]string{kind})
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			if open := d.Open([]byte(text)); open != len(text) {
				t.Errorf("%s: %q is open from %d", kind, text, open)
			}
		}
	}
}

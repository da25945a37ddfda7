package mask

import (
	"bytes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
	"strings"
	"testing"

	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/sm4"
)

func hexed(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "-"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// SM4-GCM and HMAC-SM3 as they are used here agree with the vectors of
// Wycheproof; testdata/README.md says which.
func TestSMVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/wycheproof_sm.txt")
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		valid := f[2] == "valid"
		count[f[0]+" "+f[2]]++
		if f[0] == "hmac" {
			mac := hmac.New(sm3.New, hexed(t, f[3]))
			mac.Write(hexed(t, f[4]))
			tag := hexed(t, f[5])
			if hmac.Equal(mac.Sum(nil)[:len(tag)], tag) != valid {
				t.Errorf("hmac %s: not %s", f[1], f[2])
			}
			continue
		}
		block, err := sm4.NewCipher(hexed(t, f[3]))
		if err != nil {
			t.Fatal(err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			t.Fatal(err)
		}
		nonce, aad, plain, box := hexed(t, f[4]), hexed(t, f[5]), hexed(t, f[6]), append(hexed(t, f[7]), hexed(t, f[8])...)
		if opened, err := aead.Open(nil, nonce, box, aad); (err == nil) != valid || valid && !bytes.Equal(opened, plain) {
			t.Errorf("gcm %s: opened %x (%v)", f[1], opened, err)
		}
		if valid && !bytes.Equal(aead.Seal(nil, nonce, plain, aad), box) {
			t.Errorf("gcm %s: sealed otherwise", f[1])
		}
	}
	for what, least := range map[string]int{"gcm valid": 30, "gcm invalid": 20, "hmac valid": 60, "hmac invalid": 100} {
		if count[what] < least {
			t.Errorf("%d vectors are %s", count[what], what)
		}
	}
}

func TestSealersOpenTheirOwnCipherAlone(t *testing.T) {
	old, err := NewSealer("1", bytes.Repeat([]byte{1}, SealKeySize))
	if err != nil {
		t.Fatal(err)
	}
	sm, err := NewSealerSM4("1", bytes.Repeat([]byte{1}, SealKeySizeSM4))
	if err != nil {
		t.Fatal(err)
	}
	// A value that was sealed before there was SM4.
	const before = "moat:v1:2026-a:bmOgBfmjpI_HLxZUom_wImnbuWx8anC9OpwNY1aiwwq77J_5"
	first, err := NewSealer("2026-a", bytes.Repeat([]byte{7}, SealKeySize))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := first.Open(before, "/items/0/card", "alice"); err != nil || string(plain) != `"before"` {
		t.Errorf("a value of before: %s (%v)", plain, err)
	}
	for _, c := range []struct {
		s, other *Sealer
		prefix   string
	}{{old, sm, "moat:v1:1:"}, {sm, old, "moat:sm4:v1:1:"}} {
		sealed := string(c.s.Seal(nil, []byte(`"secret"`), "/a", "alice"))
		if !strings.HasPrefix(sealed, c.prefix) || strings.Contains(sealed, "secret") {
			t.Errorf("sealed %s", sealed)
		}
		if plain, err := c.s.Open(sealed, "/a", "alice"); err != nil || string(plain) != `"secret"` {
			t.Errorf("opened %s (%v)", plain, err)
		}
		for _, bad := range [][3]string{{sealed, "/b", "alice"}, {sealed, "/a", "bob"}, {sealed[:len(sealed)-1], "/a", "alice"}, {sealed + "A", "/a", "alice"}} {
			if plain, err := c.s.Open(bad[0], bad[1], bad[2]); err != ErrSealed {
				t.Errorf("%v: opened %s (%v)", bad, plain, err)
			}
		}
		// With the other prefix it is neither's.
		moved := c.other.prefix + strings.TrimPrefix(sealed, c.s.prefix)
		for _, s := range []*Sealer{old, sm} {
			if plain, err := s.Open(moved, "/a", "alice"); err != ErrSealed {
				t.Errorf("%s: opened %s (%v)", moved, plain, err)
			}
		}
	}
	for _, n := range []int{0, 15, 24, 32} {
		if _, err := NewSealerSM4("1", make([]byte, n)); err == nil {
			t.Errorf("SM4 with %d bytes of key", n)
		}
	}
}

// A MAC that is used again gives what a fresh one gives.
func TestPseudonymsAreHMACs(t *testing.T) {
	key := []byte("0123456789abcdef")
	for name, c := range map[string]struct {
		p *Pseudonym
		h func() hash.Hash
	}{"sha256": {NewPseudonym(key), sha256.New}, "sm3": {NewPseudonymSM3(key), sm3.New}} {
		for i := range 10 {
			text := bytes.Repeat([]byte("text"), 10*i)
			mac := hmac.New(c.h, key)
			mac.Write(append([]byte("moat pseudonym 1\x00string\x00"), text...))
			want := pseudonymText.EncodeToString(mac.Sum(nil)[:pseudonymSize])
			if got := c.p.Append(nil, "string", text); string(got) != want {
				t.Errorf("%s of %d bytes: %s, want %s", name, len(text), got, want)
			}
		}
	}
}

// BenchmarkSeal seals a text of 1 KiB with either cipher:
//
//	go test ./modules/internal/data/mask -run '^$' -bench Seal -cpu 1
func BenchmarkSeal(b *testing.B) {
	aes, err := NewSealer("1", make([]byte, SealKeySize))
	if err != nil {
		b.Fatal(err)
	}
	sm, err := NewSealerSM4("1", make([]byte, SealKeySizeSM4))
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{18, 1024} {
		plain, buf := make([]byte, size), make([]byte, 0, 2048)
		for name, s := range map[string]*Sealer{"aes": aes, "sm4": sm} {
			b.Run(fmt.Sprintf("%d/%s", size, name), func(b *testing.B) {
				b.SetBytes(int64(size))
				for b.Loop() {
					_ = s.Seal(buf, plain, "/card", "alice")
				}
			})
		}
	}
}

package apikey

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/keyform"
)

// FuzzParseKey holds that what is read as a key has the parts it says, and
// that no key is left when any one of its characters is another.
func FuzzParseKey(f *testing.F) {
	p := newPepper(f)
	for _, prefix := range []string{"moat", "acme_live", strings.Repeat("a", MaxPrefix)} {
		text, _, err := Mint(p, prefix, NewID())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, 7, byte(3))
		f.Add(text[:len(text)-1], 0, byte(1))
	}
	f.Add("", 0, byte(0))
	f.Add("moat__", 1, byte(0x20))
	f.Fuzz(func(t *testing.T, text string, at int, flip byte) {
		k, err := ParseKey(text)
		if err != nil {
			if k != (Key{}) {
				t.Errorf("%q: %v with %+v", text, err, k)
			}
			return
		}
		sum := keyform.Checksum(k.signed)
		if !strings.HasPrefix(k.signed, k.Prefix+"_"+k.ID+"_") || k.signed+string(sum[:]) != text || CheckPrefix(k.Prefix) != nil || CheckID(k.ID) != nil {
			t.Errorf("%q is read as %+v", text, k)
		}
		if flip == 0 {
			return
		}
		b := []byte(text)
		b[uint(at)%uint(len(b))] ^= flip
		if k, err := ParseKey(string(b)); err == nil {
			t.Errorf("%q for %q is read as %+v", b, text, k)
		}
	})
}

// FuzzParseFile holds that what is read is written so that it is read the same
// again, and that what is written is a fixed point.
func FuzzParseFile(f *testing.F) {
	f.Add([]byte(golden))
	f.Add([]byte(goldenHeader))
	f.Add([]byte(strings.ReplaceAll(golden, `","`, `" , "`)))
	f.Add([]byte(strings.Replace(golden, `"owner"`, `"own\u0065r"`, 1)))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := ParseFile(text)
		if err != nil {
			return
		}
		printed := file.Append(nil)
		again, err := ParseFile(printed)
		if err != nil {
			t.Fatalf("%s\nis written as\n%s\nwhich is refused: %v", text, printed, err)
		}
		if !reflect.DeepEqual(file, again) || !bytes.Equal(again.Append(nil), printed) {
			t.Errorf("%s\nis written as\n%s", text, printed)
		}
		for i := range file.Entries {
			e := &file.Entries[i]
			if e.Owner == "" || len(e.Secrets) == 0 || len(e.Secrets) > MaxSecrets {
				t.Errorf("%s\nhas the entry %+v", text, e)
			}
		}
	})
}

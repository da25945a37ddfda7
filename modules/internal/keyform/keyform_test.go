package keyform

import (
	"bytes"
	"strings"
	"testing"
)

func sealed(prefix string) string {
	signed := prefix + "_" + "0aB1cD2eF3gH_" + strings.Repeat("xY3z", SecretLen/4)
	sum := Checksum(signed)
	return signed + string(sum[:])
}

func TestKeysAreFoundInAnyText(t *testing.T) {
	for _, prefix := range []string{"moat", "a", "acme_live", "x9", strings.Repeat("p", MaxPrefix)} {
		key := sealed(prefix)
		for _, c := range []struct{ before, after string }{
			{"", ""},
			{"/me/", "/x"},
			{"?k=", "&b=c"},
			{`{"k":"`, `"}`},
			{"_", "_"},
			{"__", "__"},
			{"X-", "ABC"},
			{"9", "9"},
			{"A", ""},
			{"_0aB1cD2eF3gH_", "_0aB1cD2eF3gH_"},
			{sealed("other") + " ", ""},
		} {
			text := []byte(c.before + key + c.after)
			from, found := 0, false
			for {
				start, end, ok := find(text, from)
				if !ok {
					break
				}
				found = found || string(text[start:end]) == key
				from = end
			}
			if !found {
				t.Errorf("%s: not found", text)
			}
		}
	}
}

func TestWhatIsNoKeyIsNotFound(t *testing.T) {
	key := sealed("moat")
	for _, text := range []string{"", "_", "moat_", strings.Repeat("_", 200), key[:len(key)-1], key[4:], strings.ToUpper(key[:4]) + key[4:], strings.Replace(key, "x", "w", 1)} {
		if start, end, ok := find([]byte(text), 0); ok {
			t.Errorf("%q: found %q", text, text[start:end])
		}
	}
}

// The law: a key is found wherever it stands, and what is found is valid.
func FuzzFind(f *testing.F) {
	f.Add("/a/", "/b")
	f.Add("moat_0aB1cD2eF3gH_", "_")
	key := sealed("moat")
	f.Fuzz(func(t *testing.T, before, after string) {
		text := []byte(before + "/" + key + after)
		for from := 0; ; {
			start, end, ok := find(text, from)
			if !ok {
				t.Fatalf("not found in %q", text)
			}
			if !Valid(string(text[start:end])) {
				t.Fatalf("%q is not valid", text[start:end])
			}
			if string(text[start:end]) == key {
				return
			}
			from = end
		}
	})
}

// find returns where the next key is whose ID begins after from, in time in
// proportion to the length of the text.
func find(text []byte, from int) (start, end int, ok bool) {
	for i := from; i < len(text); i++ {
		at := bytes.IndexByte(text[i:], '_')
		if at < 0 {
			break
		}
		i += at
		if start, end, ok = At(text, i); ok {
			return start, end, true
		}
	}
	return 0, 0, false
}

package mask

import (
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/keyform"
)

// Keys of api_key_auth have a form and a checksum, and any prefix. Nothing else
// that could be seen in one hides the rest of it.
func TestKeysOfOursAreDetected(t *testing.T) {
	all, err := NewDetector(Kinds())
	if err != nil {
		t.Fatal(err)
	}
	alone, err := NewDetector([]string{"api_key"})
	if err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"moat", "acme_live", "sk_live", "k"} {
		for _, id := range []string{"0aB1cD2eF3gH", "13812345678a", "AKIAABCDEFGH"} {
			signed := prefix + "_" + id + "_" + strings.Repeat("xY3z", 8)
			sum := keyform.Checksum(signed)
			key := signed + string(sum[:])
			for name, d := range map[string]*Detector{"api_key": alone, "all": all} {
				text := []byte(`/me/` + key + `?x=` + key + ", and no more")
				var left []byte
				from := 0
				for {
					start, end, ok := d.Find(text, from)
					if !ok {
						break
					}
					left = append(left, text[from:start]...)
					from = end
				}
				if left = append(left, text[from:]...); string(left) != "/me/?x=, and no more" {
					t.Errorf("%s: of %s is left %s", name, text, left)
				}
			}
			wrong := []byte("see " + prefix + "x_" + id + "_" + strings.Repeat("xY3z", 8) + string(sum[:]))
			if start, end, ok := alone.Find(wrong, 0); ok && prefix != "sk_live" && id != "AKIAABCDEFGH" {
				t.Errorf("%s: found %s, whose checksum is wrong", wrong, wrong[start:end])
			}
		}
	}
}

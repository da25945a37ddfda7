package mask

import (
	"strings"
	"testing"
)

// Whoever writes the text must not choose how long it takes. Where it took the
// square of the length, this does not end.
func TestLongTextsAreSearchedInLinearTime(t *testing.T) {
	d, err := NewDetector(Kinds())
	if err != nil {
		t.Fatal(err)
	}
	for _, unit := range []string{"eyJ", "eyJa.", "ewo", "a.", "4-", "sk-", "1 "} {
		text := []byte(strings.Repeat(unit, 4<<20/len(unit)))
		for from, ok := 0, true; ok; {
			_, from, ok = d.Find(text, from)
		}
	}
}

func TestTokenBehindWhatLooksLikeOneIsFound(t *testing.T) {
	d, err := NewDetector([]string{"jwt"})
	if err != nil {
		t.Fatal(err)
	}
	const token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
	for _, before := range []string{"eyJ ", "eyJ.", "eyJeyJ.", "eyJa.eyJ.", "eyJa ", "xeyJ", "eyJa.b.", "eyJ.."} {
		text := []byte(before + token)
		_, end, ok := d.Find(text, 0)
		if !ok || end != len(text) {
			t.Errorf("%q hides the token: %d, %v", before, end, ok)
		}
	}
}

package jwk

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestHostileSetsCostLittle holds that what a key set makes ParseSet allocate
// is bounded by a few times the largest set.
func TestHostileSetsCostLittle(t *testing.T) {
	fill := func(unit string) string { return strings.Repeat(unit, (MaxSetSize-100)/len(unit)) }
	var members strings.Builder
	for i := range MaxSetSize / 12 {
		fmt.Fprintf(&members, `"%06x":0,`, i)
	}
	for name, doc := range map[string]string{
		"brackets":      `{"keys":` + fill("["),
		"empty keys":    `{"keys":[` + fill("{},") + `{}]}`,
		"many members":  `{` + members.String() + `"keys":[]}`,
		"one huge key":  `{"keys":[{` + members.String() + `"kty":"RSA"}]}`,
		"huge modulus":  `{"keys":[{"kty":"RSA","e":"AQAB","n":"` + fill("x") + `"}]}`,
		"huge exponent": `{"keys":[{"kty":"RSA","n":"AQAB","e":"` + fill("x") + `"}]}`,
		"huge kid":      `{"keys":[{"kid":"` + fill("x") + `","kty":"RSA"}]}`,
		"huge kty":      `{"keys":[{"kty":"` + fill("x") + `"}]}`,
		"many ops":      `{"keys":[{"kty":"RSA","key_ops":[` + fill(`"verify",`) + `"sign"]}]}`,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		keys, skipped, err := ParseSet([]byte(doc))
		runtime.ReadMemStats(&after)
		if len(keys) > 0 {
			t.Errorf("%s: %d keys admitted", name, len(keys))
		}
		for _, s := range skipped {
			if len(s.Error()) > 200 {
				t.Errorf("%s: an error of %d bytes", name, len(s.Error()))
			}
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 32*MaxSetSize {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}

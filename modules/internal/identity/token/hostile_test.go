package token

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/modules/internal/identity/principal"
)

// TestHostileTokensCostLittle holds that no token within the size allowed makes
// the verifier allocate more than a few times its size.
func TestHostileTokensCostLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes memory of its own")
	}
	p := families()["HS256"]
	iss := standard(p)
	iss.Scopes = []principal.Pointer{{"scope"}}
	v := verifier(t, Options{Cache: 4}, iss)
	room := DefaultMaxTokenSize*3/4 - 300 // of claims
	fill := func(unit string) string { return strings.Repeat(unit, room/len(unit)) }
	for name, raw := range map[string]string{
		"points":              fill("."),
		"letters":             fill("A"),
		"brackets":            sign(t, p, claimsWith("x", fill("["))),
		"braces":              sign(t, p, claimsWith("x", fill(`{"":`))),
		"many members":        sign(t, p, claimsWith("exp", "1", "x", many(room/12, -1))),
		"many in the header":  signParts(t, p, `{"alg":"HS256","x":`+many(room/12, -1)+`}`, "{}"),
		"many small objects":  sign(t, p, claimsWith("exp", "1", "x", "["+fill(`{"a":1,"b":2},`)+"1]")),
		"escaped names":       sign(t, p, claimsWith("exp", "1", "x", `{`+escapedNames(room/16)+`"z":0}`)),
		"one long string":     sign(t, p, claimsWith("exp", "1", "x", `"`+fill("a")+`"`)),
		"one long number":     sign(t, p, claimsWith("exp", "1", "x", fill("1"))),
		"long exp":            sign(t, p, claimsWith("exp", fill("1"))),
		"long fraction":       sign(t, p, claimsWith("exp", "1."+fill("1"))),
		"many audiences":      sign(t, p, claimsWith("aud", "["+fill(`"a",`)+`"b"]`)),
		"many roles":          sign(t, p, claimsWith("realm_access", `{"roles":[`+fill(`"abc",`)+`1]}`)),
		"words of a scope":    sign(t, p, claimsWith("scope", `"`+fill("a ")+`\u0000"`)),
		"far above the limit": strings.Repeat("A.", 1<<20),
	} {
		if _, err := v.Verify(context.Background(), raw, now); err == nil {
			t.Errorf("%s: accepted", name)
		}
		const runs = 20
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			v.Verify(context.Background(), raw, now)
		}
		runtime.ReadMemStats(&after)
		per := (after.TotalAlloc - before.TotalAlloc) / runs
		t.Logf("%s: %d bytes", name, per)
		if per > 12*DefaultMaxTokenSize {
			t.Errorf("%s: %d bytes a token", name, per)
		}
	}
}

func escapedNames(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`"\u00`)
		b.WriteByte("234567"[i%6])
		b.WriteByte("3456789abcdef"[i/6%13])
		b.WriteByte("ghijklmnopqrstuvwxyz"[i/78%20])
		b.WriteString(`":1,`)
	}
	return b.String()
}

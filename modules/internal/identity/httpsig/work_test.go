package httpsig

import (
	"fmt"
	"strings"
	"testing"
)

// TestWhatMustBeUnderstoodIsBounded is about requests of somebody who has no key: what they
// have us read is bounded, most of all where it must be understood.
func TestWhatMustBeUnderstoodIsBounded(t *testing.T) {
	const limit = maxWork / parseCost
	dict := func(n int) string { // of n bytes
		return `a="` + strings.Repeat("x", n-4) + `"`
	}
	repeat := func(n int, format string) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(format, i))
		}
		return strings.Join(all, " ")
	}
	members := strings.TrimSuffix(strings.Repeat("k=1, ", 2<<10/5), ", ")
	for i := range 9 {
		members += fmt.Sprintf(", k%d", i)
	}
	for name, c := range map[string]struct {
		field, components string
		long              bool
	}{
		"a field":                         {strings.Repeat("x", maxWork), `"x"`, false},
		"a longer field":                  {strings.Repeat("x", maxWork+1), `"x"`, true},
		"a field once more in bytes":      {strings.Repeat("x", maxWork/2+1), `"x" "x";bs`, true},
		"a structured field":              {dict(limit), `"x";sf`, false},
		"a longer structured field":       {dict(limit + 1), `"x";sf`, true},
		"a member of a field":             {dict(limit), `"x";key="a"`, false},
		"a member of a longer field":      {dict(limit + 1), `"x";key="a"`, true},
		"many members of a field":         {members, repeat(7, `"x";key="k%d"`), false},
		"too many members of a field":     {members, repeat(9, `"x";key="k%d"`), true},
		"a structured field and as it is": {dict(limit), `"x";sf "x"`, true},
	} {
		m := testRequest()
		m.Header["X"] = []string{c.field}
		inputs, err := parseInputs([]string{"a=(" + c.components + ")"})
		if err != nil {
			t.Fatalf("%s: %s", name, err.Reason)
		}
		_, err = appendBase(nil, m, inputs[0].items, "")
		switch {
		case !c.long && err != nil:
			t.Errorf("%s: %s", name, err.Reason)
		case c.long && (err == nil || err.Reason != "what is covered is too long"):
			t.Errorf("%s: %v", name, err)
		}
	}
}

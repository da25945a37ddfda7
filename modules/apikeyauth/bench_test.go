package apikeyauth

import "testing"

// Run with: go test -run - -bench Identify -benchmem ./modules/apikeyauth

// BenchmarkIdentify is what the provider takes of a request: finding the key
// and checking it.
func BenchmarkIdentify(b *testing.B) {
	bench, key := newBench(b, "")
	for name, test := range map[string]struct{ value, want string }{
		"good":       {"Bearer " + key, ""},
		"own scheme": {"ApiKey " + key, ""},
		"mistyped":   {"Bearer " + key[:len(key)-2], CodeInvalid},
		"a token":    {"Bearer eyJhbGciOiJub25lIn0.e30.", "missing_credentials"},
	} {
		r := get("192.0.2.1", "Authorization", test.value)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := code(b, bench.p, r); got != test.want {
					b.Fatal(got)
				}
			}
		})
	}
}

func TestIdentifyAllocatesAtMostTwice(t *testing.T) {
	bench, key := newBench(t, "")
	limited := bench.mint("--cidr", "192.0.2.0/24", "--method", "GET")
	await(t, bench, limited)
	for _, key := range []string{key, limited} {
		r := get("192.0.2.1", "Authorization", "Bearer "+key)
		n := testing.AllocsPerRun(200, func() {
			if _, err := bench.p.Identify(r); err != nil {
				t.Fatal(err)
			}
		})
		if n > 2 {
			t.Errorf("%v allocations", n)
		}
	}
}

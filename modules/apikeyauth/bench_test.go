package apikeyauth

import (
	"net/http"
	"testing"
)

// Run with: go test -run - -bench Identify -benchmem ./modules/apikeyauth

// identify is the body of the benchmark and of its test.
func identify(t testing.TB, p *Provider, r *http.Request, good bool) {
	if grant, err := p.Identify(r); (err == nil) != good || (grant.Principal != nil) != good {
		t.Fatal(grant.Principal, err)
	}
}

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
				identify(b, bench.p, r, test.want == "")
			}
		})
	}
}

// raceEnabled is whether the race detector runs, under which a sync.Pool
// forgets at random and allocations say nothing.
var raceEnabled bool

func TestIdentifyAllocatesAtMostOnce(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	bench, key := newBench(t, "")
	limited := bench.mint("--cidr", "192.0.2.0/24", "--method", "GET")
	await(t, bench, limited)
	for _, key := range []string{key, limited} {
		r := get("192.0.2.1", "Authorization", "Bearer "+key)
		n := testing.AllocsPerRun(200, func() { identify(t, bench.p, r, true) })
		if n > 1 { // what the end of a stream is judged by
			t.Errorf("%v allocations", n)
		}
	}
}

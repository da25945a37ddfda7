package httpsig

// Measure with
//
//	GOMAXPROCS=1 go test -run '^$' -bench Verify -benchmem -count 5 ./modules/internal/httpsig

import (
	"testing"
	"time"
)

// contestants are two ways to check one signature with five components: the
// floor, which is the check of the signature alone over a base that is there
// already, and Verify.
func contestants(tb testing.TB, alg string, public, private []byte) (floor, ours func() bool) {
	tb.Helper()
	key, signer := mustKey(tb, "k", alg, public), mustSigner(tb, "k", alg, private)
	keys := keyMap{"k": key}
	m := testRequest()
	var err error
	in, sig, err := signer.Sign(m, Template{
		Components: []string{"@method", "@authority", "@path", "@query", "content-digest"},
		Created:    testNow, Nonce: "b3k2pp5k7z-50gnwp.yemd",
	})
	if err != nil {
		tb.Fatal(err)
	}
	m.Header["Signature-Input"], m.Header["Signature"] = []string{in}, []string{sig}
	p, err := NewPolicy(Options{MaxAge: time.Minute})
	if err != nil {
		tb.Fatal(err)
	}
	inputs, fault := parseInputs(m.Header["Signature-Input"])
	if fault != nil {
		tb.Fatal(fault.Reason)
	}
	base, fault := appendBase(nil, m, inputs[0].items, inputs[0].text)
	if fault != nil {
		tb.Fatal(fault.Reason)
	}
	sigs, fault := parseSignatures(m.Header["Signature"])
	if fault != nil {
		tb.Fatal(fault.Reason)
	}
	return func() bool { return key.verify(base, sigs[0].bytes) },
		func() bool { _, err := Verify(m, p, keys, testNow); return err == nil }
}

func TestBenchmarkContestantsAccept(t *testing.T) {
	for _, p := range pairs {
		floor, ours := contestants(t, p.alg, p.public, p.private)
		if !floor() || !ours() {
			t.Errorf("%s: refused", p.alg)
		}
	}
}

// TestVerifyAllocatesLittle holds what Verify allocates above the check of the
// signature itself: mostly the lists of what is covered.
func TestVerifyAllocatesLittle(t *testing.T) {
	const most = 20 // under the race detector, which empties the pool now and then, 16 were seen
	for _, p := range pairs {
		floor, ours := contestants(t, p.alg, p.public, p.private)
		raw, all := testing.AllocsPerRun(100, func() { floor() }), testing.AllocsPerRun(100, func() { ours() })
		t.Logf("%s: %v allocations, %v of them in the check of the signature", p.alg, all, raw)
		if all-raw > most {
			t.Errorf("%s: %v allocations besides the check of the signature, want at most %d", p.alg, all-raw, most)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, p := range pairs {
		floor, ours := contestants(b, p.alg, p.public, p.private)
		for _, c := range []struct {
			name  string
			check func() bool
		}{{"floor", floor}, {"ours", ours}} {
			b.Run(p.alg+"/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if !c.check() {
						b.Fatal("refused")
					}
				}
			})
		}
	}
}

package trail

import (
	"context"
	"crypto/ed25519"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// thorough asks for what takes minutes:
//
//	go test ./modules/internal/trail -thorough
var thorough = flag.Bool("thorough", false, "run many more rounds")

// testSigner is a signer from a fixed seed.
func testSigner(tb testing.TB) (note.Signer, string, note.Verifiers) {
	tb.Helper()
	key := ed25519.NewKeyFromSeed([]byte("a seed of thirty-two bytes, fix."))
	s, vkey, err := NewSigner("example.com/trail", key)
	if err != nil {
		tb.Fatal(err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		tb.Fatal(err)
	}
	return s, vkey, note.VerifierList(v)
}

func testOptions(tb testing.TB) Options {
	tb.Helper()
	s, vkey, _ := testSigner(tb)
	return Options{Signer: s, VerifierKey: vkey, Interval: time.Millisecond, Checkpoint: time.Hour, Logf: tb.Logf}
}

func mustOpen(tb testing.TB, dir string, o Options) *Trail {
	tb.Helper()
	t, err := Open(dir, o)
	if err != nil {
		tb.Fatalf("Open(%s): %v", dir, err)
	}
	return t
}

func mustClose(tb testing.TB, t *Trail) {
	tb.Helper()
	if err := t.Close(); err != nil {
		tb.Fatalf("Close: %v", err)
	}
}

// testRecord is a record of about size bytes that no other number makes.
func testRecord(i, size int) []byte {
	b := fmt.Appendf(nil, `{"n":%d,"pad":"`, i)
	for len(b) < size-2 {
		b = append(b, 'x')
	}
	return append(b, `"}`...)
}

// fill appends the records from to end-1, each durable when it returns.
func fill(tb testing.TB, t *Trail, from, end, size int) {
	tb.Helper()
	for i := from; i < end; i++ {
		if err := t.Append(testRecord(i, size)); err != nil {
			tb.Fatalf("Append(%d): %v", i, err)
		}
		if i%50 == 49 || i == end-1 {
			flush(tb, t)
		}
	}
}

// flush waits until all that was appended is durable.
func flush(tb testing.TB, t *Trail) {
	tb.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		s := t.Stats()
		if s.Durable == s.Records {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("not durable after 20s: %+v, %v", s, t.Err())
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func mustVerify(tb testing.TB, dir string, o VerifyOptions) *Report {
	tb.Helper()
	if o.Known == nil {
		_, _, o.Known = testSigner(tb)
	}
	r, err := Verify(context.Background(), dir, o)
	if err != nil {
		tb.Fatalf("Verify: %v", err)
	}
	return r
}

// wantGood fails unless the trail verifies and has n records.
func wantGood(tb testing.TB, dir string, n int64) *Report {
	tb.Helper()
	r := mustVerify(tb, dir, VerifyOptions{})
	for _, p := range r.Problems {
		tb.Errorf("problem: %v", p)
	}
	if r.Size != n {
		tb.Errorf("the trail has %d records, want %d", r.Size, n)
	}
	if tb.Failed() {
		tb.FailNow()
	}
	return r
}

// lines returns all records in a directory, by reading it with Scan.
func lines(tb testing.TB, dir string) []string {
	tb.Helper()
	var out []string
	_, err := Scan(context.Background(), dir, ScanOptions{}, func(r Record) error {
		if int(r.Index) != len(out) {
			tb.Fatalf("Scan: record %d after %d records", r.Index, len(out))
		}
		out = append(out, string(r.Line))
		return nil
	})
	if err != nil {
		tb.Fatalf("Scan: %v", err)
	}
	return out
}

// copyTrail copies a trail, so that the copy can be tampered with.
func copyTrail(tb testing.TB, from, to string) {
	tb.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		tb.Fatal(err)
	}
}

func read(tb testing.TB, elem ...string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// eventually waits until ok, as what is waited for happens in another
// goroutine after a back-off.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not after 20s: %s", what)
		}
	}
}

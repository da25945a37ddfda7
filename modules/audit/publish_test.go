package audit

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/trail"
	"github.com/caddy-moat/caddy-moat/modules/internal/evidence/witness/standin"
)

const testOrigin = "audit.example.com/orders"

// run runs a subcommand of `caddy moat audit`.
func run(args ...string) (string, error) {
	cmd := command()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceErrors = true
	cmd.SetArgs(append([]string{}, args...)) // nil would be those of the test
	err := cmd.Execute()
	return out.String(), err
}

// witnessServer serves a witness that knows the trail in dir.
func witnessServer(t *testing.T, e *env, name string, seed byte) (*standin.Witness, string) {
	t.Helper()
	w := standin.New(name, seed)
	s := httptest.NewServer(w)
	t.Cleanup(s.Close)
	keys, err := os.ReadFile(filepath.Join(e.dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	known, err := trail.ParseKeys(keys)
	if err != nil {
		t.Fatal(err)
	}
	w.Know(testOrigin, known)
	return w, s.URL
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

func TestWitnessesFindATrailThatWasPutBack(t *testing.T) {
	e := newEnv(t)
	options := fmt.Sprintf(`,"checkpoint":"100ms","origin":%q`, testOrigin)
	e.serve(options, text("ok")) // makes the key that the witnesses are to know
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	e.closed()
	one, url1 := witnessServer(t, e, "one.example.com", 1)
	two, url2 := witnessServer(t, e, "two.example.com", 2)
	away := standin.New("away.example.com", 3)
	tiles := filepath.Join(e.home, "tiles")
	options += fmt.Sprintf(`,"tiles":%q,"witnesses":[{"url":%q,"key":%q},{"url":%q,"key":%q},{"url":"http://127.0.0.1:1","key":%q}]`,
		tiles, url1, one.VerifierKey(), url2, two.VerifierKey(), away.VerifierKey())
	e.serve(options, text("ok"))
	get := func(n int64) {
		t.Helper()
		for i := range n {
			if status, _ := e.get(fmt.Sprintf("/%d", i)); status != http.StatusOK {
				t.Fatalf("%d", status)
			}
		}
	}
	get(20)
	until(t, "both cosign", func() bool { return one.Last(testOrigin).N >= 20 && two.Last(testOrigin).N >= 20 })
	verify := func(args ...string) (string, error) {
		t.Helper()
		return run(append([]string{"verify", e.dir}, args...)...)
	}
	both := []string{"--witness", one.VerifierKey(), "--witness", two.VerifierKey() + " " + url2}
	until(t, "the cosigned checkpoint is kept", func() bool {
		out, err := verify(both...)
		return err == nil && strings.Contains(out, "cosigned by one.example.com at") && strings.Contains(out, "cosigned by two.example.com just now")
	})
	if out, err := verify("--witness", away.VerifierKey()); err == nil || !strings.Contains(out, "0 of 1 witnesses") {
		t.Errorf("a witness that was away: %v\n%s", err, out)
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	e.closed()
	// The tiles have been written, with the cosignatures.
	n, err := trail.WriteTiles(context.Background(), e.dir, tiles, nil)
	if err != nil || n < 20 {
		t.Errorf("%d %v", n, err)
	}
	old := filepath.Join(e.home, "old")
	if err := os.CopyFS(old, os.DirFS(e.dir)); err != nil {
		t.Fatal(err)
	}
	if out, err := verify(both...); err != nil {
		t.Errorf("at rest: %v\n%s", err, out)
	}
	e.serve(options, text("ok"))
	get(20)
	until(t, "the witnesses see more", func() bool { return two.Last(testOrigin).N > n+20 })
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	e.closed()
	if err := os.RemoveAll(e.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(old, e.dir); err != nil {
		t.Fatal(err)
	}
	if out, err := verify(); err != nil {
		t.Errorf("without witnesses the old state is as good as it was: %v\n%s", err, out)
	}
	if out, err := verify(both...); err == nil || !strings.Contains(out, "truncated") || !strings.Contains(out, "two.example.com") {
		t.Errorf("a trail that was put back verifies: %v\n%s", err, out)
	}
	// It goes on, until it is longer than before.
	if err := os.RemoveAll(tiles); err != nil {
		t.Fatal(err)
	}
	seen := two.Last(testOrigin)
	e.serve(options, text("ok"))
	get(seen.N)
	time.Sleep(300 * time.Millisecond)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	e.closed()
	if now := two.Last(testOrigin); now != seen {
		t.Errorf("the witness has cosigned another history: %v", now)
	}
	if out, err := verify(both...); err == nil || !strings.Contains(out, "another history") {
		t.Errorf("another history verifies: %v\n%s", err, out)
	}
}

func TestProofsForOtherTools(t *testing.T) {
	dir := fill(t, 95)
	out := t.TempDir()
	record, proof := filepath.Join(out, "record"), filepath.Join(out, "7.tlog-proof")
	if _, err := run("prove", "--proof", proof, "-o", record, dir, "7"); err != nil {
		t.Fatal(err)
	}
	rec, err1 := os.ReadFile(record)
	plain, err2 := os.ReadFile(proof)
	if err1 != nil || err2 != nil || !bytes.HasPrefix(plain, []byte("c2sp.org/tlog-proof@v1\nindex 7\n")) || bytes.ContainsRune(rec, '\n') {
		t.Fatalf("%.80q %.80q", rec, plain)
	}
	keys, err := os.ReadFile(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	known, err := trail.ParseKeys(keys)
	if err != nil {
		t.Fatal(err)
	}
	if _, i, err := trail.CheckRecord(rec, plain, known); err != nil || i != 7 {
		t.Error(i, err)
	}
	text, err := run("prove", "--consistency", "40", dir)
	if err != nil || !strings.HasPrefix(text, "old 40\n") || !strings.Contains(text, "\n\n") {
		t.Errorf("%v\n%s", err, text)
	}
	for _, args := range [][]string{{dir}, {"--consistency", "40", dir, "7"}, {"--consistency", "96", dir}, {"--consistency", "-1", dir}} {
		if _, err := run(append([]string{"prove"}, args...)...); err == nil {
			t.Errorf("prove %v succeeds", args)
		}
	}
}

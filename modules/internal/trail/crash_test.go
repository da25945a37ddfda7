package trail

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// childDir, if set, makes the test binary the process that a test kills.
const childDir = "MOAT_TRAIL_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child appends to a trail as fast as it can until it is killed, and says
// which records were acknowledged.
func child(dir string) error {
	s, vkey, _ := testSigner(&testing.B{})
	t, err := Open(dir, Options{
		Signer: s, VerifierKey: vkey, Sync: Always, RollSize: 50_000, Checkpoint: 2 * time.Millisecond, Keep: -1,
		Logf: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) },
	})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	run := time.Now().UnixNano()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", run, g, i)
				if err := t.AppendSync(context.Background(), fmt.Appendf(nil, `{"id":"%s","pad":"%s"}`, id, strings.Repeat("x", i%400))); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				os.Stdout.WriteString(id + "\n") // one write, so never half of one
			}
		})
	}
	wg.Wait()
	return nil
}

// TestNoAcknowledgedRecordIsLostByAKill kills a process under load again and
// again, on one trail.
func TestNoAcknowledgedRecordIsLostByAKill(t *testing.T) {
	rounds := 10
	if *thorough {
		rounds = 200
	}
	dir := t.TempDir()
	rnd := newRand(uint64(time.Now().UnixNano()))
	acked := make(map[string]bool)
	var torn int
	for round := range rounds {
		killChild(t, dir, rnd, acked)
		// What is left verifies as it is, and is repaired by a start.
		if r := mustVerify(t, dir, VerifyOptions{}); !r.OK() {
			t.Fatalf("round %d: before the repair: %v", round, r.Problems)
		}
		o := testOptions(t)
		o.Keep, o.RollSize = -1, 50_000
		tr := mustOpen(t, dir, o)
		if tr.Stats().Repaired > 0 {
			torn++
		}
		if err := tr.AppendSync(context.Background(), []byte(`{"id":"between"}`)); err != nil {
			t.Fatal(err)
		}
		mustClose(t, tr)
		if r := mustVerify(t, dir, VerifyOptions{}); !r.OK() || r.Unsigned != 0 {
			t.Fatalf("round %d: after the repair: %v", round, r.Problems)
		}
	}
	have := make(map[string]bool)
	for _, l := range lines(t, dir) {
		id, _, _ := strings.Cut(strings.TrimPrefix(l, `{"id":"`), `"`)
		have[id] = true
	}
	for id := range acked {
		if !have[id] {
			t.Errorf("record %s was acknowledged and is not there", id)
		}
	}
	t.Logf("%d rounds, %d records acknowledged, %d in the trail, %d torn lines", rounds, len(acked), len(have), torn)
}

// killChild lets a child append for a moment, kills it, and notes what it
// acknowledged.
func killChild(t *testing.T, dir string, rnd *rand.Rand, acked map[string]bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	if l, err := r.ReadString('\n'); l != "ready\n" {
		_ = cmd.Wait()
		t.Fatalf("the child did not start: %q, %v\n%s", l, err, stderr.String())
	}
	kill := time.AfterFunc(time.Duration(rnd.IntN(60_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	for {
		l, err := r.ReadString('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		acked[strings.TrimSuffix(l, "\n")] = true
	}
	_ = cmd.Wait()
	if stderr.String() != "" && !strings.Contains(stderr.String(), "crash left unfinished") {
		t.Fatalf("the child says: %s", stderr.String())
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	tr := mustOpen(t, dir, testOptions(t))
	defer tr.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), fmt.Sprintf("in use by another process (process %q)", fmt.Sprint(os.Getpid()))) {
		t.Errorf("second process: %v\n%s", err, out)
	}
}

func TestTornLastLineIsRepaired(t *testing.T) {
	for _, torn := range []string{
		`{"half":`, `{"no":"newline"}`, "\x00\x00\x00\x00",
		"\x00\x00\x00\x00\n", "not a record\n", "{\"nul\":\"\x00\"}\n", "{}\n\x00\x00{}\n{}\n",
	} {
		dir := t.TempDir()
		tr := mustOpen(t, dir, testOptions(t))
		fill(t, tr, 0, 3, 100)
		mustClose(t, tr)
		path := segmentPath(dir, 0, recordsSuffix)
		good := read(t, path)
		if err := os.WriteFile(path, append(good, torn...), 0o600); err != nil {
			t.Fatal(err)
		}
		n := int64(3)
		if strings.HasPrefix(torn, "{}\n") {
			n++
		}
		var said string
		o := testOptions(t)
		o.Logf = func(format string, args ...any) { said += fmt.Sprintf(format, args...) }
		tr = mustOpen(t, dir, o)
		if got := tr.Stats().Repaired; got != int64(len(torn))-3*(n-3) || !strings.Contains(said, "crash left unfinished") {
			t.Errorf("%q: %d bytes repaired, the log says %q", torn, got, said)
		}
		fill(t, tr, 3, 5, 100)
		mustClose(t, tr)
		wantGood(t, dir, n+2)
	}
}

package trail

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// childDir, if set, makes the test binary the process that a test kills, and
// childRoll says how large its segments are.
const (
	childDir  = "MOAT_TRAIL_CHILD"
	childRoll = "MOAT_TRAIL_CHILD_ROLL"
)

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
	roll, err := strconv.ParseInt(os.Getenv(childRoll), 10, 64)
	if err != nil {
		roll = 50_000
	}
	t, err := Open(dir, Options{
		Signer: s, VerifierKey: vkey, Sync: Always, RollSize: roll, Checkpoint: 2 * time.Millisecond, Keep: -1,
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
	rounds := 100
	switch {
	case testing.Short():
		rounds = 10
	case *thorough:
		rounds = 1000
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

// TestPowerFailureLosesNothingThatWasAcknowledged looks at what a disk would
// hold if the power failed before a sync: of the open segment what the sync
// before had seen, of the leaf hashes, which are not synced, anything.
func TestPowerFailureLosesNothingThatWasAcknowledged(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t)
	o.Sync, o.RollSize, o.Checkpoint, o.Logf = Always, 3000, time.Millisecond, nil
	rnd := newRand(7)
	synced := make(map[string]int64)
	var acked atomic.Int64
	var calls, tested int
	o.sync = func(f *os.File) error {
		if calls++; calls%9 == 0 && !t.Failed() {
			tested++
			after := filepath.Join(t.TempDir(), "after")
			want := acked.Load()
			powerFailure(t, dir, after, synced, rnd)
			checkAfterFailure(t, after, want)
		}
		info, err := f.Stat()
		if err != nil {
			return err
		}
		synced[filepath.Base(f.Name())] = info.Size()
		return datasync(f)
	}
	tr := mustOpen(t, dir, o)
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() {
			for i := range 150 {
				if err := tr.AppendSync(context.Background(), testRecord(g*1000+i, 100)); err != nil {
					t.Error(err)
				}
				acked.Add(1)
			}
		})
	}
	wg.Wait()
	mustClose(t, tr)
	wantGood(t, dir, 450)
	if tested < 10 {
		t.Errorf("only %d failures", tested)
	}
}

// powerFailure copies a trail as it would be found. The writer stands still
// meanwhile, but the checkpoint may be replaced.
func powerFailure(t *testing.T, dir, after string, synced map[string]int64, rnd *rand.Rand) {
	if err := os.Mkdir(after, 0o700); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		data, err := os.ReadFile(filepath.Join(dir, name))
		if os.IsNotExist(err) && strings.HasSuffix(name, tempSuffix) {
			continue
		}
		if err != nil {
			t.Error(err)
			return
		}
		first, isRecords := parseName(name, recordsSuffix)
		if !isRecords {
			first, _ = parseName(name, hashesSuffix)
		}
		_, noSeal := os.Stat(segmentPath(dir, first, sealSuffix))
		switch {
		case isRecords:
			data = data[:synced[name]]
			if noSeal != nil && rnd.IntN(2) == 0 {
				data = append(data, make([]byte, rnd.IntN(300))...)
			}
		case strings.HasSuffix(name, hashesSuffix) && noSeal != nil && len(data) > 0:
			data = data[:rnd.IntN(len(data))]
			if rnd.IntN(2) == 0 {
				clear(data[len(data)/2:])
			}
		}
		if err := os.WriteFile(filepath.Join(after, name), data, 0o600); err != nil {
			t.Error(err)
		}
	}
}

// checkAfterFailure starts the trail again, which must hold at least the
// records that were acknowledged, and verify.
func checkAfterFailure(t *testing.T, dir string, acked int64) {
	o := testOptions(t)
	o.RollSize, o.Logf = 3000, nil
	tr, err := Open(dir, o)
	if err != nil {
		t.Errorf("%d records acknowledged: %v", acked, err)
		return
	}
	if n, _ := tr.Size(); n < acked {
		t.Errorf("%d records acknowledged, %d are there", acked, n)
	}
	if err := tr.Append(testRecord(0, 100)); err != nil {
		t.Error(err)
	}
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
	_, _, known := testSigner(t)
	if r, err := Verify(context.Background(), dir, VerifyOptions{Known: known}); err != nil || !r.OK() {
		t.Errorf("after the repair: %v, %v", r.Problems, err)
	}
}

package trail

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKillAtAnySystemCallLosesNothing has the kernel kill the process at the
// n-th call of each kind that writes, syncs or changes names, as strace is told
// to. Random moments seldom hit those between two of them.
func TestKillAtAnySystemCallLosesNothing(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("no strace in PATH")
	}
	counts := []int{1, 2, 3, 4, 5, 8, 13, 21, 34}
	if testing.Short() {
		counts = []int{1, 5}
	}
	for _, call := range []string{"renameat", "fsync", "fdatasync", "pwrite64", "openat", "ftruncate"} {
		dir := filepath.Join(t.TempDir(), "trail")
		acked := make(map[string]bool)
		killed := 0
		for _, n := range counts {
			if killedAt(t, strace, dir, call, n, acked) {
				killed++
			}
			if _, err := os.Stat(dir); os.IsNotExist(err) {
				continue // before there was anything
			}
			o := testOptions(t)
			o.Keep, o.RollSize, o.Logf = -1, 5_000, nil
			tr := mustOpen(t, dir, o)
			if err := tr.AppendSync(context.Background(), []byte(`{"id":"between"}`)); err != nil {
				t.Fatal(err)
			}
			mustClose(t, tr)
			if r := mustVerify(t, dir, VerifyOptions{}); !r.OK() || r.Unsigned != 0 {
				t.Fatalf("killed at %s %d: %v", call, n, r.Problems)
			}
			have := make(map[string]bool)
			for _, l := range lines(t, dir) {
				id, _, _ := strings.Cut(strings.TrimPrefix(l, `{"id":"`), `"`)
				have[id] = true
			}
			for id := range acked {
				if !have[id] {
					t.Errorf("killed at %s %d: record %s was acknowledged and is not there", call, n, id)
				}
			}
		}
		t.Logf("%d times killed at %s, %d records acknowledged", killed, call, len(acked))
		// How often a call is made before the child has said enough depends
		// on the machine; that it is never reached would test nothing.
		if killed == 0 {
			t.Errorf("never killed at %s: nothing was tested", call)
		}
	}
}

// killedAt runs a child that is killed at a system call, and reports whether it
// was. A child that does not come to that call ends when it has said enough.
func killedAt(t *testing.T, strace, dir, call string, n int, acked map[string]bool) bool {
	t.Helper()
	cmd := exec.Command(strace, "-f", "-qq", "-o", os.DevNull, "-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, n), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childRoll+"=5000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Skip(err)
	}
	end := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // strace and the child
	defer time.AfterFunc(time.Minute, end).Stop()
	r := bufio.NewReader(out)
	said := 0
	for {
		l, err := r.ReadString('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if l != "ready\n" {
			acked[strings.TrimSuffix(l, "\n")] = true
		}
		if said++; said == 400 {
			end()
		}
	}
	err = cmd.Wait()
	if said == 0 && err != nil && strings.Contains(stderr.String(), "strace:") {
		t.Skipf("strace does not work here: %s", stderr.String())
	}
	return said < 400
}

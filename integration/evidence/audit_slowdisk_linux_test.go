package evidence

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// disturb has the kernel treat the server's syncs as strace is told to
// (--inject), until the function it returns is called. What happens is real
// for the process: the system call takes that long, or fails.
func disturb(s *harness.Server, how string) (end func()) {
	s.T.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		s.T.Skip("no strace in PATH")
	}
	pid := s.Cmd.Process.Pid
	cmd := exec.Command("strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=fdatasync", "-e", "inject=fdatasync:"+how, "-p", strconv.Itoa(pid))
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		s.T.Skip(err)
	}
	exit := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exit) }()
	end = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it lets go of the server
		<-exit
	}
	s.T.Cleanup(end)
	harness.Eventually(s.T, func() error {
		select {
		case <-exit:
			s.T.Skipf("strace does not work here: %s", &said)
		default:
		}
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return err
		}
		for _, task := range tasks {
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/status", pid, task.Name()))
			if bytes.Contains(status, []byte("\nTracerPid:\t0\n")) {
				return fmt.Errorf("thread %s is not attached to yet", task.Name())
			}
		}
		return nil
	})
	return end
}

// TestAuditSyncThatTakesSecondsIsWaitedFor: with `sync always` an answer comes
// late then, and is recorded.
func TestAuditSyncThatTakesSecondsIsWaitedFor(t *testing.T) {
	if testing.Short() {
		t.Skip("syncs take seconds")
	}
	s := harness.Start(t, auditSite("sync always"))
	end := disturb(s, "delay_enter=2000000")
	for i := range 2 {
		if a := s.Get("PORT", fmt.Sprint("/slow/", i)); a.StatusCode != 200 {
			t.Errorf("got %d %s", a.StatusCode, a.Body)
		}
	}
	end()
	if sum := s.Metric("caddy_moat_audit_fsync_seconds_sum"); sum < 2 {
		t.Errorf("all syncs took %v s: the disk was not slow", sum)
	}
	s.Stop()
	if n := len(s.Records("trail", "--path", "/slow/*", "--kind", "outcome")); n != 2 {
		t.Errorf("%d records", n)
	}
}

// TestAuditSyncThatHangsOrFailsRefusesAndRecoversByItself: nobody waits for
// ever, nothing is answered that is not on disk, and nothing that was is lost.
func TestAuditSyncThatHangsOrFailsRefusesAndRecoversByItself(t *testing.T) {
	for name, how := range map[string]string{
		"hangs": "delay_enter=600000000",
		"fails": "error=EIO",
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name == "hangs" {
				t.Skip("it takes seconds until a disk counts as hanging")
			}
			s := harness.Start(t, auditSite("sync always"))
			answered := map[string]bool{}
			get := func(path string) int {
				a := s.Get("PORT", path)
				if a.StatusCode == 503 && (a.Code() != "audit_unavailable" || a.Header.Get("Retry-After") == "") {
					t.Errorf("%s: %d %s %v", path, a.StatusCode, a.Body, a.Header)
				}
				answered[path] = a.StatusCode == 200
				return a.StatusCode
			}
			if code := get("/before"); code != 200 {
				t.Fatalf("got %d", code)
			}
			end := disturb(s, how)
			for i := range 3 {
				if code := get(fmt.Sprint("/during/", i)); code != 503 {
					t.Errorf("got %d while the sync %s", code, name)
				}
			}
			end()
			n := 0
			harness.Eventually(t, func() error {
				n++
				if code := get(fmt.Sprint("/after/", n)); code != 200 {
					return fmt.Errorf("got %d afterwards", code)
				}
				return nil
			})
			s.Stop()
			for _, r := range s.Records("trail", "--kind", "outcome") {
				delete(answered, r.Path)
			}
			for path, ok := range answered {
				if ok {
					t.Errorf("%s was answered and has no record", path)
				}
			}
		})
	}
}

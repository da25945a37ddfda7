package integration

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// disturb has the kernel treat the server's syncs as strace is told to
// (--inject), until the function it returns is called. What happens is real
// for the process: the system call takes that long, or fails.
func (s *server) disturb(how string) (end func()) {
	s.t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		s.t.Skip("no strace in PATH")
	}
	pid := s.cmd.Process.Pid
	cmd := exec.Command("strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=fdatasync", "-e", "inject=fdatasync:"+how, "-p", strconv.Itoa(pid))
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		s.t.Skip(err)
	}
	exit := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exit) }()
	end = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it lets go of the server
		<-exit
	}
	s.t.Cleanup(end)
	eventually(s.t, func() error {
		select {
		case <-exit:
			s.t.Skipf("strace does not work here: %s", &said)
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

// metric returns the value of the first metric whose line begins with name.
func (s *server) metric(name string) float64 {
	s.t.Helper()
	resp, err := http.Get("http://" + s.admin + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, name) {
			v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return v
		}
	}
	s.t.Fatalf("no metric %s", name)
	return 0
}

// TestAuditSyncThatTakesSecondsIsWaitedFor: with `sync always` an answer comes
// late then, and is recorded.
func TestAuditSyncThatTakesSecondsIsWaitedFor(t *testing.T) {
	if testing.Short() {
		t.Skip("syncs take seconds")
	}
	s := start(t, auditSite("sync always"))
	end := s.disturb("delay_enter=2000000")
	for i := range 2 {
		if a := s.get("PORT", fmt.Sprint("/slow/", i)); a.StatusCode != 200 {
			t.Errorf("got %d %s", a.StatusCode, a.body)
		}
	}
	end()
	if sum := s.metric("caddy_moat_audit_fsync_seconds_sum"); sum < 2 {
		t.Errorf("all syncs took %v s: the disk was not slow", sum)
	}
	s.stop()
	if n := len(s.audited("trail", "--path", "/slow/*", "--kind", "outcome")); n != 2 {
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
			s := start(t, auditSite("sync always"))
			answered := map[string]bool{}
			get := func(path string) int {
				a := s.get("PORT", path)
				if a.StatusCode == 503 && (a.code() != "audit_unavailable" || a.Header.Get("Retry-After") == "") {
					t.Errorf("%s: %d %s %v", path, a.StatusCode, a.body, a.Header)
				}
				answered[path] = a.StatusCode == 200
				return a.StatusCode
			}
			if code := get("/before"); code != 200 {
				t.Fatalf("got %d", code)
			}
			end := s.disturb(how)
			for i := range 3 {
				if code := get(fmt.Sprint("/during/", i)); code != 503 {
					t.Errorf("got %d while the sync %s", code, name)
				}
			}
			end()
			n := 0
			eventually(t, func() error {
				n++
				if code := get(fmt.Sprint("/after/", n)); code != 200 {
					return fmt.Errorf("got %d afterwards", code)
				}
				return nil
			})
			s.stop()
			for _, r := range s.audited("trail", "--kind", "outcome") {
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

package data

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// TestRedactedGigabyteNeedsLittleMemory compares the highest memory of the
// process while a body of 1 GiB streams through redact with that while it
// streams past it.
func TestRedactedGigabyteNeedsLittleMemory(t *testing.T) {
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("streams 2 GiB, and reads /proc")
	}
	harness.Heavy(t)
	const size = 1 << 30
	piece := []byte(strings.Repeat(order+",\n", 700))
	up := harness.Upstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "[")
		for n := 0; n < size; n += len(piece) {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
		_, _ = io.WriteString(w, "0]")
	})
	s := harness.Start(t, redactSite+`
http://localhost:{$PORT4} {
	reverse_proxy {env.UPSTREAM}
}
`, "UPSTREAM="+up)
	peaks := map[string]int{}
	for _, port := range []string{"PORT4", "PORT3"} {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.Cmd.Process.Pid), []byte("5"), 0); err != nil {
			t.Skipf("the peak cannot be reset: %v", err)
		}
		res, err := http.Get("http://localhost:" + s.Ports[port])
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if err != nil || n < size/2 {
			t.Fatalf("%s: %d bytes (%v)", port, n, err)
		}
		peaks[port] = peakMiB(t, s.Cmd.Process.Pid)
	}
	t.Logf("peak past redact %d MiB, through it %d MiB", peaks["PORT4"], peaks["PORT3"])
	if more := peaks["PORT3"] - peaks["PORT4"]; more > 8 {
		t.Errorf("through redact the peak is %d MiB higher", more)
	}
}

// peakMiB returns the highest resident memory of a process since it was reset.
func peakMiB(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(status)) {
		if kib, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kib), "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return n >> 10
		}
	}
	t.Skip("no VmHWM")
	return 0
}

package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/color"
	"image/png"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-moat/caddy-moat/integration/harness"
)

// auditSite is a site that records and answers, with options for audit.
func auditSite(options string) string {
	return `{
	admin {$CADDY_ADMIN}
	http_port {$HTTP_PORT}
	metrics
}
http://localhost:{$PORT} {
	audit {$TRAIL:trail} {
		` + options + `
	}
	respond "ok"
}`
}

// traffic sends requests from several clients until it is stopped and
// remembers which were answered with 200, completely.
type traffic struct {
	mu       sync.Mutex
	answered map[string]bool
	other    map[int]int // answers with another status
	stopped  atomic.Bool
	wg       sync.WaitGroup
}

func send(addr string, clients int, prefix string) *traffic {
	tr := &traffic{answered: make(map[string]bool), other: make(map[int]int)}
	for c := range clients {
		tr.wg.Add(1)
		go func() {
			defer tr.wg.Done()
			client := &http.Client{Transport: &http.Transport{}, Timeout: harness.Patience}
			defer client.CloseIdleConnections()
			for i := 0; !tr.stopped.Load(); i++ {
				path := fmt.Sprintf("/%s/%d/%d", prefix, c, i)
				req, err := http.NewRequest(http.MethodGet, "http://"+addr+path, nil)
				if err != nil {
					panic(err)
				}
				req.Host = "localhost"
				resp, err := client.Do(req)
				if err != nil {
					time.Sleep(time.Millisecond)
					continue
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				tr.mu.Lock()
				if err == nil && resp.StatusCode == http.StatusOK && string(body) == "ok" {
					tr.answered[path] = true
				} else {
					tr.other[resp.StatusCode]++
				}
				tr.mu.Unlock()
			}
		}()
	}
	return tr
}

func (tr *traffic) stop() map[string]bool {
	tr.stopped.Store(true)
	tr.wg.Wait()
	return tr.answered
}

func (tr *traffic) count() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return len(tr.answered)
}

// MOAT_KILL_ROUNDS is how often the server is killed; more find more.
func TestAuditKilledServerLosesNoAcknowledgedRequest(t *testing.T) {
	harness.Heavy(t)
	rounds := 100
	if n, err := strconv.Atoi(os.Getenv("MOAT_KILL_ROUNDS")); err == nil {
		rounds = n
	}
	if testing.Short() {
		rounds = 1
	}
	s := harness.Prepare(t, auditSite("sync always\nroll 64KiB"))
	answered := make(map[string]bool)
	for round := range rounds {
		s.Run()
		s.Wait()
		tr := send(s.Addr("PORT"), 8, fmt.Sprint(round))
		harness.Eventually(t, func() error {
			if tr.count() < 20 {
				return fmt.Errorf("%d requests answered", tr.count())
			}
			return nil
		})
		time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond)
		s.Kill()
		for path := range tr.stop() {
			answered[path] = true
		}
	}
	s.Run()
	s.Wait()
	intents, outcomes := make(map[string]bool), make(map[string]bool)
	for _, kind := range []string{"intent", "outcome"} {
		for _, r := range s.Records("trail", "--kind", kind) {
			if kind == "intent" {
				intents[r.Path] = true
			} else {
				outcomes[r.Path] = true
			}
		}
	}
	for path := range answered {
		if !outcomes[path] || !intents[path] {
			t.Errorf("%s was answered: intent %t, outcome %t", path, intents[path], outcomes[path])
		}
	}
	t.Logf("%d requests answered in %d rounds, %d outcomes, %d intents", len(answered), rounds, len(outcomes), len(intents))
}

func TestAuditReloadUnderTrafficLosesNothing(t *testing.T) {
	harness.Heavy(t)
	s := harness.Start(t, auditSite("sync always"))
	tr := send(s.Addr("PORT"), 16, "r")
	for i, options := range []string{"sync batch 20ms", "sync always", "sync always\nroll 64KiB", "sync sometimes", "sync off", "sync batch\ndeliver file copy.jsonl", "sync always"} {
		before := tr.count()
		if err := s.Reload(auditSite(options)); (err != nil) != (options == "sync sometimes") {
			t.Errorf("reload %d: %v", i, err)
		}
		harness.Eventually(t, func() error {
			if tr.count() < before+50 {
				return fmt.Errorf("%d requests answered", tr.count())
			}
			return nil
		})
	}
	answered := tr.stop()
	s.Stop()
	if len(tr.other) > 0 {
		t.Errorf("answers other than 200: %v", tr.other)
	}
	for _, r := range s.Records("trail") {
		delete(answered, r.Path)
	}
	if len(answered) > 0 {
		t.Errorf("%d answered requests have no record", len(answered))
	}
}

func TestAuditSecondProcessOnOneTrailRefusesToStart(t *testing.T) {
	first := harness.Start(t, auditSite("sync always"))
	out := harness.FailsToLoad(t, auditSite("sync always"), "TRAIL="+first.Path("trail"))
	if !strings.Contains(out, "another process") || !strings.Contains(out, first.Path("trail")) {
		t.Errorf("the second process said:\n%s", out)
	}
	if a := first.Get("PORT", "/"); a.StatusCode != 200 {
		t.Errorf("the first process answers %d", a.StatusCode)
	}
	if out, err := first.Caddy("validate", "--config", "Caddyfile", "--adapter", "caddyfile"); err != nil {
		t.Errorf("validating the configuration of a running server: %v\n%s", err, out)
	}
}

// mount makes a small file system of its own, which only root on Linux can.
func mount(t *testing.T, size string) string {
	t.Helper()
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("needs root on Linux to mount a small file system")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a small file system here: %v %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	return dir
}

// untilStatus sends requests until one is answered with status.
func untilStatus(s *harness.Server, status int) *harness.Response {
	s.T.Helper()
	var a *harness.Response
	n := 0
	harness.Eventually(s.T, func() error {
		for range 50 {
			n++
			if a = s.Get("PORT", fmt.Sprintf("/%s/%d", strings.Repeat("x", 2000), n)); a.StatusCode == status {
				return nil
			}
		}
		return fmt.Errorf("status %d, want %d", a.StatusCode, status)
	})
	return a
}

func TestAuditFullDiskRefusesAndRecoversByItself(t *testing.T) {
	dir := mount(t, "1m")
	s := harness.Start(t, auditSite("sync always\nroll 64KiB"), "TRAIL="+filepath.Join(dir, "trail"))
	filler := filepath.Join(dir, "filler")
	untilStatus(s, 200)
	_ = os.WriteFile(filler, bytes.Repeat([]byte{1}, 2<<20), 0o600) // as much as fits
	a := untilStatus(s, 503)
	if a.Code() != "audit_unavailable" || a.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s %v", a.StatusCode, a.Body, a.Header)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	untilStatus(s, 200)
	s.Stop()
	s.Records(filepath.Join(dir, "trail"))
}

// A disk that fills while the upstream works does not turn its answers into
// errors, and no request is refused once the upstream has seen it.
func TestAuditFullDiskNeverRefusesWhatTheUpstreamHasSeen(t *testing.T) {
	dir := mount(t, "2m")
	var seen atomic.Int64
	release := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		if r.URL.Path == "/slow" {
			<-release
		}
		fmt.Fprint(w, "done")
	}))
	defer app.Close()
	s := harness.Start(t, `{
	admin {$CADDY_ADMIN}
	http_port {$HTTP_PORT}
}
http://localhost:{$PORT} {
	audit {$TRAIL} {
		sync always
		roll 64KiB
	}
	reverse_proxy `+app.Listener.Addr().String()+`
}`, "TRAIL="+filepath.Join(dir, "trail"))
	const n = 50
	codes := make(chan int, n)
	for range n {
		go func() { codes <- s.Get("PORT", "/slow").StatusCode }()
	}
	harness.Eventually(t, func() error {
		if seen.Load() != n {
			return fmt.Errorf("%d requests at the upstream", seen.Load())
		}
		return nil
	})
	filler := filepath.Join(dir, "filler")
	_ = os.WriteFile(filler, bytes.Repeat([]byte{1}, 4<<20), 0o600) // as much as fits
	refused := 0
	for i := 0; refused < 20; i++ {
		before := seen.Load()
		a := s.Get("PORT", "/quick")
		if a.StatusCode == 503 {
			refused++
		}
		if reached := seen.Load() > before; reached != (a.StatusCode == 200) {
			t.Fatalf("request %d: %d, at the upstream: %v", i, a.StatusCode, reached)
		}
		if i > 5000 {
			t.Fatal("a full disk refuses nothing")
		}
	}
	close(release)
	for range n {
		if code := <-codes; code != 200 {
			t.Errorf("a request that the upstream had seen: %d", code)
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	untilStatus(s, 200)
	s.Stop()
	intents, outcomes := len(s.Records(filepath.Join(dir, "trail"), "--kind", "intent")), len(s.Records(filepath.Join(dir, "trail"), "--kind", "outcome"))
	if intents != outcomes || int64(outcomes) != seen.Load() {
		t.Errorf("%d intents and %d outcomes of %d requests", intents, outcomes, seen.Load())
	}
}

func TestAuditReadOnlyDiskRefusesAndRecoversByItself(t *testing.T) {
	dir := mount(t, "4m")
	s := harness.Start(t, auditSite("sync always\nroll 64KiB"), "TRAIL="+filepath.Join(dir, "trail"))
	untilStatus(s, 200)
	// An open file keeps a file system from being made read-only, so the
	// directory is covered by a read-only one.
	trail := filepath.Join(dir, "trail")
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", trail).CombinedOutput(); err != nil {
		t.Skipf("cannot mount: %v %s", err, out)
	}
	a := untilStatus(s, 503)
	if a.Code() != "audit_unavailable" {
		t.Errorf("%d %s", a.StatusCode, a.Body)
	}
	if out, err := exec.Command("umount", trail).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	untilStatus(s, 200)
	s.Stop()
	s.Records(trail)
}

func TestAuditDeletedTrailRefuses(t *testing.T) {
	s := harness.Start(t, auditSite("sync always\nroll 64KiB"))
	untilStatus(s, 200)
	if err := os.RemoveAll(s.Path("trail")); err != nil {
		t.Fatal(err)
	}
	if a := untilStatus(s, 503); a.Code() != "audit_unavailable" {
		t.Errorf("%d %s", a.StatusCode, a.Body)
	}
}

func TestAuditUnreadableTrailIsRefusedAtLoad(t *testing.T) {
	s := harness.Prepare(t, auditSite("sync batch"))
	s.WriteFile("trail", "a file in the way")
	s.Run()
	select {
	case <-s.Exit:
	case <-time.After(harness.Patience):
		t.Fatal("the configuration was accepted")
	}
	if out := s.Log.String(); !strings.Contains(out, s.Path("trail")) {
		t.Errorf("%s", out)
	}
}

func TestAuditTamperingIsFound(t *testing.T) {
	s := harness.Start(t, auditSite("sync always\ncheckpoint 100ms"))
	for i := range 20 {
		s.Get("PORT", fmt.Sprint("/", i))
	}
	s.Stop()
	key := s.Output("moat", "audit", "key", "--config", "Caddyfile")
	s.WriteFile("vkey", key)
	if out, err := s.Caddy("moat", "audit", "verify", "--key", "vkey", "trail"); err != nil || !strings.Contains(out, "OK\n") {
		t.Fatalf("%v\n%s", err, out)
	}
	path := s.Path("trail/00000000000000000000.jsonl")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(good, []byte("\n"))
	for name, bad := range map[string][]byte{
		"edited":    bytes.Replace(good, []byte(`"/7"`), []byte(`"/8"`), 1),
		"deleted":   bytes.Join(append(append([][]byte(nil), lines[:9]...), lines[10:]...), nil),
		"inserted":  bytes.Join(append(append(append([][]byte(nil), lines[:9]...), lines[3]), lines[9:]...), nil),
		"reordered": bytes.Join(append(append(append([][]byte(nil), lines[:9]...), lines[10], lines[9]), lines[11:]...), nil),
		"truncated": bytes.Join(lines[:30], nil),
	} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := s.Caddy("moat", "audit", "verify", "--key", "vkey", "trail")
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 || !strings.Contains(out, "00000000000000000000.jsonl:") && name != "truncated" || !strings.Contains(out, "record") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	_ = os.WriteFile(path, good, 0o600)
	// A key of somebody else vouches for nothing.
	other := s.Output("moat", "audit", "key", "--make", "other.pem", "--name", "other")
	s.WriteFile("other.vkey", other)
	if out, err := s.Caddy("moat", "audit", "verify", "--key", "other.vkey", "trail"); err == nil {
		t.Errorf("verified by a foreign key:\n%s", out)
	}
}

func TestAuditCommandsReadTheTrail(t *testing.T) {
	s := harness.Start(t, auditSite("sync batch 10ms"))
	for i := range 30 {
		s.Get("PORT", fmt.Sprintf("/orders/%d?q=<script>alert(1)</script>", i))
	}
	s.Do("PORT", "DELETE", "/x/y/z", "")
	harness.Eventually(t, func() error {
		if n := strings.TrimSpace(s.Output("moat", "audit", "search", "--count", "trail")); n != "32" { // and the loaded configuration
			return fmt.Errorf("%s records", n)
		}
		return nil
	})
	for args, want := range map[string]string{
		"--path /orders/*":                  "30",
		"--path /orders/1*":                 "11",
		"--path /**":                        "31",
		"--path /x/*":                       "0",
		"--method DELETE":                   "1",
		"--status 2xx":                      "31",
		"--status 404":                      "0",
		"--address 127.0.0.0/8":             "31",
		"--address 127.0.0.1":               "31",
		"--address 10.0.0.0/8":              "0",
		"--since 1h":                        "32",
		"--until 1h":                        "0",
		"--user alice":                      "0",
		"--user -":                          "31",
		"--kind change":                     "1",
		"--site localhost --path /orders/3": "1",
		"--decision rbac=deny":              "0",
		"--id 00000000-0000-0000-0000-0000000000": "0",
	} {
		got := strings.TrimSpace(s.Output(append(append([]string{"moat", "audit", "search", "--count"}, strings.Fields(args)...), "trail")...))
		if got != want {
			t.Errorf("search %s: %s, want %s", args, got, want)
		}
	}
	if out := s.Output("moat", "audit", "tail", "-n", "2", "trail"); strings.Count(out, "\n") != 2 || !strings.Contains(out, "DELETE /x/y/z") {
		t.Errorf("tail:\n%s", out)
	}
	if out := s.Output("moat", "audit", "stats", "trail"); !strings.Contains(out, "GET /orders/{id}") || !strings.Contains(out, "walking ids") {
		t.Errorf("stats:\n%s", out)
	}
	for format, want := range map[string]string{"ocsf": `"class_uid":6003`, "ecs": `"ecs":{"version":`, "cef": "CEF:0|caddy-moat|"} {
		out := s.Output("moat", "audit", "export", "--format", format, "trail")
		if n := strings.Count(out, "\n"); n != 32 || !strings.Contains(out, want) {
			t.Errorf("export %s: %d lines\n%.300s", format, n, out)
		}
		for line := range strings.Lines(out) {
			if format != "cef" && !json.Valid([]byte(line)) {
				t.Errorf("export %s: %s", format, line)
			}
		}
	}
	s.Output("moat", "audit", "report", "-o", "r.html", "--csv", "r.csv", "trail")
	page, err := os.ReadFile(s.Path("r.html"))
	if err != nil || !bytes.Contains(page, []byte("verifies")) || bytes.Contains(page, []byte("<script")) || !bytes.Contains(page, []byte("Content-Security-Policy")) {
		t.Errorf("report: %v, %d bytes", err, len(page))
	}
	if csv, err := os.ReadFile(s.Path("r.csv")); err != nil || !bytes.Contains(csv, []byte("summary,requests,31,")) {
		t.Errorf("csv: %v\n%.500s", err, csv)
	}
	for _, bad := range [][]string{{"search"}, {"search", "--status", "abc", "trail"}, {"search", "--decision", "maybe", "trail"}, {"search", "nosuch"}, {"export", "trail"}, {"report", "trail"}, {"tail", "--format", "xml", "trail"}, {"search", "--since", "whenever", "trail"}} {
		if out, err := s.Caddy(append([]string{"moat", "audit"}, bad...)...); err == nil {
			t.Errorf("%v was accepted:\n%s", bad, out)
		}
	}
}

func TestAuditDeliveryComesThroughInOrderAndHangingSinksCostNothing(t *testing.T) {
	var mu sync.Mutex
	var got []string
	var fail atomic.Bool
	fail.Store(true)
	siem := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fail.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Header.Get("X-Key") != "k" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		got = append(got, strings.Split(strings.TrimSpace(string(body)), "\n")...)
		mu.Unlock()
	}))
	defer siem.Close()
	release := make(chan struct{})
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer hang.Close()
	defer close(release)
	s := harness.Start(t, auditSite(`sync batch 10ms
		deliver http `+siem.URL+` {
			name siem
			format ecs
			header X-Key {env.SIEM_KEY}
		}
		deliver http `+hang.URL+` {
			name hanging
		}
		deliver file copies/trail.jsonl`), "SIEM_KEY=k")
	for i := range 100 {
		if a := s.Get("PORT", fmt.Sprint("/", i)); a.StatusCode != 200 {
			t.Fatalf("%d", a.StatusCode)
		}
	}
	fail.Store(false)
	harness.Eventually(t, func() error {
		mu.Lock()
		defer mu.Unlock()
		next := -1
		for _, line := range got {
			var doc struct {
				URL struct{ Path string }
			}
			if err := json.Unmarshal([]byte(line), &doc); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			if doc.URL.Path == "" {
				continue // the configuration
			}
			if n, err := strconv.Atoi(strings.TrimPrefix(doc.URL.Path, "/")); err != nil || n > next+1 {
				t.Fatalf("%s after /%d", doc.URL.Path, next)
			} else {
				next = max(next, n)
			}
		}
		if len(got) < 101 || next != 99 {
			return fmt.Errorf("%d records delivered, the last is /%d", len(got), next)
		}
		return nil
	})
	harness.Eventually(t, func() error {
		whole, err := os.ReadFile(s.Path("trail/00000000000000000000.jsonl"))
		if err != nil {
			return err
		}
		copied, err := os.ReadFile(s.Path("copies/trail.jsonl"))
		if err != nil || !bytes.Equal(whole, copied) {
			return fmt.Errorf("the copy has %d bytes, the trail %d: %w", len(copied), len(whole), err)
		}
		return nil
	})
	harness.Eventually(t, func() error { // what is delivered is counted afterwards
		figures := s.Metrics()
		for _, want := range []string{
			`caddy_moat_audit_delivery_lag_records{sink="hanging",trail="` + s.Path("trail") + `"} 101`,
			`caddy_moat_audit_delivery_lag_records{sink="siem",trail="` + s.Path("trail") + `"} 0`,
			`caddy_moat_audit_records_total{kind="outcome",trail="` + s.Path("trail") + `"} 100`,
			`caddy_moat_audit_available{trail="` + s.Path("trail") + `"} 1`,
			"caddy_moat_audit_fsync_seconds_count", "caddy_moat_audit_queue_bytes",
		} {
			if !strings.Contains(figures, want) {
				return fmt.Errorf("no metric %s", want)
			}
		}
		return nil
	})
}

// Whoever can put the whole directory back to an older state leaves nothing in
// it that tells; a checkpoint kept elsewhere does.
func TestAuditRollbackIsFoundByARememberedCheckpoint(t *testing.T) {
	s := harness.Start(t, auditSite("sync always\ncheckpoint 100ms"))
	s.Get("PORT", "/1")
	s.Stop()
	old := s.Path("old")
	if err := os.CopyFS(old, os.DirFS(s.Path("trail"))); err != nil {
		t.Fatal(err)
	}
	s.Output("moat", "audit", "verify", "--remember", "memory", "trail")
	s.Run()
	s.Wait()
	s.Get("PORT", "/2")
	s.Stop()
	s.Output("moat", "audit", "verify", "--remember", "memory", "trail")
	if err := os.RemoveAll(s.Path("trail")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(old, s.Path("trail")); err != nil {
		t.Fatal(err)
	}
	s.Output("moat", "audit", "verify", "trail")
	out, err := s.Caddy("moat", "audit", "verify", "--remember", "memory", "trail")
	if err == nil || !strings.Contains(out, "truncated") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAuditProofOfOneRecordChecksWithoutTheTrail(t *testing.T) {
	s := harness.Start(t, auditSite("sync always\ncheckpoint 100ms"))
	for i := range 5 {
		s.Get("PORT", fmt.Sprint("/", i))
	}
	s.Stop()
	s.WriteFile("vkey", s.Output("moat", "audit", "key", "--config", "Caddyfile"))
	s.Output("moat", "audit", "prove", "-o", "record.proof", "trail", "6")
	if err := os.RemoveAll(s.Path("trail")); err != nil {
		t.Fatal(err)
	}
	if out := s.Output("moat", "audit", "check-proof", "--key", "vkey", "record.proof"); !strings.Contains(out, `"kind":"`) {
		t.Errorf("%s", out)
	}
	proof, err := os.ReadFile(s.Path("record.proof"))
	if err != nil {
		t.Fatal(err)
	}
	s.WriteFile("forged.proof", strings.Replace(string(proof), `"status":200`, `"status":201`, 1))
	s.WriteFile("forged2.proof", strings.Replace(string(proof), `"path":"/`, `"path":"/x`, 1))
	for _, name := range []string{"forged.proof", "forged2.proof", "vkey"} {
		if name == "forged.proof" && !strings.Contains(string(proof), `"status":200`) {
			continue // an intent has no status
		}
		if out, err := s.Caddy("moat", "audit", "check-proof", "--key", "vkey", name); err == nil {
			t.Errorf("%s was accepted:\n%s", name, out)
		}
	}
}

// The report is looked at in a real browser where there is one.
func TestAuditReportIsDrawnByABrowser(t *testing.T) {
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		t.Skip("no Chromium in PATH")
	}
	s := harness.Start(t, `{
	admin {$CADDY_ADMIN}
	http_port {$HTTP_PORT}
}
http://localhost:{$PORT} {
	audit trail
	rbac {
		anyone {
			allow GET /ok/*
		}
	}
	respond "ok"
}`)
	for i := range 20 {
		s.Get("PORT", fmt.Sprintf("/ok/%d", i))
		s.Get("PORT", "/%3Cscript%3Edocument.title=%22run%22%3C/script%3E")
	}
	s.Stop()
	s.Output("moat", "audit", "report", "-o", "r.html", "trail")
	ctx, cancel := context.WithTimeout(context.Background(), harness.Patience)
	defer cancel()
	shot := s.Path("r.png")
	out, err := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,1600", "--user-data-dir="+s.Path("profile"), "--enable-logging=stderr", "--screenshot="+shot, "file://"+s.Path("r.html")).CombinedOutput()
	if err != nil {
		t.Skipf("the browser does not run here: %v\n%.500s", err, out)
	}
	if bytes.Contains(out, []byte(":CONSOLE")) {
		t.Errorf("the page has faults: %s", out)
	}
	f, err := os.Open(shot)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	colors := make(map[color.RGBA]int)
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			r, g, b, _ := img.At(x, y).RGBA()
			colors[color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 255}]++
		}
	}
	// Bars of answered and of refused requests.
	for name, c := range map[string]color.RGBA{"answered": {0x3b, 0x7d, 0xd8, 255}, "refused": {0xd9, 0x53, 0x4f, 255}} {
		if colors[c] < 500 {
			t.Errorf("%d pixels show %s requests", colors[c], name)
		}
	}
}

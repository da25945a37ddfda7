package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// server is one process of the binary under test.
type server struct {
	cmd   *exec.Cmd
	dir   string // working directory, with the Caddyfile and Caddy's storage
	site  string // host:port of the site
	admin string // host:port of the admin API
	log   logBuffer
	exit  chan struct{} // closed when the process has ended
}

// start runs the binary with a site of these directives and returns when the
// site answers. The process ends with ctx, or by stop.
func start(ctx context.Context, binary, dir string, core int, directives string, env []string) (*server, error) {
	s := &server{dir: dir, exit: make(chan struct{})}
	var err error
	if s.site, err = freeAddress(); err != nil {
		return nil, err
	}
	if s.admin, err = freeAddress(); err != nil {
		return nil, err
	}
	caddyfile := fmt.Sprintf(`{
	admin %s
	auto_https off
	persist_config off
	log {
		level WARN
	}
}

http://:%s {
	bind 127.0.0.1
%s}
`, s.admin, port(s.site), directives)
	if err := os.WriteFile(filepath.Join(dir, "Caddyfile"), []byte(caddyfile), 0o600); err != nil {
		return nil, err
	}
	s.cmd = exec.CommandContext(ctx, binary, "run", "--config", "Caddyfile", "--adapter", "caddyfile")
	s.cmd.Dir = dir
	s.cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "HOME="+dir,
		"XDG_DATA_HOME="+filepath.Join(dir, "data"), "XDG_CONFIG_HOME="+filepath.Join(dir, "config"))
	s.cmd.Env = append(s.cmd.Env, env...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := startPinned(s.cmd, core); err != nil {
		return nil, err
	}
	go func() { _ = s.cmd.Wait(); close(s.exit) }()
	if err := s.ready(ctx); err != nil {
		s.stop()
		return nil, fmt.Errorf("%w\n%s", err, s.log.tail())
	}
	return s, nil
}

// ready returns when the site accepts connections.
func (s *server) ready(ctx context.Context) error {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.exit:
			return errors.New("the server ended at once")
		case <-time.After(5 * time.Millisecond):
		}
		if c, err := net.DialTimeout("tcp", s.site, time.Second); err == nil {
			return c.Close()
		}
	}
	return fmt.Errorf("the server did not start within %v", patience)
}

// stop ends the process in order, or after a while by force.
func (s *server) stop() {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		_ = s.cmd.Process.Kill()
	}
	select {
	case <-s.exit:
	case <-time.After(patience / 2):
		_ = s.cmd.Process.Kill()
		<-s.exit
	}
}

// profile writes a CPU profile of the next seconds to a file.
func (s *server) profile(ctx context.Context, file string, seconds int) error {
	body, err := s.ask(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds))
	if err != nil {
		return err
	}
	defer body.Close()
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, body)
	return errors.Join(err, out.Close())
}

// allocated is what a process has allocated since its start.
type allocated struct {
	Objects uint64 `json:"Mallocs"`
	Bytes   uint64 `json:"TotalAlloc"`
}

// allocated asks the process for its own account.
func (s *server) allocated(ctx context.Context) (allocated, error) {
	var vars struct {
		Memory allocated `json:"memstats"`
	}
	body, err := s.ask(ctx, "/debug/vars")
	if err != nil {
		return vars.Memory, err
	}
	defer body.Close()
	err = json.NewDecoder(body).Decode(&vars)
	return vars.Memory, err
}

// ask gets something from the admin API.
func (s *server) ask(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.admin+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("%s: status %d", path, resp.StatusCode)
	}
	return resp.Body, nil
}

// freeAddress returns a loopback address that nobody listens on.
func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

// build makes the binary from the sources of this checkout.
func build(ctx context.Context, root, out string) error {
	cmd := exec.CommandContext(ctx, "go", "run", "./integration/build", "-o", out)
	cmd.Dir = root
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

// moduleRoot returns the directory of xcaddy.json: the working directory or
// the nearest one above it.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "xcaddy.json")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no xcaddy.json here or above: run this inside a checkout of caddy-moat, or name a -binary")
		}
		dir = filepath.Dir(dir)
	}
}

// logBuffer keeps the last of what a process prints.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const logKept = 4 << 10

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf.Len() > 16*logKept {
		b.buf.Next(b.buf.Len() - logKept)
	}
	return b.buf.Write(p)
}

// tail returns the last that was printed, without what Caddy tells of its
// start before it knows its configuration.
func (b *logBuffer) tail() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.buf.Bytes()
	var kept strings.Builder
	for line := range bytes.Lines(all[max(len(all)-logKept, 0):]) {
		if !bytes.HasPrefix(line, []byte(`{"level":"info"`)) {
			kept.Write(line)
		}
	}
	return kept.String()
}

package integration

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait of this package for something that happens by
// itself. It is no measure of speed: machines under test may be very busy.
const patience = 60 * time.Second

var built struct {
	once sync.Once
	path string
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// binary returns the path of the binary under test, building it the first time.
func binary(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.path = os.Getenv("MOAT_BINARY"); built.path != "" {
			return
		}
		if built.dir, built.err = os.MkdirTemp("", "moat-binary-"); built.err != nil {
			return
		}
		built.path = filepath.Join(built.dir, "caddy")
		if runtime.GOOS == "windows" {
			built.path += ".exe"
		}
		out, err := exec.Command("go", "run", "./build", "-o", built.path).CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatalf("building the binary: %v", built.err)
	}
	return built.path
}

// server is one running process of the binary.
type server struct {
	t   testing.TB
	cmd *exec.Cmd
	env []string
	dir string // the Caddyfile and Caddy's storage are in here
	cwd string // working directory of the process: dir, but for the examples

	config string // configuration file, relative to cwd

	protocol string            // that do asks over; none: HTTP/1.1 without TLS
	over     http.RoundTripper // for the others

	admin string // host:port of the admin API
	ports map[string]string
	log   *logBuffer
	exit  chan struct{} // closed when the process has ended
}

// start runs the binary with a Caddyfile and waits until it has loaded. In
// the Caddyfile, {$PORT}, {$PORT2}, … {$PORT5} are free ports; further
// environment variables are given as NAME=value. The process ends with the
// test, and its log is printed if the test failed.
func start(t testing.TB, caddyfile string, env ...string) *server {
	t.Helper()
	s := prepare(t, caddyfile, env...)
	s.run()
	s.wait()
	return s
}

// prepare does all of start but running the process.
func prepare(t testing.TB, caddyfile string, env ...string) *server {
	t.Helper()
	binary(t)
	s := &server{t: t, dir: t.TempDir(), config: "Caddyfile", ports: map[string]string{}}
	s.cwd = s.dir
	s.env = append(os.Environ(),
		"HOME="+s.dir, "XDG_DATA_HOME="+filepath.Join(s.dir, ".local", "share"), "XDG_CONFIG_HOME="+filepath.Join(s.dir, ".config"))
	ports := freePorts(t, 7)
	s.admin = "127.0.0.1:" + ports[0]
	s.env = append(s.env, "CADDY_ADMIN="+s.admin)
	for i, name := range []string{"PORT", "PORT2", "PORT3", "PORT4", "PORT5", "HTTP_PORT"} {
		s.ports[name] = ports[i+1]
		s.env = append(s.env, name+"="+ports[i+1])
	}
	s.env = append(s.env, env...)
	s.write("Caddyfile", caddyfile)
	return s
}

// write puts a file into the server's directory and returns its path.
func (s *server) write(name, content string) string {
	s.t.Helper()
	path := s.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// path returns the path of a file in the server's directory.
func (s *server) path(name string) string { return filepath.Join(s.dir, name) }

// run starts the process (again).
func (s *server) run() {
	s.t.Helper()
	s.log = new(logBuffer)
	cmd := exec.Command(binary(s.t), "run", "--config", s.config, "--adapter", "caddyfile")
	cmd.Dir, cmd.Env = s.cwd, s.env
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	exit := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exit) }()
	s.cmd, s.exit = cmd, exit
	log := s.log
	s.t.Cleanup(func() {
		stop(cmd, exit)
		if s.t.Failed() {
			s.t.Logf("log of the server:\n%s", log.tail(20_000))
		}
	})
}

// wait returns once the admin API answers that a configuration is loaded.
func (s *server) wait() {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		select {
		case <-s.exit:
			s.t.Fatalf("the server ended at once:\n%s", s.log)
		default:
		}
		resp, err := http.Get("http://" + s.admin + "/config/apps")
		if err == nil {
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK && !bytes.HasPrefix(body, []byte("null")) {
				return
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.t.Fatalf("the server did not load within %v:\n%s", patience, s.log)
}

// failsToLoad runs the binary with a Caddyfile that must be refused, and
// returns what it said.
func failsToLoad(t testing.TB, caddyfile string, env ...string) string {
	t.Helper()
	s := prepare(t, caddyfile, env...)
	s.run()
	select {
	case <-s.exit:
	case <-time.After(patience):
		t.Fatalf("the configuration was accepted:\n%s", caddyfile)
	}
	if s.cmd.ProcessState.Success() {
		t.Fatalf("the server ended without an error:\n%s", s.log)
	}
	return s.log.String()
}

func stop(cmd *exec.Cmd, exit <-chan struct{}) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-exit:
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-exit
	}
}

// stop ends the process in order. run starts it again.
func (s *server) stop() { stop(s.cmd, s.exit) }

// kill ends the process as a crash would.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.exit
}

// addr is the loopback address of the port with that name: PORT, PORT2, …
func (s *server) addr(port string) string { return "127.0.0.1:" + s.ports[port] }

// reload loads another Caddyfile and returns the error Caddy answers with.
func (s *server) reload(caddyfile string) error {
	s.t.Helper()
	s.write("Caddyfile", caddyfile)
	out, err := s.caddy("reload", "--config", s.config, "--adapter", "caddyfile", "--address", s.admin, "--force")
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// caddy runs the binary with arguments, in the server's directory and
// environment, and returns what it printed on both outputs.
func (s *server) caddy(args ...string) (string, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(s.t), args...)
	cmd.Dir, cmd.Env = s.cwd, s.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// output runs the binary like caddy and returns standard output alone. It
// fails the test if the command fails.
func (s *server) output(args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(s.t), args...)
	cmd.Dir, cmd.Env = s.cwd, s.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("caddy %s: %v\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.String()
}

// token mints a token of the internal issuer: `caddy moat token` with args.
func (s *server) token(args ...string) string {
	s.t.Helper()
	return strings.TrimSpace(s.output(append([]string{"moat", "token", "--config", s.config}, args...)...))
}

// client returns an HTTP client that trusts Caddy's internal CA and takes
// every host name for 127.0.0.1. It follows no redirects.
func (s *server) client() *http.Client {
	s.t.Helper()
	tr := &http.Transport{
		TLSClientConfig:   s.tls(),
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
		},
	}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{
		Transport:     tr,
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// tls returns a configuration that trusts Caddy's internal CA, if it has one.
func (s *server) tls() *tls.Config {
	s.t.Helper()
	pool := x509.NewCertPool()
	resp, err := http.Get("http://" + s.admin + "/pki/ca/local/certificates")
	if err == nil {
		pem, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		pool.AppendCertsFromPEM(pem)
	}
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// goroutines returns how many goroutines the process has.
func (s *server) goroutines() int {
	s.t.Helper()
	resp, err := http.Get("http://" + s.admin + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var n int
	if _, err := fmt.Fscanf(resp.Body, "goroutine profile: total %d", &n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// eventually calls f until it returns nil, and fails the test with its last
// error otherwise.
func eventually(t testing.TB, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
	err  error // what ended the body, if not its proper end
}

// code returns the code member of a problem document.
func (a *answer) code() string {
	var doc struct{ Code string }
	_ = json.Unmarshal([]byte(a.body), &doc)
	return doc.Code
}

// raw sends bytes to an address as they are and reads one HTTP response.
func raw(t testing.TB, addr, request string) *answer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return exchange(t, conn, request)
}

// exchange sends bytes on a connection and reads one HTTP response.
func exchange(t testing.TB, conn net.Conn, request string) *answer {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no response to %.200q: %v", request, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return &answer{Response: resp, body: string(body), err: err}
}

// get sends a GET request with header lines ("Name: value") over plain HTTP.
func (s *server) get(port, path string, header ...string) *answer {
	s.t.Helper()
	return s.do(port, "GET", path, "", header...)
}

// do sends a request with header lines as they are over plain HTTP, or over the
// protocol that startOver was told.
func (s *server) do(port, method, path, body string, header ...string) *answer {
	s.t.Helper()
	if s.over != nil {
		return s.doOver(port, method, path, body, header)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", method, path)
	for _, h := range header {
		b.WriteString(h + "\r\n")
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	return raw(s.t, s.addr(port), b.String())
}

// upstream starts an HTTP server on loopback and returns its host:port.
func upstream(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// rawUpstream starts a TCP server that reads one request head per connection
// and then lets serve write whatever bytes it likes.
func rawUpstream(t testing.TB, serve func(conn net.Conn, req *http.Request)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			go func() {
				defer conn.Close()
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err == nil {
					serve(conn, req)
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// freePorts returns n ports that nobody listens on.
func freePorts(t testing.TB, n int) []string {
	t.Helper()
	var ports []string
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		ports = append(ports, port)
	}
	return ports
}

// logBuffer collects what a process prints.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// tail returns at most the last n bytes.
func (b *logBuffer) tail(n int) string {
	s := b.String()
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

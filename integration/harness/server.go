package harness

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is one running process of the binary.
type Server struct {
	T       testing.TB
	Binary  string // that of Binary, unless a test sets another one before Run
	Cmd     *exec.Cmd
	Env     []string
	Dir     string // the Caddyfile and Caddy's storage are in here
	WorkDir string // working directory of the process: Dir, but for the examples

	Config string // configuration file, relative to WorkDir

	Protocol string            // that Do and Get use; none: HTTP/1.1 without TLS
	over     http.RoundTripper // for the other protocols
	change   string            // how StartOver and StartAll write the addresses of sites
	tlsPorts map[string]string // of StartAll, by the names of the plain ones
	twin     string            // one of those that are used
	views    map[string]*Server

	Admin string            // host:port of the admin API
	Ports map[string]string // by their names: PORT, PORT2, …
	Log   *Log
	Exit  chan struct{} // closed when the process has ended
}

// Start runs the binary with a Caddyfile and waits until it has loaded. In
// the Caddyfile, {$PORT}, {$PORT2}, … {$PORT5} are free ports; further
// environment variables are given as NAME=value. The process ends with the
// test, and its log is printed if the test failed.
func Start(t testing.TB, caddyfile string, env ...string) *Server {
	t.Helper()
	s := Prepare(t, caddyfile, env...)
	s.Run()
	s.Wait()
	return s
}

// Prepare does all that Start does, but does not run the process.
func Prepare(t testing.TB, caddyfile string, env ...string) *Server {
	t.Helper()
	s := &Server{T: t, Binary: Binary(t), Dir: t.TempDir(), Config: "Caddyfile", Ports: map[string]string{}, tlsPorts: map[string]string{}, views: map[string]*Server{}}
	s.WorkDir = s.Dir
	s.Env = append(os.Environ(),
		"HOME="+s.Dir, "XDG_DATA_HOME="+filepath.Join(s.Dir, ".local", "share"), "XDG_CONFIG_HOME="+filepath.Join(s.Dir, ".config"))
	ports := FreePorts(t, 7)
	s.Admin = "127.0.0.1:" + ports[0]
	s.Env = append(s.Env, "CADDY_ADMIN="+s.Admin)
	for i, name := range []string{"PORT", "PORT2", "PORT3", "PORT4", "PORT5", "HTTP_PORT"} {
		s.Ports[name] = ports[i+1]
		s.Env = append(s.Env, name+"="+ports[i+1])
	}
	s.Env = append(s.Env, env...)
	s.WriteFile("Caddyfile", caddyfile)
	// A first start cleans the storage while it obtains certificates, and
	// certmagic 0.25 removes a folder in which the first file is just being
	// made: the next attempt comes a minute later. So it was cleaned just now.
	s.WriteFile(".local/share/caddy/last_clean.json", `{"tls":{"timestamp":"`+time.Now().UTC().Format(time.RFC3339)+`"}}`)
	return s
}

// WriteFile puts a file into the server's directory and returns its path.
func (s *Server) WriteFile(name, content string) string {
	s.T.Helper()
	path := s.Path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.T.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.T.Fatal(err)
	}
	return path
}

// Path returns the path of a file in the server's directory.
func (s *Server) Path(name string) string { return filepath.Join(s.Dir, name) }

// Run starts the process (again).
func (s *Server) Run() {
	s.T.Helper()
	clear(s.views)
	s.Log = &Log{filepath.Join(s.T.TempDir(), "log")}
	out, err := os.Create(s.Log.path)
	if err != nil {
		s.T.Fatal(err)
	}
	defer out.Close() // the process has its own
	cmd := exec.Command(s.Binary, "run", "--config", s.Config, "--adapter", "caddyfile")
	cmd.Dir, cmd.Env = s.WorkDir, s.Env
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		s.T.Fatal(err)
	}
	exit := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exit) }()
	s.Cmd, s.Exit = cmd, exit
	log := s.Log
	s.T.Cleanup(func() {
		stop(cmd, exit)
		if s.T.Failed() {
			s.T.Logf("log of the server:\n%s", log.tail(20_000))
		}
	})
}

// Wait returns once the admin API shows that a configuration is loaded.
func (s *Server) Wait() {
	s.T.Helper()
	deadline := time.Now().Add(Patience)
	for time.Now().Before(deadline) {
		select {
		case <-s.Exit:
			s.T.Fatalf("the server ended at once:\n%s", s.Log)
		default:
		}
		resp, err := http.Get("http://" + s.Admin + "/config/apps")
		if err == nil {
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK && !bytes.HasPrefix(body, []byte("null")) {
				return
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.T.Fatalf("the server did not load within %v:\n%s", Patience, s.Log)
}

// FailsToLoad runs the binary with a Caddyfile that must be refused, and
// returns its log.
func FailsToLoad(t testing.TB, caddyfile string, env ...string) string {
	t.Helper()
	s := Prepare(t, caddyfile, env...)
	s.Run()
	select {
	case <-s.Exit:
	case <-time.After(Patience):
		t.Fatalf("the configuration was accepted:\n%s", caddyfile)
	}
	if s.Cmd.ProcessState.Success() {
		t.Fatalf("the server ended without an error:\n%s", s.Log)
	}
	return s.Log.String()
}

func stop(cmd *exec.Cmd, exit <-chan struct{}) {
	if err := cmd.Process.Signal(syscall.SIGTERM); err == nil {
		select {
		case <-exit:
			return
		case <-time.After(Patience):
		}
	}
	_ = cmd.Process.Kill() // Windows has no SIGTERM
	<-exit
}

// Stop ends the process in order. Run starts it again.
func (s *Server) Stop() { stop(s.Cmd, s.Exit) }

// Kill ends the process as a crash would.
func (s *Server) Kill() {
	_ = s.Cmd.Process.Kill()
	<-s.Exit
}

// Addr is the loopback address of the port with that name: PORT, PORT2, …
func (s *Server) Addr(port string) string { return "127.0.0.1:" + s.Ports[port] }

// Reload loads another Caddyfile and returns the error Caddy answers with.
func (s *Server) Reload(caddyfile string) error {
	s.T.Helper()
	if s.change != "" {
		caddyfile = withTLS(caddyfile, s.change)
	}
	s.WriteFile("Caddyfile", caddyfile)
	out, err := s.Caddy("reload", "--config", s.Config, "--adapter", "caddyfile", "--address", s.Admin, "--force")
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	s.reconnect()
	return nil
}

// Caddy runs the binary with arguments, in the server's directory and
// environment, and returns standard output and standard error together.
func (s *Server) Caddy(args ...string) (string, error) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.Binary, args...)
	cmd.Dir, cmd.Env = s.WorkDir, s.Env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Output runs the binary like Caddy and returns standard output alone. It
// fails the test if the command fails.
func (s *Server) Output(args ...string) string {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.Binary, args...)
	cmd.Dir, cmd.Env = s.WorkDir, s.Env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		s.T.Fatalf("caddy %s: %v\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.String()
}

// Token mints a token of the internal issuer: `caddy moat token` with args.
func (s *Server) Token(args ...string) string {
	s.T.Helper()
	return strings.TrimSpace(s.Output(append([]string{"moat", "token", "--config", s.Config}, args...)...))
}

// Log is what a process prints. It is a file, not a pipe, so that what the
// process has printed before a response is there when the response is.
type Log struct{ path string }

func (l *Log) String() string {
	text, err := os.ReadFile(l.path)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// polls are the log lines of requests that wait for something.
var polls = regexp.MustCompile(`(?m)^.*"logger":"admin\.api","msg":"received request","method":"GET".*\n`)

// tail returns at most the last n bytes, without polls.
func (l *Log) tail(n int) string {
	s := polls.ReplaceAllString(l.String(), "")
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

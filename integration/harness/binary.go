package harness

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

var built struct {
	once sync.Once
	path string
	err  string
}

// Binary returns the path of the binary under test: MOAT_BINARY, or the one
// that `go run ./integration/build` keeps of the sources as they are. The
// packages of one `go test` are processes of their own: the first one that
// needs the binary builds it, the others wait for that.
func Binary(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.path = os.Getenv("MOAT_BINARY"); built.path != "" {
			return
		}
		lock, err := lockFile("build.lock", true)
		if err != nil {
			built.err = err.Error()
			return
		}
		defer lock.Close()
		cmd := exec.Command("go", "run", "./integration/build", "-cached")
		cmd.Dir = Root(t)
		var errors bytes.Buffer
		cmd.Stderr = &errors
		out, err := cmd.Output()
		if err != nil {
			built.err = err.Error() + "\n" + errors.String()
			return
		}
		built.path = strings.TrimSpace(string(out))
	})
	if built.err != "" {
		t.Fatalf("building the binary: %s", built.err)
	}
	return built.path
}

// Build builds another binary into the test's directory and returns its path:
// `go run ./integration/build` with further flags.
func Build(t testing.TB, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "caddy")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	cmd := exec.Command("go", append([]string{"run", "./integration/build", "-o", path}, flags...)...)
	cmd.Dir = Root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building with %v: %v\n%s", flags, err, out)
	}
	return path
}

// Root returns the directory of the repository: the nearest one with
// xcaddy.json above the working directory, which is that of the test's package.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "xcaddy.json")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no xcaddy.json above the working directory")
		}
		dir = parent
	}
}

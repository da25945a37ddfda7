package integration

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// startExample runs examples/<name>/Caddyfile as it stands, from the root of
// the repository as its README says, on free ports and with its audit trail in
// the test's directory.
func startExample(t testing.TB, name string, env ...string) *server {
	t.Helper()
	s := prepare(t, "", env...)
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	s.env = append(s.env, "AUDIT="+s.path(name+".audit"))
	s.cwd, s.config = root, "examples/"+name+"/Caddyfile"
	s.run()
	s.wait()
	return s
}

// step is one command of a README and the output it shows.
type step struct {
	line    int
	command string
	output  []string
}

// steps returns the commands in the console blocks of a README.
func steps(t *testing.T, file string) []step {
	t.Helper()
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []step
	inside := false
	for i, line := range strings.Split(string(body), "\n") {
		switch {
		case line == "```console":
			inside = true
		case strings.HasPrefix(line, "```"):
			inside = false
		case !inside:
		case strings.HasPrefix(line, "$ "):
			all = append(all, step{line: i + 1, command: line[2:]})
		case len(all) == 0:
			t.Fatalf("%s:%d: output before any command", file, i+1)
		default:
			all[len(all)-1].output = append(all[len(all)-1].output, line)
		}
	}
	return all
}

// replay runs the commands of a README in one shell and compares what they
// print with what the README shows. There, … stands for any text.
func replay(t *testing.T, s *server, name string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the README's commands are for a POSIX shell")
	}
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	file := filepath.Join("..", "examples", name, "README.md")
	all := steps(t, file)
	if len(all) == 0 {
		t.Fatalf("%s shows no commands", file)
	}

	// The README speaks of the ports and places of a first run.
	here := strings.NewReplacer("8443", s.ports["PORT"], name+".audit", s.path(name+".audit"))
	var script strings.Builder
	for i, st := range all {
		fmt.Fprintf(&script, "%s\necho; echo @@@%d\n", here.Replace(st.command), i)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash")
	cmd.Dir = s.cwd
	cmd.Env = append(s.env, "MOAT_BINARY="+binary(t))
	cmd.Env = append(cmd.Env, goEnv(t)...)
	cmd.Stdin = strings.NewReader(script.String())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	rest := out.String()
	for i, st := range all {
		var got string
		var ok bool
		got, rest, ok = strings.Cut(rest, fmt.Sprintf("\n@@@%d\n", i))
		if !ok {
			t.Fatalf("%s:%d: %s: no output\n%s", file, st.line, st.command, rest)
		}
		got = strings.TrimRight(strings.ReplaceAll(got, "\r", ""), "\n")
		want := strings.Join(st.output, "\n")
		if !pattern(want).MatchString(got) {
			t.Errorf("%s:%d: %s\ngot:\n%s\nwant:\n%s", file, st.line, st.command, got, want)
		}
	}
}

// pattern compiles expected output in which … stands for any text, over
// several lines where it has a line to itself.
func pattern(want string) *regexp.Regexp {
	var re strings.Builder
	re.WriteString(`\A`)
	lines := strings.Split(strings.TrimRight(want, "\n"), "\n")
	for i, line := range lines {
		if line == "…" {
			re.WriteString(`(?s:.*)`)
		} else {
			parts := strings.Split(line, "…")
			for j := range parts {
				parts[j] = regexp.QuoteMeta(parts[j])
			}
			re.WriteString(strings.Join(parts, ".*"))
			if i < len(lines)-1 {
				re.WriteString(`\n`)
			}
		}
	}
	re.WriteString(`\z`)
	return regexp.MustCompile(re.String())
}

// goEnv returns where the go command keeps its caches, since HOME is moved.
func goEnv(t *testing.T) []string {
	t.Helper()
	var env []string
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOPROXY", "GOFLAGS"} {
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(value)))
	}
	return env
}

func TestQuickstartReadmeReplays(t *testing.T) {
	s := startExample(t, "quickstart")
	replay(t, s, "quickstart")
}
